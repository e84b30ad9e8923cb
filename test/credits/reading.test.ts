import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, buy, converse, publishPackage, settle, signUp, subscribe, wait } from '../sessions/people.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
});
afterAll(() => database.drop());

async function credits(user: string) {
  const [row] = await database.app`select read_credits as shown from api.read_credits(${user})`;
  return row?.shown;
}

async function history(user: string, type: string | null = null, limit = 50, cursor: string | null = null, offset = 0) {
  const [page] =
    await database.app`select * from api.list_credit_history(${user}, ${type}, ${limit}, ${cursor}, ${offset})`;
  return page;
}

async function lastStep(user: string) {
  const steps = await database.ops`select * from ops.explain_balance(${user})`;
  return steps.at(-1);
}

test('a new user has the sign-up credits, in a bucket of their own (spec 2.1; fault 9)', async () => {
  const user = await signUp(database, 'newcomer');
  expect(await credits(user)).toMatchObject({
    ...{ balance: 5, held: 0, available: 5, signup: 5, purchased: 0, bonus: 0 },
    monthly: { allocated: 0, used: 0, remaining: 0, reset_at: null },
    rollover: { amount: 0, expires_at: null },
    breakdown: { monthly: 0, rollover: 0, signup: 5, bonus: 0, purchased: 0 },
    lots: [{ kind: 'signup', granted: 5, remaining: 5, held: 0, expires_at: null }],
  });
  expect(await credits(randomUUID())).toBeNull();
});

test('what running runs hold is not available, and never shows below 0 (spec 4.2)', async () => {
  const user = await signUp(database, 'holder');
  const runs = [await begin(database, user), await begin(database, user)];
  expect(await credits(user)).toMatchObject({ balance: 5, held: 2, available: 3 });
  for (const run of runs) await settle(database, user, run);
  expect(await credits(user)).toMatchObject({ balance: 3, held: 0, available: 3 });
});

test('a month shows what is left of what was allocated, not less (fault 37), and when it resets', async () => {
  const user = await signUp(database, 'subscriber');
  await subscribe(database, user);
  await converse(database, user);
  await converse(database, user);
  const shown = await credits(user);
  expect(shown).toMatchObject({ balance: 103, monthly: { allocated: 100, used: 2, remaining: 98 } });
  expect(new Date(shown.monthly.reset_at).getTime()).toBeGreaterThan(Date.now());
  expect(shown.lots.map(({ kind }: { kind: string }) => kind)).toEqual(['monthly', 'signup']);
});

test('credits that have expired are not shown before any job ran, and the next month shows the rollover (spec 4.3, 4.5)', async () => {
  const user = await signUp(database, 'expiring');
  await subscribe(database, user);
  await database.ops`select * from ops.grant_credits(${user}, 10, 'for a day', (select max(core_now) from (
    select clock_timestamp() + clock_offset + interval '1 day' as core_now from settings) s))`;
  await buy(database, user);
  expect(await credits(user)).toMatchObject({ balance: 215, bonus: 10, purchased: 100 });
  await wait(database, '2 days');
  expect(await credits(user)).toMatchObject({ balance: 205, available: 205, bonus: 0 });
  expect(await lastStep(user)).toMatchObject({ type: 'balance', balance: '215' });
  expect((await lastStep(user))?.explanation).toContain('10 have expired');

  await wait(database, '28 days');
  await subscribe(database, user);
  const shown = await credits(user);
  expect(shown).toMatchObject({ balance: 305, bonus: 0, monthly: { remaining: 100 }, rollover: { amount: 100 } });
  expect(new Date(shown.rollover.expires_at).getTime()).toBeGreaterThan(
    new Date(shown.monthly.reset_at).getTime() - 4 * 86_400_000,
  );
  expect(await lastStep(user)).toMatchObject({ balance: '305' });
});

test('a hold on credits that expire meanwhile leaves the others free (spec 4.5)', async () => {
  const user = await signUp(database, 'held');
  await database.owner`
    select * from core.grant_lot(${user}, 'monthly', 1, 'monthly', 'test', '1', core.now(), core.now() + interval '10 seconds')`;
  await begin(database, user);
  await wait(database, '20 seconds');
  expect(await credits(user)).toMatchObject({ balance: 5, held: 1, available: 5 });
});

test('history is signed, newest first, and names session, run and purchase (spec 10.7)', async () => {
  const user = await signUp(database, 'historian');
  const purchase = await buy(database, user);
  const run = await converse(database, user);
  await database.owner`select * from core.apply_refund(${user}, ${purchase}, 2.50, core.now())`;
  const page = await history(user);
  expect(page?.transactions).toMatchObject([
    { id: 4, type: 'refund', amount: -50, balance_after: 54, kind: 'purchased', purchase_id: purchase },
    { id: 3, type: 'spend', amount: -1, balance_after: 104, kind: 'signup', run_id: run, session_id: run },
    { id: 2, type: 'purchase', amount: 100, balance_after: 105, kind: 'purchased', purchase_id: purchase },
    { id: 1, type: 'signup', amount: 5, balance_after: 5, kind: 'signup', run_id: null, session_id: null },
  ]);
  expect(page).toMatchObject({ total: '4', next_cursor: null });

  const spent = await history(user, 'spend');
  expect(spent?.transactions).toHaveLength(1);
  expect(spent?.total).toBe('1');
  const first = await history(user, null, 3);
  const second = await history(user, null, 3, first?.next_cursor);
  expect(second?.transactions).toMatchObject([{ id: 1 }]);
  expect(second?.next_cursor).toBeNull();
  expect((await history(user, null, 1, null, 3))?.transactions).toMatchObject([{ id: 1 }]);

  await expect(history(user, 'gift')).rejects.toMatchObject({
    code: 'PR400',
    detail: 'type',
    message: expect.stringContaining('rollover'),
  });
  await expect(history(user, null, 0)).rejects.toMatchObject({ code: 'PR400', detail: 'limit' });
  await expect(history(user, null, 1, null, -1)).rejects.toMatchObject({ code: 'PR400', detail: 'offset' });
  await expect(history(user, null, 1, 'WyJ4Il0')).rejects.toMatchObject({ code: 'PR400', detail: 'cursor' });
  expect((await history(await signUp(database, 'stranger')))?.total).toBe('1');
});

test('a file of the history has every movement once, in pieces (spec 10.7)', async () => {
  const user = await signUp(database, 'archivist');
  await database.ops`
    select from generate_series(1, 1003) n cross join lateral ops.grant_credits(${user}, 1, 'gift ' || n)`;
  const piece = async (type: string | null, cursor: string | null = null) => {
    const [row] = await database.app`select * from api.export_credit_history(${user}, ${type}, ${cursor})`;
    return { rows: row?.transactions ?? [], next: row?.next_cursor };
  };
  const first = await piece(null);
  const second = await piece(null, first.next);
  expect([first.rows.length, second.rows.length, second.next]).toEqual([1000, 4, null]);
  const ids = [...first.rows, ...second.rows].map(({ id }: { id: number }) => id);
  expect(ids).toEqual(Array.from({ length: 1004 }, (_, nth) => 1004 - nth));
  expect(first.rows[0]).toEqual((await history(user, null, 1))?.transactions[0]);
  expect((await piece('signup')).rows).toHaveLength(1);
  await expect(piece('gift')).rejects.toMatchObject({ code: 'PR400', detail: 'type' });
});

test('credits day by day end in the balance, and say how long they last at the pace of late (spec 4.2)', async () => {
  const user = await signUp(database, 'counter');
  const series = async (days: number) => {
    const [row] = await database.app`select api.read_credit_series(${user}, ${days}) as series`;
    return row?.series;
  };
  expect(await series(3)).toMatchObject({
    days: [
      { came_in: 0, spent: 0, lapsed: 0, balance: 0 },
      { came_in: 0, spent: 0, lapsed: 0, balance: 0 },
      { came_in: 5, spent: 0, lapsed: 0, balance: 5 },
    ],
    ...{ pace: 0, ahead: [], empty_on: null },
  });
  await subscribe(database, user);
  await wait(database, '1 day');
  for (let runs = 0; runs < 4; runs += 1) await converse(database, user);
  await database.ops`select from ops.grant_credits(${user}, 10, 'for three days', (
    select clock_timestamp() + clock_offset + interval '3 days' from settings))`;
  const shown = await series(30);
  expect(shown.days).toHaveLength(30);
  expect(shown.days.slice(-2)).toMatchObject([
    { came_in: 105, spent: 0, balance: 105 },
    { came_in: 10, spent: 4, balance: 111 },
  ]);
  // Four in two days are two a day, of the month's; what was given lapses at noon of the third day, and is gone on the fourth.
  expect(shown.pace).toBe(2);
  expect(shown.ahead.slice(0, 4).map(({ balance }: { balance: number }) => balance)).toEqual([109, 107, 105, 93]);
  expect(shown).toMatchObject({ ahead: { length: 30 }, empty_on: null });
  await wait(database, '1 day');
  await converse(database, user, { model: 'opus', usage: { input: 70_000, output: 15_000 } });
  const spent = await series(30);
  expect(spent.pace).toBeGreaterThan(20);
  expect(spent.ahead.at(-1)).toEqual({ day: spent.empty_on, balance: 0 });
  await expect(series(91)).rejects.toMatchObject({ code: 'PR400', detail: 'days' });
  expect((await database.app`select api.read_credit_series(${randomUUID()}) as series`)[0]?.series).toBeNull();
});

test('the explainers end in the books (spec 4.8, 12)', async () => {
  const user = await signUp(database, 'asker');
  await subscribe(database, user);
  const run = await converse(database, user, { model: 'gpt-4o', usage: { input: 9000, cached: 1000, output: 2000 } });
  const [books] = await database.owner`select cost, credits from runs where id = ${run}`;
  const steps = await database.ops`select * from ops.explain_charge(${run})`;
  expect(books?.credits).toBe('6');
  expect(steps.at(-1)).toMatchObject({ what: 'charged', amount: books?.credits });
  const total = (unit: string, names: string[]) =>
    steps
      .filter((step) => step.unit === unit && names.includes(step.what))
      .reduce((sum, step) => sum + Number(step.amount), 0);
  expect(total('dollars', ['input', 'cached read', 'cache write', 'output'])).toBeCloseTo(Number(books?.cost), 12);
  expect(total('credits', ['spend', 'refund'])).toBe(6);
  expect(await lastStep('asker')).toMatchObject({ balance: '99' });

  const price = await database.ops`select * from ops.explain_price('gpt-4o')`;
  expect(price.at(-1)).toMatchObject({ what: 'price', explanation: expect.stringContaining('model_prices') });
  expect((await database.ops`select * from ops.explain_price('gpt-4o', '2000-01-01')`).at(-1)?.explanation).toContain(
    'model_not_priced',
  );
  await expect(database.ops`select * from ops.explain_price('gpt-9')`).rejects.toMatchObject({ code: 'PR404' });
  await expect(database.ops`select * from ops.explain_charge(${randomUUID()})`).rejects.toMatchObject({
    code: 'PR404',
  });
  await expect(database.ops`select * from ops.explain_balance('nobody')`).rejects.toMatchObject({ code: 'PR404' });
});

test('the books balance', async () => {
  expect(await audit(database.ops)).toEqual([]);
});
