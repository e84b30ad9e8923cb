import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject } from 'vitest';
import { createDatabase as createOwnedDatabase, roleUrl, withDatabase } from '../../src/database/roles.ts';

export type TestDatabase = {
  name: string;
  ownerUrl: string;
  appUrl: string;
  opsUrl: string;
  superuserUrl: string;
  /** Clients as prpm_owner, prpm_app and prpm_ops. int8 and numeric arrive as strings. */
  owner: postgres.Sql;
  app: postgres.Sql;
  ops: postgres.Sql;
  /** Sessions that wait for a lock, on whatever node: on a cluster who waits does so where the rows are. */
  countWaiting(): Promise<number>;
  /** Ends the clients and removes the database, whoever else is still connected. */
  drop(): Promise<void>;
};

/** A migrated database of one's own, for a test file; `afterAll(() => database.drop())` belongs to it. */
export async function createDatabase(): Promise<TestDatabase> {
  const superuser = inject('superuserUrl');
  const nodes = inject('nodeUrls');
  const name = `test_${randomBytes(6).toString('hex')}`;
  for (const node of nodes) await createOwnedDatabase(node, name, 'prpm_template');
  return connectDatabase(superuser, inject('passwords'), name, nodes);
}

export type TestPasswords = Record<'prpm_owner' | 'prpm_app' | 'prpm_ops', string>;

/** Clients for a database that is there, on whatever cluster. */
export function connectDatabase(
  superuser: string,
  passwords: TestPasswords,
  name: string,
  nodes: readonly string[] = [superuser],
): TestDatabase {
  const ownerUrl = roleUrl(superuser, 'prpm_owner', passwords.prpm_owner, name);
  const appUrl = roleUrl(superuser, 'prpm_app', passwords.prpm_app, name);
  const opsUrl = roleUrl(superuser, 'prpm_ops', passwords.prpm_ops, name);
  const [owner, app, ops] = [client(ownerUrl), client(appUrl), client(opsUrl)];
  const watchers = nodes.map((node) => client(withDatabase(node, name)));
  return {
    ...{ name, ownerUrl, appUrl, opsUrl, superuserUrl: withDatabase(superuser, name), owner, app, ops },
    countWaiting: async () => {
      const waiting = await Promise.all(
        watchers.map(
          (sql) => sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
        ),
      );
      return waiting.flat().length;
    },
    drop: async () => {
      await Promise.all([owner, app, ops, ...watchers].map((sql) => sql.end({ timeout: 1 })));
      for (const node of nodes) {
        const sql = postgres(node, { max: 1 });
        await dropDatabase(sql, name);
        await sql.end();
      }
    },
  };
}

/** Nodes of a cluster come back to a database by themselves, in the very moment in which it is dropped. */
async function dropDatabase(sql: postgres.Sql, name: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await sql`drop database if exists ${sql(name)} with (force)`;
      return;
    } catch (error) {
      if (tries === 5 || !(error instanceof postgres.PostgresError && error.code === '55006')) throw error;
    }
  }
}

function client(url: string): postgres.Sql {
  return postgres(url, { max: 4, onnotice: () => {} });
}
