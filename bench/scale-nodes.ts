// What people notice while a worker is added to a cluster and others' rows are moved to it: nothing, which is what is measured.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { compareWithBooks, type Load, startLoad } from '../sandbox/scale/load.ts';
import type { Nodes } from '../sandbox/scale/nodes.ts';
import { withDatabase } from '../src/database/roles.ts';
import { scaleUp } from '../src/scale/up.ts';
import type { Report } from './report.ts';

const clients = 8;
const bench = '00000000-0000-4000-8000-00000000aaaa';

export type AddedNode = { nodes: Nodes; appUrl(url: string): string; people: readonly string[]; calmSeconds: number };

/**
 * rebalance_errors: calls that failed while clients ran things through all nodes and a worker was added and given its part.
 * rebalance_lost: runs whose end a client was told, and which the books have not, not so, or twice; or which nobody knows of.
 * Beside them how long it took, how many runs were told meanwhile, and the longest that one took, moved and not.
 */
export async function measureAddedNode(
  report: Report,
  { nodes, appUrl, people, calmSeconds }: AddedNode,
): Promise<void> {
  const sql = postgres(withDatabase(nodes.urls[0], 'prpm'), { max: 1, onnotice: () => {} });
  const load = startLoad({ urls: nodes.urls.map(appUrl), people, package: bench, model: 'sonnet', clients });
  await sleep(calmSeconds * 1000);
  const began = Date.now();
  await nodes.add();
  const [first, ...rest] = nodes.urls.map((url) => withDatabase(url, 'prpm'));
  if (first === undefined) throw new Error('a node is missing');
  await scaleUp([first, ...rest], () => {});
  await moveShards(sql);
  const ended = Date.now();
  load.urls.push(...nodes.urls.slice(-1).map(appUrl));
  await sleep(calmSeconds * 1000);
  await load.stop();
  const { lost, doubled, strangers } = await compareWithBooks(sql, load);
  const [moved] = await sql<{ shards: number }[]>`
    select count(*)::int as shards from citus_shards
    where table_name = 'public.users'::regclass and nodeport = ${Number(new URL(nodes.urls.at(-1) ?? '').port)}`;
  if (!moved?.shards) throw new Error('nothing was moved');
  await sql.end();
  report('rebalance_errors', load.troubles.length, 'calls');
  report('rebalance_lost', lost + doubled + strangers, 'runs');
  report('rebalance_runs', load.told.filter(({ at }) => at >= began && at <= ended).length, 'runs');
  report('rebalance_seconds', (ended - began) / 1000, 's');
  report('rebalance_slowest_run', slowest(load), 'ms');
}

/** Lets Citus move what it finds fair, and waits. */
async function moveShards(sql: postgres.Sql): Promise<void> {
  await sql`select citus_rebalance_start()`;
  await sql`select citus_rebalance_wait()`;
  const [job] = await sql<{ state: string }[]>`select state from citus_rebalance_status()`;
  if (job?.state !== 'finished') throw new Error(`The rebalancing is ${job?.state}.`);
}

const slowest = ({ told }: Load) => Math.max(...told.map(({ took }) => took));
