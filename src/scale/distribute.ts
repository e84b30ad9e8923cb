// Spreads a database over the nodes of a Citus cluster: tables by their declared kind, functions to every node.
import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { type Asks, holdShards, readByColumns, readCopies, useProcedures } from './routines.ts';
import { withoutViews } from './views.ts';

const folder = new URL('../../db/scale/', import.meta.url);
/** Functions that there are on a cluster alone, in the order in which they need each other. */
const ownFunctions = ['kinds_of_tables', 'delegated_calls', 'fingerprints', 'faults_of_cluster'];

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
      await makeOwnFunctions(tx);
      const tables = await readTables(tx);
      const toDo = tables.filter(({ kind, isDistributed }) => kind !== 'ops' && !isDistributed);
      await useProcedures(tx);
      await readByColumns(tx);
      await holdShards(tx);
      await letReadersIn(tx, tables);
      if (toDo.length > 0) {
        await withoutViews(tx, () => distributeTables(tx, toDo));
        say(`distributed ${toDo.length} tables`);
      }
      await readCopies(tx);
    });
    await delegateCalls(sql);
    await spreadFunctions(sql, say);
  } finally {
    await sql.end();
  }
}

async function makeOwnFunctions(sql: Asks): Promise<void> {
  await sql`set local role prpm_owner`;
  for (const name of ownFunctions) await sql.unsafe(await readFile(new URL(`${name}.sql`, folder), 'utf8'));
  await sql`reset role`;
}

async function distributeTables(sql: Asks, tables: readonly Table[]): Promise<void> {
  const keys = await dropForeignKeys(sql, tables);
  const triggers = await dropTriggers(sql, tables);
  await sql`set local citus.enable_ddl_propagation = on`;
  for (const { name } of tables.filter(({ kind }) => kind === 'config'))
    await sql`select create_reference_table(${name}::regclass)`;
  for (const { name } of tables.filter(({ kind }) => kind === 'per-user')) {
    const [key, group] = name === 'public.users' ? ['id', 'none'] : ['user_id', 'public.users'];
    await sql`select create_distributed_table(${name}::regclass, ${key}, colocate_with => ${group})`;
  }
  for (const key of keys) await sql.unsafe(key);
  await sql`set local citus.enable_unsafe_triggers = on`;
  for (const trigger of triggers) await sql.unsafe(trigger);
}

async function readTables(sql: Asks): Promise<Table[]> {
  return sql<Table[]>`
    select k.name::text, k.kind, exists (select from pg_dist_partition p where p.logicalrelid = k.name) as "isDistributed"
    from core.kinds_of_tables() k
    order by k.name <> 'public.users'::regclass, 1`;
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
async function dropForeignKeys(sql: Asks, tables: readonly Table[]): Promise<string[]> {
  const names = tables.map(({ name }) => name);
  const keys = await sql<{ drop: string; add: string; isKept: boolean }[]>`
    select format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname) as drop,
      format('alter table %s add constraint %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid)) as add,
      (obj_description(k.conrelid, 'pg_class') like 'ops%' and obj_description(k.confrelid, 'pg_class') like 'config%') is not true as "isKept"
    from pg_constraint k
    where k.contype = 'f' and (k.conrelid = any (${names}::regclass[]) or k.confrelid = any (${names}::regclass[]))`;
  for (const { drop } of keys) await sql.unsafe(drop);
  return keys.filter(({ isKept }) => isKept).map(({ add }) => add);
}

/**
 * Returns the statements that make those again that can be: on rows that go to workers, and which write nothing but those. What
 * operators change by plain SQL is not noted on a cluster, as the log is on the coordinator alone.
 */
async function dropTriggers(sql: Asks, tables: readonly Table[]): Promise<string[]> {
  const triggers = await sql<{ drop: string; add: string; isKept: boolean }[]>`
    select format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass) as drop, pg_get_triggerdef(t.oid) as add,
      obj_description(c.oid, 'pg_class') like 'per-user%' and t.tgname <> 'record_change' as "isKept"
    from pg_trigger t join pg_class c on c.oid = t.tgrelid
    where not t.tgisinternal and c.oid = any (${tables.map(({ name }) => name)}::regclass[])`;
  for (const { drop } of triggers) await sql.unsafe(drop);
  return triggers.filter(({ isKept }) => isKept).map(({ add }) => add);
}

/** Whole calls go to the worker that has the person. */
async function delegateCalls(sql: postgres.Sql): Promise<void> {
  await sql`
    select create_distributed_function(p.oid::regprocedure, 'user_id', colocate_with => 'public.users')
    from pg_proc p
    where p.pronamespace = 'api'::regnamespace and p.proname = any (core.delegated_calls())`;
}

/** Types and functions as they are here, on each worker. */
async function spreadFunctions(sql: postgres.Sql, say: (line: string) => void): Promise<void> {
  await sql`set search_path = ''`;
  const nodes = await sql<{ nodename: string; nodeport: number }[]>`
    select nodename, nodeport from pg_dist_node where isactive and groupid <> 0 order by nodeid`;
  const statements = await sql.unsafe<{ statement: string }[]>(await readFile(new URL('spread.sql', folder), 'utf8'));
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
