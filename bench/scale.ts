// What a run costs on a cluster: the same pairs of begin and settle on one server, and on three nodes of the same machine.
import { readdirSync, readFileSync } from 'node:fs';
import postgres from 'postgres';
import { hasServerLibrary, startTemporaryCluster } from '../sandbox/postgres/cluster.ts';
import { startNodes } from '../sandbox/scale/nodes.ts';
import { randomPassword, randomPasswords, roleUrl, withDatabase } from '../src/database/roles.ts';
import { scaleUp } from '../src/scale/up.ts';
import { expectCleanAudit, fillDatabase, median, startDatabase, transactionsPerSecond } from './database.ts';
import type { Length, Report } from './report.ts';
import { measureAddedNode } from './scale-nodes.ts';

const people = 2_000;
const ticksPerSecond = 100;

type Place = { url: string; postmasters: readonly number[]; people: number };

/**
 * scale_cpu_per_pair_vs_plain_*: processor time of all servers of a pair on a cluster over that on one server, where the client asks
 * the coordinator, any worker, or the worker that has the person; scale_pairs_per_s_* beside it. Then a worker is added (measureAddedNode).
 */
export async function measureScale(report: Report, { seconds, rounds }: Length): Promise<void> {
  if (!hasServerLibrary('citus')) {
    console.log('scale: Citus is not installed here, so nothing was measured.');
    return;
  }
  const plain = await startDatabase(people);
  const passwords = randomPasswords();
  const settings = { shared_buffers: '512MB', max_wal_size: '16GB' };
  const nodes = await startNodes({
    start: (_, options) =>
      startTemporaryCluster({ ...options, fsync: true, settings: { ...options.settings, ...settings } }),
    password: randomPassword(),
  });
  try {
    nodes.keepPasswords(passwords);
    const [coordinator, first, second] = nodes.urls;
    if (first === undefined || second === undefined) throw new Error('a node is missing');
    const superuserUrl = await fillDatabase(coordinator, passwords, people);
    await scaleUp([superuserUrl, withDatabase(first, 'prpm'), withDatabase(second, 'prpm')], () => {});
    const sql = postgres(superuserUrl, { max: 1, onnotice: () => {} });
    const app = (url: string) => roleUrl(url, 'prpm_app', passwords.prpm_app, 'prpm');
    // Everybody, wherever one asks; at the second worker those alone whom it has.
    await plain.sql`create function bench_person(n bigint) returns uuid language sql immutable return bench_user(n)`;
    const port = Number(new URL(second).port);
    const own = await peopleAt(sql, port);
    for (const url of [coordinator, first]) await define(url, 'bench_user(n)');
    await define(second, `('{${own.join(',')}}'::uuid[])[n]`);

    const postmasters = nodes.pids;
    const places: Record<string, Place> = {
      plain: { url: plain.appUrl, postmasters: [plain.pid], people },
      coordinator: { url: app(coordinator), postmasters, people },
      any_worker: { url: app(first), postmasters, people },
      right_worker: { url: app(second), postmasters, people: own.length },
    };
    const costs: Record<string, number[]> = {};
    const rates: Record<string, number[]> = {};
    for (let round = 0; round <= rounds; round++) {
      for (const [name, { url, postmasters: servers, people: count }] of Object.entries(places)) {
        const before = processorSeconds(servers);
        const perSecond = transactionsPerSecond(url, 'pair-by-id.sql', seconds / 2, 8, { people: count });
        const spent = (processorSeconds(servers) - before) / (perSecond * (seconds / 2));
        if (round === 0) continue; // plans and pages are not there yet
        costs[name] = [...(costs[name] ?? []), spent * 1000];
        rates[name] = [...(rates[name] ?? []), perSecond];
      }
    }
    const base = median(costs.plain ?? []);
    report('scale_cpu_ms_per_pair_plain', base, 'ms');
    for (const name of Object.keys(places)) {
      report(`scale_pairs_per_s_${name}`, median(rates[name] ?? []), 'pairs/s');
      if (name !== 'plain') report(`scale_cpu_per_pair_vs_plain_${name}`, median(costs[name] ?? []) / base, 'ratio');
    }
    const all = await sql<{ id: string }[]>`select id from users where email is null and username like 'user%'`;
    await measureAddedNode(report, {
      ...{ nodes, appUrl: app, people: all.map(({ id }) => id), calmSeconds: Math.min(seconds / 4, 5) },
    });
    await expectCleanAudit(plain.sql);
    await expectCleanAudit(sql);
    await sql.end();
  } finally {
    await nodes.stop();
    await plain.stop();
  }
}

/** Whose rows are on the node of that port, asked of everybody one by one. */
async function peopleAt(sql: postgres.Sql, port: number): Promise<string[]> {
  const shards = await sql<{ shard: string }[]>`
    select shardid as shard from citus_shards where table_name = 'public.users'::regclass and nodeport = ${port}`;
  const known = new Set(shards.map(({ shard }) => shard));
  const found: string[] = [];
  for (let n = 1; n <= people; n++) {
    const [row] = await sql<{ id: string; shard: string }[]>`
      select bench_user(${n}) as id, get_shard_id_for_distribution_column('public.users', bench_user(${n})) as shard`;
    if (row !== undefined && known.has(row.shard)) found.push(row.id);
  }
  return found;
}

async function define(url: string, body: string): Promise<void> {
  const sql = postgres(withDatabase(url, 'prpm'), { max: 1, onnotice: () => {} });
  await sql`set citus.enable_ddl_propagation = off`;
  await sql.unsafe(
    `create or replace function bench_person(n bigint) returns uuid language sql immutable return ${body}`,
  );
  await sql.end();
}

/** What these servers and all that they started have taken of the processors. */
function processorSeconds(postmasters: readonly number[]): number {
  let ticks = 0;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      const isPostmaster = postmasters.includes(Number(name));
      if (!isPostmaster && !postmasters.includes(Number(fields[1]))) continue;
      ticks += Number(fields[11]) + Number(fields[12]);
      if (isPostmaster) ticks += Number(fields[13]) + Number(fields[14]); // of those that have ended
    } catch {
      // It ended in this moment.
    }
  }
  return ticks / ticksPerSecond;
}
