// What operators do about limits and throttles: each says beforehand what it would do, and then does just that.
import { expect, it } from 'vitest';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();

/** Somebody whose day is used up. */
async function usedUp(): Promise<string> {
  const user = await world.person({ credits: 40 });
  await world.ops`update cost_limits_config set daily_cost_limit = 0.02 where tier_name = 'free'`;
  await world.run(user, {}, { input: 500, output: 750 });
  expect((await world.figures(user)).is_throttled).toBe(true);
  return user;
}

const stored = async (user: string) => [...(await world.ops`select u::text as row from users u where id = ${user}`)];
const entries = async () => (await world.ops`select count(*)::int as n from audit_log`)[0]?.n;

const throttle = (user: string, until: string | null, dry: boolean) => world.ops`
  select is_throttled, throttled_by, throttled_reason, throttled_until
  from ops.throttle_user(${user}, ${until}::text::timestamptz, 'test', ${dry})`;
const waive = (user: string, until: string | null, dry: boolean) => world.ops`
  select is_throttled, limits_waived_until from ops.waive_limits(${user}, ${until}::text::timestamptz, 'test', ${dry})`;
const release = (user: string, _until: string | null, dry: boolean) => world.ops`
  select is_throttled, note from ops.release_throttle(${user}, 'test', ${dry})`;

it.each([
  ['holds somebody until an instant', throttle, '2031-03-12T20:00:00Z'],
  ['holds somebody until it is lifted', throttle, null],
  ['waives limits', waive, '2031-03-12T20:00:00Z'],
  ['ends a waiver', waive, null],
  ['lifts a throttle', release, null],
])('%s as its dry run said, which changed and noted nothing (spec 12)', async (_, act, until) => {
  const people = [await world.person(), await usedUp(), await usedUp(), await usedUp()];
  await world.ops`update users set is_throttled = true where id = ${people[2] ?? ''}`;
  await world.ops`select from ops.waive_limits(${people[3] ?? ''}, '2031-03-12T19:00:00Z', 'test')`;
  for (const user of people) {
    const before = [await stored(user), await entries()];
    const told = [...(await act(user, until, true))];
    expect(told).toHaveLength(1);
    expect([await stored(user), await entries()]).toEqual(before);
    expect([...(await act(user, until, false))]).toEqual(told);
    expect(await entries()).toBe(before[1] + 1);
  }
});

it('takes no instant that is past: it would be over before it began (spec 12)', async () => {
  const user = await world.person();
  for (const act of [throttle, waive]) {
    await expect(act(user, '2031-03-12T12:00:00Z', false)).rejects.toMatchObject({ code: 'PR400', detail: 'until' });
  }
});

it('says why a user was refused, with figures, what to do, and at last how they stand now (spec 3.7, 12)', async () => {
  const user = await world.person({ credits: 1 });
  const explain = async (who = user) => [...(await world.ops`select * from ops.explain_refusal(${who})`)];
  expect(await explain()).toMatchObject([
    { step: '1', reason: 'none', explanation: expect.stringMatching(/1 credits are free; tier free/) },
  ]);

  await world.run(user);
  await world.refusal(user);
  await world.refusal(user);
  await world.pass('2 minutes');
  await world.ops`update cost_limits_config set hourly_request_limit = 1 where tier_name = 'free'`;
  await world.refusal(user);
  const [name] = await world.ops`select username, email from users where id = ${user}`;
  for (const who of [user, name?.username, name?.email]) {
    const rows = await explain(who);
    expect(rows).toMatchObject([
      { step: '1', reason: 'hourly_request_limit', refusals: '1', used: '1', limit: '1', unit: 'runs' },
      {
        step: '2',
        reason: 'insufficient_credits',
        refusals: '2',
        what_to_do: expect.stringContaining('ops.grant_credits'),
      },
      { step: '3', reason: 'hourly_request_limit', used: '1', limit: '1', unit: 'runs' },
    ]);
    expect(rows[0]?.what_to_do).toContain("hourly_request_limit = … where tier_name = 'free'");
  }

  // What it says to do, done.
  await world.ops`update cost_limits_config set hourly_request_limit = 10 where tier_name = 'free'`;
  await world.ops`select from ops.grant_credits(${user}, 10, 'as explained')`;
  expect((await explain()).at(-1)).toMatchObject({ reason: 'none', refusals: null });
  await world.start(user);
});

it('says of who cannot run at all what stands in the way, though nothing was asked yet (spec 3.2, 3.7)', async () => {
  const now = async (user: string) => (await world.ops`select * from ops.explain_refusal(${user})`).at(-1);
  const poor = await world.person({ credits: 1 });
  const { begun_run_id } = await world.start(poor);
  expect(await now(poor)).toMatchObject({
    reason: 'held_by_other_runs',
    what_to_do: expect.stringContaining('open_holds'),
  });
  await world.settle(poor, begun_run_id);
  expect(await now(poor)).toMatchObject({
    reason: 'insufficient_credits',
    what_to_do: expect.stringContaining('grant_credits'),
  });

  const dear = await world.person({ credits: 40 });
  await world.run(dear, {}, { input: 1000, output: 1000 });
  await world.ops`update cost_limits_config set monthly_cost_limit = 0.02, daily_cost_limit = null where tier_name = 'free'`;
  await world.ops`select from ops.release_throttle(${dear}, 'test')`;
  expect(await now(dear)).toMatchObject({
    ...{ reason: 'monthly_cost_limit', used: '0.030000', limit: '0.02', unit: 'dollars' },
    what_to_do: expect.stringContaining('waive_limits'),
  });
  await world.buy(dear);
  expect(await now(dear)).toMatchObject({ reason: 'none' }); // purchased credits pass a window that is used up
});

it('has something to do about every refusal that the server knows (spec 3.7)', async () => {
  const user = await world.person();
  const codes = [
    ...['insufficient_credits', 'daily_cost_limit', 'monthly_cost_limit', 'hourly_request_limit', 'rate_limited'],
    ...[
      'tier_budget',
      'throttled',
      'held_by_other_runs',
      'request_too_large',
      'purchased_credit_cost',
      'runs_disabled',
    ],
    ...['purchases_disabled', 'tier_not_configured', 'model_not_priced', 'model_disabled', 'verified_author_required'],
  ];
  const rows =
    await world.owner`select c, core.remedy_of(c, ${user}, 'free') as remedy from unnest(${codes}::text[]) c`;
  for (const { c, remedy } of rows) expect(remedy, c).toMatch(/ops\.|update |insert |select /);
  const [other] = await world.owner`select core.remedy_of('session_busy', ${user}, 'free') as remedy`;
  expect(other?.remedy).toContain('docs/errors.md');
});
