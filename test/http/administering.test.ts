// What administrators change and see on the page: they alone, and the log says who it was.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAdministration } from '../analytics/administration.ts';
import { differsOnCluster } from '../harness/tools.ts';
import { begin, buy, converse, signUp } from '../sessions/people.ts';
import { call } from './house.ts';

const world = await openAdministration();
const { database, url, adminId } = world;
let dear: string;
beforeAll(async () => {
  dear = await signUp(database, 'dear');
  await buy(database, dear);
  await converse(database, dear);
  await database.owner`
    insert into stripe_events (id, type, created, livemode, body, status, same_version, user_id, received_at)
    select 'evt_' || n, 'charge.refunded', 0, false, '{}', case when n = 3 then 'needs_review' else 'applied' end, true, ${dear},
      core.now() + n * interval '1 second'
    from generate_series(1, 3) n`;
});
afterAll(world.close);

const query = async (procedure: string, input: object = {}, token: string | undefined = world.token) =>
  call(url, 'GET', `/trpc/${procedure}?input=${encodeURIComponent(JSON.stringify(input))}`, { token });
const mutate = async (procedure: string, input: object, token: string | undefined = world.token) =>
  call(url, 'POST', `/trpc/${procedure}`, { token, body: input, headers: { 'content-type': 'application/json' } });
const told = async (answer: ReturnType<typeof call>) => {
  const { status, json, text } = await answer;
  if (status !== 200) throw new Error(`${status}: ${text}`);
  return json.result.data;
};
const lastNoted = async () =>
  (
    await database.ops`
      select table_name, row_key, new, reason from audit_log where action = 'call' order by id desc limit 1`
  )[0];

const nobody = '00000000-0000-4000-8000-000000000000';
const change = {
  ...{ kind: 'limits', name: 'free', reason: 'test', dryRun: false },
  changes: [{ field: 'hourly_request_limit', value: 5 }],
};
const price = {
  model: 'gpt-4o',
  validFrom: null,
  input: 3,
  cachedRead: null,
  cacheWrite: null,
  output: 12,
  dryRun: false,
};
const reads: [string, object][] = [
  ['catalog.config', {}],
  ['catalog.prices', {}],
  ['limits.throttledNow', {}],
  ['runs.openHolds', {}],
  ['billing.events', {}],
  ['jobs.figures', {}],
  ['accounts.changes', {}],
  ['analytics.costs.plans', {}],
  ['analytics.costs.limitUse', {}],
  ['analytics.costs.presets', {}],
  ['analytics.costs.lossMakers', {}],
];
const acts: [string, object][] = [
  ['limits.changeConfig', change],
  ['catalog.publishPrices', { ...price, reason: 'test' }],
  ['limits.throttle', { userId: nobody, until: null, reason: 'test' }],
  ['limits.waive', { userId: nobody, until: null, reason: 'test' }],
  ['credits.grant', { userId: nobody, amount: 5, reason: 'test' }],
  ['billing.replayEvent', { eventId: 'evt_1', reason: 'test' }],
  ['jobs.repeat', { job: 'expire-holds', reason: 'test' }],
];

describe.each([...reads.map((one) => [...one, query] as const), ...acts.map((one) => [...one, mutate] as const)])(
  '%s',
  (procedure, input, ask) => {
    it('is refused to whoever is no administrator, with all scopes and without a token (spec 2.2)', async () => {
      expect((await call(url, ask === query ? 'GET' : 'POST', `/trpc/${procedure}`, { body: input })).status).toBe(401);
      const scoped = await world.tokenOf('root', 'run', 'read', 'billing', 'publish');
      expect((await ask(procedure, input, scoped)).json.error.data).toMatchObject({
        httpStatus: 403,
        problem: { error: 'insufficient_scope' },
      });
      await database.ops`select from ops.set_user(${dear}, is_admin => true, reason => 'test')`;
      const was = await world.tokenOf(dear, 'admin');
      await database.ops`select from ops.set_user(${dear}, is_admin => false, reason => 'test')`;
      const entries = async () => [...(await database.ops`select count(*) from audit_log`)];
      const before = await entries();
      const refused = await ask(procedure, input, was);
      expect(refused.json.error.data).toMatchObject({ httpStatus: 403, problem: { error: 'forbidden' } });
      expect(refused.text).not.toContain('dear@example.com');
      expect(await entries()).toEqual(before);
    });
  },
);

it('nobody who is unknown can be acted on (spec 8.3)', async () => {
  for (const [procedure, input] of acts.filter(([, input]) => 'userId' in input))
    expect((await mutate(procedure, input)).json.error.data.problem).toMatchObject({ status: 404, error: 'not_found' });
});

describe('a change of limits (spec 3.1, 12)', () => {
  it('says first who is affected and changes nothing; then it holds, and the log names who did it', async () => {
    const shown = async () => {
      const { rows } = await told(query('catalog.config'));
      const row = rows.find(({ kind, name }: { kind: string; name: string }) => kind === 'limits' && name === 'free');
      return row.values.find(({ field }: { field: string }) => field === 'hourly_request_limit').value;
    };
    const before = await shown();
    const preview = await told(mutate('limits.changeConfig', { ...change, reason: null, dryRun: true }));
    expect(preview).toMatchObject({ changed: [{ field: 'hourly_request_limit', was: before, becomes: 5 }] });
    expect(await shown()).toBe(before);
    expect(await told(mutate('limits.changeConfig', change))).toEqual(preview);
    expect(await shown()).toBe(5);
    expect(await lastNoted()).toEqual({
      table_name: 'ops.change_config',
      row_key: 'limits free',
      new: { by: adminId, changes: { hourly_request_limit: 5 } },
      reason: 'test',
    });
  });

  it('is refused without a reason, and with a value that cannot be, by its field', async () => {
    const ask = async (more: object) =>
      (await mutate('limits.changeConfig', { ...change, ...more })).json.error.data.problem;
    expect(await ask({ reason: null })).toMatchObject({ status: 400, errors: [{ field: 'reason' }] });
    expect(await ask({ changes: [{ field: 'monthly_cost_limit', value: -1 }] })).toMatchObject({
      status: 400,
      errors: [{ field: 'monthly_cost_limit', message: expect.stringContaining('it must hold that') }],
    });
  });

  it('tells of every field its unit, in the words of psql', async () => {
    const { fields } = await told(query('catalog.config'));
    for (const { field, description } of fields) expect(description, field).toMatch(/\w/);
    const [comment] = await database.ops`
      select col_description('cost_limits_config'::regclass, a.attnum) as said from pg_attribute a
      where a.attrelid = 'cost_limits_config'::regclass and a.attname = 'monthly_cost_limit'`;
    const named = fields.find(({ field }: { field: string }) => field === 'monthly_cost_limit');
    expect(named).toMatchObject({
      kind: 'limits',
      type: 'numeric(12,2)',
      isOptional: true,
      description: comment?.said,
    });
  });
});

it('a price says first which one it ends; then both stand in the book, and the log names who did it (spec 1.3)', async () => {
  const book = async () =>
    (await told(query('catalog.prices'))).prices.filter(({ model }: { model: string }) => model === 'gpt-4o');
  const before = await book();
  const [ended, begun] = (await told(mutate('catalog.publishPrices', { ...price, reason: null, dryRun: true }))).prices;
  expect(begun).toMatchObject({ input: 3, output: 12, endsAt: null, source: 'operator' });
  expect(ended.endsAt).toBe(begun.startsAt);
  expect(await book()).toEqual(before);
  await told(mutate('catalog.publishPrices', { ...price, reason: 'dearer' }));
  const after = await book();
  expect(after).toHaveLength(before.length + 1);
  expect(after[0]).toMatchObject({ isNow: true, input: 3, output: 12, endsAt: null });
  expect(after[1]).toMatchObject({ isNow: false, endsAt: after[0].startsAt });
  expect(await lastNoted()).toMatchObject({ table_name: 'ops.publish_prices', new: { by: adminId }, reason: 'dearer' });
});

it('throttling, waiving and granting do what the operator’s functions do, by name (spec 3.4, 3.5, 4.7)', async () => {
  expect(await told(mutate('limits.throttle', { userId: dear, until: null, reason: 'chargeback' }))).toMatchObject({
    isThrottled: true,
    throttledReason: 'chargeback',
  });
  expect(await lastNoted()).toMatchObject({ table_name: 'ops.throttle_user', row_key: dear, new: { by: adminId } });
  const now = await told(query('limits.throttledNow'));
  expect(now).toMatchObject({ total: 1, people: [{ userId: dear, username: 'dear', throttledBy: 'operator' }] });
  await told(mutate('limits.releaseThrottle', { userId: dear, reason: 'paid' }));
  expect((await told(query('limits.throttledNow'))).people).toEqual([]);

  const until = new Date(Date.now() + 400 * 86_400_000).toISOString();
  expect(await told(mutate('limits.waive', { userId: dear, until, reason: 'demo' }))).toEqual({
    isThrottled: false,
    limitsWaivedUntil: until,
  });
  expect(await lastNoted()).toMatchObject({ table_name: 'ops.waive_limits', new: { by: adminId }, reason: 'demo' });
  const past = await mutate('limits.waive', { userId: dear, until: '2020-01-01T00:00:00Z', reason: 'demo' });
  expect(past.json.error.data.problem).toMatchObject({ status: 400, errors: [{ field: 'until' }] });

  const { granted, balance } = await told(mutate('credits.grant', { userId: dear, amount: 7, reason: 'sorry' }));
  const [books] = await database.ops`
    select included_credits::int + purchased_credits::int as balance from users where id = ${dear}`;
  expect([granted, balance]).toEqual([7, books?.balance]);
  expect(
    await database.ops`
    select amount::int, actor, description from credit_transactions where user_id = ${dear} order by id desc limit 1`,
  ).toEqual([{ amount: 7, actor: adminId, description: 'sorry' }]);
});

it('open holds are those of psql (spec 3.2, 12)', async () => {
  const run = await begin(database, dear);
  const { total, holds } = await told(query('runs.openHolds'));
  const [row] = await database.ops`
    select run_id as "runId", round(cost_held_dollars, 6)::float8 as "costHeld", included_credits_held::int as "includedCreditsHeld" from ops.open_holds`;
  expect(total).toBe(1);
  expect(holds).toMatchObject([{ ...row, runId: run, username: 'dear' }]);
});

describe('the inbox (spec 6.4, 6.5)', () => {
  const ids = ({ events }: { events: { id: string }[] }) => events.map(({ id }) => id);

  it('has every event once, the newest first, page by page; picks by status and words', async () => {
    const first = await told(query('billing.events', { limit: 2 }));
    expect(ids(first)).toEqual(['evt_3', 'evt_2']);
    expect(first).toMatchObject({ inReview: 1, waiting: 0, events: [{ username: 'dear', hasBody: true }, {}] });
    const rest = await told(query('billing.events', { limit: 2, cursor: first.nextCursor }));
    expect([ids(rest), rest.nextCursor]).toEqual([['evt_1'], null]);
    expect(ids(await told(query('billing.events', { status: 'needs_review' })))).toEqual(['evt_3']);
    expect(ids(await told(query('billing.events', { search: 'refund' })))).toHaveLength(3);
    expect(ids(await told(query('billing.events', { search: 'evt_2' })))).toEqual(['evt_2']);
    expect(ids(await told(query('billing.events', { search: '%' })))).toEqual([]);
  });

  it('applies an event once more, and the log names who asked', async () => {
    const { status } = await told(mutate('billing.replayEvent', { eventId: 'evt_3', reason: 'looked at it' }));
    expect(await database.ops`select status from stripe_events where id = 'evt_3'`).toEqual([{ status }]);
    expect(await lastNoted()).toMatchObject({
      table_name: 'ops.replay_stripe_event',
      row_key: 'evt_3',
      new: { by: adminId },
    });
    const gone = await mutate('billing.replayEvent', { eventId: 'evt_none', reason: 'x' });
    expect(gone.json.error.data.problem).toMatchObject({ status: 404, error: 'not_found' });
  });
});

it('a job is due once more, and the log names who asked (spec 7.2)', async () => {
  await database.ops`call ops.run_job('expire-holds')`;
  const { slot } = await told(mutate('jobs.repeat', { job: 'expire-holds', reason: 'again' }));
  const [row] =
    await database.ops`select slot, finished_at from job_runs where job = 'expire-holds' order by slot desc limit 1`;
  expect(row).toEqual({ slot: new Date(slot), finished_at: null });
  expect(await lastNoted()).toMatchObject({ table_name: 'ops.repeat_job', new: { by: adminId }, reason: 'again' });
  const none = await mutate('jobs.repeat', { job: 'none', reason: 'again' });
  expect(none.json.error.data.problem).toMatchObject({ status: 404 });
});

it('figures of health and presets are those of psql (spec 8.6, 12)', async () => {
  const { figures } = await told(query('jobs.figures'));
  const rows = await database.ops`select figure, unit from ops.health`;
  expect(figures.map(({ figure, unit }: { figure: string; unit: string }) => ({ figure, unit }))).toEqual([...rows]);
  const { presets } = await told(query('analytics.costs.presets'));
  expect(presets).toEqual([...(await database.ops`select preset, meaning from ops.simulation_presets`)]);
});

it('what loses money is what psql says (spec 8.4, 12)', async () => {
  const buyer = await signUp(database, 'buyer');
  await buy(database, buyer, 'large');
  await database.ops`select from ops.publish_prices('opus', null, 1000, null, null, 1000, 'operator', 'dear')`;
  await database.ops`update cost_limits_config set daily_cost_limit = null, monthly_cost_limit = null`;
  // The first spends what was free.
  for (let n = 0; n < 2; n++) await converse(database, buyer, { model: 'opus' });
  const { losses } = await told(query('analytics.costs.lossMakers'));
  const rows = await database.ops`select kind, name, round(loss_dollars, 6)::float8 as loss from ops.loss_makers`;
  expect(losses.map(({ kind }: { kind: string }) => kind)).toContain('model');
  expect(losses).toMatchObject([...rows]);
});

it('people stand in the tenth of their limit that they have used (spec 3.3)', async () => {
  await database.ops`update cost_limits_config set monthly_cost_limit = 0.5 where tier_name = 'free'`;
  await database.owner`
    update users set current_month_limited_cost = 0.27, current_month_api_cost = 0.27, month_ends_at = core.now() + interval '5 days'
    where id = ${dear}`;
  const { tiers } = await told(query('analytics.costs.limitUse'));
  const [free] = tiers.filter(({ tierName }: { tierName: string }) => tierName === 'free');
  // The other is who bought, whose free credits went beyond it.
  expect(free.people).toEqual([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
});

it.skipIf(differsOnCluster('plain SQL is noted by a trigger'))(
  'the log of changes names what was changed, by whom and why, the newest first, page by page (spec 12)',
  async () => {
    await database.ops`update settings set grace_days = 4`;
    const { changes, nextCursor } = await told(query('accounts.changes', { limit: 1 }));
    expect(changes).toMatchObject([
      {
        role: 'prpm_ops',
        by: null,
        what: 'settings',
        action: 'update',
        fields: [{ field: 'grace_days', was: 3, becomes: 4 }],
      },
    ]);
    const rest = await told(query('accounts.changes', { cursor: nextCursor }));
    expect(rest.changes.find(({ what }: { what: string }) => what === 'ops.grant_credits')).toMatchObject({
      by: 'root',
      about: 'dear',
      reason: 'sorry',
    });
    const [all] = await database.ops`select count(*)::int as n from audit_log`;
    expect(rest.changes.length).toBe(Math.min(50, all?.n - 1));
  },
);
