// What the tests of this folder know of a database: all of it from PostgreSQL's catalog, and which room a thing is of from
// the file in db/fixtures that makes it.
import { globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type postgres from 'postgres';

export const root = resolve(import.meta.dirname, '../..');

/** The function of a transaction that is taken back whatever happens in it. Returns what it returns. */
export async function inScratch<Result>(
  sql: postgres.Sql,
  probe: (scratch: postgres.TransactionSql) => Promise<Result>,
) {
  const undo = new Error('undo');
  let result: { value: Result } | undefined;
  await sql
    .begin(async (scratch) => {
      result = { value: await probe(scratch) };
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  if (result === undefined) throw new Error('the transaction ended before its function did');
  return result.value;
}

export type Table = { oid: number; schema: string; name: string; comment: string | null };

/** Our tables. `name` is as in psql: without the schema where that is public. */
export function readTables(sql: postgres.ISql): Promise<Table[]> {
  return sql<Table[]>`
    select c.oid::int8::float8 as oid, n.nspname as schema,
      case when n.nspname = 'public' then c.relname else n.nspname || '.' || c.relname end as name,
      obj_description(c.oid, 'pg_class') as comment
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('api', 'core', 'ops', 'public') and c.relkind in ('r', 'p')
      and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    order by name`;
}

export function kindOf(table: Table): string | undefined {
  return /^(per-user|config|ops)\b(?!-)/.exec(table.comment ?? '')?.[1];
}

export type Routine = {
  oid: number;
  schema: string;
  /** With its schema: `core.now`. */
  name: string;
  signature: string;
  language: string;
  isProcedure: boolean;
  /** A SQL-standard body: names in it are bound when it is made, whatever the caller's search path. */
  isAtomic: boolean;
  source: string;
  volatility: 'volatile' | 'stable' | 'immutable';
  runsAsOwner: boolean;
  settings: string[];
  comment: string | null;
  parameters: { name: string; type: string }[];
};

/** Our functions, those of extensions left out. */
export async function readRoutines(sql: postgres.ISql): Promise<Routine[]> {
  return sql<Routine[]>`
    select p.oid::int8::float8 as oid, n.nspname as schema, n.nspname || '.' || p.proname as name,
      n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' as signature,
      l.lanname as language, p.prokind = 'p' as "isProcedure", p.prosqlbody is not null as "isAtomic", p.prosrc as source,
      case p.provolatile when 'v' then 'volatile' when 's' then 'stable' else 'immutable' end as volatility,
      p.prosecdef as "runsAsOwner", coalesce(p.proconfig, '{}') as settings, obj_description(p.oid, 'pg_proc') as comment,
      (
        select coalesce(json_agg(json_build_object('name', a.name, 'type', a.type::regtype::text) order by a.place), '[]')
        from unnest(coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargnames, p.proargmodes)
          with ordinality a(type, name, mode, place)
        where coalesce(a.mode, 'i') in ('i', 'b', 'v') and a.type is not null
      ) as parameters
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    join pg_language l on l.oid = p.prolang
    where n.nspname in ('api', 'core', 'ops', 'public')
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    order by name, signature`;
}

/** A source without its comments and without what stands between quotes. */
export function bareCode(source: string): string {
  return source.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'/g, (part) => (part.startsWith("'") ? "''" : ' '));
}

export type Fixture = { room: string; file: string; path: string; text: string; makes: string[] };

/** The files of db/fixtures, and the functions and views that each makes, by name with schema. */
export function readFixtures(): Fixture[] {
  return globSync('db/fixtures/*/*.sql', { cwd: root })
    .sort()
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8');
      const made = text.matchAll(/^create (?:or replace )?(?:function|procedure|view|materialized view) (\w+\.\w+)/gm);
      return {
        ...{ path, text, room: basename(dirname(path)), file: basename(path, '.sql') },
        makes: [...new Set([...made].flatMap(([, name]) => name ?? []))],
      };
    });
}
