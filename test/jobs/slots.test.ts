// Which slots of a job are done, and that each is done once.
import { expect, it } from 'vitest';
import { openDatabase } from '../../src/database/client.ts';
import { doJob } from '../../src/jobs/run.ts';
import { openJobs } from './house.ts';

const { owner, ops, app, appUrl, people, at, probe, touches, history, runJob } = await openJobs();

const slots = async (job: string) => (await history(job)).map(({ slot }) => slot.toISOString().slice(0, 16));

it('does a slot in batches, each its own transaction, and once (spec 7.1)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe({ batch: 7 });
  expect(await runJob('probe')).toEqual([{ slots: '1', rows_touched: String(people) }]);
  expect(await runJob('probe')).toEqual([{ slots: '0', rows_touched: '0' }]);
  expect(await history('probe')).toEqual([
    {
      slot: new Date('2031-03-12T00:00Z'),
      ...{ missed: 0, rows: people, batches: 5, error: null, is_done: true, ran_by: 'prpm_ops' },
    },
  ]);
  expect(await touches()).toEqual([[1, people]]);
  const [{ transactions } = {}] = await owner`select count(distinct xmin::text)::int as transactions from touched`;
  expect(transactions).toBeGreaterThanOrEqual(5); // users of one batch have transactions within it
});

it('catches up every missed slot, oldest first, of a job that does each (spec 7.1)', async () => {
  await at('2031-03-10T10:00:00Z');
  await probe({ each: true });
  await runJob('probe');
  await at('2031-03-14T00:00:00Z');
  expect(await runJob('probe')).toEqual([{ slots: '4', rows_touched: String(4 * people) }]);
  expect(await slots('probe')).toEqual(['10', '11', '12', '13', '14'].map((day) => `2031-03-${day}T00:00`));
  const begun = await owner`select slot from job_runs order by started_at, id`;
  expect(begun.map(({ slot }) => slot)).toEqual([...begun.map(({ slot }) => slot)].sort((a, b) => a - b));
  expect(await touches()).toEqual([[5, people]]);
});

it('does the newest slot alone of any other job, and says how many were missed (spec 7.1)', async () => {
  await at('2031-03-10T10:00:00Z');
  await probe({ every: '1 minute' });
  await runJob('probe');
  await at('2031-03-10T12:30:30Z');
  await runJob('probe');
  expect(await history('probe')).toMatchObject([
    { slot: new Date('2031-03-10T10:00Z'), missed: 0 },
    { slot: new Date('2031-03-10T12:30Z'), missed: 149 },
  ]);
  expect(await touches()).toEqual([[2, people]]);
});

it('has a slot on a leap day, and on the first of a month after a short one (spec 7.1)', async () => {
  await at('2032-02-27T00:00:05Z');
  await probe({ each: true });
  await runJob('probe');
  await at('2032-03-01T00:00:05Z');
  await runJob('probe');
  expect(await slots('probe')).toEqual(['02-27', '02-28', '02-29', '03-01'].map((day) => `2032-${day}T00:00`));
});

it('does each slot once, with eight callers at once: psql, pg_cron, servers (spec 7.1)', async () => {
  await at('2031-03-10T10:00:00Z');
  await probe({ each: true, batch: 3 });
  await runJob('probe');
  await at('2031-03-13T10:00:00Z');
  const database = await openDatabase({ url: appUrl, pool: 4, production: false });
  const servers = [1, 2, 3, 4].map(() => doJob(database.sql, 'probe'));
  const operators = [1, 2, 3, 4].map((n) => runJob('probe', n % 2 ? ops : owner));
  await Promise.all([...servers, ...operators]);
  await runJob('probe'); // whoever came while another held it went away
  await database.close();
  expect(await touches()).toEqual([[4, people]]);
  expect(await history('probe')).toMatchObject([10, 11, 12, 13].map(() => ({ rows: people, is_done: true })));
});

it('passes over a user whose row is in use, without waiting (spec 7.1)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe();
  const [busy] = await owner`select id from users where username = 'person7'`;
  await owner.begin(async (sql) => {
    await sql`select from users where id = ${busy?.id} for update`;
    expect(await runJob('probe')).toEqual([{ slots: '1', rows_touched: String(people - 1) }]);
  });
  expect(await touches()).toEqual([
    [0, 1],
    [1, people - 1],
  ]);
});

it('goes on behind a user with whom it fails, says so, and fails itself (spec 7.1, 7.2)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe();
  const [unlucky] = await owner`
    insert into troubles (user_id, fails) select id, true from users where username = 'person7' returning user_id`;
  const error = `user ${unlucky?.user_id}: no luck`;
  await expect(runJob('probe')).rejects.toMatchObject({ code: 'PR500', message: `probe: ${error}` });
  expect(await history('probe')).toMatchObject([{ rows: people - 1, batches: 3 + 1, error, is_done: true }]);
  expect(await ops`select has_failed, last_error from ops.jobs where job = 'probe'`).toEqual([
    { has_failed: true, last_error: error },
  ]);

  await owner`update troubles set fails = false`;
  await runJob('probe'); // a slot that failed is over
  expect(await touches()).toContainEqual([0, 1]);
  await at('2031-03-13T10:00:00Z');
  await runJob('probe'); // the next one is not
  expect(await ops`select has_failed from ops.jobs where job = 'probe'`).toEqual([{ has_failed: false }]);
});

it('does the newest slot once more for an operator who gives a reason, and writes that down (spec 7.2, 12)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe();
  await runJob('probe');
  await expect(ops`select from ops.repeat_job('probe', ' ')`).rejects.toMatchObject({ code: 'PR400' });
  await expect(ops`select from ops.repeat_job('none', 'why')`).rejects.toMatchObject({ code: 'PR404' });
  expect(await ops`select job from ops.repeat_job('probe', 'why', dry_run => true)`).toEqual([{ job: 'probe' }]);
  expect(await runJob('probe')).toEqual([{ slots: '0', rows_touched: '0' }]);
  expect(await ops.unsafe("call ops.run_job('probe', 'the price is there now')")).toEqual([
    { slots: '1', rows_touched: String(people) },
  ]);
  expect(await touches()).toEqual([[2, people]]);
  expect(await ops`select row_key, reason from audit_log where table_name = 'ops.repeat_job'`).toEqual([
    { row_key: 'probe', reason: 'the price is there now' },
  ]);
});

it('looks without doing, and does all that is due without a name (spec 7.1, 12)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe();
  expect(await ops.unsafe("call ops.run_job('probe', dry_run => true)")).toEqual([{ slots: '1', rows_touched: '0' }]);
  expect(await touches()).toEqual([[0, people]]);
  await ops.unsafe('call ops.run_job()');
  expect(await ops`select * from ops.due_jobs()`).toEqual([]);
  expect(await ops`select job from ops.jobs where has_failed or is_late or last_finished_at is null`).toEqual([]);
  expect(await touches()).toEqual([[1, people]]);
});

it('knows no other job, and says where they are listed (spec 7.1)', async () => {
  await expect(runJob('nonesuch')).rejects.toMatchObject({ code: 'PR404', detail: 'job' });
  await expect(app`select from api.run_job('nonesuch')`).rejects.toMatchObject({ code: 'PR404', detail: 'job' });
});
