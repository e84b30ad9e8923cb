// Once for a whole test run: a cluster, its roles, and a migrated database that each test file copies.
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { startTemporaryCluster } from '../../sandbox/postgres/cluster.ts';
import { migrate } from '../../src/database/migrate.ts';
import { createDatabase, createRoles, randomPassword, withDatabase } from '../../src/database/roles.ts';

const template = 'prpm_template';

declare module 'vitest' {
  interface ProvidedContext {
    superuserUrl: string;
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
  await sql.end();
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cluster = await startTemporaryCluster({ settings: { max_connections: '200' } });
  const passwords = {
    prpm_owner: randomPassword(),
    prpm_app: randomPassword(),
    prpm_ops: randomPassword(),
    prpm_cron: randomPassword(),
    prpm_readonly: randomPassword(),
  };
  try {
    await createRoles(cluster.url, passwords);
    await createDatabase(cluster.url, template);
    const templateUrl = withDatabase(cluster.url, template);
    await migrate(templateUrl, { current: true });
    const sql = postgres(templateUrl, { max: 1, onnotice: () => {} });
    await afterMigrate(sql);
    await sql.end();
    await seal(cluster.url);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  project.provide('superuserUrl', cluster.url);
  project.provide('passwords', passwords);
  return () => cluster.stop();
}
