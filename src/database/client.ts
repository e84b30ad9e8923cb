import postgres from 'postgres';
import { camelCase, camelName } from '../names.ts';

export type Sql = postgres.Sql<{ int8: number; timestamptz: string }>;

export type Database = {
  /** For what people wait for: short statements. */
  sql: Sql;
  /** For reads and reports, so that none of them makes a run wait on its connection. */
  reads: Sql;
  close(): Promise<void>;
};

export type DatabaseOptions = { url: string; pool: number; production: boolean };

/**
 * Two clients as the server's role. Columns and JSON keys arrive in camelCase, int8 as number, numeric as text,
 * timestamps as ISO 8601. In production refuses any role but prpm_app.
 */
export async function openDatabase({ url, pool, production }: DatabaseOptions): Promise<Database> {
  const sql = connect(url, pool, 10_000);
  const reads = connect(url, 2, 20_000);
  const close = async () => {
    await Promise.all([sql.end({ timeout: 5 }), reads.end({ timeout: 5 })]);
  };
  try {
    const [[row]] = await Promise.all([sql<{ role: string }[]>`select current_user as role`, reads`select`]);
    // postgres.js asks on every new connection for the types of arrays, and a connection that breaks meanwhile ends the
    // process: nobody can catch that query's failure. What the first connection of each client has learned is enough.
    for (const client of [sql, reads]) client.options.fetch_types = false;
    if (production && row?.role !== 'prpm_app') {
      throw new Error(
        `APP_DATABASE_URL connects as "${row?.role}". In production the server runs as prpm_app only; put that role and its password into it.`,
      );
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { sql, reads, close };
}

const JSON_TYPES: ReadonlySet<number> = new Set([114, 3802]);

const CAMEL_CASE = {
  column: { from: camelName },
  value: {
    from: (value: unknown, column: { type: number }) => (JSON_TYPES.has(column.type) ? camelCase(value) : value),
  },
};

function connect(url: string, max: number, statementTimeoutMs: number): Sql {
  return postgres(url, {
    max,
    connect_timeout: 10,
    // By its own rule postgres.js would let up to 20 s pass after PostgreSQL is back.
    backoff: (attempts) => Math.min(1, 0.05 * 2 ** attempts),
    idle_timeout: 0,
    max_lifetime: null,
    onnotice: () => {},
    transform: CAMEL_CASE,
    types: {
      int8: { to: 20, from: [20], parse: wholeNumber, serialize: String },
      timestamptz: { to: 1184, from: [1184], parse: isoTime, serialize: String },
    },
    connection: { application_name: 'prpm-playground', statement_timeout: statementTimeoutMs },
  });
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
