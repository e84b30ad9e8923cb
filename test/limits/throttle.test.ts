// When somebody is throttled, and how that ends.
import { expect, it } from 'vitest';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();

const tiny = { input: 1, output: 1 };

/** A person whose day is used up: 0.10 of 0.10 dollars. */
async function spent(given: { credits?: number; tier?: string } = { credits: 20 }): Promise<string> {
  const user = await world.person(given);
  await world.run(user, {}, { input: 500, output: 4_750 });
  return user;
}

it('throttles at settlement when a window is used up, with tier, limit, amount and end (spec 3.4)', async () => {
  const user = await world.person({ credits: 20 });
  await world.run(user, {}, { input: 500, output: 4_740 });
  expect(await world.figures(user)).toMatchObject({ is_throttled: false, day_limited: '0.0998' });
  await world.run(user, { model: 'gpt-4o-mini', wish: 1 }, { input: 400, output: 1 });
  expect(await world.figures(user)).toMatchObject({
    ...{ is_throttled: true, throttled_by: 'limit', throttled_reason: 'free: 0.099861 of 0.10 dollars used today' },
    throttled_until: new Date('2031-03-13T00:00:00Z'),
  });
});

it("ends at the window's end, is shown no more from then on, and goes on the next use (spec 3.4, fault 46)", async () => {
  const user = await spent();
  const shown = async () => {
    const listed = await world.ops`select from ops.throttled_now where user_id = ${user}`;
    const [own] = await world.app`select api.read_limits(${user}) as limits`;
    return [listed.length, own?.limits.is_throttled];
  };
  expect(await world.refusal(user)).toMatchObject({ code: 'daily_cost_limit', status: 429 });
  expect(await shown()).toEqual([1, true]);
  await world.at('2031-03-13T00:00:00Z');
  expect(await shown()).toEqual([0, false]);
  await world.run(user, {}, tiny);
  expect(await world.figures(user)).toMatchObject({ is_throttled: false, throttled_by: null, throttled_reason: null });
});

it("ends at the window's end by the reset job, of the day and of the month, reason and all (spec 3.4, 7.1, fault 46)", async () => {
  const day = await spent();
  await world.ops`update cost_limits_config set monthly_cost_limit = 0.05 where tier_name = 'free'`;
  const month = await spent();
  expect(await world.figures(month)).toMatchObject({ throttled_reason: 'free: 0.1 of 0.05 dollars used this month' });
  await world.ops`update cost_limits_config set monthly_cost_limit = 0.50 where tier_name = 'free'`;
  await world.ops`select from ops.throttle_user(${day}, null, 'for good')`;
  await world.ops`select from ops.release_throttle(${day}, 'not after all')`;
  expect((await world.figures(day)).throttled_by).toBe('limit');

  await world.at('2031-03-13T00:00:10Z');
  await world.ops`select reset_monthly_api_costs()`;
  expect(await world.figures(day)).toMatchObject({
    is_throttled: false,
    throttled_by: null,
    throttled_reason: null,
    throttled_until: null,
  });
  expect((await world.figures(month)).is_throttled).toBe(true);
  await world.at('2031-04-01T00:00:10Z');
  await world.ops`select reset_monthly_api_costs()`;
  expect((await world.figures(month)).is_throttled).toBe(false);
});

it('ends at once on an upgrade, and when the limit is raised (spec 3.4, fault 48)', async () => {
  const [upgraded, raised] = [await spent(), await spent()];
  await world.ops`select from ops.set_user(${upgraded}, tier_override => 'prpm_plus_individual', reason => 'upgrade')`;
  expect((await world.figures(upgraded)).is_throttled).toBe(false);
  await world.run(upgraded, {}, tiny);

  await world.ops`update cost_limits_config set daily_cost_limit = 0.30 where tier_name = 'free'`;
  await world.run(raised, {}, tiny);
  expect((await world.figures(raised)).is_throttled).toBe(false);
});

it('ends by a job when the limit was raised, though its owner runs nothing; others stay (spec 3.4, 7.1)', async () => {
  await world.ops`update cost_limits_config set daily_cost_limit = 0.1 where tier_name = 'prpm_plus_individual'`;
  const stays = await spent({ credits: 20, tier: 'prpm_plus_individual' });
  const [raised, held] = [await spent(), await spent()];
  await world.ops`select from ops.throttle_user(${held}, null, 'chargeback')`;
  const job = async () => {
    const [done] = await world.ops.unsafe("call ops.run_job('lift-throttles', 'test')");
    return Number(done?.rows_touched);
  };
  expect(await job()).toBe(0);
  await world.ops`update cost_limits_config set daily_cost_limit = 0.2 where tier_name = 'free'`;
  expect(await job()).toBe(1);
  const by = async (user: string) => (await world.figures(user)).throttled_by;
  expect([await by(raised), await by(stays), await by(held)]).toEqual([null, 'limit', 'operator']);
});

it('ends when a period is paid, and comes back to free when it is over (spec 2.5, 3.4)', async () => {
  const user = await spent();
  await world.owner`
    update users set plan_tier = 'prpm_plus_individual', entitled_until = '2031-03-12T18:00:00Z' where id = ${user}`;
  expect((await world.run(user, {}, tiny)).limits.tier).toBe('prpm_plus_individual');
  await world.at('2031-03-12T18:00:00Z');
  expect(await world.refusal(user)).toMatchObject({ code: 'daily_cost_limit', limit: 0.1 });
  expect((await world.figures(user)).is_throttled).toBe(true);
});

it('throttles when a run meets a limit that was lowered, and not before (spec 3.4)', async () => {
  const user = await world.person();
  await world.run(user, {}, { input: 500, output: 2_000 });
  await world.ops`update cost_limits_config set daily_cost_limit = 0.04 where tier_name = 'free'`;
  expect((await world.figures(user)).is_throttled).toBe(false);
  expect((await world.refusal(user)).code).toBe('daily_cost_limit');
  expect(await world.figures(user)).toMatchObject({ is_throttled: true, throttled_by: 'limit' });
});

it('throttles at a limit that nothing fits also where the new day has had no run yet (spec 3.4)', async () => {
  const user = await world.person();
  await world.run(user, {}, tiny);
  await world.at('2031-03-13T08:00:00Z');
  await world.ops`update cost_limits_config set daily_cost_limit = 0 where tier_name = 'free'`;
  expect((await world.refusal(user)).code).toBe('daily_cost_limit');
  expect(await world.figures(user)).toMatchObject({
    ...{ is_throttled: true, throttled_reason: 'free: 0 of 0.00 dollars used today' },
    throttled_until: new Date('2031-03-14T00:00:00Z'),
  });
});

it('holds whom an operator throttles by a plain UPDATE until a plain UPDATE lifts it (spec 3.4)', async () => {
  const user = await world.person();
  await world.ops`update users set is_throttled = true where id = ${user}`;
  expect(await world.refusal(user)).toMatchObject({ code: 'throttled', status: 403 });
  await world.at('2031-05-01T00:00:00Z');
  await world.ops`select reset_monthly_api_costs()`;
  expect((await world.refusal(user)).code).toBe('throttled');
  await world.ops`update users set is_throttled = false where id = ${user}`;
  await world.run(user, {}, tiny);
});

it("takes a plain UPDATE for the operator's own also for one whom a limit had throttled before (spec 3.4)", async () => {
  const user = await spent();
  await world.at('2031-03-13T01:00:00Z');
  await world.run(user, {}, tiny);
  await world.ops`update users set is_throttled = true, throttled_reason = 'chargeback' where id = ${user}`;
  const refusal = await world.refusal(user);
  expect(refusal.code).toBe('throttled');
  expect(refusal.message).toContain('chargeback');
});

it("lets a plain UPDATE lift a limit's throttle too, until a run meets the limit again (spec 3.4, 3.5)", async () => {
  const user = await spent();
  await world.ops`update users set is_throttled = false where id = ${user}`;
  expect(await world.figures(user)).toMatchObject({ is_throttled: false, throttled_by: null, throttled_until: null });
  expect((await world.refusal(user)).code).toBe('daily_cost_limit');
  expect((await world.figures(user)).is_throttled).toBe(true);
});

it('holds by ops.throttle_user whom a limit throttles already, until the instant given (spec 3.4)', async () => {
  const user = await spent();
  await world.ops`select from ops.throttle_user(${user}, '2031-03-20T00:00:00Z', 'chargeback')`;
  await world.at('2031-03-14T00:00:00Z');
  await world.ops`select reset_monthly_api_costs()`;
  const refusal = await world.refusal(user);
  expect(refusal).toMatchObject({ code: 'throttled', status: 403 });
  expect(new Date(refusal.retry_at ?? '')).toEqual(new Date('2031-03-20T00:00:00Z'));
  await world.at('2031-03-20T00:00:00Z');
  await world.run(user, {}, tiny);
  expect((await world.figures(user)).is_throttled).toBe(false);
});

it('says whether who is released runs into a limit again (spec 3.5, fault 48)', async () => {
  const user = await spent();
  const release = () => world.ops`select is_throttled, note from ops.release_throttle(${user}, 'asked')`;
  expect(await release()).toMatchObject([{ is_throttled: true, note: expect.stringContaining('waive_limits') }]);
  await world.at('2031-03-13T00:00:00Z');
  expect(await release()).toMatchObject([{ is_throttled: false }]);
});

it('lets everyone of a tier past the cost limits where throttle_on_exceed is false (spec 3.5, fault 49)', async () => {
  const user = await spent();
  await world.ops`update cost_limits_config set throttle_on_exceed = false where tier_name = 'free'`;
  const { begun_run_id, output_cap } = await world.start(user);
  expect(output_cap).toBe(4_096);
  await world.settle(user, begun_run_id, { input: 500, output: 4_000 });
  expect(await world.figures(user)).toMatchObject({ is_throttled: false, day_limited: '0.185' });
  await world.ops`update cost_limits_config set throttle_on_exceed = true where tier_name = 'free'`;
  expect((await world.refusal(user)).code).toBe('daily_cost_limit');
});

it('waives the cost limits of one person until an instant, and records their cost all the same (spec 3.5)', async () => {
  const user = await spent();
  await world.ops`select from ops.waive_limits(${user}, '2031-03-12T20:00:00Z', 'a demonstration')`;
  expect((await world.figures(user)).is_throttled).toBe(false);
  await world.run(user, {}, { input: 500, output: 4_000 });
  expect(await world.figures(user)).toMatchObject({ is_throttled: false, day_limited: '0.185' });
  await world.at('2031-03-12T20:00:00Z');
  expect((await world.refusal(user)).code).toBe('daily_cost_limit');
  expect((await world.figures(user)).is_throttled).toBe(true);
  await expect(world.ops`select from ops.waive_limits(${user}, null, '')`).rejects.toMatchObject({ code: 'PR400' });
});

it('tells a person what they may use, what they have used, why they are stopped and until when (spec 3.2, 3.4, 3.7)', async () => {
  const user = await spent();
  await world.refusal(user);
  const read = async (who: string) => (await world.app`select api.read_limits(${who}) as limits`)[0]?.limits;
  expect(await read(user)).toMatchObject({
    ...{ tier: 'free', throttles: true, is_throttled: true, waived_until: null },
    throttled_reason: expect.stringMatching(/^free: 0.1\d* of 0.10 dollars used today$/),
    throttled_until: expect.any(String),
    windows: [
      { window: 'month', unit: 'dollars', held: 0 },
      { window: 'day', unit: 'dollars', limit: 0.1, held: 0 },
      { window: 'hour', unit: 'runs', used: 1 },
      { window: 'minute', unit: 'attempts' },
    ],
    refusals: [{ reason: 'daily_cost_limit', refusals: 1, unit: 'dollars' }],
  });
  await world.ops`select from ops.throttle_user(${user}, null, 'asked too much')`;
  expect(await read(user)).toMatchObject({ throttled_reason: 'asked too much', throttled_until: null });
  expect(await read(crypto.randomUUID())).toBeNull();
});
