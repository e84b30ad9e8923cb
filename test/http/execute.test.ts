import { afterAll, describe, expect, it } from 'vitest';
import { call, openHouse, until } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { url, ada, bob, packageId } = house;
const execute = '/api/v1/playground/execute';

describe('a run over HTTP', () => {
  it('answers text, credits, tokens and what is left (spec 5.1)', async () => {
    const { status, json, headers } = await call(url, 'POST', execute, {
      token: ada.token,
      body: { package_id: packageId, input: ' hello ' },
    });
    expect(status).toBe(200);
    expect(json).toMatchObject({
      status: 'completed',
      credits_spent: 1,
      credits_by_kind: { signup: 1 },
      model: 'sonnet',
      package_id: packageId,
      package_version: '1.0.0',
      estimated: false,
      limits: { tier: 'unlimited' },
    });
    expect(json.session_id).toBe(json.run_id);
    expect(json.tokens_used).toBe(json.tokens.input + json.tokens.output);
    expect(json.conversation.map(({ role }: { role: string }) => role)).toEqual(['user', 'assistant']);
    expect(json.conversation[0].content).toBe('hello');
    expect(json.conversation[1].content).toBe(json.response);
    expect(json).not.toHaveProperty('cost');
    expect(headers['prpm-credits-remaining']).toBe(String(json.credits_remaining));
    expect(headers['content-type']).toBe('application/json');
    expect(await house.audit()).toEqual([]);
  });

  it('shows its cost to an administrator only', async () => {
    const admin = await house.person('root');
    await house.database.ops`select from ops.set_user(${admin.userId}, is_admin => true, reason => 'for tests')`;
    const { json } = await call(url, 'POST', execute, {
      token: admin.token,
      body: { package_id: packageId, input: 'hello' },
    });
    const [run] = await house.database.owner`select cost::text from runs where id = ${json.run_id}`;
    expect(json.cost).toBe(run?.cost);
  });

  it.each([
    ['POST', '/api/v1/playground/run', {}],
    ['GET', execute, {}],
    ['GET', execute, { 'content-type': 'application/x-www-form-urlencoded' }],
    ['POST', execute, { 'content-type': 'text/plain' }],
    ['POST', execute, { 'transfer-encoding': 'chunked' }],
  ])('%s %s reads a JSON body whatever its content type says: %o', async (method, path, headers) => {
    const body = JSON.stringify({ package_id: packageId, input: 'test' });
    const { status, json } = await call(url, method, path, { token: ada.token, body, headers });
    expect([status, json.status]).toEqual([200, 'completed']);
  });

  it('takes fields in camelCase too, and a package by its name', async () => {
    const body = {
      packageId: 'haiku',
      input: 'test',
      packageVersion: '1.0.0',
      useNoPrompt: true,
      maxOutputTokens: 300,
      model: 'gpt-4o-mini',
    };
    const { status, json } = await call(url, 'POST', execute, { token: ada.token, body });
    expect(status).toBe(200);
    expect(json).toMatchObject({ baseline: true, model: 'gpt-4o-mini', provider_model: 'gpt-4o-mini' });
  });

  it('goes on in a session, by its id or its route, with what was said before', async () => {
    const first = await call(url, 'POST', execute, { token: ada.token, body: { package_id: packageId, input: 'one' } });
    const session_id = first.json.session_id;
    const second = await call(url, 'POST', execute, {
      token: ada.token,
      body: { package_id: packageId, input: 'two', session_id },
    });
    const path = `/api/v1/playground/sessions/${session_id}/continue`;
    const third = await call(url, 'POST', path, { token: ada.token, body: { input: 'three' } });
    expect([second.status, third.status]).toEqual([200, 200]);
    expect(third.json.session_id).toBe(session_id);
    const asked = third.json.conversation.filter(({ role }: { role: string }) => role === 'user');
    expect(asked.map(({ content }: { content: string }) => content)).toEqual(['one', 'two', 'three']);

    const { json } = await call(url, 'GET', `/api/v1/playground/sessions/${session_id}`, { token: ada.token });
    expect(json.exchanges.map(({ run_id }: { run_id: string }) => run_id)).toEqual(
      [first, second, third].map((answer) => answer.json.run_id),
    );
    expect(json).toMatchObject({ run_count: 3, credits_spent: 3 });
    expect(await house.audit()).toEqual([]);
  });

  it('can be read afterwards by its owner and by nobody else', async () => {
    const { json } = await call(url, 'POST', execute, {
      token: ada.token,
      body: { package_id: packageId, input: 'mine' },
    });
    const path = `/api/v1/playground/runs/${json.run_id}`;
    const mine = await call(url, 'GET', path, { token: ada.token });
    expect(mine.json).toMatchObject({
      run_id: json.run_id,
      status: 'completed',
      question: 'mine',
      response: json.response,
    });
    for (const [method, one] of [
      ['GET', path],
      ['GET', `${path}/stream`],
      ['POST', `${path}/stop`],
    ] as const) {
      const theirs = await call(url, method, one, { token: bob.token });
      expect([theirs.status, theirs.json.error]).toEqual([404, 'run_not_found']);
    }
    const session = await call(url, 'GET', `/api/v1/playground/sessions/${json.session_id}`, { token: bob.token });
    expect([session.status, session.json.error]).toEqual([404, 'session_not_found']);
  });
});

describe('refusals', () => {
  it('are problems with their figures and say when to try again', async () => {
    const free = await house.person('free', 'free');
    const answers = [];
    for (let i = 0; i < 6; i += 1) {
      answers.push(
        await call(url, 'POST', execute, { token: free.token, body: { package_id: packageId, input: 'hello' } }),
      );
    }
    const refused = answers.at(-1);
    expect(answers.slice(0, 5).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(refused?.status).toBe(429);
    expect(refused?.json).toMatchObject({
      error: 'rate_limited',
      limit: 5,
      unit: 'attempts',
      title: 'Too many requests',
    });
    expect(Number(refused?.headers['retry-after'])).toBeGreaterThan(0);
    expect(refused?.headers['ratelimit-policy']).toBe('"runs";q=5;w=60');
    expect(refused?.headers.ratelimit).toMatch(/^"runs";r=0;t=\d+$/);
    expect(answers[0]?.headers.ratelimit).toMatch(/^"runs";r=4;t=\d+$/);
  });

  it('for want of credits say what is needed and where to buy', async () => {
    const [poor] = await house.database.ops`select user_id, token from ops.create_user('poor@example.com', 'poor')`;
    await house.database.ops`select from ops.revoke_credits(${poor?.user_id}, 5, 'for tests')`;
    const { status, json } = await call(url, 'POST', execute, {
      token: poor?.token,
      body: { package_id: packageId, input: 'hello' },
    });
    expect(status).toBe(402);
    expect(json).toMatchObject({
      error: 'insufficient_credits',
      message: 'Insufficient credits. Need 1 but have 0',
      required_credits: 1,
      available_credits: 0,
      purchase_url: '/playground/credits/buy',
    });
  });

  it.each([
    [{ package_id: 'nowhere', input: 'x' }, 404, 'package_not_found'],
    [{ package_id: 'haiku', input: 'x', package_version: '9.9.9' }, 404, 'version_not_found'],
    [{ package_id: 'haiku', input: 'x', model: 'gpt-9' }, 404, 'model_not_found'],
    [{ package_id: 'haiku', input: 'x', session_id: '00000000-0000-4000-8000-000000000000' }, 404, 'session_not_found'],
  ])('%o is refused with %i %s', async (body, expected, code) => {
    const { status, json } = await call(url, 'POST', execute, { token: ada.token, body });
    expect([status, json.error]).toEqual([expected, code]);
  });
});

it('counts reads by the minute and refuses what is too much (spec 3.6)', async () => {
  const reader = await house.person('reader');
  await house.database.owner`update settings set reads_per_minute = 2`;
  const read = () => call(url, 'GET', '/api/v1/playground/credits', { token: reader.token });
  const [one, two, three] = [await read(), await read(), await read()];
  await house.database.owner`update settings set reads_per_minute = 100000`;
  expect([one.status, two.status, three.status]).toEqual([200, 200, 429]);
  expect(one.headers['ratelimit-policy']).toBe('"reads";q=2;w=60');
  expect(three.json).toMatchObject({ error: 'rate_limited', limit: 2 });
  expect(Number(three.headers['retry-after'])).toBeGreaterThan(0);
});

it('counts what visitors ask for by the minute, and says so in the same headers (spec 3.6)', async () => {
  await house.database.owner`update settings set visitor_reads_per_minute = 1`;
  const visit = () => call(url, 'GET', '/api/v1/playground/packages/haiku/top-results');
  const [one, two] = [await visit(), await visit()];
  const overTrpc = await fetch(`${url}/trpc/sessions.results?input=${encodeURIComponent('{"packageId":"haiku"}')}`);
  await house.database.owner`update settings set visitor_reads_per_minute = default`;
  expect([one.status, two.status, overTrpc.status]).toEqual([200, 429, 429]);
  expect([one.headers['ratelimit-policy'], one.headers.ratelimit]).toEqual(['"reads";q=1;w=60', '"reads";r=0;t=60']);
  expect(two.json).toMatchObject({ error: 'rate_limited', limit: 1 });
  for (const header of [two.headers['retry-after'], overTrpc.headers.get('retry-after')]) {
    expect(Number(header)).toBeGreaterThan(0);
  }
  expect(overTrpc.headers.get('ratelimit')).toMatch(/^"reads";r=0;t=\d+$/);
});

it('takes two statements for a run, authentication and models apart', async () => {
  const transactions = async () => {
    const [row] = await house.database
      .owner`select xact_commit::int as n from pg_stat_database where datname = current_database()`;
    return Number(row?.n);
  };
  /** What one instance does from its start to its end, counted by PostgreSQL when its connections have gone. */
  const statements = async (runs: number, atLeastMs: number) => {
    const before = await transactions();
    const begun = performance.now();
    const server = await house.another({ DATABASE_POOL: '1' });
    for (let i = 0; i < runs; i += 1) {
      await call(server.url, 'POST', execute, {
        token: ada.token,
        body: { package_id: packageId, input: 'count', max_output_tokens: 20 },
      });
    }
    const ms = performance.now() - begun;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, atLeastMs - ms)));
    await server.close();
    await until(async () => {
      const [row] = await house.database.owner`
        select count(*)::int as n from pg_stat_activity where datname = current_database() and application_name = 'prpm-playground'`;
      return row?.n <= 1 + 2 + 4; // those of the first instance
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { ms, count: (await transactions()) - before };
  };
  // What else is at work in the database only adds to it, such as another instance's jobs when a minute begins.
  const least = async (runs: number, atLeastMs: number) => {
    const tries = [await statements(runs, atLeastMs), await statements(runs, atLeastMs)];
    return tries.reduce((one, other) => (one.count <= other.count ? one : other));
  };
  const many = await least(21, 0);
  // The same time with one run: what an instance does by the clock is in both.
  const few = await least(1, many.ms);
  // The token and the models are asked for again after five seconds.
  const byTheClock = 2 * Math.floor(many.ms / 5000);
  expect(many.count - few.count).toBeGreaterThanOrEqual(35);
  expect(many.count - few.count).toBeLessThanOrEqual(46 + byTheClock);
});
