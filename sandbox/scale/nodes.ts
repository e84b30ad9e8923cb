// A Citus cluster on this machine: a coordinator and workers, each a PostgreSQL of its own, which know each other's passwords.
import type { Cluster, ClusterOptions } from '../postgres/cluster.ts';

export type Nodes = {
  /** URLs of the superuser, the coordinator's first. */
  urls: [string, ...string[]];
  /** Process ids of their postmasters. */
  pids: number[];
  /** Says what roles these are, by whose passwords the nodes call each other. */
  keepPasswords(passwords: Record<string, string>): void;
  /** At once where not said otherwise. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
};

export type NodesOptions = {
  /** Starts one node, as startCluster or startTemporaryCluster does. */
  start(name: string, options: Omit<ClusterOptions, 'directory'>): Promise<Cluster>;
  password: string;
  /** Default 2. */
  workers?: number;
  /** Shards a table. Default 32. */
  shards?: number;
  settings?: Record<string, string>;
};

/** Starts the nodes. The extension, and who belongs to whom, are matters of each database: see src/scale. */
export async function startNodes({
  start,
  password,
  workers = 2,
  shards = 32,
  settings,
}: NodesOptions): Promise<Nodes> {
  const names = ['coordinator', ...Array.from({ length: workers }, (_, number) => `worker${number + 1}`)];
  const started = await Promise.allSettled(
    names.map((name) =>
      start(name, { password, settings: { ...nodeSettings, 'citus.shard_count': String(shards), ...settings } }),
    ),
  );
  const clusters = started.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const stop = async (mode: 'fast' | 'immediate' = 'immediate') => {
    await Promise.all(clusters.map((cluster) => cluster.stop(mode)));
  };
  const failed = started.find((result) => result.status === 'rejected');
  const [coordinator, ...others] = clusters.map(({ url }) => url);
  if (failed !== undefined || coordinator === undefined) {
    await stop();
    throw failed?.reason;
  }
  return {
    urls: [coordinator, ...others],
    pids: clusters.map(({ pid }) => pid),
    keepPasswords: (passwords) => {
      const lines = clusters.flatMap(({ port }) =>
        Object.entries({ postgres: password, ...passwords }).map(
          ([role, word]) => `127.0.0.1:${port}:*:${role}:${word}`,
        ),
      );
      for (const cluster of clusters) cluster.keepPasswords(lines);
    },
    stop,
  };
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
  // A transaction may read many shards and then write a config table.
  'citus.multi_shard_modify_mode': 'sequential',
  // A function that a statement calls on a worker may itself read settings and limits, which are on every node.
  'citus.allow_nested_distributed_execution': 'on',
};
