// Which worker of a cluster has a person's rows, so that what concerns them alone is asked there. Any worker would answer,
// at the price of asking the right one.
import { isDatabaseDown } from '../errors/database.ts';
import type { Sql } from './pool.ts';

/** How long a worker that was away is not asked. */
const AWAY_MS = 2_000;
/** How often is read who is where. Meanwhile what was moved is answered all the same, by a worker that asks another. */
const LOOK_MS = 10_000;

type Worker = { sql: Sql; awayUntil: number; group: number | null };
/** The people whose hash lies between, both included, are at the worker of this group. */
type Shard = { least: number; most: number; group: number };

export type Workers = { of(userId: string): Sql; close(): void };

/**
 * `of` a person is the one of these whose worker has them; the next by turns while that is not known yet, is away, or
 * is none of them; `otherwise` while all are away.
 */
export function routeToWorkers(asks: readonly Sql[], otherwise: Sql): Workers {
  if (asks.length === 0) return { of: () => otherwise, close: () => {} };
  const workers = asks.map(watch);
  let shards: Shard[] = [];
  let turn = 0;

  /** What cannot be read stays as it was known. */
  const look = async () => {
    const [known] = await Promise.all([
      Promise.any(workers.map(({ sql }) => readShards(sql))).catch(() => shards),
      ...workers.map(async (worker) => {
        worker.group ??= await readGroup(worker.sql).catch(() => null);
      }),
    ]);
    shards = known;
  };
  void look();
  const timer = setInterval(() => void look(), LOOK_MS).unref();

  const isHere = (worker: Worker | undefined) => worker !== undefined && worker.awayUntil < performance.now();
  const next = (userId: string): Worker | undefined => {
    const hash = uuidHash(userId);
    const group = shards.find(({ least, most }) => least <= hash && hash <= most)?.group;
    const right = workers.find((worker) => worker.group === group);
    if (isHere(right)) return right;
    turn = (turn + 1) % workers.length;
    return [...workers.slice(turn), ...workers.slice(0, turn)].find(isHere);
  };
  return { of: (userId) => next(userId)?.sql ?? otherwise, close: () => clearInterval(timer) };
}

/** Notes when it is away. */
function watch(ask: Sql): Worker {
  const watched = <Row extends object>(text: TemplateStringsArray, ...values: Parameters<Sql>[1][]) =>
    ask<Row>(text, ...values).catch((error: unknown) => {
      if (isDatabaseDown(error)) worker.awayUntil = performance.now() + AWAY_MS;
      throw error;
    });
  const worker: Worker = { sql: Object.assign(watched, { json: ask.json }), awayUntil: 0, group: null };
  return worker;
}

async function readGroup(sql: Sql): Promise<number | null> {
  const [row] = await sql<{ group: number }>`select groupid as group from pg_catalog.pg_dist_local_group`;
  return row?.group ?? null;
}

/** Every node has the list. */
function readShards(sql: Sql): Promise<Shard[]> {
  return sql<Shard>`
    select s.shardminvalue::integer as least, s.shardmaxvalue::integer as most, p.groupid as group
    from pg_catalog.pg_dist_shard s join pg_catalog.pg_dist_placement p on p.shardid = s.shardid
    where s.logicalrelid = 'public.users'::regclass`;
}

/** PostgreSQL's uuid_hash, by which Citus spreads rows: Bob Jenkins's lookup3 of the 16 bytes. Not a number for what is no uuid. */
export function uuidHash(id: string): number {
  const bytes = Buffer.from(id.replaceAll('-', ''), 'hex');
  if (bytes.length !== 16) return Number.NaN;
  const seed = (0x9e3779b9 + 16 + 3923095) | 0;
  let a = seed + bytes.readInt32LE(0);
  let b = seed + bytes.readInt32LE(4);
  let c = seed + bytes.readInt32LE(8);
  a = (a - c) ^ rotate(c, 4);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 6);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 8);
  b = (b + a) | 0;
  a = (a - c) ^ rotate(c, 16);
  c = (c + b) | 0;
  b = (b - a) ^ rotate(a, 19);
  a = (a + c) | 0;
  c = (c - b) ^ rotate(b, 4);
  b = (b + a) | 0;
  a = (a + bytes.readInt32LE(12)) | 0;
  c = (c ^ b) - rotate(b, 14);
  a = (a ^ c) - rotate(c, 11);
  b = (b ^ a) - rotate(a, 25);
  c = (c ^ b) - rotate(b, 16);
  a = (a ^ c) - rotate(c, 4);
  b = (b ^ a) - rotate(a, 14);
  return ((c ^ b) - rotate(b, 24)) | 0;
}

/** To the left, by so many of 32 bits. */
const rotate = (word: number, bits: number) => (word << bits) | (word >>> (32 - bits));
