// Sessions over HTTP, with the names that clients know.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { call, type House, openHouse, type Person } from './house.ts';

let house: House;
let ada: Person;
let bob: Person;
let session: string;

beforeAll(async () => {
  house = await openHouse();
  ({ ada, bob } = house);
  const run = await ask('POST', '/run', ada, { package_id: 'haiku', input: 'An old silent pond' });
  session = run.json.session_id;
});
afterAll(() => house.close());

function ask(method: string, path: string, person: Person | null, body?: unknown) {
  return call(house.url, method, `/api/v1/playground${path}`, {
    ...(person !== null && { token: person.token }),
    ...(body !== undefined && { body }),
  });
}

test('a session is renamed, found, and deleted (spec 10.1)', async () => {
  const other = await ask('POST', '/run', ada, { package_id: 'haiku', input: 'Frogs' });
  const path = `/sessions/${other.json.session_id}`;
  expect((await ask('PATCH', path, ada, { title: 'Amphibians' })).json).toEqual({ title: 'Amphibians' });
  const found = await ask('GET', '/sessions?query=amphibians', ada);
  expect(found.json.sessions).toMatchObject([{ title: 'Amphibians', run_count: 1 }]);
  expect((await ask('GET', '/sessions?query=cost:cheap', ada)).json.errors).toMatchObject([{ field: 'query' }]);
  expect((await ask('DELETE', path, bob)).json.error).toBe('session_not_found');
  expect((await ask('DELETE', path, ada)).json).toEqual({ message: 'Session deleted successfully' });
  expect((await ask('DELETE', path, ada)).status).toBe(404);
  expect((await ask('GET', path, ada)).status).toBe(404);
});

test('a conversation that is too long goes on without its oldest exchanges, or from a summary with a price first (spec 10.1)', async () => {
  const words = 'old silent pond '.repeat(600);
  const first = await ask('POST', '/run', ada, { package_id: 'haiku', input: words, model: 'gpt-4o-mini' });
  const { session_id } = first.json;
  expect(first.json.context).toMatchObject({ request_limit: 20_000, dropped_exchanges: null });
  const go = (path: string, body: object = {}) => ask('POST', `/sessions/${session_id}${path}`, ada, body);
  await house.database.owner`update settings set max_request_tokens = 2000`;
  try {
    const refused = await go('/continue', { input: 'And now?' });
    expect(refused.json).toMatchObject({ error: 'request_too_large', status: 413 });
    expect(refused.json.details.ways_on).toEqual(['drop_oldest', 'summarise', 'new_session']);
    const went = await go('/continue', { input: 'And now?', drop_oldest: true });
    expect(went.json).toMatchObject({ context: { dropped_exchanges: 1, request_limit: 2000 }, session_id });
    expect(went.json.conversation).toHaveLength(2);
  } finally {
    await house.database.owner`update settings set max_request_tokens = default`;
  }
  const before = await ask('GET', '/credits', ada);
  const estimate = await go('/summarise/estimate');
  expect(estimate.json).toMatchObject({ refusal: null, dropped_exchanges: 0, can_afford: true });
  const summary = await call(house.url, 'POST', `/api/v1/playground/sessions/${session_id}/summarise`, {
    ...{ token: ada.token, body: {}, headers: { 'idempotency-key': 'sum it up' } },
  });
  expect(summary.json.credits_spent).toBeGreaterThan(0);
  expect(summary.json.credits_spent).toBeLessThanOrEqual(estimate.json.credits_most);
  expect(summary.json.context.history_tokens).toBeLessThan(estimate.json.history_tokens);
  const again = await call(house.url, 'POST', `/api/v1/playground/sessions/${session_id}/summarise`, {
    ...{ token: ada.token, body: {}, headers: { 'idempotency-key': 'sum it up' } },
  });
  expect(again.json.run_id).toBe(summary.json.run_id);
  const after = await ask('GET', '/credits', ada);
  expect(before.json.balance - after.json.balance).toBe(summary.json.credits_spent);
  const next = await go('/continue', { input: 'Go on' });
  expect(next.json.conversation.map(({ content }: { content: string }) => content)).toEqual([
    expect.stringContaining('Summarise our conversation'),
    summary.json.response,
    'Go on',
    next.json.response,
  ]);
  expect((await ask('POST', `/sessions/${session_id}/summarise`, bob, {})).json.error).toBe('session_not_found');
  expect(await house.audit()).toEqual([]);
});

test('a link is read, voted on and taken back by anybody with or without a token (spec 10.2)', async () => {
  const share = await ask('POST', `/sessions/${session}/share`, ada);
  const { share_token: token, share_url: link } = share.json;
  expect(link).toBe(`${house.url}/playground/shared/${token}`);
  const shown = await ask('GET', `/shared/${token}`, null);
  expect(shown.json).toMatchObject({
    package_name: 'haiku',
    view_count: 1,
    conversation: [{ role: 'user' }, { role: 'assistant' }],
  });
  expect((await ask('POST', `/shared/${token}/feedback`, null, { is_helpful: true })).json).toMatchObject({
    helpful_count: 1,
    message: 'Feedback recorded successfully',
  });
  expect((await ask('POST', `/shared/${token}/feedback`, ada, { is_helpful: true })).status).toBe(403);
  expect((await ask('POST', `/shared/${token}/feedback`, null, { is_helpful: 'yes' })).json.errors).toMatchObject([
    { field: 'is_helpful' },
  ]);
  const results = await ask('GET', '/packages/haiku/top-results?sort=helpful', null);
  expect(results.json).toMatchObject({ total: 1, results: [{ share_token: token, helpful_count: 1 }] });
  expect((await ask('PATCH', `/sessions/${token}/feature`, bob, { is_featured: true })).status).toBe(403);
  expect((await ask('PATCH', `/sessions/${token}/feature`, ada, {})).status).toBe(400);
  expect((await ask('GET', '/packages/haiku/featured', null)).json).toEqual({ total: 0, results: [] });
  const featured = await ask('PATCH', `/sessions/${token}/feature`, ada, { is_featured: true });
  expect(featured.json).toMatchObject({ success: true, is_featured: true, share_token: token });
  expect((await ask('GET', '/packages/haiku/featured', null)).json).toMatchObject({ total: 1 });
  expect((await ask('DELETE', `/sessions/${session}/share`, bob)).json).toEqual({ ended: false });
  expect((await ask('DELETE', `/sessions/${session}/share`, ada)).json).toEqual({ ended: true });
  expect((await ask('GET', `/shared/${token}`, null)).json.error).toBe('session_not_found');
  expect((await call(house.url, 'GET', `/api/v1/playground/shared/${token}`, { token: 'prpm_bad' })).status).toBe(401);
});

test('feedback on an answer is given once (spec 10.3)', async () => {
  const give = (person: Person, index = 0) =>
    ask('POST', '/feedback', person, { session_id: session, exchange_index: index, is_effective: true });
  expect((await give(bob)).status).toBe(404);
  expect((await give(bob, 99)).status).toBe(404);
  expect(await give(ada, 99)).toMatchObject({
    status: 400,
    json: {
      errors: [{ field: 'exchange_index', message: expect.stringMatching(/99, and the session has \d exchanges/) }],
    },
  });
  expect((await give(ada)).json).toMatchObject({ success: true });
  const again = await give(ada);
  expect([again.status, again.json.error]).toEqual([409, 'feedback_exists']);
});

test('who writes X-Forwarded-For himself is not believed: two claims, one view (spec 5.9)', async () => {
  const share = await ask('POST', `/sessions/${session}/share`, ada);
  const path = `/api/v1/playground/shared/${share.json.share_token}`;
  await call(house.url, 'GET', path, { headers: { 'x-forwarded-for': '192.0.2.1' } });
  const again = await call(house.url, 'GET', path, { headers: { 'x-forwarded-for': '192.0.2.2' } });
  expect(again.json.view_count).toBe(1);
});

test('a shared session is copied and gone on with by somebody else, and a session taken away as a file (spec 10.1)', async () => {
  const said = await ask('POST', '/run', ada, { package_id: 'haiku', input: 'A "frog" | jumps\nin' });
  const path = `/sessions/${said.json.session_id}`;
  const share = await ask('POST', `${path}/share`, ada);
  const fork = await ask('POST', `/shared/${share.json.share_token}/fork`, bob);
  expect(fork.json).toEqual({ session_id: expect.any(String), exchange_count: 1 });
  expect((await ask('POST', `/shared/${share.json.share_token}/fork`, bob)).json).toEqual(fork.json);
  expect((await ask('POST', `/shared/${share.json.share_token}/fork`, null)).status).toBe(401);
  const more = await ask('POST', `/sessions/${fork.json.session_id}/continue`, bob, { input: 'Then?' });
  expect(more.json.conversation).toHaveLength(4);
  for (let n = 0; n < 3; n++) await ask('POST', `/sessions/${fork.json.session_id}/continue`, bob, { input: `${n}?` });

  const markdown = await ask('GET', `/sessions/${fork.json.session_id}/export`, bob);
  expect(markdown.headers).toMatchObject({
    'content-type': 'text/markdown; charset=utf-8',
    'content-disposition': `attachment; filename="session-${fork.json.session_id}.md"`,
    'cache-control': 'no-store',
  });
  expect(markdown.text).toContain('A "frog" | jumps\nin');
  expect(markdown.text).toContain(said.json.response);
  expect(markdown.text.match(/^## Answer /gm)).toHaveLength(5);
  const json = await ask('GET', `/sessions/${fork.json.session_id}/export?format=json&cursor=anything`, bob);
  expect(json.headers['content-disposition']).toMatch(/\.json"$/);
  expect(json.json).toMatchObject({ package_name: 'haiku', run_count: 4 });
  expect(json.json.exchanges.map(({ question }: { question: string }) => question)).toEqual([
    ...['A "frog" | jumps\nin', 'Then?', '0?', '1?', '2?'],
  ]);
  expect((await ask('GET', `/sessions/${fork.json.session_id}/export`, ada)).json.error).toBe('session_not_found');
  expect((await ask('GET', `/sessions/${fork.json.session_id}/export?format=pdf`, bob)).json.errors).toMatchObject([
    { field: 'format' },
  ]);
});
