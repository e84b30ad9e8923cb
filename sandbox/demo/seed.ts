// What a new demo holds: people, packages, and some weeks of their use that end yesterday.
import postgres from 'postgres';
import { listModels, publishVersion } from '../../src/calls/catalog.ts';
import { openDatabase, type Sql } from '../../src/database/client.ts';
import { after, type Clock, day, midnight, minute, takeClock } from './clock.ts';
import type { Urls } from './database.ts';
import { conversations, type Event, historyDays } from './history.ts';
import type { Seeded } from './home.ts';
import { enterExports } from './invoices.ts';
import { type Package, readPackages } from './packages.ts';
import { administrator, author, organization, organizationOwner, type Person, people, testUser } from './people.ts';
import { openSales, type Sales } from './sales.ts';

/** The package of the guide's commands: short, so a run of it costs little. */
const firstPackage = 'plain-language';

type Hands = {
  /** The server's role: what a person does. */
  app: Sql;
  /** The operator's role. */
  operator: postgres.Sql;
  sales: Sales;
};

/**
 * Fills an empty database, by the functions that a person or an operator calls, while its clock goes from then to now.
 * `stripe` is what Stripe knows in the end.
 */
export async function seed(urls: Urls): Promise<{ seeded: Seeded; stripe: string }> {
  const loading = readPackages();
  const app = await openDatabase({ url: hasty(urls.app), pool: 1, production: false });
  const operator = postgres(hasty(urls.operator), { max: 1, onnotice: () => {} });
  const owner = postgres(hasty(urls.owner), { max: 1, onnotice: () => {} });
  let sales: Sales | undefined;
  try {
    // Moving the clock is no operator's change: it stays out of the audit log.
    await owner`alter table public.settings disable trigger user`;
    await owner`update public.settings set stripe_max_rps = 100`;
    const clock = await takeClock(owner);
    await clock.moveTo(midnight(historyDays));
    sales = await openSales(app, midnight(historyDays));
    const seeded = await tell({ app: app.sql, operator, sales }, clock, await loading);
    await owner`update public.settings set stripe_max_rps = default`;
    await owner`alter table public.settings enable trigger user`;
    return { seeded, stripe: sales.snapshot() };
  } finally {
    await sales?.close();
    await Promise.all([app.close(), operator.end(), owner.end()]);
  }
}

/** A commit need not wait for the disk: a seed that was cut short is begun anew. */
function hasty(url: string): string {
  const changed = new URL(url);
  changed.searchParams.set('synchronous_commit', 'off');
  return changed.href;
}

type Account = { id: string; token: string };

async function tell(hands: Hands, clock: Clock, packages: Package[]): Promise<Seeded> {
  const accounts = new Map<string, Account>();
  const idOf = (username: string) => found(accounts.get(username), username).id;
  const published = new Map<string, string>();
  let organizationId = '';

  for (const person of people.filter(({ joined }) => joined === undefined)) {
    accounts.set(person.username, await signUp(hands, person));
  }
  organizationId = await foundOrganization(hands);

  const publishing = packages.flatMap((one): Event[] =>
    one.versions.map((version, nth) => ({
      at: after(midnight(historyDays - 12 * nth), 10 * minute),
      async happen() {
        const isOrganizations = one.organization !== undefined;
        const publisher = isOrganizations ? organizationOwner : author;
        const owned = { ...version, organization: isOrganizations ? organizationId : null };
        published.set(one.name, (await publishVersion(hands.app, idOf(publisher), owned)).packageId);
      },
    })),
  );
  const joining = people
    .filter(({ joined }) => joined !== undefined)
    .map(
      (person): Event => ({
        at: after(midnight(person.joined ?? 0), 6 * 60 * minute),
        async happen() {
          accounts.set(person.username, await signUp(hands, person));
        },
      }),
    );
  const models = await listModels(hands.app, idOf(author));
  const events = [
    ...publishing,
    ...joining,
    ...people.flatMap((person) => payments(hands.sales, person, idOf)),
    ...conversations({ sql: hands.app, clock, packages, models, idOf }),
  ];
  for (const event of events.sort((a, b) => a.at.getTime() - b.at.getTime())) {
    await clock.moveTo(event.at);
    await hands.sales.moveTo(event.at);
    await event.happen();
  }
  await clock.reset();
  await hands.sales.moveTo(new Date());
  await hands.operator`select public.reset_monthly_api_costs(), public.refresh_user_cost_analytics()`;
  await enterExports(hands.operator);

  return {
    people: people
      .filter(({ isShown }) => isShown)
      .map(({ username, email, about }) => ({ username, email, about, ...found(accounts.get(username), username) })),
    testUser,
    admin: administrator,
    packageId: found(published.get(firstPackage), firstPackage),
  };
}

async function signUp({ operator }: Hands, { username, email, isAdmin, tier, gift }: Person): Promise<Account> {
  const [made] = await operator<{ user_id: string; token: string }[]>`
    select user_id, token from ops.create_user(${email}, ${username})`;
  let { user_id: id, token } = found(made, username);
  if (isAdmin) {
    await operator`select from ops.set_user(${id}, is_admin => true, reason => 'runs the demo')`;
    const scopes = ['run', 'read', 'billing', 'publish', 'admin'];
    const [better] = await operator<{ token: string }[]>`
      select token from ops.create_token(${id}, 'administration', ${scopes})`;
    token = found(better, 'token').token;
  }
  if (tier) await operator`select from ops.set_user(${id}, tier_override => ${tier}, reason => 'partner')`;
  if (gift) await operator`select from ops.grant_credits(${id}, ${gift.credits}, ${gift.reason})`;
  return { id, token };
}

async function foundOrganization({ operator }: Hands): Promise<string> {
  const [made] = await operator<{ id: string }[]>`select id from ops.create_organization(${organization})`;
  await operator`select from ops.verify_organization(${organization}, true, 'papers seen')`;
  for (const { username, acme } of people) {
    if (acme) await operator`select from ops.add_member(${organization}, ${username}, ${acme})`;
  }
  return found(made, organization).id;
}

/** A subscription, begun so that it has been renewed once by today, and a pack. */
function payments(sales: Sales, { username, plan, renewed, pack }: Person, idOf: (name: string) => string): Event[] {
  const events: Event[] = [];
  if (plan !== undefined && renewed !== undefined) {
    const again = after(midnight(renewed), 7 * 60 * minute);
    events.push({ at: aMonthBefore(again), happen: () => sales.subscribe(idOf(username)) });
    // The money comes an hour after the period.
    events.push({ at: after(again, 62 * minute), happen: async () => {} });
  }
  if (pack !== undefined) {
    const at = after(midnight(historyDays), pack.onDay * day);
    events.push({ at, happen: () => sales.buy(idOf(username), pack.name) });
  }
  return events;
}

/** On the same day of the month before, or on its last one. */
function aMonthBefore(moment: Date): Date {
  const before = new Date(moment);
  before.setUTCDate(0);
  before.setUTCDate(Math.min(before.getUTCDate(), moment.getUTCDate()));
  return before;
}

function found<T>(thing: T | undefined, name: string): T {
  if (thing === undefined) throw new Error(`the seed lacks "${name}"`);
  return thing;
}
