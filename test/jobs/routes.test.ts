// The two routes that the guide's crontab calls, and what /readyz says of jobs and migrations.
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { call, openHouse } from '../http/house.ts';

const house = await openHouse();
const { database, url, ada, bob } = house;
afterAll(() => house.close());
afterEach(async () => {
  await database.owner`truncate job_runs`;
  await database.owner`update settings set clock_offset = default`;
  expect(await house.audit()).toEqual([]);
});

const reset = '/api/v1/playground/credits/cron/reset';
const expire = '/api/v1/playground/credits/cron/expire';
const at = (time: string) =>
  database.ops`
    update settings
    set clock_offset = make_interval(secs => extract(epoch from ${time}::timestamptz - now())::float8)`;

describe('the cron routes', () => {
  it('do what is due and say so, without credentials or body, once a slot, and no harm however often (spec 7.3)', async () => {
    await at('2040-05-02T00:00:00Z');
    await database.ops`select from ops.grant_credits(${ada.userId}, 7, 'test', '2040-05-03T12:00:00Z')`;
    await at('2040-05-04T06:00:00Z');
    const first = await call(url, 'POST', expire);
    expect(first).toMatchObject({ status: 200, json: { job: 'expire-rollover', ran: true, affected: 7 } });
    expect(first.json).toEqual({ job: 'expire-rollover', ran: true, affected: 7 });
    for (let again = 0; again < 3; again++) {
      expect((await call(url, 'POST', expire)).json).toEqual({ job: 'expire-rollover', ran: false, affected: 0 });
    }
    expect((await call(url, 'POST', reset)).json).toEqual({ job: 'reset-credits', ran: true, affected: 0 });
  });

  it('give one slot to one of many who call at once (spec 7.3)', async () => {
    await at('2040-06-02T00:00:00Z');
    for (const { userId } of [ada, bob])
      await database.ops`select from ops.grant_credits(${userId}, 5, 'test', '2040-06-03T12:00:00Z')`;
    await at('2040-06-04T06:00:00Z');
    const answers = await Promise.all(Array.from({ length: 10 }, () => call(url, 'POST', expire)));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    // A slot that takes long is two batches, which two may do.
    expect(answers.some(({ json }) => json.ran)).toBe(true);
    expect(await database.ops`select from job_runs where job = 'expire-rollover' and slot > '2040-06-01'`).toHaveLength(
      1,
    );
    expect(answers.reduce((sum, { json }) => sum + json.affected, 0)).toBe(10);
  });

  it('ask for CRON_SECRET where it is set, and for nothing else (spec 7.3)', async () => {
    const secret = 'a secret of some length';
    const { url: guarded } = await house.another({ CRON_SECRET: secret.replaceAll(' ', '-') });
    for (const path of [reset, expire]) {
      expect(await call(guarded, 'POST', path)).toMatchObject({
        status: 401,
        json: { error: 'authentication_required' },
      });
      for (const token of ['wrong', ada.token, `${secret.replaceAll(' ', '-')}x`]) {
        const answer = await call(guarded, 'POST', path, { token });
        expect(answer).toMatchObject({ status: 401, json: { error: 'invalid_token' } });
      }
      expect(await database.ops`select from job_runs`).toHaveLength(path === reset ? 0 : 1);
      const answer = await call(guarded, 'POST', path, { token: secret.replaceAll(' ', '-') });
      expect(answer).toMatchObject({ status: 200, json: { ran: true } });
    }
  });

  it('say that a job failed, and leave what went wrong to operators (spec 7.2, 11.3)', async () => {
    await database.owner`update jobs set per_user = 'nonesuch' where job = 'expire-rollover'`;
    await database.owner`update users set next_lot_expiry = '-infinity' where id = ${bob.userId}`;
    const answer = await call(url, 'POST', expire);
    expect(answer).toMatchObject({ status: 500, json: { error: 'job_failed' } });
    expect(answer.text).not.toMatch(/nonesuch/);
    expect(await database.ops`select last_error from ops.jobs where has_failed`).toEqual([
      { last_error: expect.stringMatching(/nonesuch/) },
    ]);
    await database.owner`update jobs set per_user = 'tidy_lots' where job = 'expire-rollover'`;
    await database.owner`update users set next_lot_expiry = 'infinity' where id = ${bob.userId}`;
  });
});

describe('/readyz', () => {
  const ready = async () => (await call(url, 'GET', '/readyz')).json;

  it('is ready where jobs are done, and where nobody was ever meant to do any (spec 11.4)', async () => {
    expect(await ready()).toMatchObject({ status: 'ok', jobs: 'none' });
    await database.ops.unsafe("call ops.run_job('expire-holds')");
    expect(await ready()).toMatchObject({ status: 'ok', jobs: 'alive' });
  });

  it('is not ready ten minutes after the last job, and for a day (spec 11.4)', async () => {
    await at('2040-05-02T10:00:00Z');
    await database.ops.unsafe("call ops.run_job('expire-holds')");
    await at('2040-05-02T10:09:30Z');
    expect(await ready()).toMatchObject({ jobs: 'alive' });
    await at('2040-05-02T10:10:30Z');
    expect(await ready()).toMatchObject({ status: 503, error: 'jobs_stopped' });
    await at('2040-05-03T10:10:00Z');
    expect(await ready()).toMatchObject({ status: 'ok', jobs: 'none' });
    await database.ops.unsafe("call ops.run_job('expire-holds')");
    expect(await ready()).toMatchObject({ jobs: 'alive' });
  });

  it('is not ready on a database that lacks a migration of the server, and is on a newer one (spec 11.4)', async () => {
    const renamed = (from: string, to: string) =>
      database.owner`update graphile_migrate.migrations set filename = ${to} where filename = ${from} returning filename`;
    const [{ newest } = {}] = await database.owner`select max(filename) as newest from graphile_migrate.migrations`;
    expect(await ready()).toMatchObject({ status: 'ok' });
    expect(await renamed(newest, '000000.sql')).toHaveLength(1);
    expect(await ready()).toMatchObject({ status: 503, error: 'database_not_migrated' });
    await renamed('000000.sql', '000999.sql');
    expect(await ready()).toMatchObject({ status: 'ok' });
  });
});
