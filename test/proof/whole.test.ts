// The whole at once: people run, stop, hang up and ask again, buy, subscribe, cancel and are refunded, operators grant, change
// prices and limits and give credits back, Stripe's news come late, twice and shuffled, jobs run, servers are killed, connections
// are cut, and the clock passes midnights, months and periods. After each round the books must be those of ./books.ts.
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import postgres from 'postgres';
import Stripe from 'stripe';
import { afterAll, expect, it } from 'vitest';
import { startStripe } from '../../sandbox/stripe/stripe.ts';
import { doStripeWork } from '../billing/work.ts';
import { createDatabase } from '../harness/database.ts';
import { type Answer, call, until } from '../http/house.ts';
import { asMoney } from '../runs/model.ts';
import { costOf, creditsFor, expectedCredits, type Facts, isEntitled, type Price } from './books.ts';
import { type Ask, answerTo, execute, openPlace, type Person, question, type ServerProcess, soak } from './place.ts';

const histories = soak ? 100 : 2;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// ── what can happen ──

const pick = <const T>(...values: T[]) => fc.constantFrom(...values);
const who = fc.nat({ max: 3 });
const which = fc.nat({ max: 999 });
const steps = {
  run: fc.record({
    who,
    tokens: pick(1, 20, 60, 200),
    reports: pick(null, null, null, 'input:4000,output:900', 'input:9000,output:1500'),
    how: pick('json', 'json', 'stream', 'stop', 'leave', 'twice at once'),
  }),
  'ask again': fc.record({ which }),
  buy: fc.record({ who }),
  subscribe: fc.record({ who }),
  cancel: fc.record({ who }),
  resume: fc.record({ who }),
  'refund a pack': fc.record({ which, cents: pick(1, 99, 250, 500) }),
  'refund a period': fc.record({ which, cents: pick(1, 50, 299) }),
  'news arrive': fc.record({ times: pick(1, 2) }),
  grant: fc.record({ who, credits: pick(1, 7, 40) }),
  'give back a run': fc.record({ which }),
  price: fc.record({ input: pick(2, 3, 5), output: pick(10, 15, 30) }),
  limit: fc.record({ day: pick(0.02, 0.1, 1) }),
  job: fc.record({
    job: pick(
      ...(['ops.expire_holds()', 'ops.expire_lots()', 'ops.reset_credits()', 'ops.audit_books()'] as const),
      ...(['refresh_user_cost_analytics()', 'reset_monthly_api_costs()'] as const),
    ),
  }),
};
type Steps = { [Name in keyof typeof steps]: (typeof steps)[Name] extends fc.Arbitrary<infer Value> ? Value : never };
type Step = { [Name in keyof Steps]: { name: Name } & Steps[Name] }[keyof Steps];
const often: Partial<Record<keyof Steps, number>> = { run: 12, 'ask again': 3, buy: 2, subscribe: 2, 'news arrive': 2 };
const step = fc.oneof(
  ...Object.entries(steps).map(([name, fields]) => ({
    weight: often[name as keyof Steps] ?? 1,
    arbitrary: (fields as fc.Arbitrary<object>).map((values) => ({ name, ...values }) as Step),
  })),
);
const round = fc.record({
  clock: pick('goes on', 'goes on', 'a day', 'midnight meanwhile', 'month’s end meanwhile', 'a period', 'two months'),
  trouble: pick('none', 'none', 'a server is killed', 'connections are cut'),
  after: fc.nat({ max: 500 }),
  steps: fc.array(fc.tuple(step, fc.nat({ max: 250 })), { minLength: 4, maxLength: 14, size: 'max' }),
});
type Round = typeof round extends fc.Arbitrary<infer Value> ? Value : never;

const seen = new Map<string, number>();
function note(what: string): void {
  seen.set(what, (seen.get(what) ?? 0) + 1);
}

// ── where it happens ──

const database = await createDatabase();
const { app, ops, owner } = database;
const superuser = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
const place = await openPlace(database, { firstTokenMs: 15, tokenMs: 4, answers: 'composed' });
const stripe = await startStripe({ now: new Date('2027-01-10T12:00:00Z') });
const client = new Stripe(stripe.secretKey, { ...stripe.clientOptions, maxNetworkRetries: 0, telemetry: false });
const servers: ServerProcess[] = [];
const oneServer = (): ServerProcess => servers[Math.floor(Math.random() * servers.length)] ?? expect.fail('no server');

/** What stands before the servers: hands each request to one of them. */
const front = createServer((request, response) => {
  const onward = httpRequest(
    `${oneServer().url}${request.url}`,
    { method: request.method, headers: request.headers },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.once('error', () => response.destroy());
    },
  );
  onward.once('error', () => response.destroy());
  request.pipe(onward);
});
front.listen(0, '127.0.0.1');
await once(front, 'listening');
const address = front.address();
const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;

const endpoint = await client.webhookEndpoints.create({
  url: `${url}/api/v1/playground/webhooks/stripe/credits`,
  enabled_events: ['*'],
  api_version: '2026-10-28.endive',
});
const product = await client.products.create({ name: 'PRPM+' });
const monthly = { currency: 'usd', product: product.id, recurring: { interval: 'month' } } as const;
const individual = await client.prices.create({ ...monthly, unit_amount: 600 });
const member = await client.prices.create({ ...monthly, unit_amount: 300 });
const serve = async () => {
  servers.push(
    await place.serve({
      STRIPE_SECRET_KEY: stripe.secretKey,
      STRIPE_API_BASE: stripe.url,
      STRIPE_PLAYGROUND_WEBHOOK_SECRET: String(endpoint.secret),
      STRIPE_PRPM_PLUS_PRICE_ID: individual.id,
      STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID: member.id,
      ALLOWED_RETURN_ORIGINS: 'https://app.example',
    }),
  );
};
await ops`update cost_limits_config set hourly_request_limit = null, minute_request_limit = null`;
await ops`update settings set purchases_per_minute = 1000, reads_per_minute = 100000, abandon_after_ms = 200, checkpoint_ms = 100`;
await serve();
await serve();
afterAll(async () => {
  await place.close();
  front.close();
  front.closeAllConnections();
  await stripe.stop();
  await superuser.end();
  await database.drop();
  console.log([...seen].map(([what, times]) => `${what} ${times}`).join(', '));
});

const databaseNow = async (): Promise<number> => {
  const [row] = await owner`select (extract(epoch from core.now()) * 1000)::float8 as ms`;
  return row?.ms;
};
const setClock = (ms: number) =>
  owner`update settings set clock_offset = make_interval(secs => ${ms / 1000}::float8 - extract(epoch from now())::float8)`;

/** The clock of the product and Stripe's go on together. */
async function pass(ms: number): Promise<void> {
  const target = (await databaseNow()) + ms;
  await stripe.clock.advance(new Date(Math.max(target, stripe.clock.now().getTime())));
  await setClock(target);
}
await setClock(stripe.clock.now().getTime());

// ── one history ──

/** `at` is the product's time when it was first asked, `from` and `until` are ours. */
type Asked = { ask: Ask; person: Someone; at: number; from: number; until: number };
type Someone = Person & { place: number; customer: string | null; granted: number };
/** From when on it could hold, and until when at the latest it was not yet there; by performance.now(). */
type Published = { price: Price; at: number; until: number };

class History {
  private readonly people: Someone[] = [];
  private readonly asked: Asked[] = [];
  private readonly prices: Published[] = [];
  /** Sessions of checkouts that we were told of, by the purchase. */
  private readonly purchases = new Map<string, Someone>();
  private readonly givenBack = new Set<string>();
  private highestDay = 1;
  private publishing = Promise.resolve();
  private now = 0;

  async start(): Promise<void> {
    await this.setPrice({ input: 3, output: 15 });
    await ops`update cost_limits_config set daily_cost_limit = 1, monthly_cost_limit = 5 where tier_name = 'free'`;
    for (const [i, { credits, tier }] of [
      { credits: 5, tier: 'free' },
      { credits: 5, tier: 'free' },
      { credits: 60, tier: 'free' },
      { credits: 500, tier: 'unlimited' },
    ].entries()) {
      const person = await place.person(credits, tier);
      this.people.push({ ...person, place: i, customer: null, granted: credits - 5 });
    }
  }

  async live(each: Round): Promise<void> {
    note(each.clock);
    note(each.trouble);
    const before = await databaseNow();
    const at = new Date(before);
    const midnight = Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate() + 1);
    const monthsEnd = Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1);
    if (each.clock === 'a day') await pass(DAY);
    if (each.clock === 'a period') await this.passPeriods(1);
    if (each.clock === 'two months') await this.passPeriods(2);
    // A second or so before it, so that it passes while runs are under way.
    if (each.clock === 'midnight meanwhile') await pass(midnight - before - 400);
    if (each.clock === 'month’s end meanwhile') await pass(monthsEnd - before - 400);

    this.now = await databaseNow();
    const trouble = async () => {
      await sleep(each.after);
      if (each.trouble === 'connections are cut') {
        await superuser`
          select pg_terminate_backend(pid) from pg_stat_activity
          where datname = current_database() and application_name = 'prpm-playground'`;
      }
      if (each.trouble === 'a server is killed') {
        const [killed] = servers.splice(0, 1);
        await killed?.kill();
        await serve();
      }
    };
    await Promise.all([
      trouble(),
      ...each.steps.map(async ([one, delay]) => {
        note(one.name);
        await sleep(delay);
        await this.take(one);
      }),
    ]);
    await this.quiesce();
    await this.compare();
  }

  /** To some hours after the next ends of everybody's periods, news arriving or not. */
  private async passPeriods(months: number): Promise<void> {
    await pass(months * 31 * DAY + 5 * HOUR);
  }

  private async take(one: Step): Promise<void> {
    switch (one.name) {
      case 'run':
        return this.run(this.person(one.who), one);
      case 'ask again': {
        // Keys are kept for a day.
        const known = this.asked.filter(({ at }) => at > this.now - 23 * HOUR);
        const asked = chosen(known, one.which);
        if (asked === undefined) return;
        asked.until = Number.POSITIVE_INFINITY;
        await answer(answerTo(oneServer(), asked.ask));
        asked.until = performance.now();
        return;
      }
      case 'buy': {
        const person = this.person(one.who);
        const begun = await this.post(person, 'credits/purchase', { package: 'small', ...returns });
        if (begun?.status !== 200) return note(`buy ${begun?.json?.error ?? 'unanswered'}`);
        this.purchases.set(begun.json.purchaseId, person);
        return this.pay(person, begun);
      }
      case 'subscribe': {
        const person = this.person(one.who);
        const begun = await this.post(person, 'subscribe', returns);
        if (begun?.status !== 200) return note(`subscribe ${begun?.json?.error ?? 'unanswered'}`);
        return this.pay(person, begun);
      }
      case 'cancel':
      case 'resume': {
        const done = await this.post(this.person(one.who), `subscription/${one.name}`, {});
        return note(`${one.name} ${done?.status === 200 ? 'done' : (done?.json?.error ?? 'unanswered')}`);
      }
      case 'refund a pack':
      case 'refund a period': {
        const isPack = one.name === 'refund a pack';
        const paid = stripe.events('payment_intent.succeeded').map(({ data }) => data.object);
        const mine = paid.filter(
          (payment) =>
            this.people.some(({ customer }) => customer === Reflect.get(payment, 'customer')) &&
            (Reflect.get(payment, 'amount') === 500) === isPack,
        );
        const id = String(Reflect.get(Object(chosen(mine, one.which)), 'id'));
        if (mine.length === 0 || stripe.refundable(id) < one.cents + (isPack ? 0 : 300)) return;
        stripe.refund(id, one.cents);
        return note(`${one.name} done`);
      }
      case 'news arrive':
        await stripe.deliverAll({ shuffle: Math.random, times: one.times, parallel: 4 });
        return;
      case 'grant': {
        const person = this.person(one.who);
        await ops`select from ops.grant_credits(${person.userId}, ${one.credits}, 'test')`;
        person.granted += one.credits;
        return;
      }
      case 'give back a run': {
        const runs = await owner`
          select r.id from runs r where r.user_id = any (${this.people.map(({ userId }) => userId)})
            and r.status <> 'running' and r.credits > 0 order by r.id`;
        const run = chosen([...runs], one.which)?.id;
        if (run === undefined || this.givenBack.has(run)) return;
        this.givenBack.add(run);
        await ops`select from ops.refund_run(${run}, 'test')`;
        return note('given back');
      }
      case 'price':
        return this.setPrice({ input: one.input, output: one.output });
      case 'limit':
        this.highestDay = Math.max(this.highestDay, one.day);
        await ops`update cost_limits_config set daily_cost_limit = ${one.day} where tier_name = 'free'`;
        return;
      case 'job':
        await ops.unsafe(`select from ${one.job}`);
        return;
    }
  }

  private person(place: number): Someone {
    return this.people[place] ?? expect.fail('there are four people');
  }

  private async run(person: Someone, { tokens, reports, how }: Steps['run']): Promise<void> {
    // The first person's provider tells the truth, so that her limits can be held against what she used.
    const usage = reports !== null && person.place > 0 ? ` usage=${reports}` : '';
    const ask = question(person, `tokens=${tokens} pace=6${usage}`);
    const asked: Asked = { ask, person, at: this.now, from: performance.now(), until: Number.POSITIVE_INFINITY };
    this.asked.push(asked);
    note(how);
    const server = oneServer();
    if (how === 'leave') {
      await answer(leave(server, ask));
      return; // the server may not even have read it yet
    }
    if (how === 'stop') {
      const ending = answer(answerTo(server, ask));
      await sleep(60);
      const [row] = await owner`select run_id from idempotency_keys where key = ${ask.name}`;
      const path = `/api/v1/playground/runs/${row?.run_id}/stop`;
      if (row !== undefined) await answer(call(oneServer().url, 'POST', path, { token: person.token, body: {} }));
      await ending;
    } else {
      const first = answerTo(server, ask);
      const answers = await Promise.all([
        answer(first),
        ...(how === 'twice at once' ? [answer(answerTo(oneServer(), ask))] : []),
      ]);
      for (const one of answers) if (one !== undefined) note(`${one.status} ${one.json?.error ?? 'answered'}`);
    }
    asked.until = performance.now();
  }

  private async post(person: Someone, path: string, body: unknown): Promise<Answer | undefined> {
    const server = oneServer();
    const said = await answer(call(server.url, 'POST', `/api/v1/playground/${path}`, { token: person.token, body }));
    if (said?.status === 500) await sleep(300);
    if (said?.status === 500)
      throw new Error(
        `${path}: ${said.text}\n${server.complaints.filter((line) => line.includes(said.json.request_id)).join('\n')}`,
      );
    return said;
  }

  private async pay(person: Someone, { json }: Answer): Promise<void> {
    const session = /cs_test_\w+/.exec(json.checkoutUrl)?.[0] ?? expect.fail('no session');
    const { customer } = await client.checkout.sessions.retrieve(session);
    person.customer = String(customer);
    try {
      stripe.pay(session);
      note('paid');
    } catch {
      note('paid no more'); // paid by another step, or replaced
    }
  }

  /** One after the other: which of two that are published at one moment holds would be anybody's guess. */
  private setPrice(price: Price): Promise<void> {
    this.publishing = this.publishing.then(async () => {
      const at = performance.now(); // which of two that meet a run took is the run's own affair
      await ops`select from ops.publish_prices('sonnet', null, ${price.input}, null, null, ${price.output}, 'operator', 'test')`;
      this.prices.push({ price, at, until: performance.now() });
    });
    return this.publishing;
  }

  /** All that is under way comes to its end: runs, news, work at Stripe, holds, and what is due. */
  private async quiesce(): Promise<void> {
    const running = async () => (await place.held()).length;
    await until(async () => (await running()) === 0, 3_000).catch(() => undefined);
    await this.hear();
    await pass(61_000);
    await place.expireAllHolds();
    await pass(2 * HOUR); // a renewal's money comes an hour after its period began
    await this.hear();
    await owner.begin(async (sql) => {
      // These jobs pass over whoever's row is in use.
      for (const id of this.people.map(({ userId }) => userId).sort())
        await sql`select from users where id = ${id} for no key update`;
      await sql`select ops.reset_credits()`;
      await sql`select ops.expire_lots()`;
    });
    expect(await place.audit()).toEqual([]);
  }

  private async hear(): Promise<void> {
    for (let turn = 0; turn < 60; turn += 1) {
      await stripe.deliverAll({ shuffle: Math.random, parallel: 3 });
      // A page of a list whose last entry Stripe has forgotten meanwhile fails: the list is begun anew an hour later.
      const done = await doStripeWork(app, client);
      const [left] = await owner`
        select (select count(*) from stripe_events where status = 'received')::int
          + (select count(*) from stripe_work where due_at <= core.now() and not is_failed or claimed_until > core.now())::int as n`;
      if (stripe.pending().length === 0 && done === 0 && left?.n === 0) return;
      // What a killed server had claimed is free again after two minutes.
      if (done === 0) await pass(30_000);
    }
    throw new Error('the news do not come to an end');
  }

  // ── what must be ──

  private async compare(): Promise<void> {
    const runs = await owner<BookedRun[]>`
      select r.user_id, r.id, r.status, r.credits::int, r.shortfall::int, r.cost::text, r.input_tokens::int as input,
        r.output_tokens::int as output, (extract(epoch from r.started_at) * 1000)::float8 as started, k.key
      from runs r left join idempotency_keys k on k.user_id = r.user_id and k.run_id = r.id
      where r.user_id = any (${this.people.map(({ userId }) => userId)})`;
    const byKey = new Map(runs.filter(({ key }) => key !== null).map((run) => [run.key, run]));
    for (const asked of this.asked) {
      asked.until = Math.min(asked.until, performance.now()); // whoever left may have been let in until now
      this.compareRun(asked, byKey.get(asked.ask.name));
    }
    for (const person of this.people)
      await this.comparePerson(
        person,
        runs.filter(({ user_id }) => user_id === person.userId),
      );
  }

  private compareRun({ ask, from, until: end }: Asked, run: BookedRun | undefined): void {
    const calls = place.gate.callsFor(ask);
    expect(calls).toBeLessThanOrEqual(1);
    if (run === undefined) return; // refused, never heard, or its key is older than a day
    if (calls === 0) {
      // Whether a killed server had called nobody knows: then the input is booked, as estimated (ADR 5), and nothing charged.
      // Who stops while the question is on its way to the provider has called it, and pays the least.
      const isUnsure = run.status === 'expired' || run.status === 'stopped';
      expect(run.credits).toBeLessThanOrEqual(run.status === 'stopped' ? 1 : 0);
      expect(isUnsure || asMoney(run.cost) === 0n).toBe(true);
      return;
    }
    const usage = place.gate.usageFor(ask);
    if (run.status === 'completed' || run.status === 'length') {
      note(`run ${run.status}`);
      if (usage === undefined) throw new Error('the provider has not ended, but the run has');
      expect([run.input, run.output]).toEqual([usage.input, usage.output]);
      const possible = this.prices.filter(
        ({ at }, i) => at <= end && (this.prices[i + 1]?.until ?? Number.POSITIVE_INFINITY) >= from - 2_000,
      );
      expect(
        possible.map(({ price }) => costOf(usage, price)),
        `${ask.name}, ${ask.input}: asked from ${from} to ${end}, prices ${JSON.stringify(this.prices)}`,
      ).toContain(asMoney(run.cost));
      if (!this.givenBack.has(run.id)) {
        expect(run.credits + run.shortfall).toBe(creditsFor(usage.input + usage.output));
      }
      return;
    }
    note(`run ${run.status}`);
    expect(asMoney(run.cost) > 0n, 'a call that cost nothing').toBe(true);
  }

  private async comparePerson(person: Someone, runs: BookedRun[]): Promise<void> {
    const facts = await this.factsOf(person);
    const [row] = await owner`
      select lifetime_api_cost::text as lifetime, included_credits::int as included, purchased_credits::int as purchased,
        case when month_ends_at > core.now() then current_month_api_cost else 0 end::text as month,
        case when day_ends_at > core.now() then current_day_limited_cost else 0 end::text as day,
        entitled_until > core.now() as entitled
      from users where id = ${person.userId}`;
    const lots = await owner`
      select kind, sum(remaining)::int as credits from credit_lots where user_id = ${person.userId} group by kind`;
    const stored = { signup: 0, bonus: 0, purchased: 0, monthly: 0, rollover: 0 };
    for (const { kind, credits } of lots) Object.assign(stored, { [kind]: credits });
    const expected = expectedCredits(facts);
    expect(stored, `${person.place}: ${JSON.stringify({ ...facts, spent: [...facts.spent] })}`).toEqual(expected);
    const { purchased, ...included } = expected;
    expect([row?.included, row?.purchased]).toEqual([Object.values(included).reduce((a, b) => a + b, 0), purchased]);

    const total = (list: BookedRun[]) => list.reduce((sum, { cost }) => sum + asMoney(cost), 0n);
    const at = new Date(facts.now);
    const month = Date.UTC(at.getUTCFullYear(), at.getUTCMonth());
    expect([asMoney(row?.lifetime), asMoney(row?.month)]).toEqual([
      total(runs),
      total(runs.filter(({ started }) => started >= month)),
    ]);
    if (person.place === 0) expect(asMoney(row?.day) <= BigInt(this.highestDay * 1e6) * 1_000_000n).toBe(true);
    const entitled = isEntitled(facts);
    if (entitled !== null) expect(row?.entitled ?? false).toBe(entitled);
    if (entitled === true) note('entitled');
    if (expected.rollover > 0) note('rolled over');
    if (runs.some(({ shortfall }) => shortfall > 0)) note('shortfall');
  }

  /** What Stripe and the provider know, and from which of the lots the ledger says that runs were paid. */
  private async factsOf(person: Someone): Promise<Facts> {
    const taken = await owner`
      select case when l.kind in ('monthly', 'rollover') then l.kind || '/' || (extract(epoch from l.period_start) * 1000)::bigint
          when l.kind = 'purchased' then coalesce((select p.id::text from purchases p where p.user_id = l.user_id and p.id::text = l.source_id), l.source_id)
          else l.kind end as lot,
        sum(t.amount * case t.debit when 'lot' then 1 else -1 end)::int as spent
      from credit_transactions t join credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
      where t.user_id = ${person.userId} and t.run_id is not null group by 1`;
    const spent = new Map(taken.map((row) => [String(row.lot), Number(row.spent)]));
    const facts = { now: await databaseNow(), signup: 5, granted: person.granted, spent };
    if (person.customer === null) return { ...facts, packs: [], periods: [], ended: new Set() };

    const { customer } = person;
    const back = async (payment: string) => {
      const { data } = await client.refunds.list({ payment_intent: payment, limit: 100 });
      return data.reduce((sum, { status, amount }) => (status === 'succeeded' ? sum + amount : sum), 0);
    };
    const packs = [];
    for (const [purchase, whose] of this.purchases) {
      if (whose !== person) continue;
      const [row] = await owner`select stripe_checkout_session_id as session from purchases where id = ${purchase}`;
      const session = await client.checkout.sessions.retrieve(row?.session);
      if (session.payment_status !== 'paid') continue;
      packs.push({ purchase, paid: session.amount_total ?? 0, refunded: await back(String(session.payment_intent)) });
    }
    const periods = [];
    const invoices = await client.invoices.list({ customer, status: 'paid', limit: 100, expand: ['data.payments'] });
    for (const invoice of invoices.data) {
      const [line] = invoice.lines.data;
      const payment = invoice.payments?.data[0]?.payment.payment_intent;
      if (line === undefined || typeof payment !== 'string') continue;
      periods.push({
        ...{ start: line.period.start * 1000, end: line.period.end * 1000 },
        ...{ paid: invoice.amount_paid, refunded: await back(payment) },
        subscription: String(invoice.parent?.subscription_details?.subscription),
      });
    }
    const { data } = await client.subscriptions.list({ customer, status: 'canceled', limit: 100 });
    return { ...facts, packs, periods, ended: new Set(data.map(({ id }) => id)) };
  }

  async end(): Promise<void> {
    await ops`select refresh_user_cost_analytics()`;
    const differ = await owner`
      select u.id, u.lifetime_api_cost, a.lifetime_api_cost, a.total_requests
      from users u join user_cost_analytics a on a.user_id = u.id
      where a.lifetime_api_cost <> u.lifetime_api_cost and u.id = any (${this.people.map(({ userId }) => userId)})`;
    expect([...differ]).toEqual([]);
  }
}

type BookedRun = {
  user_id: string;
  id: string;
  status: string;
  credits: number;
  shortfall: number;
  cost: string;
  input: number;
  output: number;
  started: number;
  key: string | null;
};

const returns = { successUrl: 'https://app.example/done', cancelUrl: 'https://app.example/no' };
const chosen = <T>(list: readonly T[], place: number): T | undefined => list[place % Math.max(1, list.length)];

/** Undefined where a server or its connection died before it answered. */
const answer = (asked: Promise<Answer>): Promise<Answer | undefined> => asked.catch(() => undefined);

/** Asks, and hangs up soon. */
async function leave(server: ServerProcess, ask: Ask): Promise<Answer> {
  const hangUp = new AbortController();
  setTimeout(() => hangUp.abort(), 80);
  return call(server.url, 'POST', execute, {
    token: ask.person.token,
    body: { package_id: 'plain', input: ask.input, stream: true },
    headers: { 'idempotency-key': ask.name },
    signal: hangUp.signal,
  });
}

it(
  `the books are those of the specification after each round of ${histories} random histories of everything at once (spec 13)`,
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 4, maxLength: 8, size: 'max' }), async (rounds) => {
        const history = new History();
        await history.start();
        for (const each of rounds) await history.live(each);
        await history.end();
      }),
      {
        numRuns: histories,
        endOnFailure: true,
        // The same steps each time, though never the same moments; the long form takes new ones.
        ...(!soak && { seed: 20_261_126 }),
      },
    );
    expect(await place.audit()).toEqual([]);
  },
  histories * 300_000,
);
