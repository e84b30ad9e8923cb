// ops.jobs: what the clock has done and has to do.
import { afterAll, afterEach, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';

const database = await createDatabase();
afterAll(() => database.drop());
afterEach(() => database.owner`truncate job_runs`);

/** Moves the database's clock there. */
async function at(time: string): Promise<void> {
  await database.owner`update settings set clock_offset = ${time}::timestamptz - now()`;
}

const of = async (job: string) => {
  const [row] = await database.ops`select * from ops.jobs where job = ${job}`;
  return row ?? {};
};

it('has one row a job, each with a next slot, and at most 12 columns (spec 7.2, 12)', async () => {
  const rows = await database.ops`select * from ops.jobs`;
  const [{ jobs } = { jobs: '' }] = await database.owner`select count(*) as jobs from jobs`;
  expect(rows).toHaveLength(Number(jobs));
  expect(rows.columns.length).toBeLessThanOrEqual(12);
  expect(rows.filter((row) => !(row.next_due_at instanceof Date))).toEqual([]);
});

it('calls a job late five minutes after its oldest slot that is not done (spec 7.2)', async () => {
  await at('2031-03-12T00:11:00Z');
  await database.owner`
    insert into job_runs (job, slot, started_at, finished_at, rows_touched)
    values ('expire-rollover', '2031-03-11T00:10Z', '2031-03-11T00:10Z', '2031-03-11T00:10:01Z', 3)`;
  expect(await of('expire-rollover')).toMatchObject({
    last_slot: new Date('2031-03-11T00:10Z'),
    last_rows: '3',
    next_due_at: new Date('2031-03-12T00:10Z'),
    is_late: false,
    has_failed: false,
  });
  await at('2031-03-12T00:16:00Z');
  expect(await of('expire-rollover')).toMatchObject({ is_late: true });
  await at('2031-03-11T23:00:00Z');
  expect(await of('expire-rollover')).toMatchObject({ is_late: false, late_seconds: '0' });
});

it('shows a slot that was begun and not ended as due, and the last error until a slot goes well (spec 7.2)', async () => {
  await at('2031-03-12T00:31:00Z');
  await database.owner`
    insert into job_runs (job, slot, started_at, finished_at, error) values
      ('expire-rollover', '2031-03-11T00:10Z', '2031-03-11T00:10Z', '2031-03-11T00:10:01Z', 'no luck'),
      ('expire-rollover', '2031-03-12T00:10Z', '2031-03-12T00:10Z', null, null)`;
  expect(await of('expire-rollover')).toMatchObject({
    last_finished_at: null,
    next_due_at: new Date('2031-03-12T00:10Z'),
    is_late: true,
    has_failed: true,
    last_error: 'no luck',
  });
  await database.owner`update job_runs set finished_at = '2031-03-12T00:30Z' where finished_at is null`;
  expect(await of('expire-rollover')).toMatchObject({ is_late: false, has_failed: false, last_error: null });
});

it('counts lateness of a job that never ran from when it was added', async () => {
  await at('2031-03-12T10:00:00Z');
  const added = (ago: string) => database.owner`update jobs set added_at = core.now() - ${ago}::interval`;
  await added('4 minutes');
  expect(await of('reset-monthly-costs')).toMatchObject({ last_slot: null, is_late: false });
  await added('6 minutes');
  expect(await of('reset-monthly-costs')).toMatchObject({ last_slot: null, is_late: true });
});
