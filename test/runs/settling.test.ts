// How a run ends, and what that does to holds, credits, cost and counts.
import { expect, it } from 'vitest';
import { openWorld } from './world.ts';

const world = await openWorld();

it('settles once: settled again it answers the same receipt and changes nothing (spec 5.3)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  const first = await world.settle(user, begun_run_id, { output: 500 });
  expect(await world.settle(user, begun_run_id, { output: 9_000 })).toEqual(first);
  expect(await world.release(user, begun_run_id)).toEqual(first);
  expect(await world.figures(user)).toMatchObject({ balance: 4, held: 0, lifetime: '0.015' });
});

it('charges nothing for a run that the provider failed, gives its request back, and keeps its cost (spec 3.2, 5.4, fault 13)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  expect((await world.figures(user)).hour).toBe(1);
  const receipt = await world.release(user, begun_run_id, { input: 500 });
  expect(receipt).toMatchObject({
    status: 'released',
    credits_spent: 0,
    credits_remaining: 5,
    error: 'provider_unavailable',
  });
  expect(await world.figures(user)).toMatchObject({
    balance: 5,
    held: 0,
    hour: 0,
    day_held: '0',
    day: '0.005',
    lifetime: '0.005',
  });
  expect(await world.transfers(user)).toHaveLength(1);
});

it('costs nothing where the provider was never asked (spec 5.4)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  expect(await world.release(user, begun_run_id, { called: false })).toMatchObject({ credits_spent: 0, cost: '0' });
  const stopped = await world.start(user);
  const receipt = await world.settle(user, stopped.begun_run_id, { ending: 'stopped', called: false, answer: '' });
  expect(receipt).toMatchObject({ status: 'released', credits_spent: 0, tokens_used: 0 });
  expect(await world.figures(user)).toMatchObject({ balance: 5, held: 0, lifetime: '0' });
});

it('charges a failure after the first words for what was delivered (spec 5.4)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  const receipt = await world.settle(user, begun_run_id, { ending: 'failed', output: 40, error: 'provider_error' });
  expect(receipt).toMatchObject({ status: 'failed', credits_spent: 1, error: 'provider_error' });
  expect((await world.figures(user)).hour).toBe(1);
});

it('charges a run that its caller stopped at least one credit, once the provider was asked (spec 5.4)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  expect(await world.app`select * from api.stop_run(${user}, ${begun_run_id})`).toMatchObject([{ status: 'running' }]);
  expect(await world.checkpoint(user, begun_run_id, 0, '')).toEqual({ status: 'running', stop_requested: true });
  const receipt = await world.settle(user, begun_run_id, { ending: 'stopped', answer: '', output: 0 });
  expect(receipt).toMatchObject({ status: 'stopped', credits_spent: 1 });
  expect(Number(receipt.cost)).toBe(0.005);
});

it('takes what a run costs above its hold from free credits, never from those that another run holds (spec 4.2)', async () => {
  const user = await world.person({ credits: 4, tier: 'unlimited' });
  const other = await world.start(user);
  const liar = await world.start(user);
  const receipt = await world.settle(user, liar.begun_run_id, { input: 19_000, output: 4_000 });
  expect(receipt).toMatchObject({ credits_spent: 3, shortfall: 2, credits_remaining: 0 });
  expect(await world.figures(user)).toMatchObject({ balance: 1, held: 1, lifetime: '0.27' });
  expect((await world.settle(user, other.begun_run_id)).credits_spent).toBe(1);
  expect(await world.figures(user)).toMatchObject({ balance: 0, held: 0 });
});

it('charges a dead run what its last checkpoint had, and frees the rest (spec 5.2, 7.1)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user, { tokens: 4_800 });
  expect((await world.figures(user)).held).toBe(2);
  await world.pass('50 seconds');
  await world.checkpoint(user, begun_run_id, 60);
  await world.pass('50 seconds');
  expect(await world.expireHolds()).toBe(0);
  await world.pass('11 seconds');
  expect(await world.expireHolds()).toBe(1);
  const receipt = await world.readRun(user, begun_run_id);
  expect(receipt).toMatchObject({
    status: 'expired',
    credits_spent: 1,
    estimated: true,
    error: 'run_expired',
    tokens: { input: 4_900, output: 60 },
  });
  expect(await world.figures(user)).toMatchObject({ balance: 4, held: 0, day_held: '0', day: '0.0502' });
  expect(await world.expireHolds()).toBe(0);
});

it('charges a dead run for what it had delivered, though its text is gone with its account (spec 5.2, 10.8)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  await world.checkpoint(user, begun_run_id, 100);
  await world.ops`select from ops.erase_user(${user}, 0, 'test')`;
  await world.pass('61 seconds');
  await world.expireHolds();
  expect(await world.readRun(user, begun_run_id)).toMatchObject({
    status: 'expired',
    credits_spent: 1,
    output_tokens: 100,
  });
  expect(await world.owner`select from run_texts where user_id = ${user}`).toHaveLength(0);
});

it('brings no text back into a session that was deleted before its run came back from the dead (spec 5.3, 10.1)', async () => {
  const user = await world.person();
  const { begun_run_id, begun_session_id } = await world.start(user);
  await world.checkpoint(user, begun_run_id, 10);
  await world.pass('61 seconds');
  await world.expireHolds();
  await world.app`select from api.delete_session(${user}, ${begun_session_id})`;
  await world.settle(user, begun_run_id);
  expect(await world.owner`select from run_texts where user_id = ${user}`).toHaveLength(0);
});

it('charges a dead run without a checkpoint nothing, and books its input as cost (spec 5.2, 7.1)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  await world.pass('61 seconds');
  const next = await world.start(user);
  expect(await world.readRun(user, begun_run_id)).toMatchObject({ status: 'expired', credits_spent: 0 });
  expect(await world.figures(user)).toMatchObject({ balance: 5, held: 1, day: '0.005' });
  await world.settle(user, next.begun_run_id);
});

it('books the true cost of a run that settles after it was taken for dead, and charges the rest as far as credits are free (spec 5.3)', async () => {
  const user = await world.person({ credits: 3, tier: 'unlimited' });
  const { begun_run_id } = await world.start(user, { tokens: 4_800 });
  await world.checkpoint(user, begun_run_id, 60);
  await world.pass('61 seconds');
  await world.expireHolds();
  expect(await world.checkpoint(user, begun_run_id, 70)).toEqual({ status: 'expired', stop_requested: true });
  const receipt = await world.settle(user, begun_run_id, { input: 4_950, output: 1_000 });
  expect(receipt).toMatchObject({
    status: 'completed',
    credits_spent: 2,
    shortfall: 0,
    estimated: false,
    credits_remaining: 1,
  });
  expect(await world.figures(user)).toMatchObject({ balance: 1, held: 0, lifetime: '0.0695', month: '0.0695' });
  expect(await world.settle(user, begun_run_id, { output: 5 })).toEqual(receipt);
});

it('leaves a late settlement unpaid where the credits are gone: a shortfall, its cost counted all the same (spec 3.3, 4.2, 5.3)', async () => {
  const user = await world.person({ credits: 2 });
  const { begun_run_id } = await world.start(user, { tokens: 4_800 });
  await world.pass('61 seconds');
  await world.expireHolds();
  await world.revoke(user, 2);
  const receipt = await world.settle(user, begun_run_id, { input: 4_900, output: 1_000 });
  expect(receipt).toMatchObject({ status: 'completed', credits_spent: 0, shortfall: 2 });
  expect(await world.figures(user)).toMatchObject({
    balance: 0,
    held: 0,
    day: '0.069',
    day_limited: '0.069',
    month_limited: '0.069',
  });
});

it('gives back what an expiry charged where the run turns out to have failed (spec 5.3, 5.4)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  await world.checkpoint(user, begun_run_id, 60);
  await world.pass('61 seconds');
  await world.expireHolds();
  expect((await world.figures(user)).balance).toBe(4);
  expect(await world.release(user, begun_run_id, { input: 500 })).toMatchObject({
    status: 'released',
    credits_spent: 0,
  });
  expect(await world.figures(user)).toMatchObject({ balance: 5, held: 0, hour: 0, lifetime: '0.005' });
});

it('takes a run for dead only when its checkpoints stop, and moves only its own hold on (spec 5.2)', async () => {
  const user = await world.person();
  const [first, second] = [await world.start(user), await world.start(user)];
  await world.pass('40 seconds');
  await world.checkpoint(user, first.begun_run_id, 1);
  await world.pass('30 seconds');
  expect(await world.expireHolds()).toBe(1);
  expect((await world.readRun(user, first.begun_run_id))?.status).toBe('running');
  expect((await world.readRun(user, second.begun_run_id))?.status).toBe('expired');
  await world.pass('31 seconds');
  expect(await world.expireHolds()).toBe(1);
});

it('keeps the last text of a run whose provider failed before it ended, as settled (spec 5.4)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  await world.checkpoint(user, begun_run_id, 10, 'first words');
  await world.settle(user, begun_run_id, { answer: 'first words and last' });
  expect(await world.app`select question, answer from api.read_run(${user}, ${begun_run_id})`).toEqual([
    { question: 'question', answer: 'first words and last' },
  ]);
});
