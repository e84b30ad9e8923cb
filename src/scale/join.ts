// Makes one Citus cluster of several servers: the same roles, a database of the same name on each, and who belongs to whom.
import type postgres from 'postgres';
import { connect } from '../database/connection.ts';
import { createDatabase, createRoles, roleNames, withDatabase } from '../database/roles.ts';

/** Each of its plans is kept for ever in these, which fills a connection's memory in minutes. */
const LEAK_STATEMENTS = 400;
const LEAK_BYTES = 2_000_000;

/**
 * `urls` are a superuser's for the database, the coordinator's first; a worker's is made if it is not there. What is joined
 * already stays so. Throws, with what to do, where Citus is missing or cannot be used; then nothing is distributed yet.
 */
export async function joinNodes(urls: readonly [string, ...string[]]): Promise<void> {
  const [coordinatorUrl, ...workerUrls] = urls;
  for (const url of urls) await refuseWithoutCitus(url);
  await using coordinator = connect(coordinatorUrl);
  const logins = await readLogins(coordinator);
  const joined = await joinedNodes(coordinator);
  const news = workerUrls.filter((url) => !joined.has(placeOf(url)));
  for (const url of news) await takeRoles(url, logins);
  for (const url of joined.size === 0 ? urls : news) {
    await using sql = connect(url);
    await sql`set citus.enable_ddl_propagation = off`;
    await sql`create extension if not exists citus`;
  }
  if (joined.size === 0) {
    const { hostname, port } = new URL(coordinatorUrl);
    await coordinator`select citus_set_coordinator_host(${hostname}, ${Number(port || 5432)})`;
  }
  for (const url of news) {
    const { hostname, port } = new URL(url);
    await coordinator`select citus_add_node(${hostname}, ${Number(port || 5432)})`;
  }
  for (const url of urls) await setDatabase(url);
  if (news.length > 0) await refuseLeak(news, coordinator);
}

/** What our functions need, for whoever connects to this database from now on. */
async function setDatabase(url: string): Promise<void> {
  await using sql = connect(url);
  await sql`set citus.enable_ddl_propagation = off`;
  const [row] = await sql<{ name: string }[]>`select current_database() as name`;
  // Jobs read everybody and then write limits, in one transaction.
  await sql`alter database ${sql(row?.name ?? '')} set citus.multi_shard_modify_mode = sequential`;
  // What a statement calls on a worker may itself read settings and limits, which are on every node.
  await sql`alter database ${sql(row?.name ?? '')} set citus.allow_nested_distributed_execution = on`;
}

const placeOf = (url: string) => `${new URL(url).hostname}:${new URL(url).port || 5432}`;

/** Host and port of each node of this database's cluster; none where it is none yet. */
async function joinedNodes(coordinator: postgres.Sql): Promise<Set<string>> {
  const [extension] = await coordinator`select from pg_extension where extname = 'citus'`;
  if (extension === undefined) return new Set();
  const nodes = await coordinator<{ place: string }[]>`select nodename || ':' || nodeport as place from pg_dist_node`;
  return new Set(nodes.map(({ place }) => place));
}

type Login = { name: string; verifier: string | null };

/** Our roles on a server, with what it knows their passwords by. */
export function readLogins(sql: postgres.Sql): Promise<Login[]> {
  return sql<Login[]>`
    select rolname as name, rolpassword as verifier from pg_authid where rolname in ${sql(roleNames)}`;
}

/** The same roles with the same passwords, and the database. */
export async function takeRoles(url: string, logins: readonly Login[]): Promise<void> {
  const database = decodeURIComponent(new URL(url).pathname.slice(1));
  const server = withDatabase(url, 'postgres');
  {
    await using sql = connect(server);
    await createRoles(server, {});
    for (const { name, verifier } of logins) {
      if (verifier !== null) await sql.unsafe(`alter role ${name} password '${verifier}'`);
    }
  }
  await createDatabase(server, database);
}

async function refuseWithoutCitus(url: string): Promise<void> {
  await using sql = connect(withDatabase(url, 'postgres'));
  const [row] = await sql<{ isThere: boolean; isLoaded: boolean }[]>`
    select exists (select from pg_available_extensions where name = 'citus') as "isThere",
      current_setting('shared_preload_libraries') ~ '\\ycitus\\y' as "isLoaded"`;
  const { host } = new URL(url);
  if (!row?.isThere)
    throw new Error(`There is no Citus at ${host}. Install it there for this PostgreSQL; docs/scale.md says which.`);
  if (!row.isLoaded)
    throw new Error(
      `Citus is not loaded at ${host}. Put citus first into shared_preload_libraries there, and restart PostgreSQL.`,
    );
}

/**
 * Some releases plan each statement of a function anew and keep all of the plans. Tried on a table of its own, since the
 * version does not tell whether a build was mended.
 */
async function refuseLeak(urls: readonly string[], coordinator: postgres.Sql): Promise<void> {
  await coordinator`drop table if exists public.scale_probe`;
  await coordinator`create table public.scale_probe (id uuid primary key)`;
  try {
    await coordinator`select create_distributed_table('public.scale_probe', 'id', colocate_with => 'none')`;
    for (const url of urls) {
      const grown = await growthOfMemory(url);
      if (grown <= LEAK_BYTES) continue;
      const [row] = await coordinator<
        { version: string }[]
      >`select extversion as version from pg_extension where extname = 'citus'`;
      throw new Error(
        `Citus ${row?.version} at ${new URL(url).host} keeps the plan of every statement: ${LEAK_STATEMENTS} of them took ${grown} bytes. ` +
          'Use a release without that fault; docs/scale.md names them.',
      );
    }
  } finally {
    await coordinator`drop table public.scale_probe`;
  }
}

/** Bytes by which a connection grows; each id is another's, so that what shards this node has are asked among others. */
async function growthOfMemory(url: string): Promise<number> {
  await using sql = connect(url);
  const bytes = async () => {
    const [row] = await sql<{ bytes: string }[]>`select sum(total_bytes) as bytes from pg_backend_memory_contexts`;
    return Number(row?.bytes);
  };
  const ask = (times: number) =>
    sql.unsafe(`do $$ declare n uuid; begin
      for i in 1 .. ${times} loop n := gen_random_uuid(); perform from public.scale_probe x where x.id = n; end loop; end $$`);
  await ask(20);
  const before = await bytes();
  await ask(LEAK_STATEMENTS);
  return (await bytes()) - before;
}
