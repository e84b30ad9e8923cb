// `npm run scale:down`: the way back. Copies a database that is spread over a cluster into one that it makes on a single server,
// with the plain form of every function. The cluster stays as it is.
import { withSecretFiles } from '../config/secret-files.ts';
import { connect, explainConnectionError } from '../database/connection.ts';
import { migrate } from '../database/migrate.ts';
import { withDatabase } from '../database/roles.ts';
import { copyRows, findPrograms } from './copy.ts';
import { expectBalance } from './count.ts';
import { readLogins, takeRoles } from './join.ts';

/**
 * Both URLs are a superuser's, with the database's name: the cluster's coordinator, and a server on which there is none of that name. Nobody
 * may run anything meanwhile. Compares each row and audits the books on both sides, and throws where something differs; `current`
 * as in migrate. Needs psql.
 */
export async function scaleDown(
  clusterUrl: string,
  serverUrl: string,
  say: (line: string) => void,
  { current = false }: { current?: boolean } = {},
): Promise<void> {
  const programs = findPrograms();
  await refuseExisting(serverUrl);
  await using cluster = connect(clusterUrl);
  await expectBalance(cluster, 'on the cluster');
  await takeRoles(serverUrl, await readLogins(cluster));
  await migrate(serverUrl, { current });
  const { rows } = await copyRows(programs, clusterUrl, serverUrl);
  await using server = connect(serverUrl);
  await server`analyze`;
  await expectBalance(server, 'on the one server');
  say(`The same ${rows} rows on one server; the books balance.`);
}

async function refuseExisting(url: string): Promise<void> {
  const name = decodeURIComponent(new URL(url).pathname.slice(1));
  await using sql = connect(withDatabase(url, 'postgres'));
  const [row] = await sql`select from pg_database where datname = ${name}`;
  if (row !== undefined)
    throw new Error(`There is a database "${name}" at ${new URL(url).host} already. Name one that is yet to be made.`);
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
