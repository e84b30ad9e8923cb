// Three nodes, each a PostgreSQL with Citus, and on the first a migrated database that may be spread over them.
import { startTemporaryCluster } from '../../sandbox/postgres/cluster.ts';
import { type Nodes, startNodes } from '../../sandbox/scale/nodes.ts';
import { migrate } from '../../src/database/migrate.ts';
import {
  createDatabase,
  createRoles,
  randomPassword,
  randomPasswords,
  withDatabase,
} from '../../src/database/roles.ts';
import { connectDatabase, type TestDatabase, type TestPasswords } from '../harness/database.ts';

export type Place = {
  nodes: Nodes;
  passwords: TestPasswords;
  /** Of a superuser for the database, the coordinator's first. */
  urls: [string, ...string[]];
  /** At the coordinator. */
  database: TestDatabase;
  close(): Promise<void>;
};

export async function openPlace(): Promise<Place> {
  const passwords = randomPasswords();
  const nodes = await startNodes({
    start: (_, options) => startTemporaryCluster(options),
    password: randomPassword(),
    shards: 4,
  });
  try {
    nodes.keepPasswords(passwords);
    const [coordinator, ...workers] = nodes.urls;
    await createRoles(coordinator, passwords);
    await createDatabase(coordinator, 'prpm');
    const url = withDatabase(coordinator, 'prpm');
    await migrate(url, { current: true });
    const database = connectDatabase(coordinator, passwords, 'prpm');
    await database.owner`update settings set clock_offset_allowed = true`;
    return {
      ...{ nodes, passwords, database, urls: [url, ...workers.map((worker) => withDatabase(worker, 'prpm'))] },
      close: async () => {
        await database.drop();
        await nodes.stop();
      },
    };
  } catch (error) {
    await nodes.stop();
    throw error;
  }
}
