// A database that was filled on one server is spread over three, and is the same afterwards (docs/scale.md).
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Nodes } from '../../sandbox/scale/nodes.ts';
import { openDatabase } from '../../src/database/client.ts';
import { createDatabase, roleUrl, withDatabase } from '../../src/database/roles.ts';
import { scaleUp } from '../../src/scale/up.ts';
import type { TestDatabase, TestPasswords } from '../harness/database.ts';
import { needs } from '../harness/tools.ts';
import { call, openHouse } from '../http/house.ts';
import { type Begun, buildWorld, newId, type ReceiptRow } from '../runs/world.ts';
import { openPlace, type Place } from './place.ts';

describe.skipIf(needs('citus'))('npm run scale:up', () => {
  let place: Place;
  let nodes: Nodes;
  let passwords: TestPasswords;
  let urls: [string, ...string[]];
  let database: TestDatabase;
  let world: ReturnType<typeof buildWorld>;
  let before: Awaited<ReturnType<typeof look>>;
  const said: string[] = [];
  /** The server's role on each node. */
  let apps: postgres.Sql[] = [];

  beforeAll(async () => {
    place = await openPlace();
    ({ nodes, passwords, urls, database } = place);
    world = buildWorld(database);
    await world.furnish();
    for (const credits of [40, 50, 60, 70, 80]) {
      const user = await world.person({ credits, tier: 'unlimited' });
      for (let run = 0; run < 3; run++) await world.run(user);
      await world.start(user);
    }
    before = await look();
    await scaleUp(urls, (line) => said.push(line));
    apps = nodes.urls.map((url) =>
      postgres(roleUrl(url, 'prpm_app', passwords.prpm_app, 'prpm'), { max: 8, onnotice: () => {} }),
    );
  });
  afterAll(async () => {
    await Promise.all(apps.map((app) => app.end()));
    await place?.close();
  });

  /** What operators see of everybody, in figures. */
  async function look() {
    const { ops } = database;
    await ops`select refresh_user_cost_analytics()`;
    return {
      users: [...(await ops`select id, lifetime_api_cost, included_credits, open_runs from users order by id`)],
      analytics: (await ops`select * from user_cost_analytics order by user_id`).map(({ created_at, ...row }) => row), // but when it was read
      margins: [...(await ops`select * from ops.margin_by_model order by 1, 2`)],
      transfers: [...(await ops`select count(*), sum(amount) from credit_transactions`)],
    };
  }

  it('moves every row, and shows the same figures as before', async () => {
    expect(said.at(-1)).toMatch(/^The same \d+ rows, people on 4 shards of 2 nodes; the books balance\.$/);
    expect(await look()).toEqual(before);
  });

  it('may be told again, and leaves all as it is', async () => {
    const again: string[] = [];
    await scaleUp(urls, (line) => again.push(line));
    expect(again.at(-1)).toBe(said.at(-1));
  });

  it.each([
    [
      'begin_run',
      (user: string) =>
        `select outcome from api.begin_run('${user}', '${newId()}', 'plain', null, null, 'plain', false, 400, 'o200k_base', null, null, null, null)`,
    ],
    [
      'checkpoint_run',
      (user: string) =>
        `select status, stop_requested from api.checkpoint_run('${user}', '${newId()}', 'q', 'a', 1, null, null, null)`,
    ],
    [
      'settle_run',
      (user: string) =>
        `select * from api.settle_run('${user}', '${newId()}', 'completed', true, 5, 0, 0, 5, false, 'q', 'a', null, null, 1, 2)`,
    ],
    [
      'release_run',
      (user: string) =>
        `select * from api.release_run('${user}', '${newId()}', true, 5, 0, 0, 0, 'q', 'provider_error', null, 1)`,
    ],
    ['read_run', (user: string) => `select (receipt).*, question, answer from api.read_run('${user}', '${newId()}')`],
    ['stop_run', (user: string) => `select status from api.stop_run('${user}', '${newId()}')`],
    ['read_credits', (user: string) => `select credits from api.read_credits('${user}') credits`],
    ['read_limits', (user: string) => `select limits from api.read_limits('${user}') limits`],
  ])('sends a call of %s whole to the worker that has the person', async (name, statement) => {
    const user = String(before.users[0]?.id);
    const [home] = await database.owner`
      select nodeport as port from citus_shards
      where table_name = 'public.users'::regclass and shardid = get_shard_id_for_distribution_column('public.users', ${user}::uuid)`;
    const plan = (await apps[0]?.unsafe(`explain (verbose, costs off) ${statement(user)}`))
      ?.map((row) => row['QUERY PLAN'])
      .join('\n');
    expect(plan).toMatch(/Custom Scan \(Citus Adaptive\)[\s\S]*Task Count: 1/);
    expect(plan).toContain(`port=${home?.port} `);
    expect(plan).toMatch(new RegExp(`Function Scan on api\\.${name}`));
  });

  it('has each node go by config as it was last changed, in the transaction that changes it, too', async () => {
    const user = await world.person({ credits: 5, tier: 'unlimited' });
    const ask = async (sql: postgres.Sql | postgres.TransactionSql) => {
      const [begun] = await sql<Begun[]>`
        select outcome, refusal from api.begin_run(
          ${user}, ${newId()}, 'plain', null, null, 'plain', false, 400, 'o200k_base', null, null, null, null)`;
      return begun?.outcome === 'refused' ? begun.refusal?.code : begun?.outcome;
    };
    const everywhere = () => Promise.all(apps.map(ask));
    await database.owner.begin(async (tx) => {
      await tx`update models set enabled = false where alias = 'plain'`;
      expect(await ask(tx)).toBe('model_disabled');
    });
    expect(await everywhere()).toEqual(apps.map(() => 'model_disabled'));
    await database.owner`update models set enabled = true where alias = 'plain'`;
    expect(await everywhere()).toEqual(apps.map(() => 'started'));
  });

  it('spends no credit twice: 200 runs at once on 5 credits, through the coordinator and both workers (spec 3.2, fault 12)', async () => {
    const user = await world.person({ credits: 5, tier: 'unlimited' });
    const answers = await Promise.all(
      Array.from({ length: 200 }, async (_, place) => {
        const app = apps[place % apps.length];
        if (app === undefined) throw new Error('no node');
        const [begun] = await app<Begun[]>`
          select * from api.begin_run(${user}, ${newId()}, 'plain', null, null, 'plain', false, 400, 'o200k_base', null, null, null, null)`;
        if (begun?.outcome !== 'started') return 0;
        const [receipt] = await app<ReceiptRow[]>`
          select * from api.settle_run(${user}, ${begun.begun_run_id}, 'completed', true, 500, 0, 0, 50, false, 'q', 'a', null, null, 1, 2)`;
        return Number(receipt?.credits_spent);
      }),
    );
    expect(answers.reduce((sum, credits) => sum + credits, 0)).toBe(5);
    expect(await world.figures(user)).toMatchObject({ balance: 0, held: 0 });
    expect(await database.ops`select * from ops.audit_books()`).toEqual([]);
  });

  it('does jobs once, though two call for them at once', async () => {
    await world.pass('2 hours');
    await Promise.all([1, 2].map(() => database.ops`select ops.expire_holds()`));
    await Promise.all([1, 2].map(() => database.ops`select reset_monthly_api_costs()`));
    expect([...(await database.ops`select id from users where open_runs <> '{}'`)]).toEqual([]);
    expect(await database.ops`select * from ops.audit_books()`).toEqual([]);
  });

  it('asks the very worker that has a person', async () => {
    const [url = '', ...workers] = nodes.urls.map((node) => roleUrl(node, 'prpm_app', passwords.prpm_app, 'prpm'));
    const server = await openDatabase({ url, workers, pool: 2, production: true });
    const homes = await database.owner<{ id: string; group: number }[]>`
      select u.id, p.groupid as group from users u join pg_dist_placement p
        on p.shardid = get_shard_id_for_distribution_column('public.users', u.id)`;
    const asked = () =>
      Promise.all(
        homes.map(async ({ id }) => {
          const [row] = await server.runs(id)<{ group: number }>`select groupid as group from pg_dist_local_group`;
          return { id, group: row?.group };
        }),
      );
    try {
      await expect.poll(asked).toEqual(homes);
      expect(new Set(homes.map(({ group }) => group)).size).toBe(2);
    } finally {
      await server.close();
    }
  });

  it('carries runs out at the worker that has the person; one that is away is left out, and nothing is lost or doubled', async () => {
    const house = await openHouse({ firstTokenMs: 0, tokenMs: 0 }, database);
    const workers = nodes.urls.slice(1).map((url) => roleUrl(url, 'prpm_app', passwords.prpm_app, 'prpm'));
    try {
      const { token, userId } = house.ada;
      const run = (url: string, key: string) =>
        call(url, 'POST', '/api/v1/playground/execute', {
          token,
          headers: { 'idempotency-key': key },
          body: { package_id: 'haiku', input: 'rivers', model: 'sonnet' },
        });
      const whole = await house.another({ APP_WORKER_URLS: workers.join(',') });
      const answers = await Promise.all(Array.from({ length: 24 }, () => run(whole.url, newId())));
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
      const [home] = await database.owner<{ port: number }[]>`
        select nodeport as port from citus_shards
        where table_name = 'public.users'::regclass and shardid = get_shard_id_for_distribution_column('public.users', ${userId}::uuid)`;
      const sql = postgres(urls.find((url) => new URL(url).port === String(home?.port)) ?? '', { max: 1 });
      const here = await sql`
        select from pg_stat_activity where usename = 'prpm_app' and application_name = 'prpm-playground' and query like '%settle_run%'`;
      expect(here.length).toBeGreaterThan(0);
      await sql.end();

      const halved = await house.another({
        APP_WORKER_URLS: [workers[0], 'postgres://prpm_app@127.0.0.1:1/prpm'].join(','),
      });
      for (let n = 0; n < 6; n++) {
        const key = newId();
        await expect.poll(async () => (await run(halved.url, key)).status, { interval: 100 }).toBe(200);
      }
      const [runs] =
        await database.owner`select count(*)::int as n, sum(credits)::int as credits from runs where user_id = ${userId}`;
      expect(runs).toMatchObject({ n: 30, credits: 30 });
      expect(await house.audit()).toEqual([]);
    } finally {
      await house.leave();
    }
  });

  it('refuses a server without Citus, and a table whose keys do not begin with the person, before anything is moved', async () => {
    const plain = inject('superuserUrl');
    await createDatabase(plain, 'not_spread', 'prpm_template');
    const sql = postgres(withDatabase(plain, 'not_spread'), { max: 1, onnotice: () => {} });
    try {
      const both: [string, string] = [withDatabase(plain, 'not_spread'), withDatabase(plain, 'not_spread')];
      await expect(scaleUp(both, () => {})).rejects.toThrow(
        /^Citus is not loaded at 127\.0\.0\.1:\d+\. Put citus first into/,
      );
      await sql.unsafe(
        `create table wrong (id uuid primary key, user_id uuid not null); comment on table wrong is 'per-user'`,
      );
      await expect(scaleUp(both, () => {})).rejects.toThrow(
        'These keys do not begin with the person: wrong_pkey. Nothing was moved.',
      );
    } finally {
      await sql.end();
      const server = postgres(plain, { max: 1, onnotice: () => {} });
      await server`drop database not_spread with (force)`;
      await server.end();
    }
  });
});
