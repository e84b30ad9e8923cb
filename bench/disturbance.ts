// What runs notice of a refresh, a monthly reset of everybody, and an audit beside them.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { findClientProgram } from '../src/database/programs.ts';
import { expectCleanAudit, startDatabase } from './database.ts';
import type { Length, Report } from './report.ts';

/**
 * Pairs of begin and settle while three jobs go on, each called once and all at once: refresh-analytics, audit-books, and
 * reset-monthly-costs as a month turns, with every user due; 10,000 of them run. disturbed_rate and disturbed_p99 over the time until the last of them has ended,
 * disturbed_rate_reset over the time of the reset, disturbed_lock_wait_ms, and how long the jobs took.
 */
export async function measureDisturbance(report: Report, { seconds, quick }: Length): Promise<void> {
  const users = quick ? 20_000 : 100_000;
  const database = await startDatabase(0);
  const { sql, superuserUrl } = database;
  const others = postgres(superuserUrl, { max: 4, onnotice: () => {} });
  try {
    // Half an hour before the last month's end.
    await sql`
      update settings set clock_offset_allowed = true,
        clock_offset = make_interval(secs => extract(epoch from date_trunc('month', now()) - interval '30 minutes' - now())::float8)`;
    await sql`select bench_fill_users(1)`;
    await copyFirst(sql, users);
    await sql`select refresh_user_cost_analytics()`;
    await sql`vacuum analyze`;
    await sql`checkpoint`;
    await pairs(database.appUrl, 3);
    const before = await pairs(database.appUrl, seconds);
    await sql`update settings set clock_offset = clock_offset + interval '30 minutes'`;

    const begun = Date.now();
    const took = new Map<string, number>();
    const call = async (job: string) => {
      await others.unsafe(`call ops.run_job('${job}')`);
      took.set(job, Date.now() - begun);
    };
    const disturbed = pairs(database.appUrl, quick ? 40 : 170);
    const jobs = Promise.all(['refresh-analytics', 'audit-books', 'reset-monthly-costs'].map(call));
    const longestWait = await watchLocks(others, disturbed);
    await jobs;
    const after = await pairs(database.appUrl, seconds);

    // The machine's speed varies within minutes: undisturbed is the mean of before and after.
    const [first, last] = [figuresOf(before), figuresOf(after)];
    const calm = { perSecond: (first.perSecond + last.perSecond) / 2, p99: (first.p99 + last.p99) / 2 };
    const until = (job: string) => begun + (took.get(job) ?? 0);
    const all = figuresOf(await disturbed, begun, Math.max(...[...took.keys()].map(until)));
    const beside = figuresOf(await disturbed, begun, until('reset-monthly-costs'));
    report('disturbed_rate', all.perSecond / calm.perSecond, `of ${Math.round(calm.perSecond)} pairs/s undisturbed`);
    report('disturbed_p99', all.p99 / calm.p99, `of ${calm.p99.toFixed(1)} ms undisturbed`);
    report('disturbed_rate_reset', beside.perSecond / calm.perSecond, 'of the same, while reset and audit go on');
    report('disturbed_lock_wait_ms', longestWait, 'ms, the longest seen');
    for (const [job, ms] of took) report(`${job.replaceAll('-', '_')}_s`, ms / 1000, `s, ${users} users`);
    await expectCleanAudit(sql);
  } finally {
    await others.end({ timeout: 1 });
    await database.stop();
  }
}

/** The longest time in ms that anybody waits for a lock until `end`; looks every few ms. */
async function watchLocks(sql: postgres.Sql, end: Promise<unknown>): Promise<number> {
  let isOver = false;
  const over = end.finally(() => {
    isOver = true;
  });
  let longest = 0;
  while (!isOver) {
    const [row] = await sql<{ ms: number | null }[]>`
      select max(extract(epoch from clock_timestamp() - waitstart) * 1000)::float8 as ms from pg_locks where not granted`;
    longest = Math.max(longest, row?.ms ?? 0);
    await sleep(5);
  }
  await over;
  return longest;
}

const copied = { users: 'id', credit_lots: 'user_id', credit_transactions: 'user_id', purchases: 'user_id' };

/** Users like the first, in place of thousands made one by one. */
async function copyFirst(sql: postgres.Sql, users: number): Promise<void> {
  for (const [table, owner] of Object.entries(copied)) {
    const columns = await sql<{ name: string }[]>`
      select attname as name from pg_attribute where attrelid = ${table}::regclass and attnum > 0 and not attisdropped order by attnum`;
    const values = columns.map(({ name }) => {
      if (name === owner) return 'bench_user(i)';
      return table === 'users' && name === 'username' ? "'user' || i" : `x.${name}`;
    });
    await sql.unsafe(
      `insert into ${table} select ${values.join(', ')} from ${table} x, generate_series(2, ${users}) i where x.${owner} = bench_user(1)`,
    );
  }
}

type Pair = { endedAt: number; ms: number };

/** How many ended a second between two instants (ms), and the time in ms that 99 of 100 took at the most. */
function figuresOf(pairs: Pair[], from = 0, until = Number.POSITIVE_INFINITY): { perSecond: number; p99: number } {
  const within = pairs.filter(({ endedAt }) => endedAt >= from && endedAt <= until);
  const first = within[0]?.endedAt ?? 0;
  const last = within.at(-1)?.endedAt ?? 0;
  const times = within.map(({ ms }) => ms).sort((a, b) => a - b);
  return { perSecond: (within.length / (last - first)) * 1000, p99: times[Math.floor(times.length * 0.99)] ?? 0 };
}

/** Pairs of begin and settle by 8 clients, in the order in which they ended. */
async function pairs(url: string, seconds: number): Promise<Pair[]> {
  const program = findClientProgram('pgbench');
  if (program === undefined) throw new Error('This bench needs pgbench of PostgreSQL 15 (Debian: postgresql-15).');
  const directory = mkdtempSync(join(tmpdir(), 'prpm-disturbance-'));
  const { hostname, port, pathname, username, password } = new URL(url);
  try {
    const child = spawn(
      program,
      [
        ...[
          '-n',
          '-c',
          '8',
          '-j',
          '2',
          '-M',
          'prepared',
          '-T',
          String(seconds),
          '-l',
          '--log-prefix',
          join(directory, 'log'),
        ],
        ...['-f', join(import.meta.dirname, 'pair.sql'), pathname.slice(1)],
      ],
      {
        env: {
          ...process.env,
          PGHOST: hostname,
          PGPORT: port,
          PGUSER: username,
          PGPASSWORD: decodeURIComponent(password),
        },
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    );
    let complaints = '';
    child.stderr.on('data', (text) => (complaints += text));
    const code = await new Promise((resolve) => child.once('close', resolve));
    if (code !== 0 || /ERROR|aborted/.test(complaints)) throw new Error(`pgbench did not finish:\n${complaints}`);
    return readdirSync(directory)
      .flatMap((file) => readFileSync(join(directory, file), 'utf8').trim().split('\n'))
      .map((line) => line.split(' ').map(Number))
      .map(([, , us = 0, , second = 0, rest = 0]) => ({ endedAt: second * 1000 + rest / 1000, ms: us / 1000 }))
      .sort((a, b) => a.endedAt - b.endedAt);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
