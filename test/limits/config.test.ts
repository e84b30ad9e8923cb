// Limits, plans, packs, models and settings: whom a change is about is said before it is made, and is then so.
import { expect, it } from 'vitest';
import { differsOnCluster } from '../harness/tools.ts';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();
const { ops, owner } = world;

type Row = { what: string; was: string | null; becomes: string | null; people: string | null; who: string | null };
const change = async (kind: string, name: string, changes: object, dry: boolean, adds = false): Promise<Row[]> => [
  ...(await ops<Row[]>`
    select * from ops.change_config(${kind}, ${name}, ${ops.json({ ...changes })}, reason => 'test', adds => ${adds}, dry_run => ${dry})`),
];
const affected = (rows: Row[]) => rows.filter(({ what }) => what === 'people');
const nameOf = async (user: string) => (await ops`select username from users where id = ${user}`)[0]?.username;
const config = async () => [
  await owner`select * from cost_limits_config order by tier_name`,
  await owner`select * from settings`,
  await owner`select * from plans order by plan`,
  await owner`select count(*) from audit_log`,
];

it('a lower limit says who is throttled by it, changes nothing as a dry run, and then holds for just them (spec 3.1, 3.4)', async () => {
  const [dear, cheap] = [await world.person({ credits: 40 }), await world.person({ credits: 40 })];
  await world.run(dear, {}, { input: 1000, output: 1000 });
  await world.run(cheap, {}, { input: 100, output: 100 });
  const before = await config();
  const told = await change('limits', 'free', { daily_cost_limit: 0.02 }, true);
  expect(await config()).toEqual(before);
  expect(told[0]).toMatchObject({ what: 'daily_cost_limit', was: '0.10', becomes: '0.02' });
  expect(affected(told)).toEqual([
    expect.objectContaining({
      was: 'free: can run',
      becomes: 'free: throttled by a limit',
      people: '1',
      who: await nameOf(dear),
    }),
  ]);
  expect(told.at(-1)?.what).toMatch(/^Who is of tier free: \d+\. /);

  expect(await change('limits', 'free', { daily_cost_limit: 0.02 }, false)).toEqual(told);
  expect((await world.refusal(dear)).code).toBe('daily_cost_limit');
  await world.start(cheap, { wish: 256 });
  expect(affected(await change('limits', 'free', { daily_cost_limit: 0.1 }, true))).toMatchObject([
    { was: 'free: throttled by a limit', becomes: 'free: can run', people: '1' },
  ]);
});

it.each([
  ['runs an hour', { hourly_request_limit: 1 }, 'refused: hourly_request_limit'],
  ['no daily cost at all', { daily_cost_limit: 0 }, 'throttled by a limit'],
])('%s: the preview counts who could not run (spec 3.2)', async (_, changes, standing) => {
  const user = await world.person({ credits: 40, tier: 'prpm_plus_individual' });
  await world.run(user, {}, { input: 100, output: 100 });
  const [row] = affected(await change('limits', 'prpm_plus_individual', changes, true));
  expect(row).toMatchObject({ becomes: `prpm_plus_individual: ${standing}` });
  expect(row?.who?.split(', ')).toContain(await nameOf(user));
});

it('a tier that is no longer active lets its people fall to free, and says so (spec 3.1)', async () => {
  const user = await world.person({ tier: 'prpm_plus_org' });
  const [row] = affected(await change('limits', 'prpm_plus_org', { is_active: false }, true));
  expect(row).toMatchObject({ was: 'prpm_plus_org: can run', becomes: 'free: can run', who: await nameOf(user) });
});

it('a setting that stops everybody says that it does (spec 3.6)', async () => {
  const rows = affected(await change('settings', 'settings', { runs_enabled: false }, true));
  const people = rows.reduce((sum, row) => sum + Number(row.people), 0);
  const [count] = await ops`select count(*)::int as n from users where closed_at is null`;
  expect(people).toBe(count?.n);
  expect(rows.every(({ becomes }) => becomes?.endsWith(': nobody runs'))).toBe(true);
});

it('a plan’s price is for who subscribes from then on, and the preview counts who has (spec 2.4)', async () => {
  const user = await world.person();
  await owner`
    insert into subscriptions (user_id, id, plan, status, monthly_amount, created_at, updated_at)
    values (${user}, 'sub_priced', 'prpm_plus_individual', 'active', 6, core.now(), core.now())`;
  const [price, count, keep] = await change('plans', 'prpm_plus_individual', { monthly_price: 7 }, true);
  expect(price).toMatchObject({ what: 'monthly_price', was: '6.00', becomes: '7.00' });
  expect(count?.what).toBe('Subscriptions to this plan now: 1.');
  expect(keep?.what).toContain('keep the price');
  await owner`delete from subscriptions where user_id = ${user}`;
});

it('a tier and a plan of it are added, as the guide recommends, and can be given (spec 2.4)', async () => {
  await change('limits', 'pro', { monthly_cost_limit: 8, alert_at_percent: [75, 90] }, false, true);
  await change('plans', 'prpm_pro', { tier_name: 'pro', monthly_price: 10, monthly_credits: 100 }, false, true);
  const user = await world.person({ credits: 5, tier: 'pro' });
  expect((await world.run(user)).limits).toMatchObject({ tier: 'pro', monthly: { limit: '8.00' } });
  expect(await ops`select monthly_price::float8 from plans where plan = 'prpm_pro'`).toEqual([{ monthly_price: 10 }]);
  await expect(change('limits', 'pro', { monthly_cost_limit: 9 }, false, true)).rejects.toMatchObject({
    code: 'PR409',
    detail: 'name',
  });
});

it('null is no limit, and stands so in the log (spec 3.1)', async () => {
  await change('limits', 'free', { hourly_request_limit: null }, false);
  const [call, row] = await ops`
    select table_name, role, reason, old, new from audit_log order by id desc limit 2`;
  expect(call).toMatchObject({
    table_name: 'ops.change_config',
    role: 'prpm_ops',
    reason: 'test',
    new: { changes: { hourly_request_limit: null } },
  });
  if (!differsOnCluster('the row itself is noted by a trigger'))
    expect(row).toMatchObject({
      table_name: 'cost_limits_config',
      old: { hourly_request_limit: 10 },
      new: { hourly_request_limit: null },
    });
});

it.each([
  ['limits', 'free', { monthly_cost_limit: 0 }, 'PR400', 'monthly_cost_limit'],
  ['limits', 'free', { monthly_cost_limit: 'NaN' }, 'PR400', 'monthly_cost_limit'],
  ['limits', 'free', { daily_cost_limit: 'a lot' }, 'PR400', 'daily_cost_limit'],
  ['limits', 'free', { alert_at_percent: [150] }, 'PR400', 'alert_at_percent'],
  ['limits', 'free', { throttle_on_exceed: null }, 'PR400', 'throttle_on_exceed'],
  ['limits', 'free', { hourly_request_limit: 3_000_000_000 }, 'PR400', 'hourly_request_limit'],
  ['limits', 'free', { tier_name: 'paid' }, 'PR400', 'tier_name'],
  ['limits', 'none', { daily_cost_limit: 1 }, 'PR404', 'name'],
  ['settings', 'settings', { grace_days: -1 }, 'PR400', 'grace_days'],
  ['settings', 'settings', { clock_offset: '1 day' }, 'PR400', 'clock_offset'],
  ['settings', 'settings', { clock_offset_allowed: true }, 'PR400', 'clock_offset_allowed'],
  ['plans', 'prpm_plus_individual', { stripe_price_id: 'price_mine' }, 'PR400', 'stripe_price_id'],
  ['packs', 'small', { 'price" = 0; --': 1 }, 'PR400', 'price" = 0; --'],
  ['users', 'person1', { is_admin: true }, 'PR400', 'kind'],
])('%s %s %o is refused with %s and names %s (spec 11.3)', async (kind, name, changes, code, detail) => {
  await expect(change(kind, name, changes, true)).rejects.toMatchObject({ code, detail });
});

it('changes that are no object are refused by name (spec 12)', async () => {
  for (const changes of ['[]', '5', '"x"', 'null'])
    await expect(
      ops`select * from ops.change_config('settings', 'settings', ${changes}::text::jsonb, 'test')`,
    ).rejects.toMatchObject({ code: 'PR400', detail: 'changes' });
});

it('nothing is changed without a reason (spec 12)', async () => {
  const ask = ops`select from ops.change_config('packs', 'small', '{"price": 6}')`;
  await expect(ask).rejects.toMatchObject({ code: 'PR400', detail: 'reason' });
  expect(await ops`select price::float8 from packs where pack = 'small'`).toEqual([{ price: 5 }]);
});
