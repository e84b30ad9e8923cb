// Inputs that a package's people propose, and what counts as taken and tried. Spec 10.4.

import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { setClockToNoon } from '../harness/clock.ts';
import { call, type House, openHouse, type Person } from '../http/house.ts';

let house: House;
let cara: Person;
let url: string;

beforeAll(async () => {
  house = await openHouse();
  url = (await house.another({ TRUSTED_PROXIES: '127.0.0.1' })).url;
  cara = await house.person('cara');
  await setClockToNoon(house.database.owner);
  await house.database.owner`update settings set visitor_reads_per_minute = 100000`;
});
afterAll(() => house.close());
beforeEach(async () => {
  await house.database.owner`delete from suggested_input_uses`;
  await house.database.owner`delete from suggested_inputs`;
});

const path = '/api/v1/suggested-inputs';
const good = { package_id: 'haiku', title: 'Rain', suggested_input: 'A rainy day in Kyoto' };

function send(method: string, at: string, who: Person | string | null, body?: unknown) {
  const token = who !== null && typeof who === 'object' ? who.token : undefined;
  const headers = typeof who === 'string' ? { 'x-forwarded-for': who } : {};
  return call(url, method, `${path}${at}`, { ...(token && { token }), headers, ...(body !== undefined && { body }) });
}
const create = async (more = {}) => (await send('POST', '', house.ada, { ...good, ...more })).json;
const take = async (id: string, who: Person | string | null) =>
  (await send('POST', '/record-usage', who, { suggested_input_id: id })).json;
const run = async (who: Person, more = {}) =>
  (
    await call(url, 'POST', '/api/v1/playground/run', {
      token: who.token,
      body: { package_id: 'haiku', input: good.suggested_input, ...more },
    })
  ).json;
const complete = (who: Person | null, usage: string, session: string) =>
  send('POST', '/mark-complete', who, { usage_id: usage, session_id: session });
const counts = async (id: string) => {
  const [row] = await house.database.owner`
    select i.usage_count::int as clicks, i.completed_count::int as completions,
      (select count(*)::int from suggested_input_uses u where u.suggested_input_id = i.id) as rows,
      (select count(completed_run_id)::int from suggested_input_uses u where u.suggested_input_id = i.id) as completed_rows
    from suggested_inputs i where i.id = ${id}`;
  expect([row?.clicks, row?.completions]).toEqual([row?.rows, row?.completed_rows]);
  return [row?.clicks, row?.completions];
};

it('is proposed, changed and taken away by its package’s people, and shown to everybody (spec 10.4)', async () => {
  const made = await send('POST', '', house.ada, { ...good, difficulty: 'advanced', category: '', display_order: 3 });
  expect([made.status, made.json]).toEqual([
    201,
    {
      ...{ id: expect.any(String), package_id: house.packageId, title: 'Rain', description: null, category: null },
      ...{ suggested_input: good.suggested_input, difficulty: 'advanced', estimated_credits: 1, display_order: 3 },
      ...{ recommended_model: null, usage_count: 0, is_active: true, created_at: expect.any(String) },
    },
  ]);
  const { id } = made.json;
  const second = await create({ title: 'Snow', category: 'testing', recommended_model: 'sonnet', display_order: 1 });

  const shown = await send('GET', '/package/haiku', null);
  expect(shown.json.total).toBe(2);
  expect(shown.json.suggested_inputs.map(({ title }: { title: string }) => title)).toEqual(['Snow', 'Rain']);
  for (const [query, titles] of [
    ['category=testing', ['Snow']],
    ['difficulty=advanced', ['Rain']],
    ['category=', ['Snow', 'Rain']],
    ['category=testing&difficulty=advanced', []],
  ] as const) {
    const { json } = await send('GET', `/package/${house.packageId}?${query}`, null);
    expect(
      json.suggested_inputs.map(({ title }: { title: string }) => title),
      query,
    ).toEqual(titles);
  }
  expect((await send('GET', '/package/haiku?difficulty=hard', null)).json.errors[0].field).toBe('difficulty');
  expect((await send('GET', '/package/nowhere', null)).json.error).toBe('package_not_found');

  const changed = await send('PATCH', `/${id}`, house.ada, {
    title: ' Storm ',
    description: 'Loud',
    estimated_credits: 7,
  });
  expect([changed.status, changed.json]).toEqual([
    200,
    { ...made.json, title: 'Storm', description: 'Loud', estimated_credits: 7 },
  ]);
  expect((await send('PATCH', `/${id}`, house.ada, { description: null })).json.description).toBeNull();
  expect((await send('PATCH', `/${id}`, house.ada, {})).json).toMatchObject({ status: 400, error: 'no_updates' });

  const mine = await send('GET', `/author/${house.ada.userId}`, house.ada);
  expect(mine.json.total).toBe(2);
  expect(mine.json.suggested_inputs[0]).toEqual({
    ...second,
    ...{ package_name: 'haiku', total_clicks: 0, completed_tests: 0 },
  });
  expect((await send('GET', `/author/${house.ada.userId}`, house.bob)).status).toBe(403);

  expect(await send('DELETE', `/${id}`, house.ada)).toMatchObject({
    status: 200,
    json: { message: expect.any(String) },
  });
  expect((await send('DELETE', `/${id}`, house.ada)).status).toBe(404);
  expect((await send('GET', '/package/haiku', null)).json.total).toBe(1);
  expect((await send('PATCH', `/${id}`, house.ada, { title: 'Back' })).status).toBe(404);
});

it('belongs to authors and maintainers: others get 403, or nothing where they may not even look (spec 5.5, 10.4)', async () => {
  const { id } = await create();
  for (const [method, at, body] of [
    ['POST', '', good],
    ['PATCH', `/${id}`, { title: 'Mine' }],
    ['DELETE', `/${id}`, undefined],
  ] as const) {
    expect((await send(method, at, house.bob, body)).json, method).toMatchObject({ status: 403, error: 'forbidden' });
    expect((await send(method, at, null, body)).status, method).toBe(401);
  }
  const { ops } = house.database;
  const [team] = await ops`select id from ops.create_organization('haijin')`;
  await ops`select from ops.add_member(${team?.id}, ${house.ada.userId}, 'owner')`;
  await call(url, 'POST', '/api/v1/packages', {
    token: house.ada.token,
    body: { name: 'secret', version: '1.0.0', prompt: 'Hush.', visibility: 'private', organization: 'haijin' },
  });
  const secret = await create({ package_id: 'secret' });
  for (const [role, status] of [
    ['none', 404],
    ['member', 403],
    ['maintainer', 200],
  ] as const) {
    if (role !== 'none') await ops`select from ops.add_member(${team?.id}, ${house.bob.userId}, ${role})`;
    expect((await send('PATCH', `/${secret.id}`, house.bob, { title: role })).status, role).toBe(status);
  }
  expect((await take(secret.id, cara)).error).toBe('not_found');
  expect((await send('GET', '/package/secret', cara)).json.error).toBe('package_not_found');
  await ops`select from ops.remove_member(${team?.id}, ${house.bob.userId})`;
});

it.each([
  ['title', ''],
  ['title', 'x'.repeat(101)],
  ['title', null],
  ['suggested_input', ' '],
  ['suggested_input', 'x'.repeat(10_001)],
  ['description', 'x'.repeat(1001)],
  ['category', 'poetry'],
  ['difficulty', 'hard'],
  ['estimated_credits', 0],
  ['estimated_credits', 51],
  ['estimated_credits', 1.5],
  ['recommended_model', 'gpt-1'],
  ['display_order', -1],
  ['display_order', 'first'],
])('names the field that is wrong: %s %j (spec 11.3)', async (field, value) => {
  const { id } = await create();
  for (const answer of [
    await send('POST', '', house.ada, { ...good, [field]: value }),
    await send('PATCH', `/${id}`, house.ada, { [field]: value }),
  ]) {
    expect([answer.status, answer.json.error, answer.json.errors[0].field]).toEqual([400, 'validation_error', field]);
  }
  expect((await send('GET', '/package/haiku', null)).json.suggested_inputs).toMatchObject([
    { ...good, package_id: house.packageId },
  ]);
});

it('counts a click once a visitor and day, whoever asks how often; never its own people (spec 10.4)', async () => {
  const { id } = await create();
  const first = await take(id, '192.0.2.1');
  expect(first.usage_id).toEqual(expect.any(String));
  const again = await Promise.all(Array.from({ length: 20 }, () => take(id, '192.0.2.1')));
  expect(new Set(again.map(({ usage_id }) => usage_id))).toEqual(new Set([first.usage_id]));
  const race = await Promise.all(Array.from({ length: 20 }, () => take(id, house.bob)));
  expect(new Set(race.map(({ usage_id }) => usage_id)).size).toBe(1);
  await take(id, '192.0.2.2');
  expect(await take(id, house.ada)).toEqual({ usage_id: null, message: expect.any(String) });
  expect(await counts(id)).toEqual([3, 0]);

  await house.database.owner`update settings set clock_offset = clock_offset + interval '25 hours'`;
  expect((await take(id, '192.0.2.1')).usage_id).not.toBe(first.usage_id);
  await house.database.owner`update settings set clock_offset = clock_offset - interval '25 hours'`;
  expect(await counts(id)).toEqual([4, 0]);
  const [kept] = await house.database.owner`select string_agg(x::text, ' ') as rows from suggested_input_uses x`;
  expect(kept?.rows).not.toContain('192.0.2');
  expect(kept?.rows).not.toContain(house.bob.userId);
  expect((await take(crypto.randomUUID(), house.bob)).error).toBe('not_found');
});

it('counts a completion only for a run of that package that really completed on that input (spec 10.4)', async () => {
  const { id } = await create();
  const before = await run(house.bob);
  const { usage_id } = await take(id, house.bob);
  const wrongs = {
    'a run of before': before,
    'another input': await run(house.bob, { input: 'A sunny day' }),
    'a baseline': await run(house.bob, { use_no_prompt: true }),
  };
  for (const [what, { session_id }] of Object.entries(wrongs)) {
    expect((await complete(house.bob, usage_id, session_id)).json, what).toMatchObject({
      status: 409,
      error: 'conflict',
    });
  }
  house.standIns.disturb({ status: 400 });
  await run(house.bob);
  house.standIns.disturb(null);
  const [failed] = await house.database.owner`
    select session_id from runs where user_id = ${house.bob.userId} order by id desc limit 1`;
  expect((await complete(house.bob, usage_id, failed?.session_id)).status).toBe(409);
  expect(await counts(id)).toEqual([1, 0]);

  const good = await run(house.bob);
  expect((await complete(null, usage_id, good.session_id)).status).toBe(401);
  expect((await complete(cara, usage_id, good.session_id)).json).toMatchObject({ status: 404, error: 'not_found' });
  expect((await complete(house.bob, crypto.randomUUID(), good.session_id)).status).toBe(404);
  const answers = await Promise.all(Array.from({ length: 8 }, () => complete(house.bob, usage_id, good.session_id)));
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
  expect(answers.filter(({ json }) => json.is_counted)).toHaveLength(1);
  expect(await counts(id)).toEqual([1, 1]);
});

it('takes a run for one use alone, and none of its own people’s (spec 10.4)', async () => {
  const { id } = await create();
  const first = await take(id, '192.0.2.7');
  const second = await take(id, '192.0.2.8');
  const own = await run(house.ada);
  expect((await complete(house.ada, first.usage_id, own.session_id)).json).toMatchObject({ is_counted: false });
  const { session_id } = await run(cara);
  const both = await Promise.all([first, second].map(({ usage_id }) => complete(cara, usage_id, session_id)));
  expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
  expect(await counts(id)).toEqual([2, 1]);
  // A second exchange of the same session is another run.
  await run(cara, { session_id });
  const left = both[0]?.status === 409 ? first : second;
  expect((await complete(cara, left.usage_id, session_id)).json.is_counted).toBe(true);
  expect(await counts(id)).toEqual([2, 2]);
  expect(await house.audit()).toEqual([]);
});
