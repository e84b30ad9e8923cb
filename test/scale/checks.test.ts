// ops.checks() on a cluster: each thing that can be wrong with its nodes is made so, and must be named with what puts it right.
import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scaleUp } from '../../src/scale/up.ts';
import { needs } from '../harness/tools.ts';
import { openPlace, type Place } from './place.ts';

describe.skipIf(needs('citus'))('ops.checks() on a cluster', () => {
  let place: Place;
  let coordinator: postgres.Sql;
  let worker: postgres.Sql;
  let owner: postgres.Sql;
  const seen = new Set<string>();

  beforeAll(async () => {
    place = await openPlace();
    await scaleUp(place.urls, () => {});
    const [first, second = ''] = place.urls;
    coordinator = postgres(first, { max: 1, onnotice: () => {} });
    worker = postgres(second, { max: 1, onnotice: () => {} });
    owner = postgres(place.database.ownerUrl, { max: 1, onnotice: () => {} });
    await worker`set citus.enable_ddl_propagation = off`;
  });
  afterAll(async () => {
    await Promise.all([coordinator, worker, owner].map((sql) => sql?.end({ timeout: 1 })));
    await place?.close();
  });

  type Check = { check: string; detail: string; what_to_do: string };
  const faults = () => owner<Check[]>`select * from core.faults_of_cluster()`;
  /** Nodes are asked over new connections, since those that are kept have their settings already. */
  const reconnect = async () => {
    await worker`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'citus_internal%'`;
    await expect.poll(async () => (await faults()).some(({ check }) => check === 'node away')).toBe(false);
  };

  it('has nothing to say of one that scale:up made', async () => {
    expect([...(await faults())]).toEqual([]);
  });

  it.each([
    {
      check: 'node setting',
      disturb: async () => {
        await worker`alter database prpm reset citus.multi_shard_modify_mode`;
        await reconnect();
      },
    },
    {
      check: 'function differs',
      disturb: () =>
        worker`create or replace function core.delegated_calls() returns text[] language sql immutable return '{}'::text[]`,
    },
    {
      check: 'call not delegated',
      disturb: () =>
        coordinator`update pg_dist_object set distribution_argument_index = null where objid = 'api.stop_run'::regproc`,
    },
    {
      check: 'table not spread',
      disturb: async () => {
        await coordinator`set citus.enable_ddl_propagation = off`;
        await coordinator`create table public.stars (user_id uuid primary key)`;
        await coordinator`alter table public.stars owner to prpm_owner`;
        await coordinator`comment on table public.stars is 'per-user: who was given one'`;
      },
    },
  ])('names a $check, and npm run scale:up puts it right', async ({ check, disturb }) => {
    await disturb();
    const [found, ...others] = await faults();
    expect(found).toMatchObject({ check, what_to_do: expect.stringContaining('npm run scale:up') });
    expect(others).toEqual([]);
    seen.add(check);
    await scaleUp(place.urls, () => {});
    await reconnect();
    expect([...(await faults())]).toEqual([]);
  });

  it('names a node that has nobody, and what it says puts it right', async () => {
    const { port } = new URL(place.urls[0]);
    await coordinator`select citus_set_node_property('127.0.0.1', ${Number(port)}, 'shouldhaveshards', true)`;
    const [found, ...others] = await faults();
    expect({ check: found?.check, others }).toEqual({ check: 'node empty', others: [] });
    seen.add('node empty');
    const operator = postgres(place.urls[0], { max: 1, onnotice: () => {} });
    await operator.unsafe(found?.what_to_do ?? '').finally(() => operator.end());
    await expect.poll(async () => [...(await faults())], { timeout: 60_000 }).toEqual([]);
  });

  it('names a transaction that was left prepared for too long', async () => {
    await worker.unsafe(`begin; select 1; prepare transaction 'left'`);
    try {
      expect([...(await faults())]).toEqual([]); // not yet
      const text = await readFile(new URL('../../db/scale/faults_of_cluster.sql', import.meta.url), 'utf8');
      await place.database.owner.unsafe(
        `set citus.enable_ddl_propagation = off; ${text.replace(`'5 minutes'`, `'0'`)}`,
      );
      const found = (await faults()).filter(({ check }) => check !== 'function differs');
      expect(found).toEqual([
        { check: 'transaction left', detail: expect.stringMatching(/^1 at /), what_to_do: expect.any(String) },
      ]);
      seen.add('transaction left');
    } finally {
      await worker.unsafe(`rollback prepared 'left'`);
    }
    await scaleUp(place.urls, () => {});
  });

  it('names a node that does not answer, and nothing that cannot be looked at then', async () => {
    process.kill(place.nodes.pids[1] ?? 0, 'SIGQUIT');
    const all = () => place.database.ops<Check[]>`select * from ops.checks()`;
    await expect
      .poll(async () => [...(await all())])
      .toEqual([
        {
          check: 'node away',
          detail: expect.stringMatching(/^127\.0\.0\.1:\d+ does not answer/),
          what_to_do: expect.stringContaining('docs/scale.md'),
        },
      ]);
    seen.add('node away');
  });

  it('each check has been disturbed here (style: the judge is judged)', async () => {
    const [{ source = '' } = {}] = await place.database.owner<{ source: string }[]>`
      select p.prosrc as source from pg_proc p where p.oid = 'core.faults_of_cluster'::regproc`;
    const all = [...source.matchAll(/\bselect '([^']+)',/g)].map(([, name]) => name ?? '');
    expect([...seen].sort()).toEqual([...new Set(all)].sort());
  });
});
