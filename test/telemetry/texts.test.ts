// What people write, what models answer and what opens doors goes through every path, and stands in no log, metric, error or
// statement afterwards. Spec 11.4.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RunningServer } from '../../src/server.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { all, call, events, type House, openHouse, until } from '../http/house.ts';

const folder = mkdtempSync(join(tmpdir(), 'prpm-texts-'));
const file = join(folder, 'log');
const log = createLog('trace', file);
const mark = 'zebracrossing';
const secrets = {
  METRICS_TOKEN: 'metrics-token-of-the-test',
  CRON_SECRET: 'cron-secret-of-the-test',
};

let house: House;
let server: RunningServer;
beforeAll(async () => {
  house = await openHouse({ firstTokenMs: 1, tokenMs: 1, answers: 'composed' });
  server = await house.another(secrets, log);
});
afterAll(async () => {
  await house.close();
  rmSync(folder, { recursive: true });
});

it('no text, token or key that went through is in a log line, a metric, an error of ours or a statement', async () => {
  const { ada } = house;
  const { token } = ada;
  const api = '/api/v1/playground';
  const post = (path: string, body: unknown, headers = {}) => call(server.url, 'POST', path, { token, body, headers });
  const ask = (more: string, fields = {}) => ({ package_id: mark, input: `${mark} ${more}`, ...fields });
  const said: string[] = [];
  const failed = (answers: { text: string; status: number }[]) => {
    for (const { text, status } of answers) if (status >= 400) said.push(text);
  };

  await post('/api/v1/packages', { name: mark, version: '1.0.0', prompt: `Say ${mark}.`, description: mark });
  const run = await post(`${api}/execute`, ask('hello'));
  expect(run.status).toBe(200);
  await all(events(server.url, 'POST', `${api}/execute`, { token, body: ask('stream') }));
  failed(
    await Promise.all([
      ...['status=401', 'status=400', 'status=529', 'reset', 'malformed', 'no-usage'].map((how) =>
        post(`${api}/execute`, ask(`[[sandbox: ${how}]]`)),
      ),
      post(`${api}/execute`, ask('hello', { model: mark })),
      post(`${api}/execute`, ask('hello', { session_id: mark })),
      post(`${api}/execute`, ask('\0')),
      post(`${api}/execute`, `{"input": "${mark}`),
      post(`${api}/estimate`, ask('estimate')),
      post(`${api}/feedback`, { run_id: run.json.run_id, text: mark, comment: mark, rating: mark }),
      post(`/trpc/runs.execute`, { packageId: mark, input: mark, model: mark }),
      call(server.url, 'GET', `/trpc/runs.estimate?input=${encodeURIComponent(JSON.stringify({ input: mark }))}`, {
        token,
      }),
      call(server.url, 'GET', `${api}/credits`, { token: `prpm_${mark}` }),
      call(server.url, 'GET', `${api}/credits`, { headers: { authorization: `Basic ${mark}` } }),
      call(server.url, 'GET', `${api}/sessions?q=${mark}&cursor=${mark}`, { token }),
      call(server.url, 'GET', `${api}/shared/${mark}`),
      call(server.url, 'GET', `/api/v1/unsubscribe?token=${mark}`),
      post(`${api}/webhooks/stripe/credits`, mark, { 'stripe-signature': mark }),
      post(`${api}/credits/cron/reset`, {}, { authorization: `Bearer ${mark}` }),
      call(server.url, 'GET', '/healthz', {
        headers: { 'x-request-id': `<${mark}>`, cookie: mark, 'user-agent': mark },
      }),
    ]),
  );
  // Errors that PostgreSQL itself would quote from: in what it says beside its message, and in the message.
  for (const check of [`question not like '%odd%'`, `question not like '%odd%' or question::integer > 0`]) {
    await house.database.owner.unsafe(`alter table run_texts add constraint odd check (${check})`);
    failed([await post(`${api}/execute`, ask('odd'))]);
    await house.database.owner.unsafe('alter table run_texts drop constraint odd');
  }
  await house.database.ops`select ops.expire_holds()`;

  const metrics = await call(server.url, 'GET', '/metrics', { token: secrets.METRICS_TOKEN });
  expect(metrics.status).toBe(200);
  await until(async () => (await house.database.owner`select from runs where status = 'running'`).length <= 2);
  log.flush();
  const written = readFileSync(file, 'utf8');
  expect(written.split('\n').length).toBeGreaterThan(20);

  const superuser = postgres(house.database.superuserUrl, { max: 1 });
  const statements = await superuser<{ query: string }[]>`
    select query from pg_stat_activity where application_name = 'prpm-playground' and datname = current_database()`;
  await superuser.end();
  expect(statements.length).toBeGreaterThan(0);

  const places = { log: written, metrics: metrics.text, statements: statements.map(({ query }) => query).join('\n') };
  for (const secret of [mark, token, 'sandbox-anthropic', 'sandbox-openai', ...Object.values(secrets)]) {
    for (const [place, content] of Object.entries(places))
      expect([place, content.includes(secret)]).toEqual([place, false]);
  }
  // Errors may name the field or package that was asked for, never a key, another's words, a statement or a stack.
  expect(said.length).toBeGreaterThan(10);
  for (const text of said)
    expect(text).not.toMatch(/of-the-test|sandbox-anthropic|insert into|select |node_modules|\.ts:\d/i);
});
