// An operator gives a run's credits back: to the lots they came from, once, whatever else goes on. The books are audited after each.
import { expect, it } from 'vitest';
import { newId, openWorld } from './world.ts';

const world = await openWorld();

const refund = async (run: string, more: { reason?: string | null; dryRun?: boolean } = {}) => [
  ...(await world.ops`
    select kind, credits::int, balance::int, note is not null as is_noted
    from ops.refund_run(${run}, ${more.reason === undefined ? 'cut off' : more.reason}, ${more.dryRun ?? false})`),
];
const explain = async (run: string) => [
  ...(await world.ops`select what, amount::float, unit, explanation from ops.explain_charge(${run})`),
];

it("gives each lot what it had paid, the last one first, and keeps the run's cost (spec 12)", async () => {
  const user = await world.person({ credits: 3, tier: 'unlimited' });
  await world.grant(user, 1);
  await world.buy(user);
  const { run_id, cost } = await world.run(user, { tokens: 14_000 }, { input: 14_000, output: 8_000 });
  expect((await world.readRun(user, run_id))?.credits_by_kind).toEqual({ signup: 3, bonus: 1, purchased: 1 });
  const before = await world.figures(user);
  await world.ops`select refresh_user_cost_analytics()`; // what is rolled up already is corrected
  const [seen] = await world.owner`select limited_cost from runs where id = ${run_id}`;

  expect(await refund(run_id)).toEqual([
    { kind: 'purchased', credits: 1, balance: 104, is_noted: false },
    { kind: 'bonus', credits: 1, balance: 104, is_noted: false },
    { kind: 'signup', credits: 3, balance: 104, is_noted: false },
  ]);
  expect(await world.lots(user)).toEqual([
    ['signup', 3],
    ['bonus', 1],
    ['purchased', 100],
  ]);
  expect(await world.figures(user)).toEqual({ ...before, balance: 104, free: 104 });
  expect(
    await world.owner`select refunded_at is not null as told, credits::int, limited_cost from runs where id = ${run_id}`,
  ).toEqual([{ told: true, credits: 0, limited_cost: seen?.limited_cost }]);
  const [lots] = await world.owner`select sum(cost)::float as cost from credit_lots where user_id = ${user}`;
  expect(lots?.cost).toBe(0);
  expect(await world.readRun(user, run_id)).toMatchObject({
    status: 'completed',
    credits_spent: 0,
    credits_by_kind: {},
    credits_remaining: 104,
    refunded_at: expect.any(Date),
    cost,
  });
});

it('changes nothing the second time, and answers the same lots (spec 12)', async () => {
  const user = await world.person();
  const { run_id } = await world.run(user);
  const first = await refund(run_id);
  expect(first).toEqual([{ kind: 'signup', credits: 1, balance: 5, is_noted: false }]);
  const transfers = await world.transfers(user);
  expect(await refund(run_id)).toEqual(first);
  expect(await Promise.all([1, 2, 3].map(() => refund(run_id)))).toEqual([first, first, first]);
  expect(await world.transfers(user)).toEqual(transfers);
});

it('is done once by several operators at the same time (spec 12)', async () => {
  const user = await world.person();
  const { run_id } = await world.run(user);
  await Promise.all([1, 2, 3, 4].map(() => refund(run_id)));
  expect((await world.transfers(user)).filter(([type]) => type === 'refund')).toEqual([['refund', 'spent', 'lot', 1]]);
});

it('says beforehand what it would give, and who did it and why afterwards (spec 4.7, 12)', async () => {
  const user = await world.person();
  const { run_id } = await world.run(user);
  const told = await refund(run_id, { dryRun: true, reason: null });
  expect(told).toEqual([{ kind: 'signup', credits: 1, balance: 5, is_noted: false }]);
  expect((await world.figures(user)).balance).toBe(4);
  await expect(refund(run_id, { reason: ' ' })).rejects.toMatchObject({ code: 'PR400', detail: 'reason' });
  expect((await world.figures(user)).balance).toBe(4);
  expect(await refund(run_id)).toEqual(told);
  expect(
    await world.ops`select role, row_key, reason, new ->> 'credits' as credits from audit_log where table_name = 'ops.refund_run' order by id desc limit 1`,
  ).toEqual([{ role: 'prpm_ops', row_key: run_id, reason: 'cut off', credits: '1' }]);
  const [history] = await world.app`select transactions from api.list_credit_history(${user})`;
  expect(history?.transactions[0]).toMatchObject({
    type: 'refund',
    amount: 1,
    run_id,
    description: 'Refunded: cut off',
  });
});

it('leaves what the user holds for a run that goes on (spec 4.5)', async () => {
  const user = await world.person({ credits: 2 });
  const { run_id } = await world.run(user);
  const { begun_run_id } = await world.start(user);
  expect(await world.figures(user)).toMatchObject({ balance: 1, held: 1, free: 0 });
  await refund(run_id);
  expect(await world.figures(user)).toMatchObject({ balance: 2, held: 1, free: 1 });
  await expect(refund(begun_run_id)).rejects.toMatchObject({ code: 'PR409', detail: 'run' });
  expect((await world.settle(user, begun_run_id)).credits_spent).toBe(1);
  expect(await world.lots(user)).toEqual([['signup', 1]]);
});

it('refuses what is unknown or was charged nothing (spec 12)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  await world.release(user, begun_run_id);
  await expect(refund(begun_run_id)).rejects.toMatchObject({ code: 'PR409', detail: 'run' });
  await expect(refund(newId())).rejects.toMatchObject({ code: 'PR404', detail: 'run' });
});

it('lets what has expired since expire again, as if it had gone back in time (spec 4.5)', async () => {
  const user = await world.person({ credits: 0 });
  await world.grant(user, 2, '2031-03-20T00:00:00Z');
  const { run_id } = await world.run(user);
  await world.pass('30 days');
  expect(await refund(run_id, { dryRun: true })).toEqual([{ kind: 'bonus', credits: 1, balance: 2, is_noted: true }]);
  expect(await refund(run_id)).toEqual([{ kind: 'bonus', credits: 1, balance: 0, is_noted: true }]);
  expect(await world.lots(user)).toEqual([]);
});

it('rolls over what goes back to a period that has rolled over (spec 4.3)', async () => {
  const user = await world.person({ credits: 0 });
  await world.period(user, '2031-03-01T00:00:00Z', '2031-04-01T00:00:00Z');
  const { run_id } = await world.run(user);
  await world.at('2031-04-01T00:10:00Z');
  await world.period(user, '2031-04-01T00:00:00Z', '2031-05-01T00:00:00Z');
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['rollover', 99],
  ]);
  await refund(run_id);
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['rollover', 100],
  ]);
});

it('pays first what a refunded pack still owes (spec 4.6)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  const pack = await world.buy(user);
  const { run_id } = await world.run(user);
  await world.refund(user, pack, 5);
  expect(await world.purchase(user, pack)).toMatchObject({ taken_back: 99, shortfall: 1 });
  await refund(run_id);
  expect(await world.purchase(user, pack)).toMatchObject({ taken_back: 100, shortfall: 0 });
  expect(await world.lots(user)).toEqual([]);
});

it('forgives what nothing could pay, and tells all of it in rows that add up to the books (spec 12)', async () => {
  const user = await world.person({ credits: 4, tier: 'unlimited' });
  const other = await world.start(user);
  const { begun_run_id: run } = await world.start(user);
  expect(await world.settle(user, run, { input: 19_000, output: 4_000 })).toMatchObject({
    credits_spent: 3,
    shortfall: 2,
  });
  await refund(run);
  const rows = await explain(run);
  const paid = rows.filter(
    ({ unit, what }) => unit === 'credits' && ['model', 'shortfall', 'spend', 'refund', 'charged'].includes(what),
  );
  expect(paid.map(({ what, amount }) => [what, amount])).toEqual([
    ['model', 5],
    ['shortfall', -2],
    ['spend', 3],
    ['refund', -3],
    ['charged', 0],
  ]);
  expect(rows.at(-1)?.explanation).toMatch(/completed, refunded at /);
  expect((await world.settle(user, other.begun_run_id)).credits_spent).toBe(1);
});

it('books a late settlement that nothing can pay any more against limits, whatever had paid before the refund (spec 3.3)', async () => {
  const user = await world.person({ credits: 1, tier: 'unlimited' });
  await world.buy(user);
  const { begun_run_id: run } = await world.start(user, { tokens: 4_800 });
  await world.checkpoint(user, run, 2_000);
  await world.pass('1 hour');
  await world.expireHolds();
  await refund(run);
  await world.revoke(user, (await world.figures(user)).balance);
  await world.settle(user, run, { input: 4_900, output: 3_000 });
  expect(
    await world.owner`select credits::int, cost = limited_cost as is_limited, refunded_by_kind from runs where id = ${run}`,
  ).toEqual([{ credits: 0, is_limited: true, refunded_by_kind: {} }]);
  await world.expectBalance();
});

it('stays refunded when the server of a run taken for dead comes back, whose true cost is booked (spec 5.3)', async () => {
  for (const ending of ['completed', 'failed']) {
    const user = await world.person();
    const { begun_run_id: run } = await world.start(user, { tokens: 4_800 });
    await world.checkpoint(user, run, 100);
    await world.pass('1 hour');
    await world.expireHolds();
    expect((await world.figures(user)).balance).toBe(4);
    await refund(run);
    expect((await world.figures(user)).balance).toBe(5);
    const late = { ending, input: 4_900, output: 3_000, ...(ending === 'failed' && { answer: '' }) };
    const receipt = await world.settle(user, run, late);
    expect(receipt).toMatchObject({ credits_spent: 0, credits_remaining: 5, refunded_at: expect.any(Date) });
    expect(await world.figures(user)).toMatchObject({ balance: 5, held: 0, lifetime: '0.109' });
    expect(await world.settle(user, run, late)).toEqual(receipt);
    await world.expectBalance();
  }
});
