// People who run things on a cluster, one after the other, while its nodes come and go. What each was told is kept, and
// compared with the books in the end: a run that somebody was told of is there, once, for what they were told.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { uuidv7 } from 'uuidv7';
import { isPassing } from '../../src/errors/database.ts';

type Run = { user: string; id: string };
type Trouble = { user: string; at: number; error: Error };

export type LoadOptions = {
  /** Of prpm_app at nodes; runs go to them by turns. */
  urls: string[];
  /** Ids of people with credits, whom no limit stops. */
  people: readonly string[];
  package: string;
  model: string;
  clients: number;
  /** How long each client waits after a run, in milliseconds. Default 0. */
  pauseMs?: number;
  /** So many of the clients leave a run whose beginning failed, where others ask again under the same id. Default 0. */
  impatient?: number;
};

export type Load = {
  /** As given; what is changed in it is so from the next run on. */
  urls: string[];
  /** Runs whose end somebody was told: the credits that were named, at which instant, and after how many milliseconds. */
  told: (Run & { credits: number; at: number; took: number })[];
  /** Runs that may have begun, and were left. */
  left: Run[];
  /** What was asked again, or not: at which instant (milliseconds), and why. */
  troubles: Trouble[];
  /** Ends when everybody has been told the end of their last run. Throws what asking again does not mend. */
  stop(): Promise<void>;
};

const PAUSE_MS = 100;
/** How long it is asked again after stop(). */
const PATIENCE_MS = 30_000;

/** Begins at once. Asks again what the server does (src/engine/persist.ts) and what its callers are told to. */
export function startLoad({ urls, people, clients, pauseMs = 0, impatient = 0, ...asked }: LoadOptions): Load {
  const told: Load['told'] = [];
  const left: Run[] = [];
  const troubles: Trouble[] = [];
  let isOver = false;
  let deadline = Number.POSITIVE_INFINITY;

  async function runOver(client: number): Promise<void> {
    const connections = new Map<string, postgres.Sql>();
    let turn = client;
    const next = () => {
      turn += 1;
      const url = urls[turn % urls.length] ?? '';
      const sql = connections.get(url) ?? connect(url);
      connections.set(url, sql);
      return sql;
    };
    /** What `call` answers, or undefined where it failed in passing and is not asked again. */
    async function ask<T>(
      user: string,
      again: boolean,
      call: (sql: postgres.Sql) => Promise<T>,
    ): Promise<T | undefined> {
      for (;;) {
        try {
          return await call(next());
        } catch (error) {
          if (!(error instanceof Error) || !isPassing(error) || Date.now() > deadline) throw error;
          troubles.push({ user, at: Date.now(), error });
          if (!again) return undefined;
          await sleep(PAUSE_MS);
        }
      }
    }
    try {
      for (let n = client; !isOver; n += clients) {
        const began = Date.now();
        const run = { user: people[n % people.length] ?? '', id: uuidv7() };
        const outcome = await ask(run.user, client >= impatient, (sql) => begin(sql, run, asked));
        if (outcome === undefined) left.push(run);
        else {
          const credits = await ask(run.user, true, (sql) => settle(sql, run));
          told.push({ ...run, credits: credits ?? 0, at: Date.now(), took: Date.now() - began });
        }
        if (pauseMs > 0) await sleep(pauseMs);
      }
    } finally {
      await Promise.all([...connections.values()].map((sql) => sql.end({ timeout: 1 })));
    }
  }

  const all = Promise.all(Array.from({ length: clients }, (_, client) => runOver(client)));
  all.catch(() => {
    isOver = true;
  });
  return {
    ...{ urls, told, left, troubles },
    stop: async () => {
      isOver = true;
      deadline = Math.min(deadline, Date.now() + PATIENCE_MS);
      await all;
    },
  };
}

function connect(url: string): postgres.Sql {
  // Of array types it would ask each new connection, and where that fails nobody can catch it.
  return postgres(url, { max: 1, fetch_types: false, connect_timeout: 5, backoff: () => 0.05, onnotice: () => {} });
}

async function begin(sql: postgres.Sql, { user, id }: Run, asked: { package: string; model: string }): Promise<string> {
  const [row] = await sql<{ outcome: string; refusal: unknown }[]>`
    select outcome, refusal from api.begin_run(
      ${user}, ${id}, ${asked.package}, null, null, ${asked.model}, false, 400, 'o200k_base', null, null, null, null)`;
  if (row?.outcome !== 'started' && row?.outcome !== 'known')
    throw new Error(`A run was refused: ${JSON.stringify(row?.refusal)}`);
  return row.outcome;
}

async function settle(sql: postgres.Sql, { user, id }: Run): Promise<number> {
  const [row] = await sql<{ status: string; credits: string }[]>`
    select status, credits_spent as credits
    from api.settle_run(${user}, ${id}, 'completed', true, 500, 0, 0, 50, false, 'question', 'answer', null, null, 1, 2)`;
  if (row?.status !== 'completed') throw new Error(`A run ended as ${row?.status}.`);
  return Number(row.credits);
}

export type Compared = {
  /** Of what was told: not in the books, or with fewer credits. */
  lost: number;
  /** In the books twice, or with more credits than were told. */
  doubled: number;
  /** Runs of these people since the load began of which nobody knows. */
  strangers: number;
};

/** The books of a cluster or of one server, read by a superuser, against what people were told. */
export async function compareWithBooks(
  sql: postgres.Sql,
  { told, left }: Pick<Load, 'told' | 'left'>,
): Promise<Compared> {
  const [first] = [...told, ...left].map(({ id }) => id).sort();
  const runs = await sql<{ id: string; status: string; credits: string }[]>`
    select r.id, r.status, r.credits from runs r where r.id >= ${first ?? uuidv7()}`;
  const paid = await sql<{ id: string; credits: string }[]>`
    select t.run_id as id, sum(t.amount) as credits from credit_transactions t
    where t.debit = 'lot' and t.run_id >= ${first ?? uuidv7()} group by t.run_id`;
  const count = new Map<string, number>();
  for (const { id } of runs) count.set(id, (count.get(id) ?? 0) + 1);
  const completed = new Map(runs.map(({ id, status, credits }) => [id, status === 'completed' ? Number(credits) : 0]));
  const taken = new Map(paid.map(({ id, credits }) => [id, Number(credits)]));
  const known = new Set([...told, ...left].map(({ id }) => id));
  const least = (id: string) => Math.min(completed.get(id) ?? -1, taken.get(id) ?? -1);
  const most = (id: string) => Math.max(completed.get(id) ?? 0, taken.get(id) ?? 0);
  return {
    lost: told.filter(({ id, credits }) => least(id) < credits).length,
    doubled: told.filter(({ id, credits }) => (count.get(id) ?? 0) > 1 || most(id) > credits).length,
    strangers: [...count.keys()].filter((id) => !known.has(id)).length,
  };
}
