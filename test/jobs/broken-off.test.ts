// Jobs whose caller is killed: in a batch, and between two.
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, expect, it } from 'vitest';
import { openDatabase } from '../../src/database/client.ts';
import { doJob } from '../../src/jobs/run.ts';
import { openJobs } from './house.ts';

const { owner, ops, app, appUrl, superuserUrl, people, at, probe, touches, history, runJob } = await openJobs();
const superuser = postgres(superuserUrl, { max: 1 });
afterAll(() => superuser.end());

it('what was killed in a batch loses that batch alone, and the next caller goes on behind the one before (spec 7.1)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe({ batch: 7 });
  // From the tenth person on, each takes long enough to be caught at it.
  await owner`insert into troubles (user_id, slow) select id, 1 from users order by id offset 9`;
  const failed = expect(runJob('probe')).rejects.toThrow();
  const kill = () => superuser`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and wait_event = 'PgSleep' and backend_xid is not null
      and exists (select from job_runs where batches = 1)`;
  while ((await kill()).length === 0) await sleep(5);
  await failed;
  expect(await history('probe')).toMatchObject([{ rows: 7, batches: 1, is_done: false }]);
  expect(await touches()).toEqual([
    [0, people - 7],
    [1, 7],
  ]);
  expect(await ops`select next_due_at, last_finished_at from ops.jobs where job = 'probe'`).toEqual([
    { next_due_at: new Date('2031-03-12T00:00Z'), last_finished_at: null },
  ]);

  await owner`truncate troubles`;
  const database = await openDatabase({ url: appUrl, pool: 1, production: false });
  expect(await doJob(database.sql, 'probe')).toEqual({ ran: true, affected: people - 7, error: null });
  await database.close();
  expect(await touches()).toEqual([[1, people]]);
  expect(await history('probe')).toMatchObject([{ rows: people, is_done: true, ran_by: 'prpm_app' }]);
});

it('what was killed between two batches is gone on with, and its slot is done before the next (spec 7.1)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe({ batch: 5 });
  await app`select from api.run_job('probe')`; // a server that dies after one batch
  expect(await history('probe')).toMatchObject([{ rows: 5, is_done: false }]);
  await at('2031-03-13T10:00:00Z');
  expect(await runJob('probe')).toEqual([{ slots: '2', rows_touched: String(2 * people - 5) }]);
  expect(await history('probe')).toMatchObject([
    { slot: new Date('2031-03-12T00:00Z'), rows: people, is_done: true },
    { slot: new Date('2031-03-13T00:00Z'), rows: people, is_done: true, missed: 0 },
  ]);
  expect(await touches()).toEqual([[2, people]]);
});

it('who finds somebody at it goes away at once, and what that one leaves is due again (spec 7.1)', async () => {
  await at('2031-03-12T10:00:00Z');
  await probe();
  const [holds, open] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const other = owner
    .begin(async (sql) => {
      await sql`select from ops.continue_job('probe')`;
      holds.resolve();
      await open.promise;
      throw new Error('killed');
    })
    .catch(() => {});
  await holds.promise;
  expect(await app`select ran, more from api.run_job('probe')`).toEqual([{ ran: false, more: false }]);
  open.resolve();
  await other;
  expect(await history('probe')).toEqual([]);
  expect(await runJob('probe')).toEqual([{ slots: '1', rows_touched: String(people) }]);
});
