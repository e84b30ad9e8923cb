// Where the faults of the reference implementation are provoked: a server, a database and a Stripe, one clock for all, and
// people who come as anybody comes. Billing is told by signed bytes, everything else is asked over HTTP or as the operator.
import postgres from 'postgres';
import Stripe from 'stripe';
import { expect } from 'vitest';
import { createLog } from '../../src/telemetry/log.ts';
import { type Answer, type CallOptions, call, openHouse, type Person } from '../http/house.ts';
import { HOUR, openShop } from '../stripe/shop.ts';

/** `there`: what went wrong; `ours`: makes it happen here, throws where it goes wrong too, and says what was seen. */
type Fault = { number: number; there: string; needsTrigger?: boolean; ours(place: Place): Promise<string> };
/** One place for all of its faults, which happen one after the other. */
export type Room = { name: string; faults: Fault[] };

export type Place = Awaited<ReturnType<typeof openPlace>>;

/** One for all servers: each hears of the end of the process. */
const log = createLog('silent');
const SECRET = 'whsec_faults';
export const WEBHOOKS = ['/playground/webhooks/stripe/credits', '/webhooks/stripe'] as const;
/** Noon in the middle of a month: no window ends by itself. */
const NOON = new Date('2031-03-12T12:00:00Z');
const RETURNS = { successUrl: 'https://app.example/yes', cancelUrl: 'https://app.example/no' };

type Body = Record<string, unknown>;

export async function openPlace() {
  const house = await openHouse();
  const { database } = house;
  const { owner, ops } = database;
  const { stripe, client, individual, member } = await openShop({ now: NOON });
  const variables = {
    STRIPE_SECRET_KEY: stripe.secretKey,
    STRIPE_API_BASE: stripe.url,
    STRIPE_PRPM_PLUS_PRICE_ID: individual.id,
    STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID: member.id,
    STRIPE_PLAYGROUND_WEBHOOK_SECRET: SECRET,
    ALLOWED_RETURN_ORIGINS: 'https://app.example',
    TRUSTED_PROXIES: '127.0.0.1',
  };
  await setClock();
  await ops`update settings set purchases_per_minute = 1000, visitor_reads_per_minute = 100000, stripe_max_rps = 100`;
  await ops`update cost_limits_config set minute_request_limit = null`;
  /** Another server on the same database, set up like the first but for what is said. */
  const another = (more: Record<string, string> = {}) => house.another({ ...variables, ...more }, log);
  const server = await another();
  const { url } = server;
  let people = 0;
  let told = stripe.eventsAfter(0).length;

  /** The product's clock is Stripe's. */
  async function setClock() {
    await owner`update settings set clock_offset = ${stripe.clock.now().toISOString()}::timestamptz - now()`;
  }

  async function advance(ms: number) {
    await stripe.clock.advance(ms);
    await setClock();
  }

  /** Somebody who has just signed up, and done nothing else. */
  async function newcomer(): Promise<Person> {
    people += 1;
    const name = `newcomer${people}`;
    const [made] = await ops`select user_id, token from ops.create_user(${`${name}@example.com`}, ${name})`;
    return { userId: made?.user_id, token: made?.token };
  }

  /** A newcomer with so many credits as a bonus, of a tier. */
  async function somebody(credits = 1000, tier: string | null = 'unlimited'): Promise<Person> {
    const person = await newcomer();
    await ops`select from ops.grant_credits(${person.userId}, ${credits}, 'for a fault')`;
    if (tier !== null)
      await ops`select from ops.set_user(${person.userId}, tier_override => ${tier}, reason => 'for a fault')`;
    return person;
  }

  const ask = (method: string, path: string, who?: Person | null, body?: unknown, more: CallOptions = {}) =>
    call(url, method, `/api/v1${path}`, {
      ...(who && { token: who.token }),
      ...(body !== undefined && { body }),
      ...more,
    });

  /** The same where nothing but 200 will do. */
  async function get(path: string, who?: Person | null): Promise<Answer['json']> {
    return good(await ask('GET', path, who));
  }

  const run = (who: Person, input: string, more: Body = {}, options: CallOptions = {}) =>
    ask('POST', '/playground/run', who, { package_id: 'haiku', input, model: 'gpt-4o-mini', ...more }, options);

  /** Runs that cost so many credits in all: half a credit for five thousand tokens. */
  async function spend(who: Person, credits: number): Promise<Answer['json']> {
    const input = Math.max(credits * 10_000 - 10, 90);
    return good(await run(who, `[[sandbox: usage=input:${input},cached:0,cache_write:0,output:10]]`));
  }

  const credits = (who: Person) => get('/playground/credits', who);

  /** Every movement of a user's, oldest first. */
  async function movements(who: Person): Promise<{ type: string; amount: number; balance_after: number }[]> {
    const { transactions } = await get('/playground/credits/history?limit=100', who);
    return transactions.reverse();
  }

  const newest = async (who: Person) => {
    const [row] =
      await owner`select * from runs where user_id = ${who.userId} order by started_at desc, id desc limit 1`;
    return row ?? expect.fail('there was no run');
  };

  /** Sends bytes as Stripe would. */
  function send(payload: string, path: string = WEBHOOKS[0], secret = SECRET): Promise<Answer> {
    const signature = Stripe.webhooks.generateTestHeaderString({ payload, secret });
    return call(url, 'POST', `/api/v1${path}`, { body: payload, headers: { 'stripe-signature': signature } });
  }
  const bytes = (event: string): string => JSON.stringify(stripe.render(event));

  /** Events that nobody has been told of yet. */
  function news() {
    const events = stripe.eventsAfter(told);
    told += events.length;
    return events;
  }

  /** Tells all that is new, in order, and waits until everything that it asks for is done. */
  async function settle(): Promise<void> {
    for (;;) {
      const events = news();
      for (const { id } of events) expect((await send(bytes(id))).status).toBe(200);
      await server.stripeIdle();
      if (events.length === 0) return;
    }
  }

  const payAt = (checkoutUrl: string) => stripe.pay(String(checkoutUrl).split('/').at(-1) ?? '');

  /** Subscribes and pays; nobody is told before settle(). */
  async function checkOutPlan(who: Person): Promise<void> {
    payAt(good(await ask('POST', '/playground/subscribe', who, RETURNS)).checkoutUrl);
  }
  async function subscribe(who: Person): Promise<string> {
    await checkOutPlan(who);
    await settle();
    const [row] =
      await owner`select id from subscriptions where user_id = ${who.userId} order by created_at desc limit 1`;
    return row?.id;
  }

  /** Buys and pays; nobody is told before settle(). */
  async function checkOutPack(who: Person, pack = 'small'): Promise<string> {
    const { checkoutUrl, purchaseId } = good(
      await ask('POST', '/playground/credits/purchase', who, { package: pack, ...RETURNS }),
    );
    payAt(checkoutUrl);
    return purchaseId;
  }
  async function buy(who: Person, pack = 'small'): Promise<{ purchase: string; payment: string }> {
    const purchase = await checkOutPack(who, pack);
    await settle();
    const [row] = await owner`select stripe_payment_intent_id as id from purchases where id = ${purchase}`;
    return { purchase, payment: row?.id };
  }

  /** To two hours after the end of the period that a subscription is in: its renewal has been paid by then. */
  async function passPeriod(who: Person, more = 2 * HOUR): Promise<void> {
    const [row] = await owner`select max(current_period_end) as ends from subscriptions where user_id = ${who.userId}`;
    await advance(row?.ends.getTime() + more - stripe.clock.now().getTime());
  }

  const cron = async (job: 'reset' | 'expire') => good(await ask('POST', `/playground/credits/cron/${job}`));

  const customerOf = async (who: Person): Promise<string> => {
    const [row] = await owner`select customer_id from stripe_customers where user_id = ${who.userId}`;
    return row?.customer_id;
  };

  /** A package of somebody's. */
  async function publish(who: Person, name: string, more: Body = {}): Promise<string> {
    const body = { name, version: '1.0.0', prompt: `Answer as ${name}.`, description: 'For a fault', ...more };
    const { status, json, text } = await ask('POST', '/packages', who, body);
    expect(status, text).toBe(201);
    return json.package_id;
  }

  /** An administrator. */
  async function administrator(): Promise<Person> {
    const { userId } = await newcomer();
    await ops`select from ops.set_user(${userId}, is_admin => true, reason => 'for a fault')`;
    const [made] = await ops`select token from ops.create_token(${userId}, 'faults', ${['run', 'read', 'admin']})`;
    return { userId, token: made?.token };
  }

  /** Does something under other settings or limits than usual, and puts them back. */
  async function under<T>(change: string, putBack: string, act: () => Promise<T>): Promise<T> {
    await ops.unsafe(change);
    try {
      return await act();
    } finally {
      await ops.unsafe(putBack);
    }
  }

  /** Does something while the database lets nobody in. */
  async function outage<T>(act: () => Promise<T>): Promise<T> {
    const elsewhere = new URL(database.superuserUrl);
    elsewhere.pathname = '/postgres';
    const superuser = postgres(elsewhere.href, { max: 1, onnotice: () => {} });
    await superuser.unsafe(`alter database ${database.name} allow_connections false`);
    await superuser`select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = ${database.name}`;
    try {
      return await act();
    } finally {
      await superuser.unsafe(`alter database ${database.name} allow_connections true`);
      await superuser.end();
    }
  }

  return {
    ...{ house, database, owner, ops, url, log, stripe, client, variables, another, customerOf },
    ...{
      advance,
      newcomer,
      somebody,
      administrator,
      ask,
      get,
      run,
      spend,
      credits,
      movements,
      newest,
      publish,
      under,
      outage,
    },
    ...{
      send,
      bytes,
      news,
      settle,
      checkOutPlan,
      subscribe,
      checkOutPack,
      buy,
      passPeriod,
      cron,
      stripeIdle: server.stripeIdle,
    },
    audit: house.audit,
    async close() {
      await house.close();
      await stripe.stop();
    },
  };
}

export function good({ status, json, text }: Answer): Answer['json'] {
  expect(status, text).toBe(200);
  return json;
}

/** How often each is there: `1× 200, 9× 402 insufficient_credits`. */
export function tally(answers: readonly Answer[]): string {
  const words = answers.map(({ status, json }) => (json?.error ? `${status} ${json.error}` : String(status)));
  const counts = new Map<string, number>();
  for (const word of words.sort()) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].map(([word, count]) => `${count}× ${word}`).join(', ');
}

export const said = ({ status, json }: Answer): string => `${status} ${json?.error ?? ''}`.trim();

export const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
