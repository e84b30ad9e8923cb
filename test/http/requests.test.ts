import { afterAll, describe, expect, it } from 'vitest';
import { routes } from '../../src/http/routes.ts';
import { call, openHouse } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { url, ada, packageId } = house;
const execute = '/api/v1/playground/execute';

const good = { package_id: packageId, input: 'hello' };
const post = (body: unknown, headers = {}) => call(url, 'POST', execute, { token: ada.token, body, headers });

describe('a wrong field is named with its limit', () => {
  it.each([
    ['input', { ...good, input: undefined }, /required/],
    ['input', { ...good, input: '   \n\t ' }, /1 to 10,000 characters/],
    ['input', { ...good, input: 'x'.repeat(10_001) }, /1 to 10,000 characters/],
    ['input', { ...good, input: 7 }, /string/],
    ['package_id', { input: 'x' }, /required/],
    ['package_id', { ...good, package_id: 'x'.repeat(201) }, /200/],
    ['package_version', { ...good, package_version: 1 }, /string/],
    ['session_id', { ...good, session_id: 'not-a-uuid' }, /uuid/],
    ['model', { ...good, model: '' }, />=1/],
    ['use_no_prompt', { ...good, use_no_prompt: 'yes' }, /boolean/],
    ['max_output_tokens', { ...good, max_output_tokens: 0 }, />=1/],
    ['max_output_tokens', { ...good, max_output_tokens: 1.5 }, /int/],
    ['temperature', { ...good, temperature: 3 }, /<=2/],
    ['stream', { ...good, stream: 'yes' }, /true or false/],
    ['input', { ...good, input: 'a\0b' }, /NUL/],
    ['input', { ...good, input: 'a\ud800b' }, /surrogate/],
    ['variables', { ...good, variables: { 'a\0b': 'x' } }, /NUL/],
    ['variables', { ...good, variables: { 'a\ud800b': 'x' } }, /surrogate/],
    ['variables.topic.0', { ...good, variables: { topic: [{ '\0': 'x' }] } }, /NUL/],
    ['', { ...good, 'a\0b': 'x' }, /NUL/],
    ['package_id', { ...good, packageId }, /twice/],
  ])('%s (case %#)', async (field, body, limit) => {
    const { status, json, headers } = await post(body);
    expect(status).toBe(400);
    expect(headers['content-type']).toBe('application/problem+json');
    expect(json).toMatchObject({ error: 'validation_error', status: 400, instance: execute });
    expect(json.errors[0].field).toBe(field);
    expect(json.errors[0].message).toMatch(limit);
    expect(json.request_id).toBe(headers['x-request-id']);
  });

  it.each([
    ['/playground/sessions?limit=0', 'limit'],
    ['/playground/sessions?limit=-5', 'limit'],
    ['/playground/sessions?limit=1.5', 'limit'],
    ['/playground/sessions?limit=101', 'limit'],
    ['/playground/sessions?limit=ten', 'limit'],
    ['/playground/sessions?offset=-1', 'offset'],
    ['/playground/sessions?cursor=nonsense', 'cursor'],
    ['/playground/credits/history?type=gift', 'type'],
    ['/playground/runs/not-a-uuid', 'run_id'],
    ['/packages?limit=1000', 'limit'],
  ])('GET %s names %s', async (path, field) => {
    const { status, json } = await call(url, 'GET', `/api/v1${path}`, { token: ada.token });
    expect(status).toBe(400);
    expect(json.error).toBe('validation_error');
    expect(json.errors[0].field).toBe(field);
  });

  it('accepts 10,000 characters after trimming, however many bytes they are', async () => {
    expect((await post({ ...good, input: ` ${'é'.repeat(10_000)} `, use_no_prompt: true })).status).toBe(200);
    expect((await post({ ...good, input: '😀'.repeat(10_001) })).status).toBe(400);
  });
});

describe('a body that cannot be read', () => {
  it.each([
    ['cut-off JSON', 400, 'malformed_json', '{"package_id": '],
    ['a form', 400, 'malformed_json', 'package_id=x&input=y'],
    ['no UTF-8', 400, 'malformed_json', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
    ['a list', 400, 'validation_error', '[1, 2]'],
    ['a text', 400, 'validation_error', '"text"'],
    ['null', 400, 'validation_error', 'null'],
    ['nothing', 400, 'validation_error', ''],
    ['more than 256 kB', 413, 'request_too_long', JSON.stringify({ ...good, more: 'x'.repeat(256 * 1024) })],
    ['nearly 2 MB', 413, 'request_too_long', JSON.stringify({ ...good, more: 'x'.repeat(1_900_000) })],
    ['deeply nested', 400, 'validation_error', `${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}`],
  ])('(%s) is answered %i %s', async (_, expected, code, body) => {
    const { status, json } = await post(body);
    expect([status, json.error]).toEqual([expected, code]);
  });

  it('is read to its end, so that the answer arrives and the connection goes on (spec 11.3)', async () => {
    const { status, headers } = await post(JSON.stringify({ ...good, more: 'x'.repeat(1_900_000) }));
    expect(status).toBe(413);
    expect(headers.connection).not.toBe('close');
  });

  it('is no way to change what objects are', async () => {
    expect(
      (await post('{"__proto__": {"polluted": true}, "constructor": {"x": 1}, "package_id": "haiku", "input": "x"}'))
        .status,
    ).toBe(200);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });
});

describe('a route or method that is not there', () => {
  it.each(['/api', '/api/v1', '/api/v1/playground', '/api/v1/playground/nothing', '/trpc/nothing.here'])(
    '%s is 404',
    async (path) => {
      const { status, text } = await call(url, 'GET', path, { token: ada.token });
      expect(status).toBe(404);
      expect(text).toContain('route_not_found');
    },
  );

  it.each([
    ['DELETE', execute, 'POST, GET'],
    ['HEAD', execute, 'GET'],
    ['GET', '/api/v1/playground/run', 'POST'],
    ['PUT', '/api/v1/packages', 'GET, POST'],
    ['POST', '/healthz', 'GET'],
    ['OPTIONS', '/api/v1/playground/credits', 'GET'],
  ])('%s %s is 405 and names what is allowed', async (method, path, allowed) => {
    const { status, headers } = await call(url, method, path, { token: ada.token });
    expect(status).toBe(405);
    expect(headers.allow).toBe(allowed);
  });
});

describe('who is not known', () => {
  const guarded = routes.filter((route) => 'procedure' in route && !route.open);
  it.each(guarded.map(({ method, path }) => [method, path]))(
    '%s %s asks for a token, and refuses a bad one',
    async (method, path) => {
      const there = `/api/v1${path.replace(/:\w+(\{[^}]*\})?/, packageId)}`;
      const nobody = await call(url, method, there);
      expect([nobody.status, nobody.json.error]).toEqual([401, 'authentication_required']);
      expect(nobody.headers['www-authenticate']).toBe('Bearer');
      const stranger = await call(url, method, there, { token: 'prpm_not-a-token' });
      expect([stranger.status, stranger.json.error]).toEqual([401, 'invalid_token']);
    },
  );
});

describe('lists', () => {
  it('go on where the page before ended', async () => {
    const reader = await house.person('reader');
    for (let i = 0; i < 3; i += 1)
      await call(url, 'POST', execute, { token: reader.token, body: { ...good, input: `run ${i}` } });
    const get = (path: string) => call(url, 'GET', `/api/v1/playground/${path}`, { token: reader.token });

    const all = await get('sessions');
    const first = await get('sessions?limit=2');
    const second = await get(`sessions?limit=2&cursor=${first.json.next_cursor}`);
    expect(first.json).toMatchObject({ total: 3, pagination: { limit: 2, offset: 0 } });
    expect([...first.json.sessions, ...second.json.sessions]).toEqual(all.json.sessions);
    expect(second.json.next_cursor).toBeNull();
    expect(JSON.stringify(all.json)).not.toContain('exchanges');
    expect((await get('sessions?limit=2&offset=2')).json.sessions).toHaveLength(1);

    const history = await get('credits/history?type=spend');
    expect(history.json.transactions.map(({ amount }: { amount: number }) => amount)).toEqual([-1, -1, -1]);
    const credits = await get('credits');
    expect(credits.json.balance).toBe(100_002);
    expect(credits.headers['prpm-credits-remaining']).toBe('100002');
  });

  it('find packages, and read one with a scope in its name', async () => {
    const body = {
      name: '@ada/sonnet',
      version: '0.1.0',
      prompt: 'Write a sonnet.',
      tags: ['verse'],
      suggested_inputs: [{ title: 'Sea', suggested_input: 'The sea' }],
    };
    const published = await call(url, 'POST', '/api/v1/packages', { token: ada.token, body });
    expect(published.status).toBe(201);
    const found = await call(url, 'GET', '/api/v1/packages?query=sonnet', { token: ada.token });
    expect(found.json.packages.map(({ name }: { name: string }) => name)).toEqual(['@ada/sonnet']);
    for (const name of ['@ada/sonnet', '@ada%2Fsonnet', published.json.package_id]) {
      const { json } = await call(url, 'GET', `/api/v1/packages/${name}`, { token: ada.token });
      expect(json).toMatchObject({
        name: '@ada/sonnet',
        latest_version: '0.1.0',
        suggested_inputs: [{ title: 'Sea' }],
      });
    }
    const again = await call(url, 'POST', '/api/v1/packages', {
      token: ada.token,
      body: { ...body, prompt: 'Another.' },
    });
    expect([again.status, again.json.error]).toEqual([409, 'conflict']);
    const theirs = await call(url, 'POST', '/api/v1/packages', {
      token: house.bob.token,
      body: { ...body, version: '0.2.0' },
    });
    expect([theirs.status, theirs.json.error]).toEqual([403, 'forbidden']);
  });

  it('tell what a run would cost, and the refusal that it would meet', async () => {
    const path = '/api/v1/playground/estimate';
    const likely = await call(url, 'POST', path, {
      token: ada.token,
      body: { package_id: 'haiku', input: 'hello', model: 'opus' },
    });
    expect(likely.json).toMatchObject({ estimated_credits: 5, can_afford: true, model: 'opus', refusal: null });
    expect(likely.json.current_balance).toBe(likely.json.balance);
    const refused = await call(url, 'POST', path, {
      token: ada.token,
      body: { package_id: 'nowhere', input: 'hello' },
    });
    expect(refused.json.refusal).toMatchObject({ code: 'package_not_found', status: 404 });
  });
});

it('is healthy', async () => {
  for (const path of ['/healthz', '/readyz', '/api/v1/health']) {
    expect((await call(url, 'GET', path)).json.status).toBe('ok');
  }
});
