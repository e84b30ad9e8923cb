// A cluster of its own for one bench: durable, as in production, with the product's database filled and TPC-B's beside it.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import { startTemporaryCluster } from '../sandbox/postgres/cluster.ts';
import { migrate } from '../src/database/migrate.ts';
import { findClientProgram } from '../src/database/programs.ts';
import {
  createDatabase,
  createRoles,
  type RoleName,
  randomPasswords,
  roleUrl,
  withDatabase,
} from '../src/database/roles.ts';

export type BenchDatabase = {
  sql: postgres.Sql;
  superuserUrl: string;
  appUrl: string;
  /** Of the postmaster. */
  pid: number;
  /** Name of a file beside this one, its text. */
  stop(): Promise<void>;
};

const settings = {
  shared_buffers: '1GB',
  max_wal_size: '16GB',
  max_connections: '100',
  shared_preload_libraries: 'pg_stat_statements',
};

/** Starts a cluster with fsync on, and in it the product's database with `users` users of three lots each. */
export async function startDatabase(users: number): Promise<BenchDatabase> {
  const cluster = await startTemporaryCluster({ fsync: true, settings });
  const passwords = randomPasswords();
  const superuserUrl = await fillDatabase(cluster.url, passwords, users);
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} });
  await sql`create extension if not exists pg_stat_statements`;
  return {
    sql,
    pid: cluster.pid,
    superuserUrl,
    appUrl: roleUrl(cluster.url, 'prpm_app', passwords.prpm_app, 'prpm'),
    stop: async () => {
      await sql.end({ timeout: 1 });
      await cluster.stop('immediate');
    },
  };
}

/** Roles, the product's database and so many users on a server; returns the superuser's URL of the database. */
export async function fillDatabase(
  serverUrl: string,
  passwords: Record<RoleName, string>,
  users: number,
): Promise<string> {
  await createRoles(serverUrl, passwords);
  await createDatabase(serverUrl, 'prpm');
  const superuserUrl = withDatabase(serverUrl, 'prpm');
  await migrate(superuserUrl, { current: true });
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} });
  await sql.unsafe(read('fill.sql'));
  await sql`select bench_fill_users(${users})`;
  await sql`vacuum analyze`;
  await sql.end();
  return superuserUrl;
}

/** Fills a database with pgbench's TPC-B tables at scale 50 and returns its URL. */
export async function startTpcb(superuserUrl: string): Promise<string> {
  await createDatabase(superuserUrl, 'tpcb');
  const url = withDatabase(superuserUrl, 'tpcb');
  pgbench(['-i', '-s', '50', '-q'], url);
  return url;
}

/** Transactions a second of pgbench with 8 clients, 2 threads, prepared statements; `script` null is TPC-B. */
export function transactionsPerSecond(
  url: string,
  script: string | null,
  seconds: number,
  clients = 8,
  variables: Record<string, number> = {},
): number {
  const file = script === null ? [] : ['-f', join(import.meta.dirname, script)];
  for (const [name, value] of Object.entries(variables)) file.push('-D', `${name}=${value}`);
  const threads = String(Math.min(2, clients));
  const output = pgbench(
    ['-n', '-c', String(clients), '-j', threads, '-M', 'prepared', '-T', String(seconds), ...file],
    url,
  );
  const match = /tps = ([\d.]+)/.exec(output);
  if (match === null || /aborted|ERROR/.test(output)) throw new Error(`pgbench did not finish:\n${output}`);
  return Number(match[1]);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? 0) + (sorted[Math.floor(middle)] ?? 0)) / 2;
}

/** Throws unless the books agree. */
export async function expectCleanAudit(sql: postgres.Sql): Promise<void> {
  const rows = await sql`select * from ops.audit_books() limit 5`;
  if (rows.length > 0) throw new Error(`The books disagree after the bench: ${JSON.stringify(rows)}`);
}

function read(name: string): string {
  return readFileSync(join(import.meta.dirname, name), 'utf8');
}

function pgbench(args: string[], url: string): string {
  const program = findClientProgram('pgbench');
  if (program === undefined) throw new Error('This bench needs pgbench of PostgreSQL 15 (Debian: postgresql-15).');
  const { hostname, port, pathname, username, password } = new URL(url);
  const result = spawnSync(program, [...args, pathname.slice(1)], {
    encoding: 'utf8',
    env: { ...process.env, PGHOST: hostname, PGPORT: port, PGUSER: username, PGPASSWORD: decodeURIComponent(password) },
  });
  if (result.status !== 0) throw new Error(`pgbench ${args.join(' ')} failed:\n${result.stderr}${result.stdout}`);
  return result.stdout + result.stderr;
}
