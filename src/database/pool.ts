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
/** How long running statements may take when the pool is closed. */
const CLOSE_S = 5;

type Line = { client: postgres.Sql; isBroken: boolean; fail: (error: unknown) => void };

/**
 * At most `size` connections, one statement at a time on each. `connect` makes a client of postgres.js that has one
 * connection and calls `onclose` when it breaks. The client goes with its connection: where it connects anew it keeps what
 * it had not written yet and who waited for it, and later statements hang or are answered with nothing. A statement whose
 * connection breaks fails with CONNECTION_CLOSED, and whether it was carried out is not known.
 */
export function openPool(size: number, connect: (onclose: () => void) => postgres.Sql): Pool {
  const idle: Line[] = [];
  const lines = new Set<Line>();
  const waiting: { resolve(line: Line): void; reject(error: unknown): void }[] = [];
  let closed = false;

  function carryOut<Row extends object>(line: Line, text: TemplateStringsArray, values: Value[]): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      line.fail = reject;
      line.client<Row[]>(text, ...values).then(resolve, reject);
    });
  }

  async function open(): Promise<Line> {
    const client = connect(() => discard(line, connectionError('CONNECTION_CLOSED')));
    const line: Line = { client, isBroken: false, fail: () => {} };
    lines.add(line);
    const late = setTimeout(() => discard(line, connectionError('CONNECT_TIMEOUT')), CONNECT_MS);
    try {
      await carryOut(line, HELLO, []);
      return line;
    } catch (error) {
      discard(line, error);
      passOn();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  function discard(line: Line, error: unknown): void {
    if (line.isBroken) return;
    line.isBroken = true;
    line.fail(error);
    lines.delete(line);
    if (idle.includes(line)) idle.splice(idle.indexOf(line), 1);
    line.client.end({ timeout: 0 }).catch(() => {});
  }

  function take(): Line | Promise<Line> {
    if (closed) throw connectionError('CONNECTION_ENDED');
    const line = idle.pop();
    if (line !== undefined) return line;
    if (lines.size < size) return open();
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
  }

  function give(line: Line): void {
    const next = line.isBroken ? undefined : waiting.shift();
    if (line.isBroken) passOn();
    else if (next === undefined) idle.push(line);
    else next.resolve(line);
  }

  /** A place has become free: who waits for it may connect. */
  function passOn(): void {
    const next = waiting.shift();
    if (next !== undefined) open().then(next.resolve, next.reject);
  }

  async function run<Row extends object>(text: TemplateStringsArray, ...values: Value[]): Promise<Row[]> {
    const found = take();
    const line = found instanceof Promise ? await found : found;
    try {
      return await carryOut<Row>(line, text, values);
    } catch (error) {
      // Our own codes come before any row. After other errors postgres.js may still count rows of the failed statement.
      if (!isOwn(error)) discard(line, error);
      throw error;
    } finally {
      give(line);
    }
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

/** As postgres.js gives them. */
function connectionError(code: 'CONNECTION_CLOSED' | 'CONNECTION_ENDED' | 'CONNECT_TIMEOUT'): Error {
  return Object.assign(new Error(`the connection to the database: ${code}`), { code });
}

function isOwn(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('PR');
}
