// Spreads a database over the nodes of a Citus cluster: tables by their declared kind, functions to every node.
import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { type Asks, readByColumns, useProcedures } from './routines.ts';

const spreadSql = new URL('../../db/scale/spread.sql', import.meta.url);

type Kind = 'per-user' | 'config' | 'ops';
type Table = { name: string; kind: Kind; isDistributed: boolean };

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
      await letReadersIn(tx, tables);
      if (toDo.length > 0) {
        const views = await hideViews(tx);
        const keys = await dropForeignKeys(tx);
        const triggers = await dropTriggers(tx);
        await tx`set local citus.enable_ddl_propagation = on`;
        for (const { name } of toDo.filter(({ kind }) => kind === 'config'))
          await tx`select create_reference_table(${name}::regclass)`;
        for (const { name } of toDo.filter(({ kind }) => kind === 'per-user')) {
          const [key, group] = name === 'public.users' ? ['id', 'none'] : ['user_id', 'public.users'];
          await tx`select create_distributed_table(${name}::regclass, ${key}, colocate_with => ${group})`;
        }
        for (const key of keys) await tx.unsafe(key);
        await tx`set local citus.enable_unsafe_triggers = on`;
        for (const trigger of triggers) await tx.unsafe(trigger);
        await tx`set local citus.enable_ddl_propagation = off`;
        for (const view of views) await tx.unsafe(view);
        say(`distributed ${toDo.length} tables`);
      }
    });
    await delegateCalls(sql);
    await spreadFunctions(sql, say);
  } finally {
    await sql.end();
  }
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

/** On another node a view reads and calls by the rights of who reads it, not of who made it. Secrets are an ops table. */
async function letReadersIn(sql: Asks, tables: readonly Table[]): Promise<void> {
  await sql`grant usage on schema core to prpm_ops, prpm_readonly`;
  for (const { name, kind } of tables)
    if (kind !== 'ops' && name.startsWith('core.'))
      await sql.unsafe(`grant select on ${name} to prpm_ops, prpm_readonly`);
}

/**
 * Returns the statements that make them again. One from what is on the coordinator alone to what is on all nodes is left out:
 * for it Citus makes the table one of its own, with another name and without its comments.
 */
async function dropForeignKeys(sql: Asks): Promise<string[]> {
  const keys = await sql<{ drop: string; add: string; isKept: boolean }[]>`
    select format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname) as drop,
      format('alter table %s add constraint %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)) as add,
      (obj_description(k.conrelid, 'pg_class') like 'ops%' and obj_description(k.confrelid, 'pg_class') like 'config%') is not true as "isKept"
    from pg_constraint k join pg_class c on c.oid = k.conrelid
    where k.contype = 'f' and c.relnamespace in ('public'::regnamespace, 'core'::regnamespace)`;
  for (const { drop } of keys) await sql.unsafe(drop);
  return keys.filter(({ isKept }) => isKept).map(({ add }) => add);
}

/**
 * Returns the statements that make those again that can be: on rows that go to workers, and which write nothing but those. What
 * operators change by plain SQL is not noted on a cluster, as the log is on the coordinator alone.
 */
async function dropTriggers(sql: Asks): Promise<string[]> {
  const triggers = await sql<{ drop: string; add: string; isKept: boolean }[]>`
    select format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass) as drop, pg_get_triggerdef(t.oid) as add,
      obj_description(c.oid, 'pg_class') like 'per-user%' and t.tgname <> 'record_change' as "isKept"
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where not t.tgisinternal and c.relnamespace in ('public'::regnamespace, 'core'::regnamespace)`;
  for (const { drop } of triggers) await sql.unsafe(drop);
  return triggers.filter(({ isKept }) => isKept).map(({ add }) => add);
}

/**
 * What the server calls for one person, with nothing but their own rows and config: Citus sends the whole call to the worker
 * that has them. The person is never null, for which Citus's own builds have no answer but to crash.
 */
const delegatedCalls = [
  ...['begin_run', 'checkpoint_run', 'settle_run', 'release_run', 'read_run', 'stop_run'],
  ...['read_credits', 'read_limits'],
];

async function delegateCalls(sql: postgres.Sql): Promise<void> {
  await sql`
    select create_distributed_function(p.oid::regprocedure, 'user_id', colocate_with => 'public.users')
    from pg_proc p
    where p.pronamespace = 'api'::regnamespace and p.proname in ${sql(delegatedCalls)}`;
}

/** Types and functions as they are here, on each worker. */
async function spreadFunctions(sql: postgres.Sql, say: (line: string) => void): Promise<void> {
  await sql`set search_path = ''`;
  const nodes = await sql<{ nodename: string; nodeport: number }[]>`
    select nodename, nodeport from pg_dist_node where isactive and groupid <> 0 order by nodeid`;
  const statements = await sql.unsafe<{ statement: string }[]>(await readFile(spreadSql, 'utf8'));
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
