// Searches among much, against a read by primary key, through the same server.
import type { ChildProcess } from 'node:child_process';
import { median, startDatabase } from './database.ts';
import { drive, startProcess } from './http.ts';
import type { Length, Report } from './report.ts';

/** What somebody looks for among their sessions: frequent and rare words, several, none, and the words with a colon. */
const queries = [
  ...[
    'word1',
    'word2 word4',
    'word1871',
    'word1204 or word1871',
    'word3 -word5',
    'word17340',
    'nowhere',
    'word2 nowhere',
  ],
  ...[
    'model:sonnet',
    'model:gpt-4o',
    'model:sonnet word1204',
    'package:bench word2',
    'package:other',
    'cost:>0',
    'cost:>5',
  ],
];

/** What somebody looks for among packages: names, their beginnings, common and rare words, misspelled ones, none, and all. */
const packageQueries = [
  ...['review-code-17', 'review-code', 'rev', 'code', 'sql', 'database tests', 'explain', 'word7', 'word1871'],
  ...['summarise meeting', 'reveiw-cdoe-17', 'explian', 'nowhere', ''],
];
const PACKAGES = 50_000;

type Taken = { p50: number; p99: number };

/** search_vs_key_read and package_search_vs_key_read, and what they are made of; session_first_look_ms. */
export async function measureSearch(report: Report, { quick, rounds }: Length): Promise<void> {
  const [count, seconds] = quick ? [10_000, 2] : [100_000, 5];
  const database = await startDatabase(10);
  const processes: ChildProcess[] = [];
  try {
    const { sql, appUrl } = database;
    await sql`select bench_fill_runs(${count}, 1)`;
    await sql`select bench_fill_words()`;
    await sql`vacuum analyze`;
    await sql`update settings set reads_per_minute = 10000000`;
    const [made] = await sql<{ token: string }[]>`
      select token from ops.create_token(bench_user(1)::text, 'bench', reason => 'bench')`;
    const ids = await sql<{ id: string }[]>`
      select id from runs where user_id = bench_user(1) order by hashtext(id::text) limit 1000`;
    const server = await startProcess('src/main.ts', [], { APP_DATABASE_URL: appUrl, PORT: '0', HOST: '127.0.0.1' });
    processes.push(server.process);
    const headers = [{ authorization: `Bearer ${made?.token}` }];
    const get = (connections: number, paths: string[], requests?: number) =>
      drive({ url: server.url, connections, headers, paths, ...(requests === undefined ? { seconds } : { requests }) });
    const keys = ids.map(({ id }) => `/api/v1/playground/runs/${id}`);
    const searches = queries.map((query) => `/api/v1/playground/sessions?query=${encodeURIComponent(query)}`);

    await get(1, keys, 100);
    const first = await get(1, ['/api/v1/playground/sessions'], 1);
    report('session_first_look_ms', first.p50, `ms, ${count} sessions not indexed`);
    while ((await sql`select core.index_sessions(bench_user(1), 1000) as done`)[0]?.done >= 1000);
    await sql`vacuum analyze`;

    const compare = async (name: string, paths: string[], what: string) => {
      for (const connections of [1, 4]) {
        const taken: { key: Taken; search: Taken }[] = [];
        await get(connections, [...paths, ...keys.slice(0, 100)], 500);
        for (let round = 0; round < rounds; round++) {
          taken.push({ key: await get(connections, keys), search: await get(connections, paths) });
        }
        for (const at of ['p50', 'p99'] as const) {
          report(`${name}_${at}_ms_${connections}`, median(taken.map((x) => x.search[at])), `ms, ${what}`);
          report(`${name}_key_read_${at}_ms_${connections}`, median(taken.map((x) => x.key[at])), 'ms');
          report(
            `${name}_vs_key_read_${at}_${connections}`,
            median(taken.map((x) => x.search[at] / x.key[at])),
            'ratio',
          );
        }
      }
    };
    const each = async (name: string, asked: string[], paths: string[]) => {
      for (const [place, path] of paths.entries()) {
        const one = await get(1, [path], quick ? 100 : 300);
        report(`${name}_p99_ms ${asked[place] || '(all)'}`, one.p99, `ms, p50 ${one.p50.toFixed(2)}`);
      }
    };
    await compare('search', searches, `${count} sessions`);
    await each('search', queries, searches);

    await sql`select bench_fill_packages(${PACKAGES})`;
    await sql`vacuum analyze packages`;
    const packages = packageQueries.map((query) => `/api/v1/packages?query=${encodeURIComponent(query)}`);
    await compare('package_search', packages, `${PACKAGES} packages`);
    await each('package_search', packageQueries, packages);
  } finally {
    for (const process of processes) process.kill('SIGKILL');
    await database.stop();
  }
}
