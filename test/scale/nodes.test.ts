// A cluster whose nodes come, die and are replaced while people run things on it (docs/scale.md). Each test goes on with the nodes
// that the one before it left. What somebody was told is in the books, once.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { uuidv7 } from 'uuidv7';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  backUpCluster,
  type Cluster,
  type ClusterOptions,
  removeCluster,
  startCluster,
  startTemporaryCluster,
} from '../../sandbox/postgres/cluster.ts';
import { compareWithBooks, type Load, startLoad } from '../../sandbox/scale/load.ts';
import { type Nodes, startNodes } from '../../sandbox/scale/nodes.ts';
import { migrate } from '../../src/database/migrate.ts';
import {
  createDatabase,
  createRoles,
  randomPassword,
  randomPasswords,
  roleUrl,
  withDatabase,
} from '../../src/database/roles.ts';
import { databaseFailure } from '../../src/errors/database.ts';
import { scaleDown } from '../../src/scale/down.ts';
import { scaleUp } from '../../src/scale/up.ts';
import { connectDatabase, type TestDatabase } from '../harness/database.ts';
import { needs } from '../harness/tools.ts';
import { buildWorld } from '../runs/world.ts';

const passwords = randomPasswords();
const home = mkdtempSync(join(tmpdir(), 'prpm-nodes-'));
const directories = new Set<string>();
process.once('exit', () => [...directories].forEach(removeCluster));

const soak = process.env.SOAK === '1';
/** How long people run things before and after whatever happens. */
const WHILE_MS = soak ? 30_000 : 1_500;
const intact = { lost: 0, doubled: 0, strangers: 0 };

describe.skipIf(needs('citus', 'pg_basebackup'))('a cluster whose nodes come and go', () => {
  let nodes: Nodes;
  let database: TestDatabase;
  let world: ReturnType<typeof buildWorld>;
  let superuser: postgres.Sql;
  /** What all nodes were started with. */
  let startOptions: Omit<ClusterOptions, 'directory'> = {};
  const people: string[] = [];
  const loads: Load[] = [];

  const urlAt = (place: number) => withDatabase(nodes.urls[place] ?? '', 'prpm');
  const appAt = (place: number) => roleUrl(nodes.urls[place] ?? '', 'prpm_app', passwords.prpm_app, 'prpm');
  const portAt = (place: number) => Number(new URL(nodes.urls[place] ?? '').port);

  beforeAll(async () => {
    nodes = await startNodes({
      start: async (name, options, of) => {
        const directory = join(home, name);
        directories.add(directory);
        if (of !== undefined) await backUpCluster(of, directory);
        startOptions = options;
        return startCluster({ ...options, directory, fsync: true });
      },
      password: randomPassword(),
      shards: soak ? 12 : 4,
      settings: {
        ...{ 'citus.background_task_queue_interval': '1s', 'citus.recover_2pc_interval': '-1' },
        ...{ archive_mode: 'on', archive_command: 'mkdir -p ../archive && cp "%p" ../archive/%f' },
      },
    });
    nodes.keepPasswords(passwords);
    const [coordinator] = nodes.urls;
    await createRoles(coordinator, passwords);
    await createDatabase(coordinator, 'prpm');
    await migrate(urlAt(0), { current: true });
    await connectAll();
    await database.owner`update settings set clock_offset_allowed = true`;
    await world.furnish();
    for (let n = 0; n < 18; n++) people.push(await world.person({ credits: 1_000_000, tier: 'unlimited' }));
    await scaleUp(allUrls(), () => {});
  }, 180_000);
  afterAll(async () => {
    await superuser?.end();
    await database?.drop().catch(() => {});
    await nodes?.stop();
    [...directories].forEach(removeCluster);
  });

  afterEach(async () => {
    await Promise.allSettled(loads.map((load) => load.stop()));
  });

  async function connectAll() {
    database = connectDatabase(nodes.urls[0], passwords, 'prpm');
    world = buildWorld(database);
    superuser = postgres(urlAt(0), { max: 2, onnotice: () => {}, backoff: () => 0.1 });
  }

  function allUrls(): [string, ...string[]] {
    const [first, ...rest] = nodes.urls.map((url) => withDatabase(url, 'prpm'));
    if (first === undefined) throw new Error('no node was started');
    return [first, ...rest];
  }

  /** People run things through all nodes. */
  function begin(more: { impatient?: number } = {}) {
    const load = startLoad({
      urls: nodes.urls.map((_, place) => appAt(place)),
      ...{ people, package: 'plain', model: 'plain', clients: 12, pauseMs: soak ? 0 : 100, ...more },
    });
    loads.push(load);
    return load;
  }

  /** Until so many more were told. */
  async function untilTold(load: Load, more: number) {
    const wanted = load.told.length + more;
    await expect.poll(() => load.told.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(wanted);
  }

  async function audit() {
    return [...(await database.ops`select * from ops.audit_books()`)];
  }

  /** On which port's node each person's rows are. */
  async function homes(): Promise<Map<string, number>> {
    const rows = await superuser<{ id: string; port: number }[]>`
      select u.id, s.nodeport as port
      from unnest(${people}::uuid[]) u (id)
      join citus_shards s on s.table_name = 'public.users'::regclass
        and s.shardid = get_shard_id_for_distribution_column('public.users', u.id)`;
    return new Map(rows.map(({ id, port }) => [id, port]));
  }

  /** Once in some ten times the new coordinator ends with signal 11 at the first, and is back in seconds (docs/scale.md). */
  async function takePlace(node: number, port: number) {
    const told = () =>
      superuser`select citus_update_node(${node}, '127.0.0.1', ${port})`.then(
        () => 'told',
        (error: unknown) => databaseFailure(error)?.code ?? error,
      );
    await expect.poll(told, { timeout: 60_000, interval: 1_000 }).toBe('told');
  }

  /** Which node has a person's rows. */
  async function placeOf(user: string): Promise<number> {
    const port = (await homes()).get(user);
    return nodes.urls.findIndex((url) => Number(new URL(url).port) === port);
  }

  it('takes one more worker and moves people to it, and nobody who runs things meets an error', async () => {
    const load = begin();
    await untilTold(load, 50);
    await nodes.add();
    await scaleUp(allUrls(), () => {});
    await superuser`select citus_rebalance_start()`;
    const found: unknown[] = [];
    for (let isDone = false; !isDone; ) {
      const [job] = await superuser`select state from citus_rebalance_status()`;
      isDone = job?.state === 'finished';
      expect(['scheduled', 'running', 'finished']).toContain(job?.state);
      await database.ops`select refresh_user_cost_analytics()`;
      found.push(...(await audit()));
    }
    await untilTold(load, 50);
    await load.stop();
    expect(load.troubles.map(({ error }) => error.message)).toEqual([]);
    expect(await compareWithBooks(superuser, load)).toEqual(intact);
    expect(found).toEqual([]);
    expect(await audit()).toEqual([]);
  }, 180_000);

  it('sends a call whole to the new worker for those whom it has', async () => {
    const [moved] = [...(await homes())].find(([, port]) => port === portAt(3)) ?? [];
    const app = postgres(appAt(0), { max: 1, onnotice: () => {} });
    const plan = await app.unsafe(`explain (verbose, costs off) select * from api.read_credits('${moved}')`);
    expect(plan.map((row) => row['QUERY PLAN']).join('\n')).toMatch(new RegExp(`Task Count: 1[^]*port=${portAt(3)} `));
    await app.end();
  });

  it('does not move anybody while what has read their row waits to write it', async () => {
    const [user = ''] = people;
    const place = await placeOf(user);
    const other = place === 1 ? 2 : 1;
    const worker = postgres(urlAt(place), { max: 2, onnotice: () => {} });
    const app = postgres(appAt(place), { max: 1, onnotice: () => {} });
    const isWaiting = async (what: string) =>
      (await worker`select from pg_locks where locktype = ${what} and not granted`).length > 0;
    const row = await worker.reserve();
    await row`begin`;
    await row`select from users where id = ${user} for no key update`;
    const begun = app`
      select outcome from api.begin_run(${user}, ${uuidv7()}, 'plain', null, null, 'plain', false, 400, 'o200k_base', null, null, null, null)`.execute();
    await expect.poll(() => isWaiting('transactionid')).toBe(true);
    const moved = superuser`
      select citus_move_shard_placement(
        get_shard_id_for_distribution_column('users', ${user}::uuid), '127.0.0.1', ${portAt(place)}, '127.0.0.1', ${portAt(other)}, 'block_writes')`.execute();
    await expect.poll(() => isWaiting('advisory')).toBe(true);
    await row`commit`;
    row.release();
    expect((await begun)[0]?.outcome).toBe('started');
    await moved;
    expect((await homes()).get(user)).toBe(portAt(other));
    await Promise.all([app.end(), worker.end()]);
    expect(await audit()).toEqual([]);
  });

  it('fails those alone whose worker is away, and says so; what was told is there when it is back, and holds of the rest end', async () => {
    const found = await homes();
    const away = portAt(2);
    const isHit = ({ user }: { user: string }) => found.get(user) === away;
    const load = begin({ impatient: 8 });
    await untilTold(load, 50);
    await nodes.kill(2);
    const killed = Date.now();
    await sleep(WHILE_MS);
    await untilTold(load, 20);
    const meanwhile = load.told.filter(({ at }) => at > killed);
    expect(meanwhile.filter(isHit)).toEqual([]);
    await nodes.revive(2);
    const back = Date.now();
    await expect
      .poll(() => load.told.filter((run) => isHit(run) && run.at > back).length, { timeout: 60_000 })
      .toBeGreaterThan(10);
    await load.stop();

    expect(load.troubles.filter(isHit).length).toBeGreaterThan(0);
    expect([...new Set(load.troubles.map(({ error }) => databaseFailure(error)?.code))]).toEqual([
      'database_unavailable',
    ]);
    expect(load.left.length).toBeGreaterThan(0);
    expect(await compareWithBooks(superuser, load)).toEqual(intact);
    await world.pass('2 hours');
    await database.ops`select ops.expire_holds()`;
    expect([...(await superuser`select id from users where open_runs <> '{}'`)]).toEqual([]);
    const ends =
      await superuser`select distinct status from runs where id in ${superuser(load.left.map(({ id }) => id))}`;
    expect(ends.map(({ status }) => status).filter((status) => status !== 'expired')).toEqual([]);
    expect(await audit()).toEqual([]);
  }, 120_000);

  describe('with a change on two workers that is prepared on both when the coordinator dies', () => {
    let stuck: string[];
    /** Of their workers. */
    let first: number;
    let second: number;

    /** A run of one person on each of two workers, past its time. */
    beforeEach(async () => {
      const onePerNode = [...new Map([...(await homes())].map(([user, port]) => [port, user])).values()];
      stuck = onePerNode.slice(0, 2);
      [first, second] = (await Promise.all(stuck.map(placeOf))) as [number, number]; // of two people, two
      for (const user of stuck) await world.start(user, { run: uuidv7() });
      await world.pass('2 hours');
    });

    /** Lets what waits for a standby on a node wait for ever, until the node dies. */
    async function holdCommits(place: number) {
      const sql = postgres(urlAt(place), { max: 1, onnotice: () => {} });
      await sql`alter system set synchronous_standby_names = 'nobody'`;
      await sql`select pg_reload_conf()`;
      await expect
        .poll(async () => (await sql`show synchronous_standby_names`)[0]?.synchronous_standby_names)
        .toBe('nobody');
      return async ({ atOnce }: { atOnce: boolean }) => {
        await sql`alter system reset synchronous_standby_names`;
        if (atOnce) await sql`select pg_reload_conf()`;
        await sql.end();
      };
    }

    async function prepared(place: number): Promise<number> {
      const sql = postgres(urlAt(place), { max: 1, onnotice: () => {} });
      const [row] = await sql`select count(*)::int as n from pg_prepared_xacts where gid like 'citus%'`;
      await sql.end();
      return row?.n;
    }

    const statuses = async () =>
      (
        await superuser`select r.status from runs r join users u on u.id = r.user_id and r.id = u.last_run_id where u.id in ${superuser(stuck)}`
      ).map(({ status }) => status);

    it('carries it out where it was decided', async () => {
      const letCommit = await holdCommits(0);
      const asked = database.ops`select ops.expire_holds()`.catch((error: unknown) => error);
      await expect.poll(() => prepared(first)).toBe(1);
      await expect.poll(() => prepared(second)).toBe(1);
      await expect
        .poll(async () => (await superuser`select from pg_stat_activity where wait_event = 'SyncRep'`).length)
        .toBeGreaterThan(0);
      await letCommit({ atOnce: false });
      await nodes.kill(0);
      expect(await asked).toBeInstanceOf(Error);
      await nodes.revive(0);
      expect([await prepared(first), await prepared(second)]).toEqual([1, 1]);
      await expect(patiently(stuck[0])).rejects.toMatchObject({ code: '57014' }); // waits for the lock
      const [row] = await superuser`select recover_prepared_transactions() as n`;
      expect(row?.n).toBe(2);
      expect([await prepared(first), await prepared(second)]).toEqual([0, 0]);
      expect(await statuses()).toEqual(['expired', 'expired']);
      expect(await audit()).toEqual([]);
    });

    it('takes it back where it was not, by itself', async () => {
      const letCommit = await holdCommits(second);
      const asked = database.ops`select ops.expire_holds()`.catch((error: unknown) => error);
      await expect.poll(() => prepared(first)).toBe(1);
      await nodes.kill(0);
      expect(await asked).toBeInstanceOf(Error);
      await letCommit({ atOnce: true });
      await nodes.revive(0);
      expect(await prepared(first)).toBe(1);
      expect(await statuses()).toEqual(['running', 'running']);
      await superuser`alter system set citus.recover_2pc_interval = '1s'`;
      await superuser`select pg_reload_conf()`;
      await expect.poll(async () => [await prepared(first), await prepared(second)]).toEqual([0, 0]);
      expect(await statuses()).toEqual(['running', 'running']);
      expect(await audit()).toEqual([]);
      await database.ops`select ops.expire_holds()`;
      expect(await statuses()).toEqual(['expired', 'expired']);
      expect(await audit()).toEqual([]);
    });

    /** Begins a run as the server does, and waits 500 ms. */
    async function patiently(user = '') {
      const app = postgres(appAt(0), { max: 1, onnotice: () => {}, connection: { statement_timeout: 500 } });
      try {
        return await app`
          select outcome from api.begin_run(${user}, ${uuidv7()}, 'plain', null, null, 'plain', false, 400, 'o200k_base', null, null, null, null)`;
      } finally {
        await app.end();
      }
    }
  });

  it.each([
    ['a worker', () => placeOf(people[0] ?? '')],
    ['the coordinator', async () => 0],
  ])(
    'goes on with the standby of %s, and has all that was told',
    async (_, which) => {
      const place = await which();
      const standby = await nodes.follow(place);
      await standby.awaitCommits();
      const load = begin({ impatient: 8 });
      await untilTold(load, 50);
      const before = portAt(place);
      await nodes.kill(place);
      await sleep(WHILE_MS);
      await standby.promote();
      if (place === 0) await connectAll();
      const [node] = await superuser`select nodeid from pg_dist_node where nodeport = ${before}`;
      await takePlace(node?.nodeid, standby.port);
      load.urls[place] = appAt(place);
      await expect
        .poll(async () => (await superuser`select from pg_dist_node where not metadatasynced`).length)
        .toBe(0);
      for (const user of people) {
        const since = Date.now();
        await expect.poll(() => load.told.some((run) => run.user === user && run.at > since)).toBe(true);
      }
      await load.stop();

      expect([...new Set(load.troubles.map(({ error }) => databaseFailure(error)?.code))]).toEqual([
        'database_unavailable',
      ]);
      expect(await compareWithBooks(superuser, load)).toEqual(intact);
      expect(await audit()).toEqual([]);
    },
    120_000,
  );

  it('empties a worker while people run things, and goes on without it', async () => {
    const load = begin();
    await untilTold(load, 30);
    const leaving = nodes.urls.length - 1;
    await superuser`select citus_drain_node('127.0.0.1', ${portAt(leaving)})`;
    expect([...(await homes()).values()].filter((port) => port === portAt(leaving))).toEqual([]);
    await untilTold(load, 30);
    load.urls.splice(leaving, 1);
    await untilTold(load, 30); // who asked it last has been told
    await superuser`select citus_remove_node('127.0.0.1', ${portAt(leaving)})`;
    await untilTold(load, 30);
    await load.stop();
    expect(load.troubles.map(({ error }) => error.message)).toEqual([]);
    expect(await compareWithBooks(superuser, load)).toEqual(intact);
    expect(await audit()).toEqual([]);
    await nodes.remove(leaving);
  }, 120_000);

  it('comes back to one server: the same rows, and functions as they were', async () => {
    const server = await startTemporaryCluster();
    const url = withDatabase(server.url, 'came_back');
    const said: string[] = [];
    await scaleDown(urlAt(0), url, (line) => said.push(line), { current: true });
    expect(said.at(-1)).toMatch(/^The same \d+ rows on one server; the books balance\.$/);
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    try {
      for (const load of loads) expect(await compareWithBooks(sql, load)).toMatchObject({ lost: 0, doubled: 0 });
      const [row] = await sql<{ outcome: string }[]>`
        select outcome from api.begin_run(${people[0] ?? ''}, ${uuidv7()}, 'plain', null, null, 'plain', false, 400, 'o200k_base', null, null, null, null)`;
      expect(row?.outcome).toBe('started');
      expect([...(await sql`select * from ops.audit_books()`)]).toEqual([]);
      await expect(scaleDown(urlAt(0), url, () => {})).rejects.toThrow(
        /^There is a database "came_back" at 127\.0\.0\.1:\d+ already\./,
      );
    } finally {
      await sql.end();
      await server.stop();
    }
  }, 180_000);

  describe('that is gone, all of it', () => {
    const restored: Cluster[] = [];
    afterAll(async () => {
      await Promise.all(restored.map((cluster) => cluster.stop('immediate')));
    });

    /** Switches to the next file of each node's log, and returns where they are kept when all before is there. */
    async function archives(): Promise<string[]> {
      const found: string[] = [];
      for (const url of nodes.urls) {
        const sql = postgres(url, { max: 1, onnotice: () => {} });
        const [row] = await sql<{ file: string; path: string }[]>`
          select pg_walfile_name(pg_switch_wal()) as file, current_setting('data_directory') as path`;
        const { file = '', path = '' } = row ?? {};
        await expect
          .poll(async () => (await sql`select from pg_stat_archiver where last_archived_wal >= ${file}`).length)
          .toBe(1);
        await sql.end();
        found.push(join(path, '../archive'));
      }
      return found;
    }

    it('comes back as of one moment that was noted in every log, with what was told before it', async () => {
      const backups = nodes.urls.map((_, place) => join(home, `restored${place}`));
      for (const [place, directory] of backups.entries()) {
        directories.add(directory);
        await backUpCluster({ url: nodes.urls[place] ?? '' }, directory);
      }
      const load = begin();
      await untilTold(load, 50);
      const before = Date.now();
      await superuser`select citus_create_restore_point('hourly')`;
      const after = Date.now();
      await untilTold(load, 50);
      await load.stop();
      const logs = await archives();
      const ports = nodes.urls.map((_, place) => portAt(place));
      const kept = await superuser<
        { id: number; port: number }[]
      >`select nodeid as id, nodeport as port from pg_dist_node`;
      for (const place of ports.keys()) await nodes.kill(place);

      for (const [place, directory] of backups.entries()) {
        const settings = {
          ...startOptions.settings,
          ...{
            restore_command: `cp ${logs[place]}/%f "%p"`,
            recovery_target_name: 'hourly',
            recovery_target_action: 'promote',
          },
        };
        restored.push(await startCluster({ ...startOptions, directory, recover: true, settings }));
      }
      const superuserPassword = new URL(nodes.urls[0]).password;
      const words = Object.entries({ postgres: superuserPassword, ...passwords });
      const lines = restored.flatMap(({ port }) => words.map(([role, word]) => `127.0.0.1:${port}:*:${role}:${word}`));
      for (const cluster of restored)
        cluster.keepPasswords([...lines, ...lines.map((line) => line.replace('127.0.0.1', 'localhost'))]);
      const sql = postgres(withDatabase(restored[0]?.url ?? '', 'prpm'), { max: 1, onnotice: () => {} });
      const there = connectDatabase(restored[0]?.url ?? '', passwords, 'prpm');
      try {
        for (const { url } of restored) {
          const node = postgres(url, { max: 1, onnotice: () => {} });
          await expect.poll(async () => (await node`select pg_is_in_recovery() as busy`)[0]?.busy).toBe(false);
          await node.end();
        }
        for (const { id, port } of kept)
          await sql`select citus_update_node(${id}, '127.0.0.1', ${restored[ports.indexOf(port)]?.port ?? 0})`;
        await sql`select recover_prepared_transactions()`;
        await expect.poll(async () => (await sql`select from pg_dist_node where not metadatasynced`).length).toBe(0);

        const told = load.told.filter(({ at }) => at < before);
        expect(told.length).toBeGreaterThanOrEqual(50);
        expect(await compareWithBooks(sql, { told, left: [] })).toMatchObject({ lost: 0, doubled: 0 });
        const late = load.told.filter(({ at, took }) => at - took > after).map(({ id }) => id);
        expect(late.length).toBeGreaterThan(10);
        expect([...(await sql`select id from runs where id in ${sql(late)}`)]).toEqual([]);
        expect([...(await there.ops`select * from ops.audit_books()`)]).toEqual([]);
        expect([
          ...(await there.ops`select "check", detail from ops.checks() where "check" ~ '^(node away|node setting|table|function|call|transaction)'`),
        ]).toEqual([]);
        const app = (place: number) => roleUrl(restored[place]?.url ?? '', 'prpm_app', passwords.prpm_app, 'prpm');
        const again = startLoad({
          urls: restored.map((_, place) => app(place)),
          ...{ people, package: 'plain', model: 'plain', clients: 8 },
        });
        loads.push(again);
        await untilTold(again, 50);
        await again.stop();
        expect(again.troubles.map(({ error }) => error.message)).toEqual([]);
        expect(await compareWithBooks(sql, again)).toMatchObject({ lost: 0, doubled: 0 });
        expect([...(await there.ops`select * from ops.audit_books()`)]).toEqual([]);
      } finally {
        await sql.end();
        await there.drop().catch(() => {});
      }
    }, 180_000);
  });
});
