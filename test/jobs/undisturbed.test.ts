// Three months without a job, several schedulers at once, callers killed half-way: the figures are those of punctual jobs.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, expect, inject, it } from 'vitest';
import { openDatabase } from '../../src/database/client.ts';
import { createDatabase, roleUrl, withDatabase } from '../../src/database/roles.ts';
import { doJob } from '../../src/jobs/run.ts';
import { differsOnCluster } from '../harness/tools.ts';
import { openWorld } from '../runs/world.ts';

/** Half a thousand jobs for thirty people are short statements; on a cluster each costs several times as much. */
const limit = differsOnCluster('it is slower') ? 1_200_000 : 500_000;
const world = await openWorld();
const superuserUrl = inject('superuserUrl');
const nodes = inject('nodeUrls').map((url) => ({ url, superuser: postgres(url, { max: 1, onnotice: () => {} }) }));
const copies: string[] = [];
afterAll(async () => {
  for (const { superuser } of nodes) {
    for (const name of copies) await superuser`drop database ${superuser(name)} with (force)`;
    await superuser.end();
  }
});

/** From the end of January, over a leap day and three turns of the month, to the end of April. */
const begins = '2032-01-30T22:00:00Z';
const days = 91;
const jobs = [
  'expire-holds',
  'reset-monthly-costs',
  'reset-credits',
  'expire-rollover',
  'apply-retention',
  'refresh-analytics',
];

/** People of every kind that time does something to. */
async function furnish(): Promise<void> {
  await world.at('2032-01-05T09:00:00Z');
  for (let each = 0; each < 5; each++) {
    const subscriber = await world.person();
    await world.period(subscriber, '2032-01-05T08:00:00Z', '2032-01-31T08:00:00Z');
    await world.run(subscriber);
    const giver = await world.person();
    await world.grant(giver, 10 + each, `2032-03-${10 + each}T12:00:00Z`);
  }
  await world.at(begins);
  const subscribers = await world.owner<
    { id: string }[]
  >`select distinct user_id as id from credit_lots where kind = 'monthly'`;
  for (const { id } of subscribers) {
    // Paid an hour early; what is left of January rolls over, and expires a month after its end, on the 29th of February.
    await world.period(id, '2032-01-30T21:00:00Z', '2032-02-29T21:00:00Z');
    await world.owner`
      update users set plan_tier = 'prpm_plus_individual', prpm_plus_status = 'active', entitled_until = '2032-03-03T21:00:00Z'
      where id = ${id}`;
  }
  for (let each = 0; each < 5; each++) {
    const spender = await world.person({ tier: 'prpm_plus_individual' });
    await world.run(spender);
    const throttled = await world.person();
    await world.run(throttled, {}, { input: 500, output: 5000 });
    expect((await world.figures(throttled)).is_throttled).toBe(true);
    const [abandoned, halfway] = [await world.person(), await world.person()];
    await world.start(abandoned);
    const { begun_run_id: run } = await world.start(halfway);
    await world.checkpoint(halfway, run, 50);
  }
}

type Copy = { name: string; ops: postgres.Sql; at(time: string): Promise<void>; close(): Promise<void> };

async function copyOf(template: string): Promise<Copy> {
  const name = `${template}_${copies.length}`;
  for (const { url, superuser } of nodes) {
    for (;;) {
      await superuser`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${template}`;
      try {
        await createDatabase(url, name, template);
        break;
      } catch (error) {
        if (!/is being accessed by other users/.test(String(error))) throw error;
        await sleep(50);
      }
    }
  }
  copies.push(name);
  const ops = postgres(roleUrl(superuserUrl, 'prpm_ops', inject('passwords').prpm_ops, name), {
    max: 4,
    onnotice: () => {},
  });
  const at = async (time: string) => {
    await ops`
      update settings
      set clock_offset = make_interval(secs => extract(epoch from ${time}::timestamptz - now())::float8)`;
  };
  return { name, ops, at, close: () => ops.end() };
}

/** Whole rows, but for when something was booked and in which order, and which hour was the last that anybody looked at. */
async function figures({ ops }: Copy) {
  const rows = async (query: string) => (await ops.unsafe(query)).map(({ row }) => row);
  return {
    users: await rows(`select to_jsonb(u) - 'updated_at' - 'hour_ends_at' as row from users u order by id`),
    lots: await rows('select to_jsonb(l) as row from credit_lots l order by user_id, id'),
    transfers: await rows(`
      select to_jsonb(t) - 'id' - 'balance_after' - 'created_at' as row from credit_transactions t
      order by user_id, type, lot_id, run_id, amount`),
    runs: await rows(`select to_jsonb(r) - 'finished_at' - 'duration_ms' as row from runs r order by user_id, id`),
    texts: await rows(`select to_jsonb(t) - 'answer' as row from run_texts t order by user_id, run_id`),
    usage: await rows(
      `select to_jsonb(d) as row from usage_rollups d order by user_id, day, model, package_id, tier_name`,
    ),
    analytics: await rows(`
      select to_jsonb(a) - 'created_at' as row from (select * from user_cost_analytics) a order by user_id`),
    audit: await rows('select to_jsonb(a) as row from ops.audit_books() a'),
  };
}

const endOf = (day: number) => new Date(Date.parse('2032-01-31T00:10:30Z') + day * 86_400_000).toISOString();
const isDone = async ({ ops }: Copy) => (await ops`select from ops.due_jobs() where job in ${ops(jobs)}`).length === 0;

it(
  'three months off, two schedulers and two servers at once, callers killed: as if every day had been punctual (spec 4.3, 7.1)',
  async () => {
    await furnish();
    const [furnished] = await world.owner<{ at: string }[]>`select core.now()::text as at`;
    const template = new URL(world.ownerUrl).pathname.slice(1);
    const punctual = await copyOf(template);
    for (const job of jobs) await punctual.ops.unsafe(`call ops.run_job('${job}')`);
    const [before, off, beset] = [await copyOf(template), await copyOf(template), await copyOf(template)];

    for (let day = 0; day < days; day++) {
      await punctual.at(endOf(day));
      for (const job of jobs) await punctual.ops.unsafe(`call ops.run_job('${job}')`);
    }
    const expected = await figures(punctual);
    expect(expected.audit).toEqual([]);
    const unchanged = await figures(before);
    expect(expected.users).not.toEqual(unchanged.users);
    expect(expected.texts.length).toBeLessThan(unchanged.texts.length);
    expect(expected.usage.length).toBeGreaterThan(unchanged.usage.length);
    const kinds = new Set(expected.transfers.map(({ type, debit }) => `${type} ${debit}`));
    expect([...kinds]).toEqual(expect.arrayContaining(['expire lot', 'rollover lot', 'spend lot']));

    // Off from the first day to the last. The copies' clocks went on meanwhile, on a slow machine past the end of holds.
    await off.at(furnished?.at ?? '');
    for (const job of jobs) await off.ops.unsafe(`call ops.run_job('${job}')`);
    await off.at(endOf(days - 1));
    for (const job of jobs) await off.ops.unsafe(`call ops.run_job('${job}')`);
    expect(await figures(off)).toEqual(expected);
    const slots =
      await off.ops`select count(*)::int as slots from job_runs where job = 'reset-credits' and finished_at is not null`;
    expect(slots).toEqual([{ slots: days + 1 }]);

    // Off too, and then everybody at once, with one caller after the other killed.
    await beset.at(furnished?.at ?? '');
    for (const job of jobs) await beset.ops.unsafe(`call ops.run_job('${job}')`);
    await beset.ops`update settings set job_batch = 2`;
    await beset.at(endOf(days - 1));
    // By the server's own clients, which throw away a connection that was cut; each caller has one.
    const clients = await Promise.all(
      (['prpm_app', 'prpm_app', 'prpm_ops', 'prpm_ops'] as const).map(async (role) => {
        const url = roleUrl(superuserUrl, role, inject('passwords')[role], beset.name);
        const { sql, close } = await openDatabase({ url, pool: 1, production: false });
        const call = (job: string) => (role === 'prpm_app' ? doJob(sql, job) : sql`call ops.run_job(${job})`);
        return { call, close };
      }),
    );
    const killer = postgres(withDatabase(superuserUrl, beset.name), { max: 1, onnotice: () => {} });
    let killed = 0;
    const whoever = async (call: (job: string) => Promise<unknown>) => {
      while (!(await isDone(beset))) for (const job of jobs) await call(job).catch(() => sleep(20)); // killed: the next one goes on
    };
    const callers = Promise.all(clients.map(({ call }) => whoever(call)));
    while (killed < 10 && !(await isDone(beset))) {
      const [victim] = await killer`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'prpm-playground' and query ~ 'run_job'
      order by random() limit 1`;
      if (victim !== undefined) killed += 1;
      await sleep(60);
    }
    await callers;
    expect(killed).toBeGreaterThan(3);
    expect(await beset.ops`select from job_runs where finished_at is null or error is not null`).toHaveLength(0);
    await beset.ops`update settings set job_batch = default`;
    // Sweeps pass over whom another sweep is at; the next ones do them.
    for (const job of jobs) await beset.ops.unsafe(`call ops.run_job('${job}', 'once more')`);
    expect(await figures(beset)).toEqual(expected);

    await killer.end();
    await Promise.all([...clients, punctual, before, off, beset].map((one) => one.close()));
  },
  limit,
);
