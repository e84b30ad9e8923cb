// Attempts a minute.
import { expect, it } from 'vitest';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();

it('counts attempts to begin a run a minute, refused or not, in a window that no attempt extends (spec 3.6)', async () => {
  await world.ops`update cost_limits_config set minute_request_limit = 5 where tier_name = 'free'`;
  const user = await world.person({ credits: 20 });
  const first = await world.start(user);
  expect(first).toMatchObject({ rate_limit: 5, rate_remaining: 4, rate_reset: 60 });
  for (let attempt = 2; attempt <= 5; attempt++) {
    const begun = await world.begin(user, { model: 'unknown' });
    expect([begun.refusal?.code, begun.rate_remaining]).toEqual(['model_not_found', 5 - attempt]);
  }
  await world.pass('50 seconds');
  const refused = await world.begin(user);
  expect(refused.refusal).toMatchObject({ code: 'rate_limited', status: 429, limit: 5 });
  expect(refused).toMatchObject({ rate_limit: 5, rate_remaining: 0 });
  expect(refused.refusal?.retry_after).toBeLessThanOrEqual(10);
  await world.pass('5 seconds');
  expect((await world.refusal(user)).code).toBe('rate_limited');
  await world.pass('5 seconds');
  expect((await world.start(user)).rate_remaining).toBe(4);
});

it('has no such limit where it is null (spec 3.6)', async () => {
  const user = await world.person({ credits: 20 });
  for (let attempt = 0; attempt < 30; attempt++) await world.begin(user, { model: 'unknown' });
  expect(await world.start(user)).toMatchObject({ rate_limit: null, rate_remaining: null });
});

it('does not count a repeated key or run as an attempt (spec 3.6, 5.3)', async () => {
  await world.ops`update cost_limits_config set minute_request_limit = 2 where tier_name = 'free'`;
  const user = await world.person();
  const { begun_run_id } = await world.start(user, { key: 'k' });
  for (let attempt = 0; attempt < 5; attempt++) {
    expect((await world.begin(user, { key: 'k' })).begun_run_id).toBe(begun_run_id);
  }
  await world.start(user);
});

it('counts a flood of refusals in one row for each reason and hour (spec 3.7)', async () => {
  await world.ops`update cost_limits_config set minute_request_limit = 3 where tier_name = 'free'`;
  const user = await world.person();
  for (let attempt = 0; attempt < 13; attempt++) await world.refusal(user, { model: 'unknown' });
  await world.at('2031-03-12T13:05:00Z');
  await world.refusal(user, { model: 'unknown' });
  const rows = await world.ops`
    select reason, refusals::int, limit_value, used_value from ops.refusals where user_id = ${user} order by reason, hour_start`;
  expect(rows).toEqual([
    { reason: 'model_not_found', refusals: 3, limit_value: null, used_value: null },
    { reason: 'model_not_found', refusals: 1, limit_value: null, used_value: null },
    { reason: 'rate_limited', refusals: 10, limit_value: '3', used_value: '13' },
  ]);
});

it('admits so many reads a minute in a window that reads cannot extend (spec 3.6)', async () => {
  await world.ops`update settings set reads_per_minute = 3`;
  const user = await world.person();
  const read = async () => (await world.app`select * from api.admit_read(${user})`)[0];
  expect(await read()).toMatchObject({ allowed: true, rate_limit: 3, rate_remaining: 2, rate_reset: 60 });
  await world.pass('30 seconds');
  expect([(await read())?.allowed, (await read())?.allowed, (await read())?.allowed]).toEqual([true, true, false]);
  await world.pass('31 seconds');
  expect(await read()).toMatchObject({ allowed: true, rate_remaining: 2 });
});

it('admits so many requests a minute of a visitor who is not signed in, by address, and keeps no address (spec 3.6, 5.9)', async () => {
  await world.ops`update settings set visitor_reads_per_minute = 2`;
  const visit = async (address: string) => (await world.app`select * from api.admit_read(null, ${address})`)[0];
  expect(await visit('192.0.2.1')).toMatchObject({ allowed: true, rate_limit: 2, rate_remaining: 1, rate_reset: 60 });
  expect([(await visit('192.0.2.1'))?.allowed, (await visit('192.0.2.1'))?.allowed]).toEqual([true, false]);
  expect(await visit('192.0.2.2')).toMatchObject({ allowed: true, rate_remaining: 1 });
  expect(await visit('2001:db8::1')).toMatchObject({ rate_remaining: 1 });
  expect(await visit('2001:db8::2')).toMatchObject({ rate_remaining: 0 });
  const [kept] = await world.ops`select string_agg(w::text, ' ') as rows from visitor_windows w`;
  expect(kept?.rows).not.toMatch(/192\.0\.2|2001:db8/);
  await world.pass('61 seconds');
  expect(await visit('192.0.2.1')).toMatchObject({ allowed: true, rate_remaining: 1 });
  await world.pass('3 minutes');
  expect((await world.ops`select ops.forget_visits()::int as dropped`)[0]).toEqual({ dropped: 3 });
});
