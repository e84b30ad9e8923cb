// db/current runs again on every change, and committed migrations run on every new database: both must come to the same end.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { migrate } from '../../src/database/migrate.ts';
import { createDatabase as createOwnedDatabase, roleUrl } from '../../src/database/roles.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster, needs, pgDump } from '../harness/tools.ts';
import { audit, begin, buy, converse, publishPackage, signUp, subscribe } from '../sessions/people.ts';
import { readFixtures, readTables } from './catalog.ts';

let database: TestDatabase;
let ann: string;
/** What stood in the tables before any migration ran again. */
let filled: Record<string, string>;
beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  ann = await signUp(database, 'ann');
  await buy(database, ann);
  await subscribe(database, ann);
  await converse(database, ann);
  await begin(database, ann);
  const { ops } = database;
  await ops`update settings set max_request_tokens = 15000`;
  await ops`update cost_limits_config set monthly_cost_limit = 1.00 where tier_name = 'free'`;
  await ops`update plans set monthly_price = 7.00 where plan = 'prpm_plus_individual'`;
  await ops`update models set enabled = false where alias = 'gpt-4-turbo'`;
  await ops`select from ops.publish_prices('opus', null, 1, 0.1, 1.25, 5, 'operator', 'test')`;
  await ops`update users set is_throttled = true where id = ${ann}`;
  filled = await contents(database.owner);
});
afterAll(() => database.drop());

/** The schema as pg_dump writes it, less what says nothing of it. */
async function dump(url: string, ...options: string[]): Promise<string[]> {
  if (pgDump === undefined) throw new Error('there is no pg_dump');
  const { stdout } = await promisify(execFile)(
    pgDump,
    ['--schema-only', '--exclude-schema=graphile_migrate', ...options, url],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  return stdout.split('\n').filter((line) => !/^(\\(un)?restrict |-- Dumped )/.test(line));
}

/** Every row of every table, as one hash a table. */
async function contents(sql: postgres.ISql): Promise<Record<string, string>> {
  const tables = await readTables(sql);
  const found: Record<string, string> = {};
  for (const { name } of tables) {
    const [row] = await sql.unsafe(
      `select count(*) || ' rows ' || md5(coalesce(string_agg(t::text, E'\\n' order by t::text), '')) as content from ${name} t`,
    );
    found[name] = row?.content;
  }
  return found;
}

/** Runs the migrations, db/current among them even where nothing in it has changed, which graphile-migrate else passes over. */
async function migrateAgain(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  const forgotten = await sql`delete from graphile_migrate.current`;
  await sql.end();
  const { current } = await migrate(url, { current: true });
  expect(forgotten.count > 0).toBe(current === 'applied');
}

/** An empty database of the owner's, for as long as `use` takes. */
async function withEmptyDatabase(use: (url: string) => Promise<void>): Promise<void> {
  const superuser = inject('superuserUrl');
  const name = `${database.name}_empty`;
  await createOwnedDatabase(superuser, name);
  try {
    await use(roleUrl(superuser, 'prpm_owner', inject('passwords').prpm_owner, name));
  } finally {
    const sql = postgres(superuser, { max: 1 });
    await sql`drop database if exists ${sql(name)} with (force)`;
    await sql.end();
  }
}

describe.skipIf(needs('pg_dump'))('the schema', () => {
  it('is the same after one run of the migrations from nothing as after a second (design: toolchain)', async () => {
    const template = await dump(database.ownerUrl);
    expect(template.length).toBeGreaterThan(1000);
    await withEmptyDatabase(async (url) => {
      await migrate(url, { current: true });
      const once = await dump(url);
      if (!differsOnCluster('the template is spread')) expect(once).toEqual(template);
      await migrateAgain(url);
      expect(await dump(url)).toEqual(once);
    });
  });

  it('is the same after the migrations have run again over a database in use (design: toolchain)', async () => {
    const before = await dump(database.ownerUrl);
    await migrateAgain(database.ownerUrl);
    expect(await dump(database.ownerUrl)).toEqual(before);
  });

  it('has every function and view as db/fixtures has it: none was changed there and not migrated (design: toolchain)', async () => {
    const isMadeAnew = (text: string) => /^create materialized view/m.test(text); // and takes with it what stands on it
    const files = readFixtures().sort((a, b) => Number(isMadeAnew(b.text)) - Number(isMadeAnew(a.text)));
    await withEmptyDatabase(async (url) => {
      await migrate(url, { current: true });
      const migrated = await dump(url, '--no-privileges');
      const sql = postgres(url, { max: 1, onnotice: () => {} });
      for (const { text } of files) await sql.unsafe(text);
      await sql.end();
      expect(await dump(url, '--no-privileges')).toEqual(migrated);
    });
  });
});

it('migrations that run again change no row: neither books nor what operators have set (design: toolchain)', async () => {
  expect(Object.keys(filled).length).toBeGreaterThan(25);
  await migrateAgain(database.ownerUrl);
  expect(await contents(database.owner)).toEqual(filled);
  expect(await audit(database.ops)).toEqual([]);
});

it('migrations that run again take no right away: server and operator go on (design: toolchain)', async () => {
  await database.ops`select refresh_user_cost_analytics()`;
  await migrateAgain(database.ownerUrl);
  expect(await database.app`select * from api.read_credits(${ann})`).toHaveLength(1);
  expect((await database.ops`select * from user_cost_analytics`).length).toBeGreaterThan(0);
});

it('of two who migrate an empty database at once one applies all, and the other waits and finds nothing missing (design: toolchain)', async () => {
  await withEmptyDatabase(async (url) => {
    const both = await Promise.all([migrate(url), migrate(url)]);
    const applied = both.map((one) => one.applied.length).sort((a, b) => a - b);
    expect(applied).toEqual([0, both[0]?.committed]);
  });
}, 60_000);

describe('a migration that a cluster takes (docs/scale.md)', () => {
  /** Citus sends the whole text of these, with all that stands beside them. */
  const CHANGES_TABLE = /^(alter table|create (unique )?index)\b/i;
  /** These it must not send at all: npm run scale:up brings them, in the order in which they need each other. */
  const CHANGES_CODE =
    /^(create (or replace )?|drop |alter |grant .* on |revoke .* on )(function|procedure|routine|view)\b/i;
  const SENDS_NO_MORE = /^set local citus\.enable_ddl_propagation = off$/i;

  /** What of a migration is not as db/README.md says. */
  function breaches(text: string): string[] {
    let isSent = true;
    return text
      .replace(/--.*$/gm, '')
      .replace(/\$(\w*)\$[\s\S]*?\$\1\$/g, '')
      .split(';')
      .map((statement) => statement.trim())
      .filter((statement) => {
        if (SENDS_NO_MORE.test(statement)) isSent = false;
        return CHANGES_TABLE.test(statement) || (isSent && CHANGES_CODE.test(statement));
      });
  }

  it('changes tables in do blocks, one statement at a time, and code where nothing is sent to nodes', () => {
    const folder = new URL('../../db/committed/', import.meta.url);
    const files = readdirSync(folder).filter((file) => file >= '000027'); // those before it were there before there were clusters
    const current = readdirSync(new URL('../../db/current/', import.meta.url)).filter((file) => file.endsWith('.sql'));
    const texts = [
      ...files.map((file) => readFileSync(new URL(file, folder), 'utf8')),
      current.map((file) => readFileSync(new URL(`../../db/current/${file}`, import.meta.url), 'utf8')).join('\n'),
    ];
    expect(texts.flatMap(breaches)).toEqual([]);
  });

  it.each([
    ['alter table x add y text', ['alter table x add y text']],
    ['do $a$ begin alter table x add y text; end $a$', []],
    [
      'create or replace function f() returns int language sql return 1',
      ['create or replace function f() returns int language sql return 1'],
    ],
    ['set local citus.enable_ddl_propagation = off; create view v as select 1', []],
  ])('is told by %s', (text, found) => {
    expect(breaches(`-- so\n${text};`)).toEqual(found);
  });
});

it('only the owner migrates: another role is refused, in words (design: who may do what)', async () => {
  await expect(migrate(database.opsUrl, { current: true })).rejects.toThrow(/"prpm_ops" may not migrate/);
});
