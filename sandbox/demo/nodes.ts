// The demo's own cluster of three nodes (docs/scale.md), kept in its directory.
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '../../src/database/connection.ts';
import { type Passwords, withDatabase } from '../../src/database/roles.ts';
import { hasServerLibrary, startCluster } from '../postgres/cluster.ts';
import { startNodes } from '../scale/nodes.ts';
import type { Server } from './database.ts';

const database = 'prpm';
const shards = 8;

export function refuseWithoutCitus(): void {
  if (hasServerLibrary('citus')) return;
  throw new Error(
    'Three nodes need Citus, which this machine does not have in /usr/lib/postgresql/15 (the PostgreSQL that npm installs has none). ' +
      'Install PostgreSQL 15 and Citus for it there; docs/scale.md says which release. Nothing was changed.',
  );
}

/**
 * Starts a coordinator and two workers in `directory`, or goes on with those that are there. `password` is their superuser's,
 * `passwords` are our roles', by which they call each other.
 */
export async function startDemoNodes(directory: string, password: string, passwords: Passwords): Promise<Server> {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o755); // the account that PostgreSQL runs as has to get through
  const nodes = await startNodes({
    start: (name, options) => startCluster({ ...options, directory: join(directory, name) }),
    ...{ password, shards },
  });
  nodes.keepPasswords(passwords);
  const [superuserUrl, ...workerUrls] = nodes.urls;
  const ports = nodes.urls.map((url) => new URL(url).port);
  const shown = `three nodes of its own, PostgreSQL 15 with Citus: a coordinator on port ${ports[0]}, workers on ${ports.slice(1).join(' and ')}`;
  const stop = () => nodes.stop('fast');
  return { shown, superuserUrl, workerUrls, database, isPrivate: true, stop };
}

/**
 * After a new start: a node may have another port than it had, and each node knows all of them by their ports; and what was being
 * written on several nodes when they were killed is ended one way or the other, so that nobody waits for it.
 */
export async function rejoinNodes({ superuserUrl, workerUrls }: Server): Promise<void> {
  const urls = [superuserUrl, ...workerUrls];
  const ports = urls.map((url) => Number(new URL(url).port));
  for (const url of urls) {
    await using sql = connect(withDatabase(url, database));
    // In the order in which they joined, which is that of their URLs.
    const known = await sql<{ id: number; port: number }[]>`
      select nodeid as id, nodeport as port from pg_dist_node order by nodeid`;
    const moved = known.flatMap(({ id, port }, place) =>
      port === ports[place] ? [] : [{ id, port: ports[place] ?? port }],
    );
    // First out of the way: two may have changed places.
    for (const { id } of moved) await sql`update pg_dist_node set nodeport = -nodeid where nodeid = ${id}`;
    for (const { id, port } of moved) await sql`update pg_dist_node set nodeport = ${port} where nodeid = ${id}`;
  }
  for (const url of urls) {
    await using sql = connect(withDatabase(url, database));
    await sql`select recover_prepared_transactions()`;
  }
}
