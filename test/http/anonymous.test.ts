// A visitor who is not signed in, over HTTP and tRPC. Spec 5.9.
import { createTRPCClient, httpLink } from '@trpc/client';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { RunningServer } from '../../src/server.ts';
import type { AppRouter } from '../../src/trpc/_app.ts';
import { all, call, events, type House, openHouse, until } from './house.ts';

const path = '/api/v1/playground/anonymous-run';
const body = { package_id: 'haiku', input: 'hello' };
let house: House;
let server: RunningServer;

beforeAll(async () => {
  house = await openHouse();
  server = await house.another({ TRUSTED_PROXIES: '127.0.0.1' });
});
afterAll(() => house.close());
beforeEach(() => house.database.owner`delete from anonymous_visits`);

const from = (address: string) => ({ 'x-forwarded-for': address });
const ask = (address: string, more = {}) =>
  call(server.url, 'POST', path, { body: { ...body, ...more }, headers: from(address) });
const used = async () => (await house.database.ops`select runs, used_dollars, held_dollars from ops.anonymous_use`)[0];

it('answers with the names of the reference and how to sign up, once (spec 5.9)', async () => {
  const first = await ask('192.0.2.1');
  expect([first.status, first.json]).toMatchObject([
    200,
    {
      ...{ response: expect.stringMatching(/\w/), tokens_used: expect.any(Number), duration_ms: expect.any(Number) },
      ...{ model: 'gpt-4o-mini', login_required: true, login_url: '/login' },
      message: 'Sign up to get 5 free credits and continue testing packages!',
    },
  ]);
  expect(first.headers['ratelimit-policy']).toBe('"reads";q=60;w=60');
  const second = await ask('192.0.2.1');
  expect([second.status, second.json]).toMatchObject([
    429,
    { error: 'limit_exceeded', login_required: true, login_url: '/login', retry_at: expect.any(String) },
  ]);
  expect(Number(second.headers['retry-after'])).toBeGreaterThan(0);
  expect((await ask('192.0.2.2')).status).toBe(200);
});

it('believes no address that the caller wrote himself (spec 5.9)', async () => {
  const direct = (address: string) => call(house.url, 'POST', path, { body, headers: from(address) });
  expect((await direct('203.0.113.1')).status).toBe(200);
  expect((await direct('203.0.113.2')).json.error).toBe('limit_exceeded');
});

it('is one run and one call of the provider for 50 at once (spec 5.9)', async () => {
  const before = house.standIns.calls.openai.calls;
  const answers = await Promise.all(Array.from({ length: 50 }, () => ask('192.0.2.3')));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(new Set(answers.map(({ json }) => json.error))).toEqual(new Set([undefined, 'limit_exceeded']));
  expect(house.standIns.calls.openai.calls - before).toBe(1);
});

it('streams as other runs do, and can be followed by its id alone while it runs (spec 5.2, 5.9)', async () => {
  const sent = await all(events(server.url, 'POST', path, { body, headers: from('192.0.2.4') }));
  expect(sent[0]?.event).toBe('run.created');
  expect(sent.at(-1)).toMatchObject({ event: 'run.completed', data: { status: 'completed', credits_spent: 0 } });
  expect(sent.at(-1)?.data.cost).toBeUndefined();
  expect(sent.at(-1)?.data).toMatchObject({ login_required: true, login_url: '/login' });

  const client = createTRPCClient<AppRouter>({
    links: [httpLink({ url: `${server.url}/trpc`, headers: from('192.0.2.5') })],
  });
  const { runId, loginRequired } = await client.runs.startAnonymous.mutate({ packageId: 'haiku', input: 'hello' });
  expect(loginRequired).toBe(true);
  const input = encodeURIComponent(JSON.stringify({ runId }));
  const followed = await call(server.url, 'GET', `/trpc/runs.streamAnonymous?input=${input}`);
  for (const type of ['run.created', 'output.delta', 'usage', 'run.completed']) expect(followed.text).toContain(type);
});

it("is nobody's: neither a user's run nor another visitor's can be read or stopped by it (spec 5.9)", async () => {
  const { json } = await ask('192.0.2.6');
  for (const what of ['', '/charge', '/stream']) {
    const read = await call(server.url, 'GET', `/api/v1/playground/runs/${json.run_id}${what}`, {
      token: house.ada.token,
    });
    expect(read.status, what).toBe(404);
  }
  const signedIn = await call(server.url, 'POST', path, { body, token: house.ada.token, headers: from('192.0.2.7') });
  expect([signedIn.status, signedIn.json.error]).toEqual([403, 'forbidden']);
  const bad = await call(server.url, 'POST', path, { body, token: 'prpm_nonsense', headers: from('192.0.2.7') });
  expect(bad.status).toBe(401);
});

it('gives the run back where the provider fails, and names wrong fields (spec 5.4, 11.3)', async () => {
  house.standIns.disturb({ status: 400 });
  const failed = await ask('192.0.2.8');
  house.standIns.disturb(null);
  expect([failed.status, failed.json.error]).toEqual([502, 'provider_error']);
  expect((await ask('192.0.2.8')).status).toBe(200);
  const wrong = await ask('192.0.2.9', { input: ' ' });
  expect([wrong.status, wrong.json.errors[0].field]).toEqual([400, 'input']);
  expect((await ask('192.0.2.9', { package_id: undefined })).json.errors[0].field).toBe('package_id');
});

it('is what /run does without a token, with names of its own for a second one (spec 5.9)', async () => {
  const run = (address: string, more = {}, url = server.url) =>
    call(url, 'POST', '/api/v1/playground/run', { body: { ...body, ...more }, headers: from(address) });
  const first = await run('192.0.2.20', { model: 'sonnet' });
  expect([first.status, first.json]).toMatchObject([
    200,
    {
      ...{ session_id: null, response: expect.stringMatching(/\w/), credits_spent: 0, credits_remaining: 0 },
      ...{ tokens_used: expect.any(Number), duration_ms: expect.any(Number), model: 'gpt-4o-mini' },
      ...{ login_required: true, login_url: '/login', message: expect.stringContaining('5 free credits') },
      conversation: [
        { role: 'user', content: 'hello' },
        { role: 'assistant', content: first.json.response },
      ],
    },
  ]);
  const second = await run('192.0.2.20');
  const month = first.headers.date === undefined ? '' : new Date(first.headers.date).toISOString().slice(0, 7);
  expect([second.status, second.json]).toMatchObject([
    403,
    {
      ...{ error: 'anonymous_quota_exceeded', limit: 1, used: 1, login_required: true, login_url: '/login' },
      details: { quotaLimit: 1, usageCount: 1, currentMonth: month, firstUsedAt: expect.any(String), quota_limit: 1 },
      callToAction: { message: expect.any(String), registrationUrl: '/register', benefits: expect.any(Array) },
      call_to_action: { registration_url: '/register' },
    },
  ]);
  expect(Number(second.headers['retry-after'])).toBeGreaterThan(0);
  // It is the same one run of the month.
  expect((await ask('192.0.2.20')).json.error).toBe('limit_exceeded');

  const streamed = await all(
    events(server.url, 'POST', '/api/v1/playground/run', { body, headers: from('192.0.2.21') }),
  );
  expect(streamed.at(-1)).toMatchObject({ event: 'run.completed', data: { login_required: true, credits_spent: 0 } });

  for (const [field, value] of Object.entries({
    ...{
      session_id: crypto.randomUUID(),
      use_no_prompt: true,
      custom_prompt: 'Answer in verse.',
      max_output_tokens: 9,
    },
  })) {
    const refused = await run('192.0.2.22', { [field]: value });
    expect([refused.status, refused.json.error], field).toEqual([401, 'authentication_required']);
    expect(refused.json.message).toContain(field);
  }
  expect((await run('192.0.2.22', { package_id: undefined })).json.errors[0].field).toBe('package_id');
  const bad = await call(server.url, 'POST', '/api/v1/playground/run', { body, token: 'prpm_nonsense' });
  expect([bad.status, bad.json.error]).toEqual([401, 'invalid_token']);
  const guide = await call(server.url, 'POST', '/api/v1/playground/execute', { body });
  expect([guide.status, guide.json.error]).toEqual([401, 'authentication_required']);
});

it('holds the budget of all to the cent under 200 visitors at once (spec 5.9)', async () => {
  await house.database.owner`update settings set anonymous_daily_budget = 0.02`;
  const answers = await Promise.all(Array.from({ length: 200 }, (_, n) => ask(`198.51.100.${n + 1}`)));
  await house.database.owner`update settings set anonymous_daily_budget = default`;
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 429]));
  expect(new Set(answers.map(({ json }) => json.error))).toEqual(new Set([undefined, 'anonymous_budget']));
  const day = await used();
  expect(day?.held_dollars).toBe('0');
  expect(Number(day?.used_dollars)).toBeLessThanOrEqual(0.02);
  expect(await house.audit()).toEqual([]);
});

it('settles what a visitor who hung up has had (spec 5.2)', async () => {
  await house.database.owner`update settings set abandon_after_ms = 0`;
  for await (const { event } of events(server.url, 'POST', path, { body, headers: from('192.0.2.10') })) {
    if (event === 'output.delta') break;
  }
  await until(async () => (await used())?.held_dollars === '0');
  await house.database.owner`update settings set abandon_after_ms = default`;
  expect(await house.audit()).toEqual([]);
});
