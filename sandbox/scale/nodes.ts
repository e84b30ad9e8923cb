// A Citus cluster on this machine: a coordinator and workers, each a PostgreSQL of its own, which know each other's passwords.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import type { Cluster, ClusterOptions } from '../postgres/cluster.ts';

export type Nodes = {
  /** URLs of the superuser, the coordinator's first; standbys are not among them. */
  urls: [string, ...string[]];
  /** Process ids of their postmasters. */
  pids: number[];
  /** Says what roles these are, by whose passwords the nodes call each other. */
  keepPasswords(passwords: Record<string, string>): void;
  /** Starts one more worker and returns its URL; to whom it belongs is for src/scale to say. */
  add(): Promise<string>;
  /** Stops a node that is none of the cluster any more. */
  remove(place: number): Promise<void>;
  /** Ends a node in the midst of whatever it does, as a power cut would: 0 is the coordinator, 1 the first worker. */
  kill(place: number): Promise<void>;
  /** Starts a node again that was killed, where it was and on its port. */
  revive(place: number): Promise<void>;
  /** Starts a standby that follows a node. */
  follow(place: number): Promise<Standby>;
  /** At once where not said otherwise. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
};

type Standby = {
  url: string;
  port: number;
  /** From now on the node waits with each commit until the standby has it on disk. */
  awaitCommits(): Promise<void>;
  /** Makes it take the node's place in `urls`. The node is killed by then. */
  promote(): Promise<void>;
};

export type NodesOptions = {
  /**
   * Starts one node, as startCluster or startTemporaryCluster does. Only nodes that are found again by their name can be
   * revived; `of` is whose base backup a new one begins with.
   */
  start(name: string, options: Omit<ClusterOptions, 'directory'>, of?: Cluster): Promise<Cluster>;
  password: string;
  /** Default 2. */
  workers?: number;
  /** Shards a table. Default 32. */
  shards?: number;
  settings?: Record<string, string>;
};

type Node = { name: string; cluster: Cluster };

/** Starts the nodes. The extension, and who belongs to whom, are matters of each database: see src/scale. */
export async function startNodes(options: NodesOptions): Promise<Nodes> {
  const { start, password, workers = 2, shards = 32, settings } = options;
  const startOptions = {
    password,
    settings: { ...nodeSettings, 'citus.shard_count': String(shards), ...settings },
  };
  const begin = async (name: string): Promise<Node> => ({ name, cluster: await start(name, startOptions) });
  const names = ['coordinator', ...Array.from({ length: workers }, (_, number) => `worker${number + 1}`)];
  const started = await Promise.allSettled(names.map(begin));
  const nodes = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const standbys: Node[] = [];
  const stop = async (mode: 'fast' | 'immediate' = 'immediate') => {
    await Promise.all([...nodes, ...standbys].map(({ cluster }) => cluster.stop(mode)));
  };
  const failed = started.find((result) => result.status === 'rejected');
  const [coordinator, ...others] = nodes.map(({ cluster }) => cluster.url);
  if (failed !== undefined || coordinator === undefined) {
    await stop();
    throw failed?.reason;
  }

  let roles: Record<string, string> = {};
  const tellPasswords = () => {
    const all = [...nodes, ...standbys].map(({ cluster }) => cluster);
    // A node calls itself, too, when it copies config tables to a new one: then as localhost.
    const places = all.flatMap(({ port }) => [`127.0.0.1:${port}`, `localhost:${port}`]);
    const lines = places.flatMap((place) =>
      Object.entries({ postgres: password, ...roles }).map(([role, word]) => `${place}:*:${role}:${word}`),
    );
    for (const cluster of all) cluster.keepPasswords(lines);
  };
  const at = (place: number): Node => {
    const node = nodes[place];
    if (node === undefined) throw new Error(`There is no node ${place}; there are ${nodes.length}.`);
    return node;
  };
  const urls: Nodes['urls'] = [coordinator, ...others];
  const pids = nodes.map(({ cluster }) => cluster.pid);
  return {
    ...{ urls, pids, stop },
    keepPasswords: (passwords) => {
      roles = passwords;
      tellPasswords();
    },
    add: async () => {
      const node = await begin(`worker${nodes.length}`);
      nodes.push(node);
      urls.push(node.cluster.url);
      pids.push(node.cluster.pid);
      tellPasswords();
      return node.cluster.url;
    },
    remove: async (place) => {
      await at(place).cluster.stop();
      for (const list of [nodes, urls, pids]) list.splice(place, 1);
    },
    kill: (place) => at(place).cluster.stop('immediate'),
    revive: async (place) => {
      const node = at(place);
      node.cluster = await start(node.name, { ...startOptions, port: node.cluster.port });
      pids[place] = node.cluster.pid;
    },
    follow: async (place) => {
      const { name, cluster: primary } = at(place);
      const { port } = primary;
      const primary_conninfo = `host=127.0.0.1 port=${port} user=postgres password=${password} application_name=standby`;
      const followOptions = { ...startOptions, settings: { ...startOptions.settings, primary_conninfo }, follow: true };
      const standby = { name: `${name}-standby`, cluster: await start(`${name}-standby`, followOptions, primary) };
      standbys.push(standby);
      tellPasswords();
      return {
        url: standby.cluster.url,
        port: standby.cluster.port,
        awaitCommits: () => awaitCommits(primary.url),
        promote: async () => {
          await tell(standby.cluster.url, 'select pg_promote()');
          nodes[place] = standby;
          standbys.splice(standbys.indexOf(standby), 1);
          urls[place] = standby.cluster.url;
          pids[place] = standby.cluster.pid;
        },
      };
    },
  };
}

/** Returns when commits do wait. */
async function awaitCommits(url: string): Promise<void> {
  await tell(url, `alter system set synchronous_standby_names = 'standby'`);
  await tell(url, 'select pg_reload_conf()');
  for (let tries = 0; tries < 100; tries++) {
    const [row] = await tell(url, `select from pg_stat_replication where sync_state = 'sync'`);
    if (row !== undefined) return;
    await sleep(100);
  }
  throw new Error('No standby has come to the node.');
}

async function tell(url: string, statement: string): Promise<postgres.Row[]> {
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await sql.unsafe(statement);
  } finally {
    await sql.end();
  }
}

/** Beside these, docs/scale.md says what a cluster of one's own needs. */
const nodeSettings = {
  // Where their logs are kept, to see what Citus refuses; the directory is one that the server's account may write.
  ...(process.env.PRPM_NODE_LOGS && {
    logging_collector: 'on',
    log_directory: process.env.PRPM_NODE_LOGS,
    log_filename: 'node-%H%M%S.log',
    log_rotation_size: '0',
  }),
  shared_preload_libraries: 'citus',
  wal_level: 'logical',
  max_connections: '300',
  max_prepared_transactions: '300',
  max_worker_processes: '40',
  'citus.node_conninfo': 'sslmode=prefer',
  'citus.show_shards_for_app_name_prefixes': '',
  'citus.enable_statistics_collection': 'off',
};
