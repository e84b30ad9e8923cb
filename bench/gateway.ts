// What people use instead: an LLM gateway from npm (@portkey-ai/gateway), on the same machine, with the same client and stand-in.
// It checks no key of its own, keeps no books and has no limits in the form that npm has: it is what a proxy alone costs.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { choosePort } from '../sandbox/demo/ports.ts';
import { expectCleanAudit, median, startDatabase } from './database.ts';
import { drive, residentMegabytes, startProcess } from './http.ts';
import type { Length, Report } from './report.ts';

/** With the HTTP adapter of its time: with the newest that its range allows, its streams answer 500 (headers that cannot be changed). */
const GATEWAY = {
  private: true,
  dependencies: { '@portkey-ai/gateway': '1.15.2' },
  overrides: { '@hono/node-server': '1.13.8' },
};
const people = 64;
const QUESTION = 'Please look at this. '.repeat(25);
const MODEL = 'claude-sonnet-4-6';

/** gateway_runs_per_s, ours_vs_gateway at 1, 16 and 64 connections; first_token_added_*_ms and *_rss_mb of both with 64 streams. */
export async function measureGateway(report: Report, { quick }: Length): Promise<void> {
  const seconds = quick ? 3 : 10;
  const directory = mkdtempSync(join(tmpdir(), 'prpm-gateway-'));
  const database = await startDatabase(people);
  const processes: ChildProcess[] = [];
  const start = async (file: string, args: string[], environment: NodeJS.ProcessEnv = {}) => {
    const started = await startProcess(file, args, environment);
    processes.push(started.process);
    return started;
  };
  try {
    writeFileSync(join(directory, 'package.json'), JSON.stringify(GATEWAY));
    await promisify(execFile)('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: directory });
    const gateway = await startGateway(join(directory, 'node_modules/@portkey-ai/gateway/build/start-server.js'));
    processes.push(gateway.process);

    const { sql, appUrl } = database;
    const tokens = await sql<{ token: string }[]>`
      select t.token from generate_series(1, ${people}) n, ops.create_token(bench_user(n)::text, 'bench', reason => 'bench') t`;
    const provider = async (...args: string[]) => (await start('sandbox/providers/start.ts', args)).url;
    const atOnce = await provider('--first-token-ms', '0', '--token-ms', '0');
    const paced = await provider('--first-token-ms', '400', '--token-ms', '25', '--answers', 'composed');
    const serve = (at: string) =>
      start('src/main.ts', [], {
        ...{ APP_DATABASE_URL: appUrl, PORT: '0', HOST: '127.0.0.1', LOG_LEVEL: 'info' },
        ...{ ANTHROPIC_API_KEY: 'sandbox', ANTHROPIC_BASE_URL: at },
      });

    const ours = (url: string, stream: boolean) => ({
      url: `${url}/api/v1/playground/execute`,
      headers: tokens.map(({ token }) => ({ authorization: `Bearer ${token}` })),
      bodies: [JSON.stringify({ package_id: 'bench', input: QUESTION, ...(stream && { stream }) })],
    });
    const key = { 'x-api-key': 'sandbox', 'anthropic-version': '2023-06-01' };
    const message = { model: MODEL, max_tokens: 4096, messages: [{ role: 'user', content: QUESTION }] };
    const direct = (url: string, stream: boolean) => ({
      url: `${url}/v1/messages`,
      headers: [key],
      bodies: [JSON.stringify({ ...message, ...(stream && { stream }) })],
    });
    const theirs = (url: string, stream: boolean) => ({
      ...direct(gateway.url, stream),
      headers: [{ ...key, 'x-portkey-provider': 'anthropic', 'x-portkey-custom-host': `${url}/v1` }],
    });

    const server = await serve(atOnce);
    for (const load of [ours(server.url, false), theirs(atOnce, false)])
      await drive({ ...load, connections: 16, seconds: 2 });
    for (const connections of [1, 16, 64]) {
      const [rates, ratios]: [number[], number[]] = [[], []];
      for (let round = 0; round < (quick ? 1 : 3); round++) {
        const metered = await drive({ ...ours(server.url, false), connections, seconds });
        const proxied = await drive({ ...theirs(atOnce, false), connections, seconds });
        rates.push(proxied.perSecond);
        ratios.push(metered.perSecond / proxied.perSecond);
      }
      report(`gateway_runs_per_s_${connections}`, median(rates), 'requests/s');
      report(`ours_vs_gateway_${connections}`, median(ratios), 'ratio');
    }

    const streaming = await serve(paced);
    const streams = { connections: people, seconds: Math.max(8, seconds) };
    const alone = await drive({ ...streams, ...direct(paced, true), firstEvent: 'text_delta' });
    for (const [name, served, load] of [
      ['ours', streaming, { ...ours(streaming.url, true), firstEvent: 'output.delta' }],
      ['gateway', gateway, { ...theirs(paced, true), firstEvent: 'text_delta' }],
    ] as const) {
      await drive({ ...load, connections: people, seconds: 4 });
      const through = await drive({ ...streams, ...load });
      report(`${name}_first_token_added_p50_ms`, through.firstP50 - alone.firstP50, `ms, ${people} streams`);
      report(`${name}_first_token_added_p99_ms`, through.firstP99 - alone.firstP99, `ms, ${people} streams`);
      report(`${name}_rss_mb`, residentMegabytes(served.process), 'MB after them');
    }
    await expectCleanAudit(sql);
  } finally {
    for (const each of processes) each.kill('SIGKILL');
    await database.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function startGateway(program: string) {
  const port = await choosePort(0); // it knows no port 0
  const child = spawn(process.execPath, [program, '--headless', `--port=${port}`], { stdio: 'ignore' });
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; attempt < 100; attempt++) {
    if (child.exitCode !== null) throw new Error(`The gateway ended with ${child.exitCode}.`);
    const isReady = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return { url, process: child };
    await sleep(100);
  }
  child.kill('SIGKILL');
  throw new Error('The gateway did not answer within ten seconds.');
}
