import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readEnvironment } from '../../src/config/environment.ts';
import { openBilling } from '../../src/stripe/billing.ts';
import { openAccount } from '../../src/stripe/client.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { openShop } from '../stripe/shop.ts';
import { type Answers, environment, fakeSql, silent } from './fake.ts';

const { stripe, individual, pack } = await openShop();
afterAll(() => stripe.stop());
const account = { STRIPE_SECRET_KEY: stripe.secretKey, STRIPE_API_BASE: stripe.url };

function open(answers: Answers, variables: Record<string, string> = account) {
  const sql = fakeSql(answers);
  const database = { sql, reads: sql, jobs: sql };
  const opened = openBilling({ environment: environment(variables), database, log: silent, isLooking: false });
  return { sql, opened };
}
const offers = (...ids: string[]) => [...ids.map((priceId) => ({ kind: 'plan', name: 'x', priceId }))];

describe('prices at the start of a server', () => {
  it('are those of the environment, and are compared as Stripe has them', async () => {
    const { sql, opened } = open(
      { set_stripe_prices: () => offers(individual.id, pack.id, 'price_gone'), compare_stripe_prices: () => [] },
      {
        ...account,
        STRIPE_PRPM_PLUS_PRICE_ID: individual.id,
        STRIPE_SMALL_PACK_PRICE_ID: pack.id,
        STRIPE_LARGE_PACK_PRICE_ID: 'price_cccccccccccc',
      },
    );
    await (await opened)?.stop();
    expect(JSON.parse(String(sql.named('set_stripe_prices')[0]?.[0]))).toEqual({
      plans: { prpm_plus_individual: individual.id },
      packs: { small: pack.id },
    });
    const [prices, livemode] = sql.named('compare_stripe_prices')[0] ?? [];
    expect(livemode).toBe(false);
    expect(JSON.parse(String(prices))).toMatchObject([
      { id: individual.id, unit_amount: 600, recurring: { interval: 'month' }, active: true },
      { id: pack.id, unit_amount: 500, recurring: null },
      { id: 'price_gone', missing: true },
    ]);
  });

  it('stop it where they differ, with every complaint on a line', async () => {
    const complaints = ['price_1 is 7.00 usd, plan x says 6.00 usd', 'price_2 is missing'];
    const { opened } = open({
      set_stripe_prices: () => offers(individual.id),
      compare_stripe_prices: () => complaints.map((complaint) => ({ complaint })),
    });
    await expect(opened).rejects.toThrow(complaints.join('\n'));
  });

  it('do not stop it while Stripe is away', async () => {
    stripe.fail({ how: 503, times: 2 });
    const { sql, opened } = open({ set_stripe_prices: () => offers(individual.id) });
    const billing = await opened;
    expect(billing).toBeDefined();
    expect(sql.named('compare_stripe_prices')).toEqual([]);
    await billing?.stop();
    stripe.heal();
  });

  it('stop it where the key is refused, and the key is not told', async () => {
    const { opened } = open(
      { set_stripe_prices: () => offers(individual.id) },
      { ...account, STRIPE_SECRET_KEY: 'sk_test_wrong' },
    );
    await expect(opened).rejects.toThrow(/^STRIPE_SECRET_KEY is refused/);
    await expect(opened).rejects.not.toThrow(/sk_test_wrong/);
  });

  it('are not asked for where none has an id, and the package is not loaded without an account', async () => {
    const asked = stripe.calls.length;
    await (await open({}).opened)?.stop();
    expect(stripe.calls).toHaveLength(asked);
    const { sql, opened } = open({}, {});
    expect(await opened).toBeUndefined();
    expect(sql.calls).toEqual([]);
  });
});

describe('a price at Stripe (spec 2.4)', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
    const ids = { plans: { prpm_plus_individual: individual.id }, packs: { small: pack.id } };
    await database.app`select from api.set_stripe_prices(${database.app.json(ids)})`;
  });
  afterAll(() => database.drop());
  const compare = async (plan: object, small: object) => {
    const prices = JSON.stringify([
      { ...individual, ...plan },
      { ...pack, ...small },
    ]);
    const rows = await database.app`select complaint from api.compare_stripe_prices(${prices}::text::jsonb, false)`;
    return rows.map(({ complaint }) => complaint);
  };
  const every = (interval: string, count: number) => ({
    type: 'recurring',
    recurring: { interval, interval_count: count },
  });

  it('that is as ours is no difference', async () => {
    expect(await compare({}, {})).toEqual([]);
  });

  it.each<[string, object, RegExp]>([
    ['of another amount', { unit_amount: 601 }, /Stripe has 6.01 usd every 1 month/],
    ['without an amount', { unit_amount: null }, /Stripe has no amount usd/],
    ['in another currency', { currency: 'eur' }, /Stripe has 6.00 eur every 1 month/],
    ['of a year', every('year', 1), /Stripe has 6.00 usd every 1 year/],
    ['of three months', every('month', 3), /Stripe has 6.00 usd every 3 month/],
    ['paid once', { type: 'one_time', recurring: null }, /Stripe has 6.00 usd once/],
    ['of the other mode', { livemode: true }, /of the other mode/],
    ['that is not active', { active: false }, /not active/],
    ['that is missing', { missing: true }, /knows no such price/],
  ])('of a plan, %s, is a difference, and both sides are named', async (_, plan, theirs) => {
    const complaints = await compare(plan, {});
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatch(/^Plan prpm_plus_individual sells for 6.00 usd a month \(price price_/);
    expect(complaints[0]).toContain(individual.id);
    expect(complaints[0]).toMatch(theirs);
  });

  it.each<[string, object, RegExp]>([
    ['of another amount', { unit_amount: 499 }, /Stripe has 4.99 usd once/],
    ['in another currency', { currency: 'eur' }, /Stripe has 5.00 eur once/],
    ['paid each month', every('month', 1), /Stripe has 5.00 usd every 1 month/],
  ])('of a pack, %s, is one', async (_, small, theirs) => {
    const complaints = await compare({}, small);
    expect(complaints).toHaveLength(1);
    expect(complaints[0]).toMatch(/^Pack small sells for 5.00 usd once/);
    expect(complaints[0]).toMatch(theirs);
  });
});

it.each([
  ['sk_test_1', false],
  ['rk_test_1', false],
  ['sk_live_1', true],
  ['rk_live_1', true],
])('%s is of live mode: %s', (key, livemode) => {
  expect(openAccount({ key }).livemode).toBe(livemode);
});

it('the client goes where STRIPE_API_BASE says, in the version of the package', async () => {
  const { stripe: client, apiVersion } = await openAccount({ key: stripe.secretKey, base: stripe.url }).load();
  await client.prices.retrieve(individual.id);
  expect(stripe.calls.at(-1)).toMatchObject({ path: `/v1/prices/${individual.id}`, version: apiVersion });
});

describe('the environment of billing', () => {
  const good = { APP_DATABASE_URL: 'postgres://prpm_app:x@localhost/prpm' };
  const read = (variables: Record<string, string>) => readEnvironment({ ...good, ...variables });

  it('has one signing secret, or several while rotating', () => {
    const secrets = (text: string) => read({ STRIPE_PLAYGROUND_WEBHOOK_SECRET: text }).STRIPE_PLAYGROUND_WEBHOOK_SECRET;
    expect(secrets('whsec_a')).toEqual(['whsec_a']);
    expect(secrets('whsec_a,whsec_b')).toEqual(['whsec_a', 'whsec_b']);
    expect(secrets(' whsec_a , whsec_b ')).toEqual(['whsec_a', 'whsec_b']);
    expect(secrets('whsec_zzzzzzzzzzzzzz')).toBeUndefined();
    expect(() => secrets('whsec_a,sk_b')).toThrow(/^STRIPE_PLAYGROUND_WEBHOOK_SECRET has an entry/);
  });

  it.each([
    [{ STRIPE_PORTAL_CONFIGURATION_ID: 'pc_1' }, /^STRIPE_PORTAL_CONFIGURATION_ID does not look like/],
    [{ STRIPE_API_BASE: 'localhost:4020' }, /^STRIPE_API_BASE is not a URL/],
    [{ STRIPE_API_BASE: 'http://localhost:4020/v1' }, /^STRIPE_API_BASE has a path/],
  ])('%o is refused', (variables, message) => {
    expect(() => read(variables)).toThrow(message);
  });
});
