// Backups are worth what their restore is: a base backup with its log to a moment, and a dump, each into a new cluster, then
// everything compared, and what happened at Stripe since that moment asked for. docs/operations.md says the same by hand.
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backUpCluster, type Cluster, removeCluster, startCluster } from '../../sandbox/postgres/cluster.ts';
import { migrate } from '../../src/database/migrate.ts';
import { createDatabase, createRoles, randomPasswords, withDatabase } from '../../src/database/roles.ts';
import { DAY, HOUR, openBilling } from '../billing/world.ts';
import { readTables } from '../database/catalog.ts';
import { connectDatabase, type TestDatabase } from '../harness/database.ts';
import { needs, pgDump, pgRestore } from '../harness/tools.ts';
import { until } from '../http/house.ts';
import { begin, converse } from '../sessions/people.ts';

const passwords = randomPasswords();
const directories: string[] = [];
const clusters: Cluster[] = [];
process.once('exit', () => directories.forEach(removeCluster));

function place(name: string): string {
  const directory = mkdtempSync(join(tmpdir(), `prpm-${name}-`));
  directories.push(directory);
  return directory;
}

async function start(options: Parameters<typeof startCluster>[0]): Promise<Cluster> {
  const cluster = await startCluster(options);
  clusters.push(cluster);
  return cluster;
}

/** Every table's rows, as a count and a hash of them all. */
async function contents({ owner }: TestDatabase): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name } of await readTables(owner)) {
    const [row] = await owner.unsafe(
      `select count(*) || ' rows ' || md5(coalesce(string_agg(t::text, E'\n' order by t::text), '')) as content from ${name} t`,
    );
    found[name] = row?.content;
  }
  return found;
}

/** Schema, comments, owners and rights, as pg_dump writes them. */
async function schema(database: TestDatabase): Promise<string[]> {
  const { stdout } = await promisify(execFile)(pgDump ?? '', ['--schema-only', database.superuserUrl], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.split('\n').filter((line) => !/^(\\(un)?restrict |-- Dumped )/.test(line));
}

/** What ops.checks() finds, but for the clock, which is moved in a test, and for jobs, which nobody does here. */
async function checks({ ops }: TestDatabase): Promise<unknown[]> {
  const found = await ops`select "check", detail from ops.checks()`;
  return found.filter(({ check }) => check !== 'clock' && !/^(job|analytics|Stripe waits)/.test(check));
}

async function audit({ ops }: TestDatabase): Promise<unknown[]> {
  return [...(await ops`select * from ops.audit_books()`)];
}

function disconnect({ owner, app, ops }: TestDatabase): Promise<unknown> {
  return Promise.all([owner, app, ops].map((sql) => sql.end({ timeout: 1 })));
}

describe.skipIf(needs('pg_dump', 'pg_restore', 'pg_basebackup'))('a backup', () => {
  let world: Awaited<ReturnType<typeof openBilling>>;
  let database: TestDatabase;
  let dump: string;
  let moment: string;
  let then: { contents: Record<string, string>; schema: string[]; checks: unknown[] };
  let lost: { run: string; token: string };
  const people: Record<'renews' | 'refunded' | 'buys' | 'subscribes' | 'stranger', string> = {
    ...{ renews: '', refunded: '', buys: '', subscribes: '', stranger: '' },
  };
  const standings: Record<string, unknown> = {};
  let backup: string;
  let archive: string;

  const paid = async (begun: { session: string } | { refused: string }) => {
    if ('refused' in begun) throw new Error(begun.refused);
    await world.stripe.pay(begun.session);
    await world.settle();
  };

  beforeAll(async () => {
    const primary = await start({
      directory: place('primary'),
      settings: { archive_mode: 'on', archive_command: 'mkdir -p ../archive && cp "%p" ../archive/%f' },
    });
    await createRoles(primary.url, passwords);
    await createDatabase(primary.url, 'prpm');
    await migrate(withDatabase(primary.url, 'prpm'), { current: true });
    database = connectDatabase(primary.url, passwords, 'prpm');
    world = await openBilling(database);
    const superuser = postgres(primary.url, { max: 1, onnotice: () => {} });

    for (const name of ['renews', 'refunded', 'buys', 'subscribes'] as const) people[name] = await world.person();
    await paid(await world.subscribe(people.renews));
    await paid(await world.buy(people.refunded));
    await world.run(people.renews, 20);
    backup = place('backup');
    await backUpCluster(primary, backup);

    // What is in the log alone.
    await world.advance(10 * DAY);
    await world.run(people.refunded, 30);
    await begin(database, people.buys); // its server and its provider are gone when the database is back
    await database.ops`select refresh_user_cost_analytics()`;
    const [now] = await superuser<{ now: string }[]>`select clock_timestamp()::text as now`;
    moment = now?.now ?? '';
    then = { contents: await contents(database), schema: await schema(database), checks: await checks(database) };
    dump = join(place('dump'), 'prpm.dump');
    await promisify(execFile)(pgDump ?? '', ['--format=custom', `--file=${dump}`, database.superuserUrl]);

    // What is lost with the database, though Stripe and people know of it.
    const run = await converse(database, people.renews);
    const [made] = await database.ops`select token from ops.create_token(${people.renews}, 'lost', '{run}')`;
    lost = { run, token: String(made?.token) };
    await paid(await world.buy(people.buys, 'medium'));
    await paid(await world.subscribe(people.subscribes));
    people.stranger = await world.person();
    await paid(await world.buy(people.stranger));
    const { data } = await world.client.paymentIntents.list({ customer: world.customerOf(people.refunded) });
    world.stripe.refund(data[0]?.id ?? '');
    await world.settle();
    await world.passPeriod(people.renews, 2 * HOUR);
    await world.settle();
    for (const name of ['renews', 'refunded', 'subscribes'] as const)
      standings[name] = await world.standing(people[name]);
    expect(await audit(database)).toEqual([]);

    const [position] = await superuser<{ name: string }[]>`select pg_walfile_name(pg_switch_wal()) as name`;
    await until(async () => {
      const [row] = await superuser`select last_archived_wal >= ${position?.name ?? ''} as done from pg_stat_archiver`;
      return row?.done;
    });
    const [row] = await superuser<{ path: string }[]>`select current_setting('data_directory') as path`;
    archive = join(row?.path ?? '', '../archive');
    await superuser.end();
    await primary.stop('immediate');
  }, 180_000);
  afterAll(async () => {
    await world?.close().catch(() => {}); // its database went down with the first cluster
    await Promise.all(clusters.map((cluster) => cluster.stop('immediate')));
    directories.forEach(removeCluster);
  });

  describe('and the log after it', () => {
    let restored: TestDatabase;
    beforeAll(async () => {
      const copy = place('restored');
      await promisify(execFile)('cp', ['-a', `${backup}/.`, copy]);
      const cluster = await start({
        directory: copy,
        recover: true,
        settings: {
          restore_command: `cp ${archive}/%f "%p"`,
          recovery_target_time: moment,
          recovery_target_action: 'promote',
        },
      });
      restored = connectDatabase(cluster.url, passwords, 'prpm');
      await until(async () => {
        const [row] = await restored.owner`select pg_is_in_recovery() as busy`;
        return !row?.busy;
      });
    }, 60_000);
    afterAll(() => disconnect(restored));

    it('bring back every row, right and function as of the moment that one names', async () => {
      expect(await contents(restored)).toEqual(then.contents);
      expect(await schema(restored)).toEqual(then.schema);
      expect(await audit(restored)).toEqual([]);
      expect(await checks(restored)).toEqual(then.checks);
    });

    it('let Stripe tell what was paid, renewed and refunded since; what else happened since is lost, and nothing else', async () => {
      await world.setClock(restored);
      await restored.ops`select ops.expire_holds()`;
      await restored.ops`select * from ops.reconcile_stripe()`;
      await world.work(restored);
      expect(await audit(restored)).toEqual([]);

      // Renewals, refunds and new subscriptions of people that the backup knows are as they had been, but for what runs took.
      for (const name of ['refunded', 'subscribes'] as const) {
        expect(await world.standing(people[name], restored)).toEqual(standings[name]);
      }
      expect(await world.standing(people.renews, restored)).toMatchObject({
        who: { prpm_plus_status: 'active', plan_tier: 'prpm_plus_individual' },
        periods: [{ state: 'paid' }, { state: 'paid' }],
      });
      // A pack whose purchase we have no row of waits for a person, who grants it.
      const review = await restored.ops`select user_id, why from ops.stripe_review where kind = 'payment'`;
      expect([...review]).toEqual([
        { user_id: people.buys, why: 'it belongs to no purchase and no subscription of ours' },
      ]);
      await restored.ops`select from ops.grant_credits(${people.buys}, 250, 'paid before the restore')`;
      // Runs since are not charged, tokens since open nothing, and of a customer made since nobody here knows.
      expect(await restored.owner`select from runs where id = ${lost.run}`).toHaveLength(0);
      const digest =
        await restored.app`select outcome from api.authenticate_token(sha256(convert_to(${lost.token}, 'UTF8')))`;
      expect([...digest]).toMatchObject([{ outcome: 'unknown' }]);
      expect(await restored.owner`select from users where id = ${people.stranger}`).toHaveLength(0);
      expect(await restored.owner`select from stripe_drift where user_id = ${people.stranger}`).toHaveLength(0);

      // Each role comes in with its password, and people go on.
      await converse(restored, people.renews);
      await converse(restored, people.subscribes);
      expect(await audit(restored)).toEqual([]);
      const complaints = (await checks(restored)).map((row) => Reflect.get(Object(row), 'check'));
      expect([...new Set(complaints)].sort()).toEqual(['Stripe differed', 'Stripe needs a person']);
    });
  });

  it('by pg_dump goes into an empty cluster once its roles are made, and loses nothing of its moment', async () => {
    const cluster = await start({ directory: place('dumped') });
    await createRoles(cluster.url, passwords);
    await createDatabase(cluster.url, 'prpm');
    await promisify(execFile)(pgRestore ?? '', [
      '--exit-on-error',
      `--dbname=${withDatabase(cluster.url, 'prpm')}`,
      dump,
    ]);
    const restored = connectDatabase(cluster.url, passwords, 'prpm');
    try {
      expect(await contents(restored)).toEqual(then.contents);
      // Views that were made from their own text are written with more words than they were made with.
      const made = (lines: string[]) => lines.filter((line) => /^(CREATE|ALTER|COMMENT|GRANT|REVOKE) /.test(line));
      expect(made(await schema(restored))).toEqual(made(then.schema));
      expect(await audit(restored)).toEqual([]);
      expect(await checks(restored)).toEqual(then.checks);
      expect(await migrate(restored.ownerUrl, { current: true })).toMatchObject({ applied: [] });
      await converse(restored, people.renews);
      expect(await audit(restored)).toEqual([]);
    } finally {
      await disconnect(restored);
    }
  }, 120_000);
});
