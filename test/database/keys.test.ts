// The rules of db/README.md for tables, which let the same schema be spread over machines by the user's id.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { inScratch, kindOf, readTables, root, type Table } from './catalog.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

/** Tables that every run writes: a foreign key on them costs a fifth of the run. ops.audit_books() checks their references. */
const hotPath = [
  'users',
  'runs',
  'run_texts',
  'sessions',
  'credit_lots',
  'credit_transactions',
  'idempotency_keys',
  'refusals',
];

const keyOf = (table: Table) => (table.name === 'users' ? 'id' : 'user_id');

/** Every breach of the rules, in words that begin with the table's name. */
async function breaches(sql: postgres.ISql): Promise<string[]> {
  const tables = await readTables(sql);
  const found = tables.filter((table) => kindOf(table) === undefined).map(({ name }) => `${name} has no kind`);
  for (const table of tables.filter((one) => kindOf(one) === 'per-user')) {
    found.push(...(await breachesOfColumns(sql, table)), ...(await breachesOfIndexes(sql, table)));
  }
  return [...found, ...(await breachesOfReferences(sql, tables))].sort();
}

async function breachesOfColumns(sql: postgres.ISql, table: Table): Promise<string[]> {
  const [key] = await sql`
    select from pg_attribute
    where attrelid = ${table.oid} and attname = ${keyOf(table)} and atttypid = 'uuid'::regtype and attnotnull`;
  const counters = await sql<{ column: string }[]>`
    select a.attname as column
    from pg_attribute a
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = ${table.oid} and a.attnum > 0 and not a.attisdropped
      and (a.attidentity <> '' or pg_get_expr(d.adbin, d.adrelid) like '%nextval(%')`;
  return [
    ...(key === undefined ? [`${table.name} has no ${keyOf(table)} uuid not null`] : []),
    ...counters.map(({ column }) => `${table.name}.${column} is a serial or identity`),
  ];
}

async function breachesOfIndexes(sql: postgres.ISql, table: Table): Promise<string[]> {
  const indexes = await sql<{ name: string; first: string | null; isPrimary: boolean }[]>`
    select i.indexrelid::regclass::text as name, i.indisprimary as "isPrimary", a.attname as first
    from pg_index i
    left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0] and i.indkey[0] > 0
    where i.indrelid = ${table.oid}
    order by 1`;
  const wrong = indexes.filter(({ first }) => first !== keyOf(table));
  return [
    ...(indexes.some(({ isPrimary }) => isPrimary) ? [] : [`${table.name} has no primary key`]),
    ...wrong.map(({ name }) => `${table.name}: ${name} does not begin with ${keyOf(table)}`),
  ];
}

async function breachesOfReferences(sql: postgres.ISql, tables: Table[]): Promise<string[]> {
  const references = await sql<{ name: string; from: number; to: number; pairs: string[] }[]>`
    select c.conname as name, c.conrelid::int8::float8 as from, c.confrelid::int8::float8 as to, array(
      select f.attname || ' ' || t.attname
      from unnest(c.conkey, c.confkey) k(from_number, to_number)
      join pg_attribute f on f.attrelid = c.conrelid and f.attnum = k.from_number
      join pg_attribute t on t.attrelid = c.confrelid and t.attnum = k.to_number
    ) as pairs
    from pg_constraint c
    where c.contype = 'f'`;
  return references.flatMap((reference) => {
    const from = tables.find(({ oid }) => oid === reference.from);
    const to = tables.find(({ oid }) => oid === reference.to);
    if (from === undefined || to === undefined) return [];
    const name = `${from.name}: ${reference.name}`;
    const [here, there] = [kindOf(from), kindOf(to)];
    if (hotPath.includes(from.name)) return [`${name} is a foreign key on the hot path`];
    if (here !== 'per-user' && there === 'per-user') return [`${name} points from ${here} to a per-user table`];
    if (here !== 'per-user' || there === 'config') return [];
    if (there !== 'per-user') return [`${name} points from a per-user table to ${there}`];
    const joined = reference.pairs.includes(`${keyOf(from)} ${keyOf(to)}`);
    return joined ? [] : [`${name} does not join ${keyOf(from)} to ${keyOf(to)}`];
  });
}

/** The tables of db/README.md with their kinds, from the column "its tables (kind)" of the rooms. */
function tablesOfReadme(): Map<string, string> {
  const rows = readFileSync(join(root, 'db/README.md'), 'utf8').matchAll(/^\| \w+ \| ([^|]*) \|.*\|.*\|.*\|$/gm);
  const entries = [...rows].flatMap(([, cell]) =>
    (cell ?? '').split(';').flatMap((part) => {
      const [kind = '', names = ''] = part.split(':');
      return [...names.matchAll(/`([\w.]+)`/g)].map(([, name]): [string, string] => [name ?? '', kind.trim()]);
    }),
  );
  return new Map(entries);
}

it('every table says its kind, and every per-user table keeps the rules of its kind (design: keys, rules 1 to 4)', async () => {
  const tables = await readTables(database.owner);
  expect(tables.filter((table) => kindOf(table) === 'per-user').length).toBeGreaterThan(10);
  expect(tables.map(({ name }) => name)).toEqual(expect.arrayContaining(hotPath));
  expect(await breaches(database.owner)).toEqual([]);
});

it('db/README.md lists every table, with the kind that its comment says (design: keys, rule 1)', async () => {
  const tables = await readTables(database.owner);
  const kinds = tables.map((table): [string, string] => [table.name, kindOf(table) ?? 'none']);
  expect(Object.fromEntries([...tablesOfReadme()].sort())).toEqual(Object.fromEntries(kinds.sort()));
});

describe('the check itself names', () => {
  const make = (columns: string, comment = 'per-user. Probe.') =>
    `create table probe (${columns}); comment on table probe is '${comment}'`;
  const good = 'user_id uuid not null, id uuid not null, primary key (user_id, id)';

  it.each([
    ['nothing of a table that keeps them', make(good), []],
    ['a table without a comment', 'create table probe (id uuid primary key)', ['probe has no kind']],
    ['a kind that there is not', make('id uuid primary key', 'ops-like. Probe.'), ['probe has no kind']],
    [
      'a table without user_id',
      make('id uuid primary key'),
      ['probe has no user_id uuid not null', 'probe: probe_pkey does not begin with user_id'],
    ],
    [
      'a user_id that may be null',
      make('user_id uuid, id uuid'),
      ['probe has no primary key', 'probe has no user_id uuid not null'],
    ],
    [
      'a user_id that is a text',
      make(good.replace('user_id uuid', 'user_id text')),
      ['probe has no user_id uuid not null'],
    ],
    [
      'a primary key that begins with something else',
      make('user_id uuid not null, id uuid, primary key (id, user_id)'),
      ['probe: probe_pkey does not begin with user_id'],
    ],
    [
      'a unique constraint over all users',
      make(`${good}, email text unique`),
      ['probe: probe_email_key does not begin with user_id'],
    ],
    [
      'an exclusion constraint over all users',
      make(`${good}, during tstzrange, exclude using gist (during with &&, user_id with =)`),
      ['probe: probe_during_user_id_excl does not begin with user_id'],
    ],
    [
      'an index over all users',
      `${make(good)}; create index on probe (id)`,
      ['probe: probe_id_idx does not begin with user_id'],
    ],
    [
      'an index on an expression',
      `${make(good)}; create index on probe ((user_id::text))`,
      ['probe: probe_user_id_idx does not begin with user_id'],
    ],
    [
      'an index of users over another column',
      'create index probe on users (email)',
      ['users: probe does not begin with id'],
    ],
    ['a serial', make(`${good}, n bigserial`), ['probe.n is a serial or identity']],
    ['an identity', make(`${good}, n bigint generated by default as identity`), ['probe.n is a serial or identity']],
    ['nothing of a reference to a config table', make(`${good}, plan text references plans`), []],
    [
      'nothing of a reference that carries the user along',
      make(`${good}, purchase_id uuid, foreign key (user_id, purchase_id) references purchases`),
      [],
    ],
    [
      'a reference that leaves the user out',
      `create table other (${good}, unique (id)); comment on table other is 'per-user. Probe.';
       ${make(`${good}, other_id uuid references other (id)`)}`,
      [
        'other: other_id_key does not begin with user_id',
        'probe: probe_other_id_fkey does not join user_id to user_id',
      ],
    ],
    [
      'a reference to an ops table',
      make(`${good}, email text references user_emails`),
      ['probe: probe_email_fkey points from a per-user table to ops'],
    ],
    [
      'a reference from a config table to a per-user one',
      make('id uuid primary key, author_id uuid references users', 'config. Probe.'),
      ['probe: probe_author_id_fkey points from config to a per-user table'],
    ],
    [
      'a reference from an ops table to a per-user one',
      make('id uuid primary key, user_id uuid references users', 'ops. Probe.'),
      ['probe: probe_user_id_fkey points from ops to a per-user table'],
    ],
    [
      'any reference on the hot path',
      'alter table runs add constraint probe foreign key (package_id) references packages',
      ['runs: probe is a foreign key on the hot path'],
    ],
  ])('%s', async (_, statements, expected) => {
    const found = await inScratch(database.owner, async (scratch) => {
      await scratch.unsafe(statements);
      return breaches(scratch);
    });
    expect(found).toEqual(expected);
  });
});
