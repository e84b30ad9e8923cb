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
  const give = (person: Person) =>
    ask('POST', '/feedback', person, { session_id: session, exchange_index: 0, is_effective: true });
  expect((await give(bob)).status).toBe(404);
  expect((await give(ada)).json).toMatchObject({ success: true });
  expect((await give(ada)).json.error).toBe('conflict');
});

test('who writes X-Forwarded-For himself is not believed: two claims, one view (spec 5.9)', async () => {
  const share = await ask('POST', `/sessions/${session}/share`, ada);
  const path = `/api/v1/playground/shared/${share.json.share_token}`;
  await call(house.url, 'GET', path, { headers: { 'x-forwarded-for': '192.0.2.1' } });
  const again = await call(house.url, 'GET', path, { headers: { 'x-forwarded-for': '192.0.2.2' } });
  expect(again.json.view_count).toBe(1);
});
