// The whole way of a run over HTTP, against a bare route of the same server, and streams against the provider itself.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expectCleanAudit, median, startDatabase } from './database.ts';
import { type Load, resultSchema } from './load-format.ts';
import type { Length, Report } from './report.ts';

const run = promisify(execFile);
const node = process.execPath;
const people = 64;

/** So far apart, people begin at any time of each other's streams, and not all in one moment. */
const apartMs = 40;

/** http_runs_per_s, http_p50_ms, http_p99_ms, http_vs_bare, first_token_added_*, statements_per_run, server_rss_*. */
export async function measureHttp(report: Report, { quick }: Length): Promise<void> {
  const seconds = quick ? 3 : 10;
  const database = await startDatabase(people);
  const processes: ChildProcess[] = [];
  const start = async (file: string, args: string[], environment: NodeJS.ProcessEnv = {}) => {
    const started = await startProcess(file, args, environment);
    processes.push(started.process);
    return started;
  };
  try {
    const { sql, appUrl } = database;
    const tokens = await sql<{ token: string }[]>`
      select t.token from generate_series(1, ${people}) n, ops.create_token(bench_user(n)::text, 'bench', reason => 'bench') t`;
    const headers = tokens.map(({ token }) => ({ authorization: `Bearer ${token}` }));
    const bodies = [JSON.stringify({ package_id: 'bench', input: 'Please look at this. '.repeat(25) })];

    const atOnce = await start('sandbox/providers/start.ts', ['--first-token-ms', '0', '--token-ms', '0']);
    const paced = await start('sandbox/providers/start.ts', [
      '--first-token-ms',
      '400',
      '--token-ms',
      '25',
      '--answers',
      'composed',
    ]);
    const serve = (provider: string) =>
      start('src/main.ts', [], {
        APP_DATABASE_URL: appUrl,
        PORT: '0',
        HOST: '127.0.0.1',
        LOG_LEVEL: 'info',
        ANTHROPIC_API_KEY: 'sandbox',
        ANTHROPIC_BASE_URL: `${provider}`,
      });
    const server = await serve(`${atOnce.url}`);
    const bare = await start('bench/bare.ts', [], { APP_DATABASE_URL: appUrl, ANTHROPIC_BASE_URL: `${atOnce.url}` });
    const execute = `${server.url}/api/v1/playground/execute`;
    await drive({ url: execute, connections: 16, seconds: 2, headers, bodies });
    await drive({ url: `${bare.url}/api/v1/bare`, connections: 16, seconds: 2, headers, bodies });

    for (const connections of [1, 16, 64]) {
      const ratios: number[] = [];
      const ours: Awaited<ReturnType<typeof drive>>[] = [];
      for (let round = 0; round < (quick ? 1 : 3); round++) {
        const full = await drive({ url: execute, connections, seconds, headers, bodies });
        const plain = await drive({ url: `${bare.url}/api/v1/bare`, connections, seconds, headers, bodies });
        ours.push(full);
        ratios.push(full.perSecond / plain.perSecond);
      }
      report(`http_runs_per_s_${connections}`, median(ours.map((x) => x.perSecond)), 'runs/s');
      report(`http_p50_ms_${connections}`, median(ours.map((x) => x.p50)), 'ms');
      report(`http_p99_ms_${connections}`, median(ours.map((x) => x.p99)), 'ms');
      report(`http_vs_bare_${connections}`, median(ratios), 'ratio');
    }

    const calls = async () => {
      const [row] = await sql<{ calls: string }[]>`
        select coalesce(sum(calls), 0) as calls from pg_stat_statements
        where userid = 'prpm_app'::regrole and query not ilike '%authenticate_token%'`;
      return Number(row?.calls);
    };
    const before = await calls();
    const counted = 200;
    await drive({ url: execute, connections: 1, requests: counted, headers, bodies });
    report('statements_per_run', ((await calls()) - before) / counted, 'statements');

    const begin = residentMegabytes(server.process);
    await drive({ url: execute, connections: 16, requests: quick ? 1000 : 10_000, headers, bodies });
    report('server_rss_growth_mb', residentMegabytes(server.process) - begin, `MB over ${quick ? 1000 : 10_000} runs`);

    const streaming = await serve(`${paced.url}`);
    const streams = { connections: people, seconds: Math.max(8, seconds) };
    const straight = {
      url: `${paced.url}/v1/messages`,
      headers: [{ 'x-api-key': 'sandbox', 'anthropic-version': '2023-06-01' }],
      bodies: [
        JSON.stringify({
          model: 'claude-sonnet-4-6',
          max_tokens: 4096,
          stream: true,
          messages: [{ role: 'user', content: 'Please look at this. '.repeat(25) }],
        }),
      ],
      firstEvent: 'text_delta',
    };
    const direct = await drive({ ...streams, ...straight });
    const followed = {
      url: `${streaming.url}/api/v1/playground/execute`,
      headers,
      bodies: [JSON.stringify({ package_id: 'bench', input: 'Please look at this. '.repeat(25), stream: true })],
      firstEvent: 'output.delta',
    };
    await drive({ ...followed, connections: people, seconds: 4 }); // as a server is that did not start this second
    let resident = 0;
    const watch = setInterval(() => {
      resident = Math.max(resident, residentMegabytes(streaming.process));
    }, 200);
    const through = await drive({ ...streams, ...followed });
    clearInterval(watch);
    const [directApart, throughApart] = [
      await drive({ ...streams, ...straight, apartMs }),
      await drive({ ...streams, ...followed, apartMs }),
    ];
    report('first_token_added_apart_p50_ms', throughApart.firstP50 - directApart.firstP50, `ms, ${people} streams`);
    report('first_token_added_apart_p99_ms', throughApart.firstP99 - directApart.firstP99, `ms, ${people} streams`);
    report('first_token_added_p50_ms', through.firstP50 - direct.firstP50, `ms, ${people} streams`);
    report('first_token_added_p99_ms', through.firstP99 - direct.firstP99, `ms, ${people} streams`);
    report('server_rss_mb', resident, `MB, ${people} streams`);
    await expectCleanAudit(sql);
  } finally {
    for (const process of processes) process.kill('SIGKILL');
    await database.stop();
  }
}

export async function drive(load: Load) {
  const { stdout } = await run(node, [join(import.meta.dirname, 'load.ts'), JSON.stringify(load)], {
    maxBuffer: 1 << 20,
  });
  const result = resultSchema.parse(JSON.parse(stdout));
  if (result.failed > 0)
    throw new Error(`${result.failed} requests to ${load.url} failed, the first with: ${result.firstFailure}`);
  return result;
}

/** Starts a program of ours and waits for the line that says where it listens. */
export async function startProcess(file: string, args: string[], environment: NodeJS.ProcessEnv) {
  const child = spawn(node, ['--max-semi-space-size=8', join(import.meta.dirname, '..', file), ...args], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code} before it was ready`)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      const match = /http:\/\/[\w.:[\]]+/.exec(line);
      if (match !== null) resolve(match[0]);
    });
  });
  return { url, process: child };
}

export function residentMegabytes({ pid }: ChildProcess): number {
  const match = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? 0) / 1024;
}
