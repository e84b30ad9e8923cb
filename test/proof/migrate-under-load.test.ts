// A release is applied while people run things. Runs come first: a migration that they would have to wait for is taken back.
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
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

/** People who run things, one connection each, until told to stop. */
function load(database: TestDatabase, people: string[]) {
  let stopped = false;
  let runs = 0;
  const errors: unknown[] = [];
  const all = people.map(async (user) => {
    while (!stopped) {
      await converse(database, user).then(
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
    const running = load(database, people);
    const report = postgres(database.ownerUrl, { max: 1, onnotice: () => {} });
    const waits = watchWaits(database);
    const end = Promise.withResolvers<void>();
    const reading = report.begin(async (sql) => {
      await sql`select count(*) from settings`;
      await end.promise;
    });
    await running.goesOn();
    const folder = folderOf(committed, 'alter table public.settings add column if not exists tried integer;\n');
    const migrating = migrate(database.ownerUrl, { current: true, folder });
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
    const running = load(database, people);
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
    const running = load(database, people);
    await running.goesOn();
    const waits = watchWaits(database);
    // Not yet released, the newest may be larger than what can be applied in a tenth of a second.
    const { applied, current } = await migrate(database.ownerUrl, { current: true, hold: true });
    expect(current === 'applied' || applied.length > 0).toBe(true);
    await running.goesOn();
    await running.stop();
    const longest = await waits();
    if (soak)
      console.log(`longest wait for a lock while the newest migrations were applied: ${Math.round(longest)} ms`);
    expect(running.errors).toEqual([]);
    expect(await database.ops`select * from ops.audit_books()`).toEqual([]);
  } finally {
    await database.drop();
  }
}, 60_000);
