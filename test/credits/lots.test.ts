// Lots: in which order they are spent, when they expire, and what a running run keeps of them.
import { expect, it } from 'vitest';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();

const twoCredits = { input: 1_000, output: 4_001 };
const month = ['2031-03-01T00:00:00Z', '2031-04-01T00:00:00Z'] as const;

it('gives a new person the sign-up credits of the setting, not bought ones (spec 2.1, fault 9)', async () => {
  const user = await world.person();
  expect(await world.lots(user)).toEqual([['signup', 5]]);
  expect(await world.transfers(user)).toEqual([['signup', 'issued', 'lot', 5]]);
});

it('spends monthly, rollover, signup, bonus, then purchased credits, and tells by kind (spec 4.1)', async () => {
  const user = await world.person({ credits: 3, tier: 'unlimited' });
  await world.buy(user);
  await world.grant(user, 2);
  await world.period(user, ...month);
  await world.revoke(user, 98);
  await world.at('2031-04-01T01:00:00Z');
  await world.period(user, '2031-04-01T00:00:00Z', '2031-05-01T00:00:00Z');
  await world.revoke(user, 99);
  expect(await world.lots(user)).toEqual([
    ['monthly', 1],
    ['rollover', 2],
    ['signup', 3],
    ['bonus', 2],
    ['purchased', 100],
  ]);

  const charged: Record<string, number>[] = [];
  for (let run = 0; run < 5; run++)
    charged.push((await world.run(user, { model: 'gpt-4o' }, { output: 1 })).credits_by_kind);
  expect(charged).toEqual([
    { monthly: 1, rollover: 1 },
    { rollover: 1, signup: 1 },
    { signup: 2 },
    { bonus: 2 },
    { purchased: 2 },
  ]);
});

it('spends in a kind the lot that expires first, then the oldest (spec 4.1)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await world.grant(user, 1);
  await world.pass('1 second');
  await world.grant(user, 2);
  await world.grant(user, 3, '2031-06-01T00:00:00Z');
  await world.grant(user, 4, '2031-05-01T00:00:00Z');
  const left: number[][] = [];
  for (let run = 0; run < 5; run++) {
    await world.run(user, {}, twoCredits);
    left.push((await world.lots(user)).map(([, remaining]) => remaining));
  }
  expect(left).toEqual([[2, 3, 1, 2], [3, 1, 2], [1, 1, 2], [2], []]);
});

it('never spends nor shows what has expired, though no job ran (spec 4.5)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await world.grant(user, 3, '2031-03-12T18:00:00Z');
  await world.grant(user, 1);
  await world.at('2031-03-12T18:00:00Z');
  const [shown] = await world.app`select api.read_credits(${user}) as it`;
  expect(shown?.it).toMatchObject({ balance: 1 });
  expect(await world.refusal(user, { model: 'gpt-4o' })).toMatchObject({
    code: 'insufficient_credits',
    available_credits: 1,
  });
  expect((await world.run(user)).credits_remaining).toBe(0);
  expect(await world.transfers(user)).toContainEqual(['expire', 'lot', 'expired', 3]);
});

it('books an expiry once, with its true amount (spec 4.2, faults 4 and 5)', async () => {
  const user = await world.person({ credits: 0 });
  await world.grant(user, 30, '2031-03-12T18:00:00Z');
  await world.at('2031-03-12T18:00:01Z');
  for (let attempt = 0; attempt < 3; attempt++) await world.refusal(user);
  expect(await world.transfers(user)).toEqual([
    ['admin', 'issued', 'lot', 30],
    ['expire', 'lot', 'expired', 30],
  ]);
  expect((await world.figures(user)).balance).toBe(0);
});

it('keeps expired credits payable for the run that holds them, and takes the rest when it ends (spec 4.5)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await world.grant(user, 5, '2031-03-12T12:31:00Z');
  const { begun_run_id, hold_credits } = await world.start(user, { tokens: 14_900, wish: 4_000 });
  expect(hold_credits).toBe(4);
  await world.at('2031-03-12T12:31:00Z');
  await world.refusal(user);
  expect(await world.lots(user)).toEqual([['bonus', 4]]);
  expect(await world.settle(user, begun_run_id, twoCredits)).toMatchObject({ credits_spent: 2, credits_remaining: 0 });
  expect(await world.transfers(user)).toEqual([
    ['admin', 'issued', 'lot', 5],
    ['expire', 'lot', 'expired', 1],
    ['spend', 'lot', 'spent', 2],
    ['expire', 'lot', 'expired', 2],
  ]);
});

it('frees expired credits from a run that failed only to let them expire (spec 4.5)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await world.grant(user, 2, '2031-03-12T12:31:00Z');
  const { begun_run_id } = await world.start(user);
  await world.at('2031-03-12T12:31:00Z');
  expect((await world.release(user, begun_run_id)).credits_remaining).toBe(0);
  expect(await world.lots(user)).toEqual([]);
});

it('gives and takes back by an operator, with who and why, in one lot each (spec 4.7, fault 2)', async () => {
  const user = await world.person();
  await world.grant(user, 10);
  expect(await world.lots(user)).toEqual([
    ['signup', 5],
    ['bonus', 10],
  ]);
  expect(await world.revoke(user, 7)).toEqual([
    { kind: 'signup', taken: '5' },
    { kind: 'bonus', taken: '2' },
  ]);
  const rows =
    await world.ops`select description, actor from credit_transactions where user_id = ${user} and type = 'admin'`;
  expect(rows).toEqual([1, 2, 3].map(() => ({ description: 'test', actor: 'prpm_ops' })));
  await expect(world.revoke(user, 9)).rejects.toMatchObject({ code: 'PR409' });
  await expect(world.grant(user, 0)).rejects.toMatchObject({ code: 'PR400' });
});

it('revokes free credits alone: what a run holds stays payable for it (spec 4.5)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user, { model: 'gpt-4o' });
  await expect(world.revoke(user, 4)).rejects.toMatchObject({ code: 'PR409' });
  expect(await world.revoke(user, 3)).toEqual([{ kind: 'signup', taken: '3' }]);
  expect(await world.settle(user, begun_run_id)).toMatchObject({
    credits_spent: 2,
    shortfall: 0,
    credits_remaining: 0,
  });
});

it('shows what a grant or revocation would do, and does nothing (spec 12)', async () => {
  const user = await world.person();
  expect(
    await world.ops`select granted::int, balance::int from ops.grant_credits(${user}, 10, 'test', dry_run => true)`,
  ).toEqual([{ granted: 10, balance: 15 }]);
  await world.grant(user, 3);
  const revoked = async (dry: boolean) => [
    ...(await world.ops`select kind, taken::int, balance::int from ops.revoke_credits(${user}, 6, 'test', ${dry})`),
  ];
  const told = await revoked(true);
  expect(told).toEqual([
    { kind: 'signup', taken: 5, balance: 3 },
    { kind: 'bonus', taken: 1, balance: 2 },
  ]);
  expect((await world.figures(user)).balance).toBe(8);
  expect(await revoked(false)).toEqual(told);
});

it('gives nothing to an account that is closed, where nobody could spend it (spec 4.7)', async () => {
  const user = await world.person();
  await world.ops`select from ops.close_user(${user}, 'test')`;
  await expect(world.grant(user, 3)).rejects.toMatchObject({ code: 'PR409', detail: 'user' });
  expect((await world.figures(user)).balance).toBe(5);
});

it('lets nobody but the owner touch the ledger (spec 4.2)', async () => {
  for (const sql of [world.app, world.ops]) {
    await expect(sql`update credit_transactions set amount = 1`).rejects.toMatchObject({ code: '42501' });
    await expect(sql`delete from credit_transactions`).rejects.toMatchObject({ code: '42501' });
    await expect(sql`truncate credit_transactions`).rejects.toMatchObject({ code: '42501' });
  }
});
