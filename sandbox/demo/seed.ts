// What a new demo holds: people, packages, and some weeks of their use that end yesterday.
import postgres from 'postgres';
import { listModels, publishVersion } from '../../src/calls/catalog.ts';
import { openDatabase, type Sql } from '../../src/database/client.ts';
import { after, type Clock, day, midnight, minute, takeClock } from './clock.ts';
import type { Urls } from './database.ts';
import { conversations, type Event, historyDays } from './history.ts';
import type { Seeded } from './home.ts';
import { type Package, readPackages } from './packages.ts';
import { administrator, author, organization, organizationOwner, type Person, people, testUser } from './people.ts';

/** The package of the guide's commands: short, so a run of it costs little. */
const firstPackage = 'plain-language';

type Hands = {
  /** The server's role: what a person does. */
  app: Sql;
  /** The operator's role. */
  operator: postgres.Sql;
  /** The owner's, for what Stripe's events will do, and for the clock. */
  owner: postgres.Sql;
};

/** Fills an empty database, by the functions that a person or an operator calls, while its clock goes from then to now. */
export async function seed(urls: Urls): Promise<Seeded> {
  const loading = readPackages();
  const app = await openDatabase({ url: hasty(urls.app), pool: 1, production: false });
  const operator = postgres(hasty(urls.operator), { max: 1, onnotice: () => {} });
  const owner = postgres(hasty(urls.owner), { max: 1, onnotice: () => {} });
  try {
    // Moving the clock is no operator's change: it stays out of the audit log.
    await owner`alter table public.settings disable trigger user`;
    const seeded = await tell({ app: app.sql, operator, owner }, await takeClock(owner), await loading);
    await owner`alter table public.settings enable trigger user`;
    return seeded;
  } finally {
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

  await clock.moveTo(midnight(historyDays));
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
        const owned = { ...version, organizationId: isOrganizations ? organizationId : null };
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
    ...people.flatMap((person) => payments(hands, person, idOf)),
    ...conversations({ sql: hands.app, clock, packages, models, idOf }),
  ];
  for (const event of events.sort((a, b) => a.at.getTime() - b.at.getTime())) {
    await clock.moveTo(event.at);
    await event.happen();
  }
  await clock.reset();
  await hands.operator`select public.reset_monthly_api_costs(), public.refresh_user_cost_analytics()`;

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

/** Two billing periods of a plan, and a pack. */
function payments(
  { owner }: Hands,
  { username, plan, renewed, pack }: Person,
  idOf: (name: string) => string,
): Event[] {
  const events: Event[] = [];
  if (plan !== undefined && renewed !== undefined) {
    const second = after(midnight(renewed), 7 * 60 * minute);
    const first = new Date(second);
    first.setUTCMonth(first.getUTCMonth() - 1);
    const third = new Date(second);
    third.setUTCMonth(third.getUTCMonth() + 1);
    const subscription = `sub_demo_${username.replace('-', '_')}`;
    events.push(
      { at: first, happen: () => pay(owner, idOf(username), subscription, plan, first, second) },
      { at: second, happen: () => pay(owner, idOf(username), subscription, plan, second, third) },
    );
  }
  if (pack !== undefined) {
    const at = after(midnight(historyDays), pack.onDay * day);
    events.push({ at, happen: () => buy(owner, idOf(username), pack.name) });
  }
  return events;
}

async function pay(owner: postgres.Sql, userId: string, subscription: string, plan: string, start: Date, end: Date) {
  await owner`
    insert into public.subscriptions (
      user_id, id, plan, status, current_period_start, current_period_end, paid_until, monthly_amount, created_at, updated_at
    )
    select ${userId}, ${subscription}, p.plan, 'active', ${start}, ${end}, ${end}, p.monthly_price, ${start}, ${start}
    from public.plans p
    where p.plan = ${plan}
    on conflict (user_id, id) do update set
      current_period_start = excluded.current_period_start, current_period_end = excluded.current_period_end,
      paid_until = excluded.paid_until, updated_at = excluded.updated_at`;
  await owner`
    update public.users u
    set prpm_plus_status = 'active', plan_tier = p.tier_name, entitled_until = ${end}
    from public.plans p
    where u.id = ${userId} and p.plan = ${plan}`;
  await owner`
    select core.grant_period(${userId}, ${subscription}, p.plan, ${start}, ${end}, p.monthly_price, core.now())
    from public.plans p
    where p.plan = ${plan}`;
}

async function buy(owner: postgres.Sql, userId: string, pack: string) {
  const id = crypto.randomUUID();
  await owner`
    insert into public.purchases (user_id, id, pack, credits, price, created_at)
    select ${userId}, ${id}, p.pack, p.credits, p.price, core.now() from public.packs p where p.pack = ${pack}`;
  await owner`
    select core.grant_purchase(${userId}, ${id}, p.price, core.now()) from public.packs p where p.pack = ${pack}`;
}

function found<T>(thing: T | undefined, name: string): T {
  if (thing === undefined) throw new Error(`the seed lacks "${name}"`);
  return thing;
}
