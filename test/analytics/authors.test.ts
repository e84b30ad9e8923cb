// What authors see of their packages. Spec 8.7.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { call, type House, openHouse, type Person } from '../http/house.ts';

let house: House;
let cara: Person;
const api = '/api/v1';

beforeAll(async () => {
  house = await openHouse();
  cara = await house.person('cara');
  await house.database.owner`update settings set visitor_reads_per_minute = 100000, clock_offset_allowed = true`;
  for (const name of ['verse', 'prose'])
    await call(house.url, 'POST', `${api}/packages`, {
      token: house.ada.token,
      body: { name, version: '1.0.0', prompt: `Answer in ${name}.` },
    });
});
afterAll(() => house.close());

const get = async (path: string, who: Person | null = house.ada) =>
  (await call(house.url, 'GET', `${api}/analytics/${path}`, { ...(who && { token: who.token }) })).json;
const run = async (who: Person, package_id: string, more = {}) => {
  const { json, status } = await call(house.url, 'POST', `${api}/playground/run`, {
    token: who.token,
    body: { package_id, input: 'hello', model: 'gpt-4o-mini', ...more },
  });
  expect(status, json?.message).toBe(200);
  return json;
};
const refresh = () => house.database.ops`select refresh_user_cost_analytics()`;

/** The same from a plain sum over everybody's runs. */
async function truth(name: string) {
  const [row] = await house.database.owner`
    select count(*) filter (where r.id = r.session_id)::int as sessions, count(*)::int as runs,
      count(distinct r.user_id)::int as users, coalesce(sum(r.credits), 0)::int as credits
    from runs r join packages p on p.id = r.package_id
    where p.name = ${name} and not r.baseline and r.status <> 'running'`;
  return row;
}
async function shown(name: string) {
  const { total_playground_sessions, total_runs, unique_users, total_credits_spent } = await get(`package/${name}`);
  return {
    ...{ sessions: total_playground_sessions, runs: total_runs },
    ...{ users: unique_users, credits: total_credits_spent },
  };
}

it('is zeros for who has no package, and 404 or 403 for what is not theirs (spec 8.7)', async () => {
  const nobody = await house.person('dora');
  expect(await get('author/summary', nobody)).toEqual({
    ...{ total_packages: 0, total_playground_sessions: 0, total_unique_users: 0, total_credits_spent: 0 },
    ...{ sessions_last_7_days: 0, sessions_last_30_days: 0, total_suggested_inputs: 0, active_suggested_inputs: 0 },
    ...{ total_shared_sessions: 0, total_featured_sessions: 0, total_share_views: 0, top_package_name: null },
    packages: [],
  });
  for (const path of ['package/haiku', 'suggested-inputs/package/haiku', 'time-series/playground/haiku']) {
    expect((await get(path, nobody)).status, path).toBe(403);
    expect((await get(path, null)).status, path).toBe(401);
    expect((await get(path.replace('haiku', 'nowhere'))).error, path).toBe('package_not_found');
  }
  expect((await get(`time-series/suggested-inputs/${crypto.randomUUID()}`)).error).toBe('not_found');
});

it('counts each thing once, however many suggested inputs, shares and votes there are (spec 8.7)', async () => {
  for (const title of ['One', 'Two', 'Three'])
    await call(house.url, 'POST', `${api}/suggested-inputs`, {
      token: house.ada.token,
      body: { package_id: 'haiku', title, suggested_input: title },
    });
  const [first, second] = [await run(house.bob, 'haiku', { input: 'One' }), await run(cara, 'haiku')];
  await run(house.bob, 'haiku', { session_id: first.session_id });
  await run(house.bob, 'haiku', { use_no_prompt: true });
  const share = (
    await call(house.url, 'POST', `${api}/playground/sessions/${second.session_id}/share`, { token: cara.token })
  ).json.share_token;
  for (const who of [house.ada, house.bob])
    await call(house.url, 'GET', `${api}/playground/shared/${share}`, { token: who.token });
  await call(house.url, 'POST', `${api}/playground/shared/${share}/feedback`, {
    ...{ token: house.bob.token, body: { is_helpful: true } },
  });
  await call(house.url, 'PATCH', `${api}/playground/sessions/${share}/feature`, {
    ...{ token: house.ada.token, body: { is_featured: true } },
  });
  await call(house.url, 'POST', `${api}/playground/feedback`, {
    token: house.bob.token,
    body: { session_id: first.session_id, exchange_index: 0, is_effective: false },
  });
  await call(house.url, 'POST', `${api}/playground/anonymous-run`, { body: { package_id: 'haiku', input: 'hello' } });

  const expected = {
    ...{ package_id: house.packageId, package_name: 'haiku', total_playground_sessions: 2, total_runs: 3 },
    ...{ unique_users: 2, total_credits_spent: 3, avg_credits_per_session: 1.5, sessions_last_7_days: 2 },
    ...{ sessions_last_30_days: 2, anonymous_runs: 1, suggested_inputs_count: 3, featured_sessions_count: 1 },
    ...{ shared_sessions_count: 1, total_share_views: 2 },
    ratings: { effective: 0, not_effective: 1, helpful: 1, not_helpful: 0 },
    models: [{ model: 'gpt-4o-mini', sessions: 2, runs: 3, unique_users: 2, credits_spent: 3 }],
  };
  expect(await get('package/haiku')).toEqual(expected);
  await refresh();
  expect(await get('package/haiku')).toEqual(expected);
  expect(await house.audit()).toEqual([]);
});

it('counts a person once over all packages, and names the package that is run most (spec 8.7)', async () => {
  await run(house.bob, 'verse');
  await run(house.bob, 'prose');
  const summary = await get('author/summary');
  expect(summary).toMatchObject({
    ...{ total_packages: 3, total_playground_sessions: 4, total_unique_users: 2, total_credits_spent: 5 },
    ...{ total_suggested_inputs: 3, active_suggested_inputs: 3, total_shared_sessions: 1, total_featured_sessions: 1 },
    ...{ total_share_views: 2, top_package_name: 'haiku', sessions_last_30_days: 4 },
  });
  expect(summary.packages[0]).toMatchObject({ name: 'haiku', sessions: 2, unique_users: 2, credits_spent: 3 });
});

it('shows an organization’s package to its maintainers, not to its members (spec 8.7)', async () => {
  const { ops } = house.database;
  const [team] = await ops`select id from ops.create_organization('poets')`;
  await ops`select from ops.add_member(${team?.id}, ${house.ada.userId}, 'owner')`;
  await call(house.url, 'POST', `${api}/packages`, {
    token: house.ada.token,
    body: { name: 'team-verse', version: '1.0.0', prompt: 'Verse.', organization: 'poets' },
  });
  await ops`select from ops.add_member(${team?.id}, ${cara.userId}, 'member')`;
  expect((await get('package/team-verse', cara)).status).toBe(403);
  await ops`select from ops.add_member(${team?.id}, ${cara.userId}, 'maintainer')`;
  expect((await get('package/team-verse', cara)).package_name).toBe('team-verse');
  expect((await get('author/summary', cara)).total_packages).toBe(1);
});

it('equals a sum over runs at every moment: before, while and after rollups, and where a charge is taken back (spec 8.2)', async () => {
  const check = async () => {
    for (const name of ['haiku', 'verse']) expect(await shown(name)).toEqual(await truth(name));
  };
  for (let round = 0; round < 3; round += 1) {
    const answers = await Promise.all([run(house.bob, 'verse'), run(cara, 'verse'), run(house.ada, 'haiku')]);
    await check();
    await refresh();
    await check();
    await house.database.ops`select from ops.refund_run(${answers[0].run_id}, 'test')`;
    await check();
    await Promise.all([refresh(), run(cara, 'verse'), run(house.bob, 'haiku'), refresh()]);
    await check();
  }
  await house.database.ops`select from ops.recount_usage('bob', 'test')`;
  await check();
  await refresh();
  await check();
  expect(await house.audit()).toEqual([]);
});

it('has a row for each of the last days, today the last (spec 8.7)', async () => {
  const { owner } = house.database;
  await owner`update settings set clock_offset = interval '2 days'`;
  await run(house.bob, 'verse');
  const [clock] = await owner`select (core.now() at time zone 'UTC')::date::text as today`;
  const { data, total_days } = await get('time-series/playground/verse?days=7');
  expect([data.length, total_days]).toEqual([7, 7]);
  const last = data.at(-1);
  expect(last).toEqual({ date: clock?.today, sessions_count: 1, unique_users: 1, credits_spent: 1, shared_count: 0 });
  expect(data[5]).toMatchObject({ sessions_count: 0, unique_users: 0 });
  const sessions = data.reduce((sum: number, day: { sessions_count: number }) => sum + day.sessions_count, 0);
  expect(sessions).toBe((await truth('verse'))?.sessions);
  expect((await get('time-series/playground/verse')).total_days).toBe(30);
  for (const days of ['0', '91', '1.5', 'many']) {
    expect((await get(`time-series/playground/verse?days=${days}`)).errors[0].field, days).toBe('days');
  }
  await owner`update settings set clock_offset = default`;
});

it('tells of each suggested input clicks, visitors and completed runs, as numbers (spec 8.7, 10.4)', async () => {
  const inputs = (await call(house.url, 'GET', `${api}/suggested-inputs/package/haiku`)).json.suggested_inputs;
  const one = inputs.find(({ title }: { title: string }) => title === 'One').id;
  const take = async (who: Person | null) =>
    (
      await call(house.url, 'POST', `${api}/suggested-inputs/record-usage`, {
        ...(who && { token: who.token }),
        body: { suggested_input_id: one },
      })
    ).json.usage_id;
  const usage = await take(house.bob);
  await take(house.bob);
  await take(cara);
  await take(null);
  const { session_id } = await run(house.bob, 'haiku', { input: 'One' });
  await call(house.url, 'POST', `${api}/suggested-inputs/mark-complete`, {
    token: house.bob.token,
    body: { usage_id: usage, session_id },
  });
  const { suggested_inputs, summary } = await get('suggested-inputs/package/haiku');
  expect(suggested_inputs[0]).toEqual({
    ...{ suggested_input_id: one, title: 'One', category: null, difficulty: 'beginner', is_active: true },
    ...{ total_clicks: 3, completed_tests: 1, unique_users: 3, conversion_rate: 33.33 },
    ...{ clicks_last_7_days: 3, clicks_last_30_days: 3, last_clicked_at: expect.any(String) },
    created_at: expect.any(String),
  });
  expect(suggested_inputs[1]).toMatchObject({ total_clicks: 0, conversion_rate: 0, last_clicked_at: null });
  expect(summary).toEqual({ total_inputs: 3, total_clicks: 3, total_completions: 1, avg_conversion_rate: 33.33 });
  const series = await get(`time-series/suggested-inputs/${one}?days=3`);
  expect([series.data.length, series.total_days]).toEqual([3, 3]);
  expect(series.data.at(-1)).toMatchObject({ clicks: 3, completions: 1, unique_users: 3 });
  expect((await get(`time-series/suggested-inputs/${one}`, house.bob)).status).toBe(403);
  expect((await get(`time-series/suggested-inputs/${one}?days=91`)).errors[0].field).toBe('days');
});
