import { afterAll, describe, expect, it } from 'vitest';
import { differsOnCluster } from '../harness/tools.ts';
import { all, call, events, openHouse } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { url, ada, packageId, database } = house;
const execute = '/api/v1/playground/execute';

const run = (input: string, model = 'sonnet') =>
  call(url, 'POST', execute, { token: ada.token, body: { package_id: packageId, input, model } });
const balance = async () => (await call(url, 'GET', '/api/v1/playground/credits', { token: ada.token })).json;

describe.each(['sonnet', 'gpt-4o-mini'])('what %s answers badly', (model) => {
  it.each([
    ['status=401', 503, 'provider_not_configured', undefined],
    ['status=403', 503, 'provider_not_configured', undefined],
    ['status=400', 502, 'provider_error', undefined],
    ['status=429 retry-after=20', 503, 'provider_unavailable', '20'],
    ['status=500 retry-after=7', 503, 'provider_unavailable', '7'],
    ['status=529 retry-after=9', 503, 'provider_unavailable', '9'],
  ])('[[sandbox: %s]] becomes %i %s and costs nothing (spec 5.4)', async (directive, expected, code, retryAfter) => {
    const before = await balance();
    const { status, json, headers, text } = await run(`hello [[sandbox: ${directive}]]`, model);
    expect([status, json.error]).toEqual([expected, code]);
    expect(headers['retry-after']).toBe(retryAfter ?? headers['retry-after']);
    expect(json.details).toMatchObject({ status: 'released', credits_spent: 0 });
    expect(text).not.toMatch(/sk-ant|sandbox-|req_0|https?:|stack|\.ts/);
    const after = await balance();
    expect([after.balance, after.held]).toEqual([before.balance, 0]);
    const [row] = await database.owner`select status, error, credits::int from runs order by id desc limit 1`;
    expect(row).toEqual({ status: 'released', error: code, credits: 0 });
  });

  it('cut off in mid-answer is settled by what was delivered, and says so', async () => {
    const { status, json } = await run('hello [[sandbox: cut=5]]', model);
    expect([status, json.error]).toEqual([503, 'provider_unavailable']);
    expect(json.details).toMatchObject({ status: 'failed', estimated: true });
    expect(json.details.credits_spent).toBeGreaterThanOrEqual(1);
    expect(json.details.response).not.toBe('');

    const list = await all(
      events(url, 'POST', execute, {
        token: ada.token,
        body: { package_id: packageId, input: 'hello [[sandbox: cut=5]]', model },
      }),
    );
    expect(list.at(-1)).toMatchObject({
      event: 'run.failed',
      data: { error: 'provider_unavailable', retry_after: 5, receipt: { status: 'failed', estimated: true } },
    });
  });

  it('without a usage report is counted by us and never free', async () => {
    const { status, json } = await run('hello [[sandbox: no-usage]]', model);
    expect(status).toBe(200);
    expect(json).toMatchObject({ status: 'completed', estimated: true });
    expect(json.credits_spent).toBeGreaterThanOrEqual(1);
    expect(json.tokens.output).toBeGreaterThan(0);
  });

  it('with NUL characters, which PostgreSQL cannot store, is settled and charged, with U+FFFD for each', async () => {
    const { status, json } = await run('hello [[sandbox: tokens=40 nul]]', model);
    expect(status).toBe(200);
    expect(json).toMatchObject({ status: 'completed', estimated: false });
    expect(json.credits_spent).toBeGreaterThanOrEqual(1);
    expect(json.response).toMatch(/^word( \ufffdword)+$/);
    const [row] = await database.owner`select answer from run_texts where run_id = ${json.run_id}`;
    expect(row?.answer).toBe(json.response);
  });

  it('with NUL characters in its reason is released at once, with U+FFFD for each', async () => {
    const { status, json } = await run('hello [[sandbox: status=400 nul]]', model);
    expect([status, json.error]).toEqual([502, 'provider_error']);
    expect(json.details).toMatchObject({ status: 'released', credits_spent: 0 });
    const [row] = await database.owner`select error_reason from runs order by id desc limit 1`;
    expect(row?.error_reason).toContain('this \ufffdinput \ufffdwas \ufffdrefused');
  });

  it('with a report of more tokens than can be is counted by us and never free', async () => {
    const { status, json } = await run('hello [[sandbox: usage=input:3000000000,output:50]]', model);
    expect(status).toBe(200);
    expect(json).toMatchObject({ status: 'completed', estimated: true });
    expect(json.credits_spent).toBeGreaterThanOrEqual(1);
    expect(json.tokens.input).toBeLessThan(1_000);
  });

  it('too late is a timeout that costs nothing', async () => {
    await database.owner`update settings set first_token_timeout_ms = 150, run_timeout_ms = 1000`;
    const { status, json } = await run('hello [[sandbox: hang]]', model);
    await database.owner`update settings set first_token_timeout_ms = 30000, run_timeout_ms = 120000`;
    expect([status, json.error]).toEqual([504, 'provider_timeout']);
    expect(json.details.credits_spent).toBe(0);
  });
});

it('tokens and cost are what the provider reported, exactly', async () => {
  const { json } = await run('hello [[sandbox: usage=input:1200,cached:400,cache_write:100,output:77]]');
  expect(json.tokens).toEqual({ input: 1200, cached: 400, cache_write: 100, output: 77 });
  const [row] = await database.owner`
    select r.cost = (700 * p.input + 400 * coalesce(p.cached_read, p.input) + 100 * coalesce(p.cache_write, p.input) + 77 * p.output) * 0.000001 as exact
    from runs r join model_prices p on p.id = r.price_id where r.id = ${json.run_id}`;
  expect(row?.exact).toBe(true);
});

it.skipIf(differsOnCluster('the test refuses it by a trigger'))(
  'a report that the database cannot take is left out, and the run charged as one without',
  async () => {
    await database.owner.unsafe(`
    create function overflow() returns trigger language plpgsql as $$
    begin
      raise exception 'out of range' using errcode = '22003';
    end $$;
    create trigger overflow before update on runs for each row when (new.input_tokens = 4321) execute function overflow()`);
    const { status, json } = await run('hello [[sandbox: tokens=40 usage=input:4321,output:77]]', 'gpt-4o-mini');
    await database.owner.unsafe('drop trigger overflow on runs; drop function overflow()');
    expect([status, json.status, json.estimated, json.tokens.output]).toEqual([200, 'completed', true, 40]);
    expect(json.credits_spent).toBeGreaterThanOrEqual(1);
  },
);

it('a provider without a key says so, and the others work', async () => {
  const other = await house.another({ OPENAI_API_KEY: 'sk-xxxxxxxxxxxxx' });
  const body = { package_id: packageId, input: 'hello' };
  const without = await call(other.url, 'POST', execute, { token: ada.token, body: { ...body, model: 'gpt-4o' } });
  expect([without.status, without.json.error]).toEqual([503, 'provider_not_configured']);
  expect((await call(other.url, 'POST', execute, { token: ada.token, body })).status).toBe(200);
});

it('the books balance after all of it', async () => {
  expect(await house.audit()).toEqual([]);
});
