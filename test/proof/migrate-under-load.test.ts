// A release is applied while people run things. Runs come first: a migration that they would have to wait for is taken back.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import postgres from 'postgres';
import { uuidv7 } from 'uuidv7';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { openDatabase } from '../../src/database/client.ts';
import { migrate } from '../../src/database/migrate.ts';
import { createDatabase as createOwnedDatabase } from '../../src/database/roles.ts';
import { connectDatabase, createDatabase, type TestDatabase } from '../harness/database.ts';
import { until } from '../http/house.ts';
import { converse, publishPackage, signUp } from '../sessions/people.ts';
import { soak } from './place.ts';

const db = resolve(import.meta.dirname, '../../db');
const committed = readdirSync(join(db, 'committed')).sort();

const folders: string[] = [];
process.once('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** The committed migrations so far, and one more in the making. */
function folderOf(names: string[], current?: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'prpm-migrations-'));
  folders.push(folder);
  mkdirSync(join(folder, 'committed'));
  for (const name of names) cpSync(join(db, 'committed', name), join(folder, 'committed', name));
  cpSync(join(db, 'fixtures'), join(folder, 'fixtures'), { recursive: true });
  if (current === undefined) cpSync(join(db, 'current'), join(folder, 'current'), { recursive: true });
  else {
    mkdirSync(join(folder, 'current'));
    writeFileSync(join(folder, 'current/1-current.sql'), current);
  }
  return folder;
}

/** People who run things until told to stop, each as often as they can. */
function load(people: (() => Promise<unknown>)[]) {
  let stopped = false;
  let runs = 0;
  const errors: unknown[] = [];
  const all = people.map(async (run) => {
    while (!stopped) {
      await run().then(
        () => (runs += 1),
        (error: unknown) => errors.push(error),
      );
    }
  });
  return {
    errors,
    runs: () => runs,
    /** Until everyone has run something again. */
    goesOn: () => {
      const before = runs;
      return until(() => runs >= before + people.length);
    },
    stop: async () => {
      stopped = true;
      await Promise.all(all);
    },
  };
}

/** The same as a server does it: by its connections, several statements at a time on each. */
function serverLoad(people: string[], { sql }: Pick<Awaited<ReturnType<typeof openDatabase>>, 'sql'>) {
  return people.map((user) => async () => {
    const [begun] = await sql<{ outcome: string; begunRunId: string }>`
      select outcome, begun_run_id from api.begin_run(
        ${user}, ${uuidv7()}, 'notes', null, null, 'gpt-4o-mini', false, 100, 'o200k_base', null, null, null, null)`;
    if (begun?.outcome !== 'started') throw new Error(`not started: ${begun?.outcome}`);
    await sql`
      select from api.settle_run(
        ${user}, ${begun.begunRunId}, 'completed', true, 1000, 0, 0, 500, false, 'What?', 'A note.', null, null, 100, 900)`;
  });
}

/** The longest that any session of a database was seen waiting for a lock, in ms. */
function watchWaits({ superuserUrl }: TestDatabase) {
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} });
  let stopped = false;
  let longest = 0;
  const watch = async () => {
    while (!stopped) {
      const [row] = await sql`
        select coalesce(max(extract(epoch from clock_timestamp() - l.waitstart)), 0)::float8 * 1000 as ms
        from pg_locks l join pg_stat_activity a using (pid)
        where not l.granted and a.datname = current_database() and a.application_name not like 'prpm-migrate%'`;
      longest = Math.max(longest, row?.ms);
    }
  };
  const watching = watch();
  return async () => {
    stopped = true;
    await watching;
    await sql.end();
    return longest;
  };
}

async function withoutLimits(database: TestDatabase): Promise<string[]> {
  await publishPackage(database);
  await database.ops`update cost_limits_config set
    hourly_request_limit = null, minute_request_limit = null, daily_cost_limit = null, monthly_cost_limit = null`;
  const people = await Promise.all(Array.from({ length: 4 }, (_, n) => signUp(database, `runner${n}`)));
  for (const user of people) await database.ops`select from ops.grant_credits(${user}, 100000, 'for tests')`;
  return people;
}

describe('a migration', () => {
  let database: TestDatabase;
  let people: string[];
  beforeAll(async () => {
    database = await createDatabase();
    people = await withoutLimits(database);
  });
  afterAll(() => database.drop());

  it('that waits for somebody holds up nobody behind it, and is applied when they are through', async () => {
    const running = load(people.map((user) => () => converse(database, user)));
    const report = postgres(database.ownerUrl, { max: 1, onnotice: () => {} });
    const waits = watchWaits(database);
    const end = Promise.withResolvers<void>();
    const reading = report.begin(async (sql) => {
      await sql`select count(*) from settings`;
      await end.promise;
    });
    await running.goesOn();
    const folder = folderOf(committed, 'alter table public.settings add column if not exists tried integer;\n');
    const migrating = migrate(database.ownerUrl, { current: true, folder }).catch(async () => {
      await end.promise; // on a busy machine its attempts may be over before that
      return migrate(database.ownerUrl, { current: true, hold: true, folder });
    });
    for (let round = 0; round < 3; round++) await running.goesOn();
    end.resolve();
    await Promise.all([reading, migrating, report.end()]);
    await running.stop();
    const longest = await waits();
    if (soak) expect(longest).toBeLessThan(100);
    expect(running.errors).toEqual([]);
    expect(await database.owner`select tried from settings`).toHaveLength(1);
    expect(await database.ops`select * from ops.audit_books()`).toEqual([]);
  }, 60_000);

  it('that others would have to wait for is taken back, time after time, and says so; applied it is where they may wait', async () => {
    const running = load(people.map((user) => () => converse(database, user)));
    await running.goesOn();
    const slow = (seconds: number) =>
      folderOf(
        committed,
        `alter table public.users add column if not exists slow integer;\nselect pg_sleep(${seconds});\n`,
      );
    await expect(migrate(database.ownerUrl, { current: true, folder: slow(600) })).rejects.toThrow(
      /npm run migrate -- --hold/,
    );
    await running.goesOn();
    const columns = () => database.owner`
      select from information_schema.columns where table_name = 'users' and column_name = 'slow'`;
    expect(await columns()).toHaveLength(0);
    await migrate(database.ownerUrl, { current: true, hold: true, folder: slow(0.3) });
    expect(await columns()).toHaveLength(1);
    await running.stop();
    expect(running.errors).toEqual([]);
    expect(await database.ops`select * from ops.audit_books()`).toEqual([]);
  }, 60_000);
});

it('the newest migrations are applied to a database in use: no run fails, and the books balance', async () => {
  const isEmpty = readdirSync(join(db, 'current')).every(
    (name) => !/^--! include/m.test(readFileSync(join(db, 'current', name), 'utf8')),
  );
  const before = isEmpty ? committed.slice(0, -1) : committed;
  const name = `test_release_${process.pid}`;
  await createOwnedDatabase(inject('superuserUrl'), name);
  const database = connectDatabase(inject('superuserUrl'), inject('passwords'), name);
  try {
    await migrate(database.ownerUrl, { folder: folderOf(before) });
    const people = await withoutLimits(database);
    const server = await openDatabase({ url: database.appUrl, pool: 3, production: true });
    const running = load(serverLoad(people, server));
    await running.goesOn();
    const waits = watchWaits(database);
    const release = () => migrate(database.ownerUrl, { current: true });
    // One that is too large to be applied beside runs says so, and is applied when they have ended.
    const tooLarge = await release().then(
      () => undefined,
      (error: Error) => error,
    );
    await running.goesOn();
    await running.stop();
    await server.close();
    const longest = await waits();
    if (soak)
      console.log(`longest wait for the newest migrations: ${Math.round(longest)} ms; ${tooLarge ?? 'applied'}`);
    expect(running.errors).toEqual([]);
    if (tooLarge !== undefined) {
      expect(tooLarge.message).toMatch(/npm run migrate -- --hold/);
      await release();
    }
    const [newest] = await database.owner`select count(*)::int as n from graphile_migrate.migrations`;
    expect(newest?.n).toBe(committed.length);
    expect(await database.ops`select * from ops.audit_books()`).toEqual([]);
  } finally {
    await database.drop();
  }
}, 60_000);

it('a statement that waits for a migration which changes the shape of its answer is asked again, by whoever serves', async () => {
  const database = await createDatabase();
  const { owner } = database;
  const made = (columns: string, values: string) => `
    drop function if exists api.told();
    drop type if exists core.told;
    create type core.told as (${columns});
    create function api.told() returns core.told language plpgsql as $$
    begin
      perform from gate;
      return row(${values})::core.told;
    end $$;`;
  const server = await openDatabase({ url: database.ownerUrl, pool: 1, production: false });
  try {
    await owner.unsafe(`create table gate (x integer); ${made('one integer', '1')}`);
    const ask = () => server.sql`select * from api.told()`;
    expect(await ask()).toEqual([{ one: 1 }]);
    let asked: Promise<unknown>[] = [];
    await owner.begin(async (migration) => {
      await migration`lock table gate in access exclusive mode`;
      asked = [ask(), ask()];
      await until(
        async () => (await owner`select from pg_locks where not granted and relation = 'gate'::regclass`).length > 0,
      );
      await migration.unsafe(made('one integer, two integer', '1, 2'));
    });
    const answers = await Promise.allSettled(asked);
    expect(answers[0]).toEqual({ status: 'fulfilled', value: [{ one: 1, two: 2 }] });
    expect(await ask()).toEqual([{ one: 1, two: 2 }]);
  } finally {
    await server.close();
    await database.drop();
  }
});
