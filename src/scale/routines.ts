// The same functions in a form that Citus carries out. What they say stays in db/fixtures; here it is put in other words.
import type postgres from 'postgres';

export type Asks = postgres.ISql<Record<never, unknown>>;
type Routine = { name: string; definition: string };

const ours = '{public,core,api,ops}';

/**
 * A function in SQL that reads a table, or calls what takes or returns its rows, depends on it, which Citus follows in circles,
 * and may not read a distributed one by its parameters. The same statements in plpgsql may.
 */
export async function useProcedures(sql: Asks): Promise<void> {
  const routines = await sql<
    (Routine & { body: string; isSet: boolean; type: string; out: string[]; hasPath: boolean; isPure: boolean })[]
  >`
    select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition, pg_get_function_sqlbody(p.oid) as body,
      p.proretset as "isSet", format_type(p.prorettype, null) as type, p.proconfig is not null as "hasPath",
      array(select format('%I', a.name) from unnest(p.proargnames, p.proargmodes) with ordinality a (name, mode, n) where a.mode = 'o' order by a.n) as out,
      not exists (
        select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
          and d.refobjsubid = 0
      ) as "isPure"
    from pg_proc p join pg_language l on l.oid = p.prolang
    where l.lanname = 'sql' and p.pronamespace = any (${ours}::regnamespace[])
      and p.prosqlbody is not null
      and exists (
        select from pg_depend d
        left join pg_proc f on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
        left join pg_type t on t.oid = any (f.proargtypes::oid[] || f.prorettype)
        left join pg_class c on c.oid = t.typrelid
        where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'n'
          and (d.refclassid = 'pg_class'::regclass or c.relkind = 'r')
      )`;
  for (const { definition, body, isSet, type, out, hasPath, isPure, name } of routines) {
    const head = definition
      .slice(0, definition.length - body.length - 1)
      .replace('LANGUAGE sql', 'LANGUAGE plpgsql')
      .trimEnd();
    const path = hasPath ? '' : ` SET search_path TO ''`;
    const text = readFields(body, name);
    await sql
      .unsafe(`${head}${path}\nAS $procedure$${asProcedure(text, isSet, isPure, type, out)}$procedure$`)
      .catch((error) => {
        throw new Error(`${name}: ${error.message}\n${head}`, { cause: error });
      });
  }
}

/**
 * A row read whole into a variable takes the variable for a parameter of the statement, and its type is not to be told on
 * another node. Reading its columns is a little slower and goes everywhere.
 */
export async function readByColumns(sql: Asks): Promise<void> {
  const routines = await sql<Routine[]>`
    select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition
    from pg_proc p join pg_language l on l.oid = p.prolang
    where l.lanname = 'plpgsql' and p.pronamespace = any (${ours}::regnamespace[])
      and p.prosrc ~ ':= \\(\\s*select \\w+ from'`;
  for (const { definition } of routines)
    await sql.unsafe(definition.replace(wholeRow, '$1select $3.* into $2 from $4;'));
}

/**
 * Who reads a person's row to write it is alone with it, but not while Citus moves it to another node: what was read here is written
 * there then, and who waited here for the row's lock reads what it was. A write would make the move wait, so each such read
 * first takes the lock that a write takes. What passes over a row in use calls a function that takes it again.
 */
export async function holdShards(sql: Asks): Promise<void> {
  const routines = await sql<Routine[]>`
    select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition
    from pg_proc p join pg_language l on l.oid = p.prolang
    where l.lanname = 'plpgsql' and p.pronamespace = any (${ours}::regnamespace[])
      and p.prosrc ~ 'for no key update' and p.prosrc !~ 'lock_shard_metadata'`;
  for (const { definition } of routines) {
    const held = definition.replace(lockingRead, (statement, before: string, person: string) => {
      if (/skip locked/.test(statement)) return statement;
      const shard = `pg_catalog.get_shard_id_for_distribution_column('public.users', ${person})`;
      return `${before}perform pg_catalog.lock_shard_metadata(${SHARE_LOCK}, array[${shard}]) where ${person} is not null;${statement}`;
    });
    if (held !== definition) await sql.unsafe(held);
  }
}

const SHARE_LOCK = 5;

/** A statement that reads one row of users and locks it: what stands before it, and whose. */
const lockingRead =
  /(\n\s*)(?:select|perform)\b[^;]*?\bfrom public\.users (?:\w+)\s+where \w+\.id = ([\w.]+)\s+for no key update[^;]*;/g;

/**
 * Config is on every node, but Citus plans each look at it anew, as text for the copy that is on this one: 2.1 of the 4.9 milliseconds that
 * a pair's statements took. The calls that are sent whole ask that copy by its own name, which is the same on all nodes, where
 * they read nothing else. Needs the tables to be spread.
 */
export async function readCopies(sql: Asks): Promise<void> {
  const copies = await sql<{ name: string; copy: string }[]>`
    select d.logicalrelid::regclass::text as name, d.logicalrelid::regclass || '_' || s.shardid as copy
    from pg_dist_partition d join pg_dist_shard s on s.logicalrelid = d.logicalrelid
    where d.partmethod = 'n' and d.repmodel = 't'`;
  const known = new Map(copies.map(({ name, copy }) => [name, copy]));
  const copyOf = (table: string) => known.get(table.replace(/_\d+$/, '')); // of a copy, too, which may be another than it was
  const routines = await sql<Routine[]>`
    select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition
    from pg_proc p where p.pronamespace = 'api'::regnamespace and p.proname = any (core.delegated_calls())`;
  for (const { definition } of routines) {
    const statements = definition.split(';').map((statement) => {
      const tables = [...statement.matchAll(readTable)].map(([, , table = '']) => table);
      if (/\b(?:insert|update|delete)\b/.test(statement) || !tables.every(copyOf)) return statement;
      return statement.replace(readTable, (_, before, table) => `${before}${copyOf(table)}`);
    });
    const changed = statements.join(';');
    if (changed !== definition) await sql.unsafe(changed);
  }
}

/** A table that a statement reads, and what stands before it. */
const readTable = /(\b(?:from|join)\s+)((?:public|core)\.\w+)\b(?!\()/g;

/** As a statement; where a variable is declared, it is none of its own value's parameters. */
const wholeRow = /^(\s*)(\w+) := \(\s*select (\w+) from ((?:public|core)\.\w+ \3\b[^;]*)\);/gm;

function asProcedure(body: string, isSet: boolean, isPure: boolean, type: string, out: string[]): string {
  const statements = statementsOf(body);
  const last = statements.at(-1) ?? '';
  const before = statements
    .slice(0, -1)
    .map((statement) => (/^\s*select/i.test(statement) ? statement.replace(/select/i, 'perform') : statement));
  const lines = [...before];
  let declared = '';
  if (type === 'void') lines.push(/^\s*select/i.test(last) ? last.replace(/select/i, 'perform') : last);
  else if (isSet) lines.push(`return query ${last}`);
  else if (out.length > 0) lines.push(`for ${out.join(', ')} in ${last} loop return; end loop`);
  else if (isPure) lines.push(`return ${asExpression(last)}`);
  else {
    declared = `declare answer ${type};\n`;
    lines.push(`for answer in ${last} loop return answer; end loop`, 'return null');
  }
  return `\n#variable_conflict use_column\n${declared}begin\n${lines.map((line) => `${line};\n`).join('')}end\n`;
}

/** plpgsql reckons an expression by itself, where a query is carried out. */
function asExpression(query: string): string {
  const [, expression] = /^\s*SELECT\s+([\s\S]*?)(?:\s+AS\s+(?:\w+|"[^"]+"))?\s*$/.exec(query) ?? [];
  return expression === undefined || /\b(?:FROM|WHERE|SELECT)\b/.test(expression) ? `(${query})` : `(${expression})`;
}

/**
 * `(f.row).field` of a parameter asks another node for the row's type, which may be the coordinator's alone; `f.row.field` is a
 * value by itself.
 */
function readFields(body: string, name: string): string {
  const [, bare = ''] = /(\w+)\(/.exec(name) ?? [];
  return body.replace(new RegExp(`\\(${bare}\\.(\\w+)\\)\\.(\\w+)`, 'g'), `${bare}.$1.$2`);
}

/** The statements of BEGIN ATOMIC … END as PostgreSQL prints it: each begins with one space and ends with a semicolon and a line's end. */
function statementsOf(body: string): string[] {
  return body
    .replace(/^BEGIN ATOMIC\n/, '')
    .replace(/END\s*$/, '')
    .split(/;\n(?= [A-Z]|$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
}
