// GET /metrics: who may look, what runs, requests and Stripe leave there, and what the database says.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningServer } from '../../src/server.ts';
import { call, type House, openHouse } from '../http/house.ts';
import { readSamples, type Samples } from './exposition.ts';

const token = 'a-token-for-prometheus';
let house: House;
let server: RunningServer;

beforeAll(async () => {
  house = await openHouse();
  server = await house.another({ METRICS_TOKEN: token });
});
afterAll(async () => {
  expect(await house.audit()).toEqual([]);
  await house.close();
});

const scrape = async (): Promise<Samples> => readSamples((await call(server.url, 'GET', '/metrics', { token })).text);
const run = (body: object, person = house.ada) =>
  call(server.url, 'POST', '/api/v1/playground/run', {
    token: person.token,
    body: { package_id: 'haiku', input: 'rain', ...body },
  });

/** How much each sample grew while something was done. */
async function growth(act: () => Promise<unknown>): Promise<(name: string, labels?: Record<string, string>) => number> {
  const before = await scrape();
  await act();
  const after = await scrape();
  return (name, labels = {}) => after.value(name, labels) - before.value(name, labels);
}

describe('who may look', () => {
  it('is whoever has METRICS_TOKEN; a token of the playground is none (spec 11.4)', async () => {
    expect((await call(server.url, 'GET', '/metrics', { token })).status).toBe(200);
    for (const wrong of [undefined, `${token}x`, token.slice(1), house.ada.token]) {
      const answer = await call(server.url, 'GET', '/metrics', { token: wrong });
      expect([answer.status, answer.json.error]).toEqual([401, 'authentication_required']);
      expect(answer.text).not.toContain(token);
    }
  });

  it('is nobody where no token is set: there is no such route (spec 11.4)', async () => {
    expect(await call(house.url, 'GET', '/metrics', { token })).toMatchObject({
      status: 404,
      json: { error: 'route_not_found' },
    });
  });

  it('asks with GET', async () => {
    expect(await call(server.url, 'POST', '/metrics', { token })).toMatchObject({
      status: 405,
      headers: { allow: 'GET' },
    });
  });
});

describe('a scrape', () => {
  it('is in the text format, each metric with its help and type once, and without a sample twice', async () => {
    const { headers, text } = await call(server.url, 'GET', '/metrics', { token });
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    const { families, samples } = readSamples(text);
    for (const { name, type, help } of families) {
      expect([name, help, type]).toEqual([
        name,
        expect.stringMatching(/\S/),
        expect.stringMatching(/^(counter|gauge|histogram|summary)$/),
      ]);
    }
    const keys = samples.map(({ key }) => key);
    expect(keys.filter((key, at) => keys.indexOf(key) !== at)).toEqual([]);
  });

  it('names what is ours by the conventions: prpm_, base units, _total for what only grows', async () => {
    const ours = (await scrape()).families.filter(({ name }) => name.startsWith('prpm_'));
    expect(ours.length).toBeGreaterThan(30);
    for (const { name, type } of ours) {
      expect(name).toMatch(/^prpm_[a-z_]+$/);
      expect(name).not.toMatch(/_(ms|milliseconds|minutes|hours|cents|percent|kb|mb)(_|$)/);
      expect([name, name.endsWith('_total')]).toEqual([name, type === 'counter']);
      if (type === 'histogram') expect(name).toMatch(/_seconds$/);
    }
  });

  it('has no label that grows with people or packages (spec 11.4)', async () => {
    await run({});
    await call(server.url, 'GET', `/api/v1/playground/runs/${randomUUID()}`, { token: house.ada.token });
    await call(server.url, 'GET', `/made-up/${randomUUID()}`);
    await call(server.url, 'GET', `/trpc/made.up${randomUUID()}`);
    const { text } = await call(server.url, 'GET', '/metrics', { token });
    for (const secret of [
      house.ada.userId,
      house.ada.token,
      'ada',
      'haiku',
      house.packageId,
      'made-up',
      'made.up',
      token,
    ]) {
      expect(text).not.toContain(secret);
    }
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
  });
});

describe('what the process did', () => {
  it('counts a run with its ending, time, tokens, credits and cost, as its receipt has them (spec 11.4)', async () => {
    let receipt: Record<string, unknown> = {};
    const grew = await growth(async () => {
      receipt = (await run({ model: 'gpt-4o-mini' })).json;
    });
    const model = 'gpt-4o-mini';
    const { input, cached, cache_write, output } = receipt.tokens as Record<string, number>; // as the document says
    expect(grew('prpm_runs_total', { model, ending: 'completed' })).toBe(1);
    expect(grew('prpm_run_duration_seconds_count', { model })).toBe(1);
    expect(grew('prpm_run_first_token_seconds_count', { model })).toBe(1);
    expect(grew('prpm_tokens_total', { model, kind: 'output' })).toBe(output);
    expect(grew('prpm_tokens_total', { model, kind: 'input' })).toBe((input ?? 0) - (cached ?? 0) - (cache_write ?? 0));
    expect(grew('prpm_credits_charged_total', { model })).toBe(receipt.credits_spent);
    const [booked] = await house.database.owner`select cost from runs where id = ${String(receipt.run_id)}`;
    expect(grew('prpm_provider_cost_dollars_total', { model })).toBeCloseTo(Number(booked?.cost), 12);
    expect((await scrape()).value('prpm_runs_in_flight')).toBe(0);
  });

  it('counts requests by route and status, with the time they took', async () => {
    const id = randomUUID();
    const grew = await growth(() =>
      call(server.url, 'GET', `/api/v1/playground/runs/${id}`, { token: house.ada.token }),
    );
    const route = '/api/v1/playground/runs/:id';
    expect(grew('prpm_http_requests_total', { method: 'GET', route, status: '404' })).toBe(1);
    expect(grew('prpm_http_request_duration_seconds_count', { method: 'GET', route })).toBe(1);
    const elsewhere = await growth(() => call(server.url, 'BREW', '/coffee'));
    expect(
      elsewhere('prpm_http_requests_total', { method: 'other', route: 'none', status: '404' }),
    ).toBeLessThanOrEqual(1);
  });

  it('counts a refusal by its code, and no run (spec 3.7)', async () => {
    const grew = await growth(() => run({ model: 'none-such' }));
    expect(grew('prpm_run_refusals_total', { code: 'model_not_found' })).toBe(1);
    expect((await scrape()).value('prpm_runs_in_flight')).toBe(0);
  });

  it("counts a provider's failure by code (spec 5.4)", async () => {
    const grew = await growth(() => run({ model: 'gpt-4o-mini', input: 'rain [[sandbox: status=400]]' }));
    expect(grew('prpm_provider_errors_total', { provider: 'openai', code: 'provider_error' })).toBe(1);
    expect(grew('prpm_runs_total', { model: 'gpt-4o-mini', ending: 'released' })).toBe(1);
  });
});

describe('what the database says', () => {
  it('is what the operator reads there (spec 11.4)', async () => {
    const { owner } = house.database;
    await owner`update users set is_throttled = true where id = ${house.bob.userId}`;
    await call(house.url, 'GET', '/healthz');
    const fresh = await house.another({ METRICS_TOKEN: token });
    const { value } = readSamples((await call(fresh.url, 'GET', '/metrics', { token })).text);
    const [row] = await owner`
      select count(*)::int as users, sum(current_month_api_cost)::float as cost from users where closed_at is null`;
    expect(value('prpm_users')).toBe(row?.users);
    expect(value('prpm_month_cost_dollars')).toBeCloseTo(row?.cost, 12);
    expect(value('prpm_users_throttled', { by: 'operator' })).toBe(1);
    expect(value('prpm_database_up')).toBe(1);
    expect(value('prpm_free_tier_budget_dollars')).toBe(10);
    const jobs = await owner`select job from jobs`;
    for (const { job } of jobs) expect(value('prpm_job_failed', { name: job })).toBe(0);
    await owner`update users set is_throttled = false where id = ${house.bob.userId}`;
  });

  it('is told once to those who ask within five seconds', async () => {
    const fresh = await house.another({ METRICS_TOKEN: token });
    const users = async () =>
      readSamples((await call(fresh.url, 'GET', '/metrics', { token })).text).value('prpm_users');
    const before = await users();
    await house.person('carl');
    expect(await users()).toBe(before);
  });
});
