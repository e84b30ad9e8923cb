import type postgres from 'postgres';

/** A statement as a template; each is one transaction. */
export type Sql = {
  <Row extends object = postgres.Row>(text: TemplateStringsArray, ...values: Value[]): Promise<Row[]>;
  json(value: postgres.JSONValue): Value;
};
type Value = postgres.ParameterOrFragment<never>;

export type Pool = { sql: Sql; close(): Promise<void> };

/** How long a new connection may take until it is there. */
const CONNECT_MS = 10_000;
/** How long after a failed connection another one is tried, while there are some. */
const AGAIN_MS = 500;
/** How long running statements may take when the pool is closed. */
const CLOSE_S = 5;

/**
 * How many statements may be under way on a connection. The next one is there when PostgreSQL has ended one: neither side
 * goes to sleep in between, which is a quarter of what a run costs.
 */
const DEPTH = 4;
/** None is sent behind one that has taken this long: what it waits for is no matter of the others. */
const SLOW_MS = 20;

type Statement = {
  text: TemplateStringsArray;
  values: Value[];
  since: number;
  isRepeated?: boolean;
  resolve(rows: object[]): void;
  reject(error: unknown): void;
};
/** What is under way on a connection, oldest first. */
type Line = { client: postgres.Sql; isBroken: boolean; underWay: Set<Statement> };

/**
 * At most `size` connections, some statements at a time on each. `connect` makes a client of postgres.js that has one
 * connection and calls `onclose` when it breaks. The client goes with its connection: where it connects anew it keeps what
 * it had not written yet and who waited for it, and later statements hang or are answered with nothing. A statement whose
 * connection breaks fails with CONNECTION_CLOSED, and whether it was carried out is not known.
 */
export function openPool(size: number, connect: (onclose: () => void) => postgres.Sql): Pool {
  const lines = new Set<Line>();
  const waiting: Statement[] = [];
  let opening = 0;
  let openAgainAt = 0;
  let closed = false;

  /** `after` is called when the statement has ended, however it did. */
  function send(line: Line, statement: Statement, after: () => void): void {
    statement.since = performance.now();
    line.underWay.add(statement);
    const ended = () => {
      line.underWay.delete(statement);
      after();
    };
    line.client<object[]>(statement.text, ...statement.values).then(
      (rows) => {
        statement.resolve(rows);
        ended();
      },
      (error) => {
        if (isOvertaken(error) && !statement.isRepeated) {
          // It was taken back whole, before any row, so it may be asked again: now it finds everything as it has become.
          waiting.unshift({ ...statement, isRepeated: true });
        } else {
          statement.reject(error);
          // Our own codes come before any row. After other errors postgres.js may still count rows of the failed statement.
          if (!isOwn(error)) discard(line);
        }
        ended();
      },
    );
  }

  async function open(): Promise<void> {
    const client = connect(() => discard(line));
    const line: Line = { client, isBroken: false, underWay: new Set() };
    const late = setTimeout(() => discard(line, 'CONNECT_TIMEOUT'), CONNECT_MS);
    opening += 1;
    try {
      await new Promise((resolve, reject) =>
        send(line, { text: HELLO, values: [], since: 0, resolve, reject }, () => {}),
      );
      if (closed) discard(line);
      else if (!line.isBroken) lines.add(line);
    } catch (error) {
      // Whoever waits is told only where nothing else can help them.
      openAgainAt = performance.now() + AGAIN_MS;
      if (lines.size === 0 && opening === 1) for (const { reject } of waiting.splice(0)) reject(error);
    } finally {
      clearTimeout(late);
      opening -= 1;
      pump();
    }
  }

  function discard(line: Line, code: 'CONNECTION_CLOSED' | 'CONNECT_TIMEOUT' = 'CONNECTION_CLOSED'): void {
    if (line.isBroken) return;
    line.isBroken = true;
    for (const { reject } of line.underWay) reject(connectionError(code));
    line.client.end({ timeout: 0 }).catch(() => {});
    // Its client may never say how its statements ended. While a line opens, open() says what follows.
    if (lines.delete(line)) pump();
  }

  /** The line with the least to do, if it can take one more. */
  function free(): Line | undefined {
    const now = performance.now();
    let best: Line | undefined;
    for (const line of lines) {
      if (best !== undefined && line.underWay.size >= best.underWay.size) continue;
      const [oldest] = line.underWay;
      if (oldest === undefined || (line.underWay.size < DEPTH && now - oldest.since < SLOW_MS)) best = line;
    }
    return best;
  }

  function pump(): void {
    while (waiting.length > 0) {
      const line = free();
      const wantsMore = line === undefined || line.underWay.size > 0;
      const mayOpen = lines.size + opening === 0 || performance.now() >= openAgainAt;
      if (wantsMore && mayOpen && lines.size + opening < size) void open();
      if (line === undefined) return;
      const statement = waiting.shift();
      if (statement !== undefined) send(line, statement, pump);
    }
  }

  function run<Row extends object>(text: TemplateStringsArray, ...values: Value[]): Promise<Row[]> {
    if (closed) return Promise.reject(connectionError('CONNECTION_ENDED'));
    // PostgreSQL would refuse it, and that would cost others of its line their statements.
    if (values.some(hasNul)) return Promise.reject(nulError());
    return new Promise((resolve, reject) => {
      waiting.push({ text, values, since: 0, resolve: (rows) => resolve(rows as Row[]), reject }); // by the caller's word
      pump();
    });
  }

  const template = connect(() => {}); // never connects
  return {
    sql: Object.assign(run, { json: (value: postgres.JSONValue) => template.json(value) }),
    close: async () => {
      closed = true;
      for (const { reject } of waiting.splice(0)) reject(connectionError('CONNECTION_ENDED'));
      await Promise.all([...lines].map(({ client }) => client.end({ timeout: CLOSE_S })));
    },
  };
}

const HELLO = Object.assign(['select'], { raw: ['select'] });

function hasNul(value: Value): boolean {
  return typeof value === 'string' ? value.includes('\0') : Array.isArray(value) && value.some(hasNul);
}

/** As PostgreSQL gives it. */
function nulError(): Error {
  return Object.assign(new Error('a text for the database has a NUL character'), { code: '22021' });
}

/** As postgres.js gives them. */
function connectionError(code: 'CONNECTION_CLOSED' | 'CONNECTION_ENDED' | 'CONNECT_TIMEOUT'): Error {
  return Object.assign(new Error(`the connection to the database: ${code}`), { code });
}

/**
 * A migration changed a function, type or table while the statement waited for what it had locked (class 42, but for rights),
 * or the two waited for each other (class 40).
 */
function isOvertaken(error: unknown): boolean {
  return error instanceof Error && 'severity' in error && 'code' in error && /^(40|42(?!501))/.test(String(error.code));
}

function isOwn(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('PR');
}
