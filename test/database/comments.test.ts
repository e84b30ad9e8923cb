// Whoever works in psql reads comments: so everything has one, and figures say what they count.
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { inScratch, readRoutines } from './catalog.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

type Relation = { name: string; kind: string; comment: string | null };
type Column = { name: string; relation: string; kind: string; column: string; type: string; comment: string | null };

function readRelations(sql: postgres.ISql): Promise<Relation[]> {
  return sql<Relation[]>`
    select n.nspname || '.' || c.relname as name, c.relkind as kind, obj_description(c.oid, 'pg_class') as comment
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('r', 'p', 'v', 'm')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by 1`;
}

function readColumns(sql: postgres.ISql): Promise<Column[]> {
  return sql<Column[]>`
    select n.nspname || '.' || c.relname || '.' || a.attname as name, n.nspname || '.' || c.relname as relation,
      c.relkind as kind, a.attname as column, a.atttypid::regtype::text as type, col_description(c.oid, a.attnum) as comment
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('r', 'p', 'v', 'm')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by 1`;
}

async function uncommented(sql: postgres.ISql): Promise<string[]> {
  const everything = [...(await readRelations(sql)), ...(await readColumns(sql)), ...(await readRoutines(sql))];
  return everything.filter(({ comment }) => !comment?.trim()).map(({ name }) => name);
}

const isNumber = ({ type }: { type: string }) =>
  ['numeric', 'bigint', 'integer', 'smallint', 'double precision', 'real'].includes(type);

/** What the comment of a numeric column must say, by the column's name and type. The first that fits decides. */
const units: { of: RegExp; type?: string; says: RegExp }[] = [
  { of: /_ms$/, says: /\bmilliseconds\b/i },
  { of: /_seconds$/, says: /\bseconds\b/i },
  { of: /(^|_)days$/, says: /\bdays\b/i },
  { of: /percent/, says: /\bpercent/i },
  { of: /multiplier|safety/, says: /\bfactor\b/i },
  { of: /^tokens_per_credit$/, says: /\btokens\b|\bsetting\b/i },
  { of: /^(limit|used)_value$/, says: /\bunit\b/i },
  { of: /cost|price|revenue|budget|dollars|paid|_amount$/, type: 'numeric', says: /\bUS dollars\b/ },
  { of: /token|^output_cap|^estimated_input$/, says: /\btokens\b/i },
  { of: /credit|^held_|^hold_(included|purchased)|granted|remaining|shortfall|balance|^amount$/, says: /\bcredits\b/i },
  { of: /requests$|^runs/, says: /\bruns\b|\brequests\b|\battempts\b|\bhow many\b/i },
  { of: /./, type: 'numeric', says: /\bUS dollars\b|\bfactor\b|\bpercent\b/i },
];

async function withoutUnit(sql: postgres.ISql): Promise<string[]> {
  const figures = (await readColumns(sql)).filter((column) => isNumber(column) && column.comment !== null);
  return figures
    .filter(({ column, type, comment }) => {
      const rule = units.find((unit) => unit.of.test(column) && (unit.type === undefined || unit.type === type));
      return rule !== undefined && !rule.says.test(comment ?? '');
    })
    .map(({ name, comment }) => `${name}: ${comment}`);
}

it('every table, view, column and function has a comment (style: SQL)', async () => {
  expect((await readColumns(database.owner)).length).toBeGreaterThan(300);
  expect(await uncommented(database.owner)).toEqual([]);
});

it('the comment of every function that somebody outside calls names the rule that it carries out (style: SQL)', async () => {
  const offered = (await readRoutines(database.owner)).filter(({ schema }) => schema !== 'core');
  expect(offered.length).toBeGreaterThan(40);
  expect(offered.filter(({ comment }) => !/\bspec \d+(\.\d+)?/i.test(comment ?? '')).map(({ name }) => name)).toEqual(
    [],
  );
});

it('the comment of every function that raises one of our codes says which (style: SQL)', async () => {
  const silent = (await readRoutines(database.owner)).flatMap(({ name, source, comment }) =>
    [...new Set([...source.matchAll(/errcode = '(PR[1-9]\d\d)'/g)].map(([, code]) => code ?? ''))]
      .filter((code) => !comment?.includes(code))
      .map((code) => `${name} raises ${code}`),
  );
  expect(silent).toEqual([]);
});

it("a figure's comment names its unit: dollars, credits, tokens, a span of time, percent, a factor (style: SQL)", async () => {
  expect(await withoutUnit(database.owner)).toEqual([]);
});

describe('the check itself names', () => {
  it.each([
    ['a table', 'create table probe ()', ['public.probe']],
    ['a column', "create table probe (a text); comment on table probe is 'config. Probe.'", ['public.probe.a']],
    ['a blank comment', "create view ops.probe as select; comment on view ops.probe is ' '", ['ops.probe']],
    ['a function', 'create function core.probe() returns int begin atomic select 1; end', ['core.probe']],
  ])('%s without a comment', async (_, statement, expected) => {
    const found = await inScratch(database.owner, async (scratch) => {
      await scratch.unsafe(statement);
      return uncommented(scratch);
    });
    expect(found).toEqual(expected);
  });

  it.each([
    ['cost numeric', 'What it cost.'],
    ['cost numeric', 'Credits.'],
    ['credits bigint', 'How many.'],
    ['tokens integer', 'How many.'],
    ['wait_ms integer', 'How long.'],
    ['anything numeric', 'Some figure.'],
  ])('%s that says "%s"', async (column, comment) => {
    const found = await inScratch(database.owner, async (scratch) => {
      await scratch.unsafe(`create table probe (${column})`);
      await scratch.unsafe(`comment on column probe.${column.split(' ')[0]} is '${comment}'`);
      return withoutUnit(scratch);
    });
    expect(found).toEqual([`public.probe.${column.split(' ')[0]}: ${comment}`]);
  });
});
