// Billing as it happens: a database, a Stripe that is not there, and between them what a server does, in the order that a test wants.
import type postgres from 'postgres';
import Stripe from 'stripe';
import { expect } from 'vitest';
import { type StripeStandIn, startStripe } from '../../sandbox/stripe/stripe.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { converse, publishPackage, signUp } from '../sessions/people.ts';
import { doStripeWork } from './work.ts';

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
const URLS = ['https://app.example/done', 'https://app.example/no'] as const;

type Answer = { outcome: string; refusal: { code: string } | null };

/** Everything of a user that must not depend on how news of it arrived. */
export type Standing = Record<string, unknown>;

/** On a database of its own, or one that is given: empty, and dropped at the end. */
export async function openBilling(given?: TestDatabase) {
  const database = given ?? (await createDatabase());
  await publishPackage(database);
  const { app, ops, owner } = database;
  await ops`update cost_limits_config set hourly_request_limit = null, minute_request_limit = null`;
  await ops`update settings set purchases_per_minute = 1000`;
  const stripe: StripeStandIn = await startStripe({ now: new Date('2027-01-10T12:00:00Z') });
  const client = new Stripe(stripe.secretKey, { ...stripe.clientOptions, maxNetworkRetries: 0, telemetry: false });
  const version = '2026-10-28.endive';

  const product = await client.products.create({ name: 'PRPM+' });
  const monthly = { currency: 'usd', product: product.id, recurring: { interval: 'month' } } as const;
  const individual = await client.prices.create({ ...monthly, unit_amount: 600 });
  const member = await client.prices.create({ ...monthly, unit_amount: 300 });
  await app`select from api.set_stripe_prices(${app.json({
    plans: { prpm_plus_individual: individual.id, prpm_plus_org_member: member.id },
  })})`;

  /** The product's clock is Stripe's. */
  async function setClock(at = database): Promise<void> {
    const now = stripe.clock.now().toISOString();
    await at.owner`update settings set clock_offset = ${now}::timestamptz - now()`;
  }
  await setClock();

  const opening = stripe.snapshot();
  /** Forgets all that happened at Stripe, so that it need not be carried along: for who comes next. */
  async function forget(): Promise<void> {
    stripe.restore(opening);
    seen = 0;
    customers.clear();
    paymentsOf.clear();
    await setClock();
  }

  let people = 0;
  const customers = new Map<string, string>();
  async function person(): Promise<string> {
    people += 1;
    const user = await signUp(database, `person${people}`);
    const [begun] = await app`select customer_id, write_id, email from api.begin_customer(${user}, false)`;
    const made = await client.customers.create(
      { email: begun?.email, metadata: { user_id: user } },
      { idempotencyKey: begun?.write_id },
    );
    await app`select from api.keep_customer(${user}, ${made.id}, false)`;
    customers.set(made.id, user);
    return user;
  }
  const customerOf = (user: string) =>
    [...customers].find(([, who]) => who === user)?.[0] ?? expect.fail('no customer');

  async function makeSession(user: string, id: string, parameters: Stripe.Checkout.SessionCreateParams) {
    const session = await client.checkout.sessions.create(
      { ...parameters, customer: customerOf(user) },
      { idempotencyKey: id },
    );
    await app`select from api.keep_checkout(${user}, ${id}, ${session.id}, ${session.url}, ${new Date(session.expires_at * 1000)})`;
    return session.id;
  }

  /** Begins a subscription; the code of the refusal, or the checkout session. */
  async function subscribe(user: string): Promise<{ session: string } | { refused: string }> {
    const [row] = await app<
      (Answer & { checkout_id: string; session_id: string; parameters: Stripe.Checkout.SessionCreateParams })[]
    >`
      select * from api.begin_subscribe(${user}, ${URLS[0]}, ${URLS[1]}, false)`;
    if (row?.outcome === 'open') return { session: row.session_id };
    if (row?.outcome === 'expire') {
      await client.checkout.sessions.expire(row.session_id);
      await app`select from api.end_checkout(${user}, ${row.session_id}, 'expired')`;
      return subscribe(user);
    }
    if (row?.outcome !== 'create') return { refused: row?.refusal?.code ?? '?' };
    return { session: await makeSession(user, row.checkout_id, row.parameters) };
  }

  async function buy(
    user: string,
    pack = 'small',
  ): Promise<{ session: string; purchase: string } | { refused: string }> {
    const [row] = await app<(Answer & { purchase_id: string; parameters: Stripe.Checkout.SessionCreateParams })[]>`
      select * from api.begin_purchase(${user}, ${pack}, ${URLS[0]}, ${URLS[1]}, false)`;
    if (row?.outcome !== 'create') return { refused: row?.refusal?.code ?? '?' };
    return { session: await makeSession(user, row.purchase_id, row.parameters), purchase: row.purchase_id };
  }

  /** Hands one event to the database as the webhook does. */
  async function deliver(id: string, overrides: Parameters<StripeStandIn['render']>[1] = {}): Promise<string> {
    const body = JSON.stringify(stripe.render(id, overrides));
    const sql: postgres.Sql = app;
    await sql`select api.store_stripe_event(${id}, ${body}, false, ${version})`;
    const [row] = await sql`select api.apply_stripe_event(${id}) as status`;
    return row?.status;
  }

  /** Does what is due at Stripe, until nothing is. */
  async function work(at = database): Promise<void> {
    while ((await doStripeWork(at.app, client)) > 0);
  }

  let seen = 0;
  /** Events made since the last call, by whose they are; of nobody's: null. */
  function fresh(): { id: string; user: string | null; type: string; object: unknown }[] {
    const events = stripe.eventsAfter(seen);
    seen += events.length;
    return events.map((event) => {
      const object: unknown = event.data.object;
      const customer = Reflect.get(Object(object), 'customer');
      const payment = Reflect.get(Object(object), 'payment_intent');
      const of = typeof customer === 'string' ? customer : paymentsOf.get(String(payment));
      if (typeof customer === 'string' && event.type.startsWith('payment_intent'))
        paymentsOf.set(String(Reflect.get(Object(object), 'id')), customer);
      return { id: event.id, user: customers.get(String(of)) ?? null, type: event.type, object };
    });
  }
  const paymentsOf = new Map<string, string>();

  async function advance(ms: number): Promise<void> {
    await stripe.clock.advance(ms);
    await setClock();
  }

  /** To so long after the end of the period that a user's subscription is in. */
  async function passPeriod(user: string, more: number): Promise<void> {
    const [row] = await owner`select max(current_period_end) as ends from subscriptions where user_id = ${user}`;
    await advance(row?.ends.getTime() + more - stripe.clock.now().getTime());
  }

  /** What the daily jobs do. */
  async function jobs(): Promise<void> {
    await ops`select ops.reset_credits()`;
    await ops`select ops.expire_lots()`;
  }

  /** Spends credits: a run of so many thousand tokens. */
  const run = (user: string, thousands: number) =>
    converse(database, user, { model: 'gpt-4o-mini', usage: { input: thousands * 1000 - 10, output: 10 } });

  async function standing(user: string, at = database): Promise<Standing> {
    const { owner } = at;
    const [who] = await owner`
      select prpm_plus_status, plan_tier, entitled_until, included_credits, purchased_credits from users where id = ${user}`;
    const subscriptions = await owner`
      select plan, status, current_period_start, current_period_end, paid_until, cancel_at, ended_at, collection_paused, superseded
      from subscriptions where user_id = ${user} order by stripe_created_at, id`;
    const periods = await owner`
      select period_start, period_end, plan, state, credits, paid_amount, refunded_amount, disputed_amount, credits_taken_back, shortfall
      from subscription_periods p where user_id = ${user} order by period_start, (
        select s.stripe_created_at from subscriptions s where s.user_id = p.user_id and s.id = p.subscription_id)`;
    const lots = await owner`
      select kind, remaining, expires_at from credit_lots where user_id = ${user} and remaining > 0
      order by kind, expires_at, remaining`;
    const purchases = await owner`
      select pack, status, paid_amount, refunded_amount, disputed_amount, credits_taken_back, shortfall
      from purchases where user_id = ${user} order by created_at, id`;
    // Two of the same second have no order of their own: ids are made by chance.
    const sorted = (rows: readonly object[]) =>
      [...rows].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    return {
      who,
      subscriptions: sorted(subscriptions),
      periods: sorted(periods),
      lots: sorted(lots),
      purchases: sorted(purchases),
    };
  }

  /** A user's subscriptions as Stripe has them, and as we have them, in the same words. */
  async function truth(user: string) {
    const { data } = await client.subscriptions.list({ customer: customerOf(user), status: 'all', limit: 100 });
    const isFinal = (status: string) => ['canceled', 'incomplete_expired'].includes(status);
    return data
      .map(({ id, status, items, cancel_at, cancel_at_period_end, pause_collection, ended_at }) => {
        const ends = items.data[0]?.current_period_end ?? 0;
        return {
          ...{ id, status, ends, ended: ended_at, price: items.data[0]?.price.id },
          cancel: isFinal(status) ? null : (cancel_at ?? (cancel_at_period_end ? ends : null)),
          paused: !isFinal(status) && pause_collection !== null,
        };
      })
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }
  async function told(user: string) {
    const rows = await owner`
      select id, status, extract(epoch from current_period_end)::int as ends, extract(epoch from ended_at)::int as ended,
        extract(epoch from cancel_at)::int as cancel, collection_paused as paused, price_id as price
      from subscriptions where user_id = ${user} order by id collate "C"`;
    return [...rows];
  }

  async function balance(user: string): Promise<number> {
    const [row] = await owner`
      select sum(remaining) as n from credit_lots where user_id = ${user} and expires_at > core.now()`;
    return Number(row?.n ?? 0);
  }

  return {
    passPeriod,
    forget,
    truth,
    told,
    ...{
      database,
      stripe,
      client,
      person,
      customerOf,
      subscribe,
      buy,
      deliver,
      work,
      setClock,
      fresh,
      advance,
      jobs,
      run,
      standing,
      balance,
    },
    ...{ individual, member },
    /** Knows that a customer is a user's. */
    adopt: (customer: string, user: string) => void customers.set(customer, user),
    /** Of everybody, or of those whose ids lie between the first and the last of these. */
    audit: async (users: string[] = []) => {
      if (users.length === 0) return [...(await ops`select * from ops.audit_books()`)];
      const inOrder = users.toSorted();
      return [...(await owner`select * from core.audit_range(${inOrder.at(0) ?? ''}, ${inOrder.at(-1) ?? ''})`)];
    },
    review: async () => [...(await ops`select kind, what, why from ops.stripe_review`)],
    /** Delivers all that is new, in order, and does the work. */
    async settle(): Promise<void> {
      for (const { id } of fresh()) await deliver(id);
      await work();
    },
    async close(): Promise<void> {
      await stripe.stop();
      await database.drop();
    },
  };
}
