// A server on a database of its own, with providers' stand-ins and people who can run things.
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import type { ReservedSql } from 'postgres';
import { type Options as StandInOptions, type StandIns, startStandIns } from '../../sandbox/providers/standins.ts';
import { readEnvironment } from '../../src/config/environment.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { createLog, type Log } from '../../src/telemetry/log.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';

export type Person = { userId: string; token: string };

export type House = {
  url: string;
  database: TestDatabase;
  standIns: StandIns;
  server: RunningServer;
  ada: Person;
  bob: Person;
  packageId: string;
  /** Another instance on the same database. */
  another(variables?: Record<string, string>, log?: Log): Promise<RunningServer>;
  person(name: string, tier?: string): Promise<Person>;
  /** Rows of ops.audit_books(): none, ever. */
  audit(): Promise<unknown[]>;
  /** Ends servers and stand-ins; the database stays. */
  leave(): Promise<void>;
  close(): Promise<void>;
};

export async function openHouse(
  standInOptions: StandInOptions = { firstTokenMs: 5, tokenMs: 2 },
  given?: TestDatabase,
): Promise<House> {
  const database = given ?? (await createDatabase());
  const standIns = await startStandIns(standInOptions);
  await database.owner`update settings set reads_per_minute = 100000`;
  const servers: RunningServer[] = [];

  const another = async (variables: Record<string, string> = {}, log = createLog(process.env.TEST_LOG ?? 'silent')) => {
    const environment = readEnvironment({
      APP_DATABASE_URL: database.appUrl,
      HOST: '127.0.0.1',
      PORT: '0',
      NODE_ENV: 'test',
      ANTHROPIC_API_KEY: 'sandbox-anthropic',
      OPENAI_API_KEY: 'sandbox-openai',
      ANTHROPIC_BASE_URL: standIns.anthropicBaseURL,
      OPENAI_BASE_URL: standIns.openaiBaseURL,
      ...variables,
    });
    const server = await startServer({ environment, jobs: false, log });
    servers.push(server);
    return server;
  };

  const person = async (name: string, tier = 'unlimited') => {
    const [made] = await database.ops`select user_id, token from ops.create_user(${`${name}@example.com`}, ${name})`;
    const userId: string = made?.user_id;
    await database.ops`select from ops.grant_credits(${userId}, 100000, 'for tests')`;
    await database.ops`select from ops.set_user(${userId}, tier_override => ${tier}, reason => 'for tests')`;
    return { userId, token: String(made?.token) };
  };

  const leave = async () => {
    await Promise.all(servers.map((one) => one.close()));
    await standIns.stop();
  };

  const [ada, bob] = [await person('ada'), await person('bob')];
  const server = await another();
  const published = await call(server.url, 'POST', '/api/v1/packages', {
    token: ada.token,
    body: { name: 'haiku', version: '1.0.0', prompt: 'Answer as a haiku.', description: 'Haiku about anything' },
  });
  if (published.status !== 201) throw new Error(`publishing failed: ${published.text}`);
  return {
    ...{ url: server.url, database, standIns, server, ada, bob, packageId: String(published.json.package_id) },
    ...{ another, person },
    audit: async () => [...(await database.ops`select * from ops.audit_books()`)],
    leave,
    close: async () => {
      await leave();
      await database.drop();
    },
  };
}

export type Answer = {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into answers of every shape
  json: any;
};

export type CallOptions = {
  token?: string | undefined;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal;
};

/** A request as curl would send it: any method with a body; text goes as it is, other bodies as JSON. */
export function call(url: string, method: string, path: string, options: CallOptions = {}): Promise<Answer> {
  const { token, body, headers, signal } = options;
  const sent = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      `${url}${path}`,
      {
        method,
        headers: {
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...(sent !== undefined && !headers?.['transfer-encoding'] && { 'content-length': Buffer.byteLength(sent) }),
          ...headers,
        },
        ...(signal && { signal }),
      },
      async (response) => {
        try {
          const pieces: Buffer[] = [];
          for await (const piece of response) pieces.push(piece);
          const text = Buffer.concat(pieces).toString('utf8');
          const isJson = response.headers['content-type']?.includes('json') && text !== '';
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: isJson ? JSON.parse(text) : undefined,
          });
        } catch (error) {
          reject(error);
        }
      },
    );
    request.once('error', reject);
    request.end(sent);
  });
}

// biome-ignore lint/suspicious/noExplicitAny: a test looks into events of every shape
export type SentEvent = { id: string | null; event: string; data: any };

/** Reads server-sent events as they come. Breaking out of the loop hangs up. */
export async function* events(
  url: string,
  method: string,
  path: string,
  options: CallOptions = {},
): AsyncGenerator<SentEvent> {
  const hangUp = new AbortController();
  try {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        accept: 'text/event-stream',
        ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }),
        ...options.headers,
      },
      ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
      signal: hangUp.signal,
    });
    if (!response.headers.get('content-type')?.startsWith('text/event-stream')) {
      throw new Error(`${response.status} ${await response.text()}`);
    }
    let rest = '';
    for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = (rest + piece).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = new Map(
          block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
        );
        const data = fields.get('data');
        if (data !== undefined)
          yield { id: fields.get('id') ?? null, event: fields.get('event') ?? '', data: JSON.parse(data) };
      }
    }
  } finally {
    hangUp.abort();
  }
}

/**
 * Keeps what `lock` locks, in a transaction of its own. `waiting` says how many wait for it by now, `letGo` lets them
 * go on.
 */
export async function hold({ owner, countWaiting }: TestDatabase, lock: (sql: ReservedSql) => Promise<unknown>) {
  const sql = await owner.reserve();
  await sql`begin`;
  await lock(sql);
  return {
    waiting: countWaiting,
    letGo: async () => {
      await sql`rollback`;
      sql.release();
    },
  };
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Waits until something is so; a test never sleeps longer than it has to. */
export async function until(what: () => Promise<boolean> | boolean, ms = 30_000): Promise<void> {
  for (const deadline = Date.now() + ms; !(await what()); ) {
    if (Date.now() > deadline) throw new Error('it did not come to pass');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
