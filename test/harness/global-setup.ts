// Once for a whole test run: a cluster, its roles, and a migrated database that each test file copies.
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { startTemporaryCluster } from '../../sandbox/postgres/cluster.ts';
import { startNodes } from '../../sandbox/scale/nodes.ts';
import { migrate } from '../../src/database/migrate.ts';
import {
  createDatabase,
  createRoles,
  randomPassword,
  randomPasswords,
  withDatabase,
} from '../../src/database/roles.ts';
import { distribute } from '../../src/scale/distribute.ts';
import { joinNodes } from '../../src/scale/join.ts';

const template = 'prpm_template';

declare module 'vitest' {
  interface ProvidedContext {
    superuserUrl: string;
    /** The same on each node where the tests run on a cluster (npm run test:scale), the coordinator's first; else the one. */
    nodeUrls: string[];
    /** Of prpm_owner, prpm_app, prpm_ops, prpm_cron and prpm_readonly, so that tests can connect as each. */
    passwords: Record<'prpm_owner' | 'prpm_app' | 'prpm_ops' | 'prpm_cron' | 'prpm_readonly', string>;
  }
}

/** What only test databases have: a clock that may be moved. */
async function afterMigrate(sql: postgres.Sql): Promise<void> {
  await sql`update settings set clock_offset_allowed = true`;
}

/** Nobody may connect to a database while it is copied, so nobody may at all. */
async function seal(superuserUrl: string): Promise<void> {
  const sql = postgres(superuserUrl, { max: 1 });
  await sql.unsafe(`alter database ${template} is_template true allow_connections false`);
  await sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${template}`;
  await sql.end();
}

type Servers = {
  urls: [string, ...string[]];
  keepPasswords(passwords: Record<string, string>): void;
  stop(): Promise<void>;
};

/** Their databases live for seconds, and looking after all of them takes a fifth of the time of a test. */
const settings = { autovacuum: 'off' };

async function startServers(): Promise<Servers> {
  if (process.env.PRPM_SCALE !== '1') {
    const cluster = await startTemporaryCluster({ settings: { max_connections: '200', ...settings } });
    return { urls: [cluster.url], keepPasswords: () => {}, stop: cluster.stop };
  }
  return startNodes({
    ...{ start: (_, options) => startTemporaryCluster(options), password: randomPassword(), shards: 4 },
    // As npm run scale:up sets them for a database; a copy of it does not have them.
    settings: {
      ...settings,
      'citus.multi_shard_modify_mode': 'sequential',
      'citus.allow_nested_distributed_execution': 'on',
    },
  });
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const servers = await startServers();
  const passwords = randomPasswords();
  try {
    servers.keepPasswords(passwords);
    for (const url of servers.urls) {
      await createRoles(url, passwords);
      await createDatabase(url, template);
    }
    const [templateUrl, ...workerUrls] = servers.urls.map((url) => withDatabase(url, template));
    if (templateUrl === undefined) throw new Error('no server was started');
    await migrate(templateUrl, { current: true });
    const sql = postgres(templateUrl, { max: 1, onnotice: () => {} });
    await afterMigrate(sql);
    await sql.end();
    if (workerUrls.length > 0) {
      await joinNodes([templateUrl, ...workerUrls]);
      await distribute(templateUrl);
    }
    for (const url of servers.urls) await seal(url);
  } catch (error) {
    await servers.stop();
    throw error;
  }
  project.provide('superuserUrl', servers.urls[0]);
  project.provide('nodeUrls', servers.urls);
  project.provide('passwords', passwords);
  return () => servers.stop();
}
