// What counting costs a run, and what a look at the metrics costs the database.
import type { ChildProcess } from 'node:child_process';
import postgres from 'postgres';
import { expectCleanAudit, median, startDatabase } from './database.ts';
import { drive, startProcess } from './http.ts';
import type { Length, Report } from './report.ts';

const people = 64;
const crowd = 100_000;
const connections = 16;

/** metrics_runs_ratio (with and without, turn by turn), metrics_scrape_ms of a busy server, read_metrics_ms with 100,000 users. */
export async function measureMetrics(report: Report, { quick }: Length): Promise<void> {
  const database = await startDatabase(people);
  const processes: ChildProcess[] = [];
  const start = async (file: string, args: string[], environment: NodeJS.ProcessEnv = {}) => {
    const started = await startProcess(file, args, environment);
    processes.push(started.process);
    return started.url;
  };
  try {
    const { sql, appUrl } = database;
    const tokens = await sql<{ token: string }[]>`
      select t.token from generate_series(1, ${people}) n, ops.create_token(bench_user(n)::text, 'bench', reason => 'bench') t`;
    const headers = tokens.map(({ token }) => ({ authorization: `Bearer ${token}` }));
    const bodies = [JSON.stringify({ package_id: 'bench', input: 'Please look at this. '.repeat(25) })];
    const provider = await start('sandbox/providers/start.ts', ['--first-token-ms', '0', '--token-ms', '0']);
    const serve = (more: NodeJS.ProcessEnv) =>
      start('src/main.ts', [], {
        ...{ APP_DATABASE_URL: appUrl, PORT: '0', HOST: '127.0.0.1', LOG_LEVEL: 'info' },
        ...{ ANTHROPIC_API_KEY: 'sandbox', ANTHROPIC_BASE_URL: provider, ...more },
      });
    const METRICS_TOKEN = 'a-token-for-the-bench';
    const [counting, plain] = [await serve({ METRICS_TOKEN }), await serve({})];
    const load = (url: string, seconds: number) =>
      drive({ url: `${url}/api/v1/playground/execute`, connections, seconds, headers, bodies });
    for (const url of [counting, plain]) await load(url, 3);

    const ratios: number[] = [];
    for (let round = 0; round < (quick ? 8 : 12); round++) {
      const order = round % 2 === 0 ? [counting, plain] : [plain, counting];
      const rates = new Map<string, number>();
      for (const url of order) rates.set(url, (await load(url, 3)).perSecond);
      ratios.push((rates.get(counting) ?? 0) / (rates.get(plain) ?? 1));
    }
    report(
      'metrics_runs_ratio',
      median(ratios),
      `runs a second with metrics to those without, ${connections} connections`,
    );

    const look = async () => {
      const started = performance.now();
      const answer = await fetch(`${counting}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
      await answer.text();
      return performance.now() - started;
    };
    report('metrics_scrape_ms', median(await inTurn(20, look)), 'ms, the database asked a moment ago');

    await sql`
      insert into public.users
      select (jsonb_populate_record(u, jsonb_build_object('id', bench_user(${people} + n), 'username', 'crowd' || n))).*
      from generate_series(1, ${crowd}) n join public.users u on u.id = bench_user(1)`;
    await sql`vacuum analyze public.users`;
    const app = postgres(appUrl, { max: 1 });
    const ask = async () => {
      const started = performance.now();
      await app`select * from api.read_metrics()`;
      return performance.now() - started;
    };
    report('read_metrics_ms', median(await inTurn(10, ask)), `ms, ${crowd} users`);
    await app.end();
    await sql`delete from public.users where username like 'crowd%'`;
    await expectCleanAudit(sql);
  } finally {
    for (const process of processes) process.kill('SIGKILL');
    await database.stop();
  }
}

async function inTurn<T>(times: number, act: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let n = 0; n < times; n++) results.push(await act());
  return results;
}
