// A place to prove things in: servers as processes of their own, to be killed or to be measured, on one database; people;
// a gate before the providers' stand-ins that counts the calls for each question; and what a client saw of its stream.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type postgres from 'postgres';
import { type Options as StandInOptions, type StandIns, startStandIns } from '../../sandbox/providers/standins.ts';
import { moveClock, setClockToNoon } from '../harness/clock.ts';
import { type Answer, call, events, type SentEvent, until } from '../http/house.ts';

/** SOAK=1 asks for larger counts than every change can wait for. */
export const soak = process.env.SOAK === '1';

export const execute = '/api/v1/playground/execute';

export type Person = { userId: string; token: string };

/** What is asked, once or again under the same key. Its name stands in the question, so that the gate can tell. */
export type Ask = { name: string; person: Person; input: string };

/** What a client has seen of a stream by now. */
export type Sight = { ask: Ask; runId: string | null; text: string; end: SentEvent | null; error: string | null };

export type ServerProcess = {
  url: string;
  pid: number;
  /** Lines of its log from level warn up, for whoever wonders. */
  complaints: string[];
  /** How it ended; null while it lives. */
  readonly exitCode: number | null;
  kill(): Promise<void>;
  /** Asks it to stop, and waits for its exit code. */
  terminate(): Promise<number | null>;
  /** Resident memory in MB. */
  resident(): number;
};

type Clients = { owner: postgres.Sql; app: postgres.Sql; ops: postgres.Sql; appUrl: string };

/** The caller still drops the database. */
export async function openPlace({ owner, app, ops, appUrl }: Clients, options: StandInOptions) {
  const standIns = await startStandIns(options);
  const gate = await openGate(standIns);
  const servers: ServerProcess[] = [];
  let people = 0;

  /** Five credits come with signing up, more are granted. */
  async function person(credits = 100_000, tier = 'unlimited'): Promise<Person> {
    people += 1;
    const name = `person${people}`;
    const [made] = await ops`select user_id, token from ops.create_user(${`${name}@example.com`}, ${name})`;
    const userId = String(made?.user_id);
    if (credits > 5) await ops`select from ops.grant_credits(${userId}, ${credits - 5}, 'for tests')`;
    if (tier !== 'free')
      await ops`select from ops.set_user(${userId}, tier_override => ${tier}, reason => 'for tests')`;
    return { userId, token: String(made?.token) };
  }

  async function expireHolds(): Promise<number> {
    const [row] = await ops`select ops.expire_holds() as ended`;
    return row?.ended;
  }

  /** Whoever holds anything. */
  async function held(): Promise<unknown[]> {
    const rows = await owner`
      select id, open_runs, held_included, held_purchased, day_held_cost, month_held_cost from users
      where open_runs <> '{}' or held_included <> 0 or held_purchased <> 0 or day_held_cost <> 0 or month_held_cost <> 0
        or holds_expire_at <> 'infinity'`;
    return [...rows];
  }

  await setClockToNoon(owner);
  const author = await person();
  await app`
    select from api.publish_version(${author.userId}, 'plain', 'For tests', '{}', 'public', null, '1.0.0', 'Answer plainly.', 4, 4, 6)`;

  return {
    standIns,
    gate,
    person,

    /** Another server process; `counted`: its calls pass the gate. */
    async serve(variables: Record<string, string> = {}, counted = true): Promise<ServerProcess> {
      const server = await startServerProcess({
        APP_DATABASE_URL: appUrl,
        ANTHROPIC_API_KEY: 'sandbox',
        OPENAI_API_KEY: 'sandbox',
        ANTHROPIC_BASE_URL: counted ? gate.url : standIns.anthropicBaseURL,
        OPENAI_BASE_URL: standIns.openaiBaseURL,
        ...variables,
      });
      servers.push(server);
      return server;
    },

    /** Moves the product's clock on. */
    async pass(interval: string): Promise<void> {
      await moveClock(owner, interval);
    },

    /** Waits until the database has carried out what dead servers had asked for, and has seen that they are gone. */
    async mourn(): Promise<void> {
      const sessions = () => app`
        select from pg_stat_activity where application_name = 'prpm-playground' and datname = current_database()`;
      await until(async () => (await sessions()).length === 0);
    },

    /** The job that ends what servers left behind; how many runs it ended. */
    expireHolds,

    /** The same until nothing is held: it passes over users whose row is in use, by a server's own jobs for instance. */
    async expireAllHolds(): Promise<void> {
      await until(async () => {
        await expireHolds();
        return (await held()).length === 0;
      });
    },

    audit: async () => [...(await ops`select * from ops.audit_books()`)],

    /** Every run with its texts and what its transfers took from lots. Dollars as text, without trailing zeros. */
    async runs(): Promise<BookedRun[]> {
      const rows = await owner<BookedRun[]>`
        select r.user_id, r.id, r.status, r.credits::int, trim_scale(r.cost)::text as cost, r.error,
          coalesce(t.question, '') as question, coalesce(t.answer, '') as answer,
          coalesce(k.key, '') as key,
          coalesce((select sum(x.amount * case x.debit when 'lot' then 1 else -1 end) from credit_transactions x
            where x.user_id = r.user_id and x.run_id = r.id), 0)::int as taken,
          (select count(*) from credit_transactions x where x.user_id = r.user_id and x.run_id = r.id)::int as transfers
        from runs r
        left join run_texts t on t.user_id = r.user_id and t.session_id = r.session_id and t.run_id = r.id
        left join idempotency_keys k on k.user_id = r.user_id and k.run_id = r.id
        order by r.id`;
      return [...rows];
    },

    held,

    /** Credits of a user, held ones included. */
    async balance({ userId }: Person): Promise<number> {
      const [row] = await owner`
        select (included_credits + purchased_credits)::int as credits from users where id = ${userId}`;
      return row?.credits;
    },

    async close(): Promise<void> {
      await Promise.all(servers.map((server) => server.kill()));
      await gate.close();
      await standIns.stop();
    },
  };
}

export type BookedRun = {
  user_id: string;
  id: string;
  status: string;
  credits: number;
  cost: string;
  error: string | null;
  question: string;
  answer: string;
  key: string;
  taken: number;
  transfers: number;
};

let asks = 0;

/** A new question. `directives` are the stand-in's, see sandbox/README.md. */
export function question(person: Person, directives: string): Ask {
  asks += 1;
  return { name: `ask-${asks}`, person, input: `ask-${asks} [[sandbox: ${directives}]]` };
}

const sent = (ask: Ask, stream: boolean) => ({
  token: ask.person.token,
  body: { package_id: 'plain', input: ask.input, stream },
  headers: { 'idempotency-key': ask.name },
});

/** Asks and waits for the whole answer. */
export const answerTo = (server: ServerProcess, ask: Ask): Promise<Answer> =>
  call(server.url, 'POST', execute, sent(ask, false));

/** Asks and follows the stream to its end, of whatever kind. `sight` grows while it goes on; `done` never fails. */
export function follow(server: ServerProcess, ask: Ask): { sight: Sight; done: Promise<void> } {
  const sight: Sight = { ask, runId: null, text: '', end: null, error: null };
  const read = async () => {
    for await (const event of events(server.url, 'POST', execute, sent(ask, true))) {
      if (event.event === 'run.created') sight.runId = event.data.run_id;
      else if (event.event === 'output.delta') sight.text += event.data.text;
      else if (event.event.startsWith('run.')) sight.end = event;
    }
  };
  const done = read().catch((error: unknown) => {
    sight.error = error instanceof Error ? error.message : String(error);
  });
  return { sight, done };
}

/** The run that an answer of whatever status is about. */
export const runIdOf = ({ json }: Answer): string | undefined =>
  json?.run_id ?? json?.details?.run_id ?? json?.receipt?.run_id;

export const chance = (least: number, most: number): number => randomInt(least, most + 1);

export const median = (numbers: number[]): number => {
  const sorted = numbers.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

const main = resolve(import.meta.dirname, '../../src/main.ts');

async function startServerProcess(variables: Record<string, string>): Promise<ServerProcess> {
  const child = spawn(process.execPath, ['--max-semi-space-size=8', main], {
    cwd: '/',
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: '0', ...variables },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const end = () => child.kill('SIGKILL');
  process.once('exit', end);
  const exited = once(child, 'exit').finally(() => process.off('exit', end));
  const complaints: string[] = [];
  const listening = Promise.withResolvers<string>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const entry = JSON.parse(line);
    if (entry.msg === 'listening') listening.resolve(entry.url);
    if (['warn', 'error', 'fatal'].includes(entry.level)) complaints.push(line);
  });
  exited.then(([code]) => listening.reject(new Error(`the server ended with ${code} before it listened`)));
  const url = await listening.promise;
  return {
    ...{ url, pid: child.pid ?? 0, complaints },
    get exitCode() {
      return child.exitCode;
    },
    kill: async () => {
      end();
      await exited;
    },
    terminate: async () => {
      child.kill('SIGTERM');
      await exited;
      return child.exitCode;
    },
    resident: () => residentMegabytes(child),
  };
}

function residentMegabytes({ pid }: ChildProcess): number {
  const kilobytes =
    process.platform === 'linux'
      ? /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
      : spawnSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim();
  return Number(kilobytes) / 1024;
}

/** Tokens of a call as the provider reported them by the end of its answer. */
type Usage = { input: number; output: number };

/** Passes everything on to the stand-in for Anthropic, counts the calls for each question's name, and reads what it reports. */
async function openGate({ anthropicBaseURL }: StandIns) {
  const calls = new Map<string, number>();
  const usages = new Map<string, Usage>();
  const server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    const name = /ask-\d+/.exec(body.toString())?.[0] ?? '';
    calls.set(name, (calls.get(name) ?? 0) + 1);
    const { host: _, ...headers } = request.headers;
    const onward = httpRequest(`${anthropicBaseURL}${request.url}`, { method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      let said = '';
      answer.on('data', (bytes: Buffer) => {
        said += bytes;
      });
      answer.once('end', () => {
        const last = (field: string) => [...said.matchAll(new RegExp(`"${field}":(\\d+)`, 'g'))].at(-1)?.[1];
        usages.set(name, { input: Number(last('input_tokens')), output: Number(last('output_tokens')) });
      });
      answer.pipe(response).once('error', () => {});
      answer.once('error', () => response.destroy());
    });
    onward.once('error', () => response.destroy());
    response.once('close', () => onward.destroy());
    onward.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    /** Calls for this question, from whatever run or server. */
    callsFor: ({ name }: Ask) => calls.get(name) ?? 0,
    /** What the provider reported for this question; undefined where its answer was broken off. */
    usageFor: ({ name }: Ask) => usages.get(name),
    get calls() {
      return [...calls.values()].reduce((sum, count) => sum + count, 0);
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
