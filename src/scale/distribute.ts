// Spreads a database over the nodes of a Citus cluster: tables by their declared kind, functions to every node.
import postgres from 'postgres';

type Kind = 'per-user' | 'config' | 'ops';
type Table = { name: string; kind: Kind; isDistributed: boolean };
type Asks = postgres.ISql<Record<never, unknown>>;
type Routine = { name: string; definition: string };

/**
 * Distributes the database that `coordinatorUrl` names, as a superuser. One transaction: it is all there, or nothing has
 * changed. What is distributed already stays as it is; functions are brought to every node anew.
 */
export async function distribute(coordinatorUrl: string, say: (line: string) => void = () => {}): Promise<void> {
  const sql = postgres(coordinatorUrl, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  try {
    await sql.begin(async (tx) => {
      await tx`set local citus.enable_ddl_propagation = off`;
      await tx`set local check_function_bodies = off`;
      await tx`set local search_path = ''`;
      await tx`set local citus.multi_shard_modify_mode = sequential`;
      const tables = await readTables(tx);
      const toDo = tables.filter(({ kind, isDistributed }) => kind !== 'ops' && !isDistributed);
      await useProcedures(tx);
      await readByColumns(tx);
      if (toDo.length > 0) {
        const views = await hideViews(tx);
        const keys = await dropForeignKeys(tx);
        await dropTriggers(tx);
        await tx`set local citus.enable_ddl_propagation = on`;
        for (const { name } of toDo.filter(({ kind }) => kind === 'config'))
          await tx`select create_reference_table(${name}::regclass)`;
        for (const { name } of toDo.filter(({ kind }) => kind === 'per-user')) {
          const [key, group] = name === 'public.users' ? ['id', 'none'] : ['user_id', 'public.users'];
          await tx`select create_distributed_table(${name}::regclass, ${key}, colocate_with => ${group})`;
        }
        for (const key of keys) await tx.unsafe(key);
        await tx`set local citus.enable_ddl_propagation = off`;
        for (const view of views) await tx.unsafe(view);
        say(`distributed ${toDo.length} tables`);
      }
    });
    await spreadFunctions(sql, say);
  } finally {
    await sql.end();
  }
}

/**
 * Makes one cluster of the databases of the same name on several servers; `urls` are a superuser's, the coordinator's first.
 * What is joined already stays so.
 */
export async function joinNodes(urls: readonly string[]): Promise<void> {
  for (const url of urls) {
    const sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 10 });
    await sql`create extension if not exists citus`;
    await sql.end();
  }
  const [coordinator, ...workers] = urls.map((url) => new URL(url));
  const sql = postgres(urls[0] ?? '', { max: 1, onnotice: () => {}, connect_timeout: 10 });
  if (coordinator !== undefined)
    await sql`select citus_set_coordinator_host(${coordinator.hostname}, ${Number(coordinator.port)})`;
  for (const { hostname, port } of workers) await sql`select citus_add_node(${hostname}, ${Number(port)})`;
  await sql.end();
}

async function readTables(sql: Asks): Promise<Table[]> {
  return sql<Table[]>`
    select format('%I.%I', n.nspname, c.relname) as name,
      substring(obj_description(c.oid, 'pg_class') from '^(per-user|config|ops)') as kind,
      exists (select from pg_dist_partition p where p.logicalrelid = c.oid and p.repmodel is not null) as "isDistributed"
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname in ('public', 'core')
    order by c.relname <> 'users', 1`;
}

/**
 * A function in SQL that reads a table depends on it, which Citus follows in circles, and may not read a distributed one by
 * its parameters. The same statements in plpgsql may.
 */
async function useProcedures(sql: Asks): Promise<void> {
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
    where l.lanname = 'sql' and p.pronamespace in ('public'::regnamespace, 'core'::regnamespace, 'api'::regnamespace, 'ops'::regnamespace)
      and p.prosqlbody is not null
      and exists (
        select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
          and d.deptype = 'n'
      )`;
  for (const { definition, body, isSet, type, out, hasPath, isPure, name } of routines) {
    const head = definition
      .slice(0, definition.length - body.length - 1)
      .replace('LANGUAGE sql', 'LANGUAGE plpgsql')
      .trimEnd();
    const path = hasPath ? '' : ` SET search_path TO ''`;
    await sql
      .unsafe(`${head}${path}\nAS $procedure$${asProcedure(body, isSet, isPure, type, out)}$procedure$`)
      .catch((error) => {
        throw new Error(`${name}: ${error.message}\n${head}`, { cause: error });
      });
  }
}

/**
 * A row read whole into a variable takes the variable for a parameter of the statement, and its type is not to be told on
 * another node. Reading its columns is a little slower and goes everywhere.
 */
async function readByColumns(sql: Asks): Promise<void> {
  const routines = await sql<Routine[]>`
    select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition
    from pg_proc p join pg_language l on l.oid = p.prolang
    where l.lanname = 'plpgsql' and p.pronamespace in ('public'::regnamespace, 'core'::regnamespace, 'api'::regnamespace, 'ops'::regnamespace)
      and p.prosrc ~ ':= \\(\\s*select \\w+ from'`;
  for (const { definition } of routines) await sql.unsafe(definition.replace(wholeRow, 'select $2.* into $1 from $3;'));
}

const wholeRow = /(\w+) := \(\s*select (\w+) from ((?:public|core)\.\w+ \2\b[^;]*)\);/g;

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
  else if (isPure) lines.push(`return (${last})`);
  else {
    declared = `declare answer ${type};\n`;
    lines.push(`for answer in ${last} loop return answer; end loop`, 'return null');
  }
  return `\n#variable_conflict use_column\n${declared}begin\n${lines.map((line) => `${line};\n`).join('')}end\n`;
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

/** Makes each view read nothing, and returns the statements that make them as they were. */
async function hideViews(sql: Asks): Promise<string[]> {
  const views = await sql<{ name: string; definition: string; stub: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name, pg_get_viewdef(c.oid) as definition,
      (select string_agg(format('null::%s as %I', format_type(a.atttypid, a.atttypmod), a.attname), ', ' order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as stub
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'v' and n.nspname in ('public', 'core', 'ops', 'api')
      and not exists (select from pg_depend x where x.classid = 'pg_class'::regclass and x.objid = c.oid and x.deptype = 'e')
    order by c.oid`;
  for (const { name, stub } of views) await sql.unsafe(`create or replace view ${name} as select ${stub}`);
  return views.map(({ name, definition }) => `create or replace view ${name} as ${definition}`);
}

async function dropForeignKeys(sql: Asks): Promise<string[]> {
  const keys = await sql<{ drop: string; add: string }[]>`
    select format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname) as drop,
      format('alter table %s add constraint %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)) as add
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where k.contype = 'f' and c.relnamespace in ('public'::regnamespace, 'core'::regnamespace)`;
  for (const { drop } of keys) await sql.unsafe(drop);
  return keys.map(({ add }) => add);
}

async function dropTriggers(sql: Asks): Promise<void> {
  const triggers = await sql<{ drop: string }[]>`
    select format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass) as drop
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where not t.tgisinternal and c.relnamespace in ('public'::regnamespace, 'core'::regnamespace)`;
  for (const { drop } of triggers) await sql.unsafe(drop);
}

/** Types and functions as they are here, on each worker. */
async function spreadFunctions(sql: postgres.Sql, say: (line: string) => void): Promise<void> {
  await sql`set search_path = ''`;
  const nodes = await sql<{ nodename: string; nodeport: number }[]>`
    select nodename, nodeport from pg_dist_node where isactive and groupid <> 0 order by nodeid`;
  const statements = await sql<{ statement: string }[]>`
    with schemas(oid) as (values ('public'::regnamespace), ('core'::regnamespace), ('api'::regnamespace), ('ops'::regnamespace)),
    routines as (
      select p.* from schemas s join pg_proc p on p.pronamespace = s.oid and p.prokind in ('f', 'p')
      where not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
        and not exists ( -- rows of what is here alone
          select from unnest(p.proargtypes::oid[] || p.prorettype || coalesce(p.proallargtypes, '{}')) u(type)
          join pg_type t on t.oid = u.type or t.typarray = u.type join pg_class c on c.oid = t.typrelid and c.relkind in ('r', 'v')
          where not exists (select from pg_dist_partition d where d.logicalrelid = c.oid)
        )
    )
    select format('create schema if not exists %s authorization %I', n.oid::regnamespace, n.nspowner::regrole) as statement, 0 as step, 0 as nr
    from schemas s join pg_namespace n on n.oid = s.oid
    union all
    select format('do $do$ begin create type %s as (%s); alter type %s owner to %I; exception when duplicate_object then null; end $do$', t.oid::regtype,
      (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), t.oid::regtype, t.typowner::regrole), 1, t.oid::bigint
    from schemas s join pg_type t on t.typnamespace = s.oid join pg_class c on c.oid = t.typrelid and c.relkind = 'c'
    union all
    select pg_get_functiondef(p.oid), 2, p.oid::bigint
    from routines p
    union all
    select format('alter routine %1$s owner to %2$I; revoke all on routine %1$s from public; %3$s', p.oid::regprocedure, p.proowner::regrole,
      coalesce((select string_agg(format('grant execute on routine %s to %s', p.oid::regprocedure, case a.grantee when 0 then 'public' else a.grantee::regrole::text end), '; ')
       from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a), '')), 3, p.oid::bigint
    from routines p
    union all
    select format('grant usage on schema %s to %s', n.oid::regnamespace, case a.grantee when 0 then 'public' else a.grantee::regrole::text end), 4, 0
    from schemas s join pg_namespace n on n.oid = s.oid, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a where a.privilege_type = 'USAGE'
    order by step, nr`;
  for (const { nodename, nodeport } of nodes) {
    const worker = postgres({ ...connectionOf(sql), host: nodename, port: nodeport, max: 1, onnotice: () => {} });
    try {
      await worker`set citus.enable_ddl_propagation = off`;
      await worker`set check_function_bodies = off`;
      await worker`set search_path = ''`;
      let open = statements.map(({ statement }) => statement);
      for (;;) {
        const failed: string[] = [];
        const reasons: string[] = [];
        for (const statement of open) {
          await worker.unsafe(statement).catch((error) => {
            failed.push(statement);
            reasons.push(`${statement.slice(0, 150)}: ${error.message}`);
          });
        }
        if (failed.length === 0) break;
        if (failed.length === open.length)
          throw new Error(`${failed.length} statements fail on ${nodename}:${nodeport}, ${reasons.join('\n')}`);
        open = failed;
      }
    } finally {
      await worker.end();
    }
    say(`${statements.length} statements on ${nodename}:${nodeport}`);
  }
}

function connectionOf(sql: postgres.Sql) {
  const { user, pass, database } = sql.options;
  return { user, database, ...(typeof pass === 'string' && { password: pass }) };
}
