// pg_cron for real: a cluster of its own with pg_cron in it, and a minute's patience.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startTemporaryCluster } from '../../sandbox/postgres/cluster.ts';
import { migrate } from '../../src/database/migrate.ts';
import { createDatabase, createRoles, randomPassword, roleUrl, withDatabase } from '../../src/database/roles.ts';
import { scheduleJobs } from '../../src/jobs/cron.ts';
import { needs } from '../harness/tools.ts';

const guide = readFileSync(resolve(import.meta.dirname, '../../docs/deployment.md'), 'utf8');

describe.skipIf(needs('pg_cron'))('pg_cron', () => {
  let cluster: Cluster;
  let superuser: postgres.Sql;
  let inside: postgres.Sql;

  beforeAll(async () => {
    cluster = await startTemporaryCluster();
    const password = randomPassword();
    await createRoles(cluster.url, { prpm_owner: password });
    for (const name of ['shop', 'other']) await createDatabase(cluster.url, name);
    await migrate(roleUrl(cluster.url, 'prpm_owner', password, 'shop'), { current: true });
    superuser = postgres(cluster.url, { max: 1, onnotice: () => {} });
    inside = postgres(withDatabase(cluster.url, 'shop'), { max: 1, onnotice: () => {} });
  });
  afterAll(async () => {
    await Promise.all([superuser.end(), inside.end()]);
    await cluster.stop();
  });

  const schedules = () => superuser`
    select jobid, jobname, schedule, command, database, username, active from cron.job order by jobname`;

  it("has the guide's schedules, for the role that may do nothing else (spec 7.1, design: who may do what)", async () => {
    await scheduleJobs(cluster.url, 'shop');
    const rows = await schedules();
    const of = (job: string) => rows.find(({ jobname }) => jobname === `prpm/shop/${job}`)?.schedule;
    const printed = (line: RegExp) => line.exec(guide)?.[1];
    expect(of('reset-monthly-costs')).toBe(printed(/^([\d* ]+) psql .*reset_monthly_api_costs/m));
    expect(of('refresh-analytics')).toBe(printed(/^([\d* ]+) psql .*refresh_user_cost_analytics/m));
    expect(of('reset-credits')).toBe(printed(/^([\d* ]+) curl .*cron\/reset/m));
    expect(of('expire-rollover')).toBe(printed(/^([\d* ]+) curl .*cron\/expire/m));
    expect(new Set(rows.map(({ database, username, active }) => `${database} ${username} ${active}`))).toEqual(
      new Set(['shop prpm_cron true']),
    );
  });

  it('has one schedule for each job, as often as its slots come, and one for what is overdue (spec 7.1)', async () => {
    const jobs = await inside<{ job: string; schedule: string }[]>`
      select 'prpm/shop/' || job as job, case
        when every = '1 minute' then '* * * * *'
        when every < '1 hour' then format('*/%s * * * *', extract(minutes from every))
        when every = '1 hour' then format('%s * * * *', extract(minutes from after))
        when every = '1 day' then format('%s %s * * *', extract(minutes from after), extract(hours from after))
      end as schedule
      from jobs`;
    const rows = await schedules();
    expect(new Map(rows.map(({ jobname, schedule }) => [jobname, schedule]))).toEqual(
      new Map([...jobs.map((row): [string, string] => [row.job, row.schedule]), ['prpm/shop/overdue', '* * * * *']]),
    );
  });

  it('changes what differs, removes what is no longer here, and touches no other schedule, however often', async () => {
    await superuser`select cron.schedule('vacuum', '0 3 * * *', 'vacuum')`;
    await superuser`select cron.schedule_in_database('prpm/other/expire-holds', '* * * * *', 'select 1', 'other', 'prpm_cron')`;
    const before = await schedules();
    await superuser`select cron.schedule_in_database('prpm/shop/gone', '* * * * *', 'select 1', 'shop', 'prpm_cron')`;
    await superuser`select cron.schedule_in_database('prpm/shop/expire-holds', '0 0 1 1 *', 'select 1', 'shop', 'prpm_cron', false)`;
    await superuser`select cron.unschedule(jobid) from cron.job where jobname = 'prpm/shop/audit-books'`;
    for (let again = 0; again < 3; again++) await scheduleJobs(cluster.url, 'shop');
    const named = (rows: readonly postgres.Row[]) => rows.map(({ jobid: _, ...row }) => row);
    expect(named(await schedules())).toEqual(named(before));
    const kept = (rows: readonly postgres.Row[]) => rows.filter(({ jobname }) => jobname !== 'prpm/shop/audit-books');
    expect(kept(await schedules())).toEqual(kept(before));
  });

  it('fires: the result stands in job_runs and in its own history, in batches that commit (spec 7.1, 7.2)', async () => {
    // Nothing fires while it is arranged.
    await scheduleJobs(cluster.url, 'shop', true);
    while ((await superuser`select from pg_stat_activity where usename = 'prpm_cron'`).length > 0) await sleep(50);
    await inside`update settings set job_batch = 2`;
    await inside`select from generate_series(1, 7) n, ops.create_user('p' || n || '@example.com', 'p' || n)`;
    await inside`update users set month_ends_at = '2020-01-01', day_ends_at = '2020-01-01'`;
    await inside`truncate job_runs`;
    await superuser`delete from cron.job_run_details`;
    await scheduleJobs(cluster.url, 'shop');
    const done = () => inside`
      select ran_by, error, rows_touched::int as rows, batches from job_runs where job = 'reset-monthly-costs' and finished_at is not null`;
    const history = () => superuser`
      select command, status from cron.job_run_details where database = 'shop' and username = 'prpm_cron' and end_time is not null`;
    const deadline = Date.now() + 120_000;
    const isDone = async () => {
      const ended = new Set((await history()).map(({ command }) => command));
      return (
        (await done()).length > 0 && ended.has('call ops.run_job()') && ended.has("call ops.run_job('expire-holds')")
      );
    };
    while (!(await isDone()) && Date.now() < deadline) await sleep(500);
    expect(await done()).toEqual([{ ran_by: 'prpm_cron', error: null, rows: 7, batches: expect.any(Number) }]);
    expect((await done())[0]?.batches).toBeGreaterThanOrEqual(4); // one ends after 50 ms, too
    const commands = await history();
    expect(commands).toContainEqual({ command: 'call ops.run_job()', status: 'succeeded' });
    expect(commands).toContainEqual({ command: "call ops.run_job('expire-holds')", status: 'succeeded' });
    expect(commands.filter(({ status }) => status !== 'succeeded')).toEqual([]);
    expect(await inside`select job from ops.jobs where has_failed or is_late`).toEqual([]);
    expect(await inside`select from job_runs where finished_at is null`).toHaveLength(0);
    expect(await inside`select * from ops.audit_books()`).toEqual([]);
  }, 150_000);

  it('removes its schedules and no others', async () => {
    expect(await scheduleJobs(cluster.url, 'shop', true)).toEqual([]);
    expect((await schedules()).map(({ jobname }) => jobname)).toEqual(['prpm/other/expire-holds', 'vacuum']);
  });
});

it('where pg_cron is not loaded, says how to load it and who does the jobs meanwhile', async () => {
  const cluster = await startTemporaryCluster({ settings: { shared_preload_libraries: '' } });
  await expect(scheduleJobs(cluster.url, 'shop')).rejects.toThrow(/shared_preload_libraries.*the servers do the jobs/s);
  await cluster.stop();
});
