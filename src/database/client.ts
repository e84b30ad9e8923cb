import postgres from 'postgres';
import { camelCase, camelName } from '../names.ts';
import { openPool, type Pool, type Sql } from './pool.ts';
import { routeToWorkers } from './workers.ts';

export type { Sql };

export type Database = {
  /** For what people wait for: short statements. */
  sql: Sql;
  /** For what concerns this person's runs alone: on a cluster at the worker that has them, else as `sql`. */
  runs(userId: string): Sql;
  /** For reads and reports, so that none of them makes a run wait on its connection. */
  reads: Sql;
  /** For jobs, which may take minutes. */
  jobs: Sql;
  close(): Promise<void>;
};

export type DatabaseOptions = { url: string; workers?: readonly string[]; pool: number; production: boolean };

/**
 * Three clients as the server's role. Columns and JSON keys arrive in camelCase, int8 as number, numeric as text,
 * timestamps as ISO 8601. In production refuses any role but prpm_app.
 */
export async function openDatabase({ url, workers = [], pool, production }: DatabaseOptions): Promise<Database> {
  const { sql, close: closeSql } = connect(url, pool, 10_000);
  const atWorkers = workers.map((worker) => connect(worker, pool, 10_000));
  const routes = routeToWorkers(
    atWorkers.map((worker) => worker.sql),
    sql,
  );
  const { sql: reads, close: closeReads } = connect(url, 2, 20_000);
  const { sql: jobs, close: closeJobs } = connect(url, 2, 600_000);
  const close = async () => {
    routes.close();
    await Promise.all([closeSql(), closeReads(), closeJobs(), ...atWorkers.map((worker) => worker.close())]);
  };
  try {
    const [row] = await sql<{ role: string }>`select current_user as role`;
    if (production && row?.role !== 'prpm_app') {
      throw new Error(
        `APP_DATABASE_URL connects as "${row?.role}". In production the server runs as prpm_app only; put that role and its password into it.`,
      );
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { sql, runs: routes.of, reads, jobs, close };
}

const JSON_TYPES: ReadonlySet<number> = new Set([114, 3802]);

const CAMEL_CASE = {
  column: { from: camelName },
  value: {
    from: (value: unknown, column: { type: number }) => (JSON_TYPES.has(column.type) ? camelCase(value) : value),
  },
};

function connect(url: string, size: number, statementTimeoutMs: number): Pool {
  const options = {
    max: 1,
    connect_timeout: 10,
    idle_timeout: 0,
    max_lifetime: null,
    // It asks each new connection for array types, and where that fails nobody can catch it and the process ends.
    fetch_types: false,
    onnotice: () => {},
    transform: CAMEL_CASE,
    types: {
      int8: { to: 20, from: [20], parse: wholeNumber, serialize: String },
      timestamptz: { to: 1184, from: [1184], parse: isoTime, serialize: String },
      texts: { to: 1009, from: [1009], parse: textsFrom, serialize: textsTo },
    },
    connection: { application_name: 'prpm-playground', statement_timeout: statementTimeoutMs },
  };
  return openPool(size, (onclose) => postgres(url, { ...options, onclose }));
}

/** Counts of credits, tokens and rows: far below what a number holds exactly. */
function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number))
    throw new RangeError('a whole number from the database is too large for JavaScript');
  return number;
}

function isoTime(text: string): string {
  return new Date(text).toISOString();
}

/** text[] as PostgreSQL writes it: {plain,"with \\"quotes\\", commas"}. No element of ours is null, no array nested. */
function textsFrom(literal: string): string[] {
  return [...literal.matchAll(/"((?:[^"\\]|\\.)*)"|([^{},"]+)/g)].map(
    ([, quoted, plain = '']) => quoted?.replace(/\\(.)/gs, '$1') ?? plain,
  );
}

function textsTo(texts: string[]): string {
  return `{${texts.map((text) => `"${text.replace(/["\\]/g, '\\$&')}"`).join(',')}}`;
}
