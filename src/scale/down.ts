// `npm run scale:down`: the way back. Copies a database that is spread over a cluster into one that it makes on a single server,
// with the plain form of every function. The cluster stays as it is.
import { pipeline } from 'node:stream/promises';
import type postgres from 'postgres';
import { withSecretFiles } from '../config/secret-files.ts';
import { connect, explainConnectionError } from '../database/connection.ts';
import { migrate } from '../database/migrate.ts';
import { withDatabase } from '../database/roles.ts';
import { countRows, expectBalance, total } from './count.ts';
import { readLogins, takeRoles } from './join.ts';

/**
 * Both URLs are a superuser's, with the database's name: the cluster's coordinator, and a server on which there is none of that name. Nobody
 * may run anything meanwhile. Counts each row and audits the books on both sides, and throws where something differs; `current`
 * as in migrate.
 */
export async function scaleDown(
  clusterUrl: string,
  serverUrl: string,
  say: (line: string) => void,
  { current = false }: { current?: boolean } = {},
): Promise<void> {
  await refuseExisting(serverUrl);
  await using cluster = connect(clusterUrl);
  const before = await countRows(cluster);
  await expectBalance(cluster, 'on the cluster');
  await takeRoles(serverUrl, await readLogins(cluster));
  await migrate(serverUrl, { current });
  await using server = connect(serverUrl);
  await expectSameColumns(cluster, server);
  await copyRows(cluster, server, Object.keys(before));
  await copySequences(cluster, server);
  await server`analyze`;
  const after = await countRows(server);
  const others = Object.keys(before).filter((table) => before[table] !== after[table]);
  if (others.length > 0)
    throw new Error(
      `Other rows than on the cluster in ${others.map((table) => `${table}: ${before[table]}, here ${after[table]}`).join('; ')}. ` +
        'Did somebody run something meanwhile? Drop the database that was made, and begin again.',
    );
  await expectBalance(server, 'on the one server');
  say(`The same ${total(after)} rows on one server; the books balance.`);
}

async function refuseExisting(url: string): Promise<void> {
  const name = decodeURIComponent(new URL(url).pathname.slice(1));
  await using sql = connect(withDatabase(url, 'postgres'));
  const [row] = await sql`select from pg_database where datname = ${name}`;
  if (row !== undefined)
    throw new Error(`There is a database "${name}" at ${new URL(url).host} already. Name one that is yet to be made.`);
}

const ourColumns = `
  select format('%I.%I', n.nspname, c.relname) as "table", string_agg(format('%I', a.attname), ', ' order by a.attname) as columns
  from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
  where c.relkind = 'r' and n.nspname in ('public', 'core') and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
  group by 1 order by 1`;
type Columns = { table: string; columns: string };

async function expectSameColumns(cluster: postgres.Sql, server: postgres.Sql): Promise<void> {
  const [there, here] = [await cluster.unsafe<Columns[]>(ourColumns), await server.unsafe<Columns[]>(ourColumns)];
  const known = new Map(here.map(({ table, columns }) => [table, columns]));
  const wrong = there.filter(({ table, columns }) => known.get(table) !== columns);
  if (wrong.length > 0 || there.length !== here.length)
    throw new Error(
      `The cluster has other tables than this version makes (${wrong.map(({ table }) => table).join(', ')}). ` +
        'Use the version that the cluster has, and drop the database that was made.',
    );
}

/** All of them or none; what a new database begins with gives way. No trigger fires and no key is looked at: all were, on the cluster. */
async function copyRows(cluster: postgres.Sql, server: postgres.Sql, tables: readonly string[]): Promise<void> {
  const columns = await server.unsafe<Columns[]>(ourColumns);
  await server.begin(async (tx) => {
    await tx`set local session_replication_role = replica`;
    await tx.unsafe(`truncate ${tables.join(', ')}`);
    for (const { table, columns: names } of columns) {
      const rows = await cluster.unsafe(`copy (select ${names} from ${table}) to stdout`).readable();
      await pipeline(rows, await tx.unsafe(`copy ${table} (${names}) from stdin`).writable());
    }
  });
}

async function copySequences(cluster: postgres.Sql, server: postgres.Sql): Promise<void> {
  const sequences = await server<{ name: string }[]>`
    select format('%I.%I', schemaname, sequencename) as name from pg_sequences where schemaname in ('public', 'core')`;
  for (const { name } of sequences) {
    const [row] = await cluster.unsafe<{ last_value: string; is_called: boolean }[]>(
      `select last_value, is_called from ${name}`,
    );
    if (row !== undefined) await server`select setval(${name}::regclass, ${row.last_value}, ${row.is_called})`;
  }
}

async function main(variables: NodeJS.ProcessEnv): Promise<void> {
  const environment = withSecretFiles(variables);
  const { SUPERUSER_DATABASE_URL: cluster, SUPERUSER_SINGLE_URL: server } = environment;
  if (!cluster || !server || ![cluster, server].every((url) => URL.canParse(url))) {
    throw new Error(
      'Set SUPERUSER_DATABASE_URL to a superuser for the database on the coordinator, and SUPERUSER_SINGLE_URL to one for the database ' +
        'that is to be made on the one server: postgres://ROLE:PASSWORD@HOST:PORT/DATABASE.',
    );
  }
  await scaleDown(cluster, server, console.log);
}

if (import.meta.main) {
  await main(process.env).catch((error: unknown) => {
    console.error(explainConnectionError(error, process.env.SUPERUSER_SINGLE_URL ?? ''));
    process.exitCode = 1;
  });
}
