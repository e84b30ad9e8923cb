// What single jobs do: the nightly audit, retention, the queue of what only a server can do, and the server's own scheduler.
import { expect, it } from 'vitest';
import { openDatabase } from '../../src/database/client.ts';
import { startJobs } from '../../src/jobs/schedule.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();
const { owner, ops } = world;

const job = (name: string) => ops.unsafe(`call ops.run_job('${name}')`);
const texts = async (user: string) =>
  Number((await owner`select count(*) from run_texts where user_id = ${user}`)[0]?.count);

it('audits the books each night, and fails with the number of rows and the first of them (spec 4.8, 7.1)', async () => {
  const user = await world.person();
  await job('audit-books');
  await owner`update users set included_credits = included_credits + 1 where id = ${user}`;
  await world.at('2031-03-13T00:30:00Z');
  const complaint = `2 disagreements in the books: balance of user, user ${user}: should be 5, is 6`;
  await expect(job('audit-books')).rejects.toThrow(`audit-books: ${complaint}`);
  const [row] = await ops`select has_failed, last_error from ops.jobs where job = 'audit-books'`;
  expect(row).toEqual({ has_failed: true, last_error: expect.stringContaining(complaint) });
  await owner`update users set included_credits = included_credits - 1 where id = ${user}`;
  await ops.unsafe("call ops.run_job('audit-books', 'put right')");
  expect(await ops`select has_failed from ops.jobs where job = 'audit-books'`).toEqual([{ has_failed: false }]);
});

it('audits in batches, all users and what is of nobody, however far apart the faults are (spec 4.8, 7.1)', async () => {
  const people: string[] = [];
  for (let n = 0; n < 9; n++) people.push(await world.person());
  const [first = '', last = ''] = [people.toSorted().at(0), people.toSorted().at(-1)];
  const nobody = 'ffffffff-0000-7000-8000-000000000000';
  const token = '0198c0de-0000-7000-8000-000000000001';
  await ops`update settings set job_batch = 1`; // four users a batch
  const audit = () =>
    ops.unsafe("call ops.run_job('audit-books', 'test')").then(
      () => null,
      (error: Error) => error.message,
    );
  const batches = async () =>
    (await ops`select batches from job_runs where job = 'audit-books' order by slot desc limit 1`)[0]?.batches;

  expect(await audit()).toBeNull();
  expect(await batches()).toBeGreaterThanOrEqual(3);
  for (const user of [first, last]) {
    await owner`update users set included_credits = included_credits + 1 where id = ${user}`;
    expect(await audit()).toContain(`user ${user}: should be 5, is 6`);
    await owner`update users set included_credits = included_credits - 1 where id = ${user}`;
  }
  await owner`insert into api_tokens (id, user_id, name, token_hash, scopes) values (${token}, ${nobody}, 'of nobody', sha256('x'), '{run}')`;
  expect(await audit()).toContain(`reference of token ${token}, user ${nobody}: should be user ${nobody}, is missing`);
  await owner`delete from api_tokens where id = ${token}`;
  expect(await audit()).toBeNull();
  await ops`update settings set job_batch = 500`;
}, 300_000); // after each batch it rests five times as long as that took

it('drops the texts of sessions that nobody used for run_text_days, says more than a fortnight before whose, and keeps the books (spec 7.1)', async () => {
  await world.at('2033-01-01T12:00:00Z');
  const [idle, busy] = [await world.person({ tier: 'unlimited' }), await world.person({ tier: 'unlimited' })];
  const { begun_session_id: session, begun_run_id: run } = await world.start(busy);
  await world.settle(busy, run);
  for (let n = 0; n < 2; n++) await world.run(idle);
  const told = async () => {
    const rows =
      await owner`select subject from core.text_notices(core.now()) where user_id in ${owner([idle, busy])} order by 1`;
    return rows.map(({ subject }) => subject);
  };

  await world.at('2033-03-11T11:00:00Z');
  expect(await told()).toEqual([]);
  await world.at('2033-03-11T13:00:00Z');
  const of = (sessions: number) => `Texts of ${sessions} of your sessions are dropped from April 1, 2033 on`;
  expect(await told()).toEqual([of(1), of(2)]);
  await world.at('2033-03-18T13:00:00Z');
  await world.run(busy, { session });
  expect(await told()).toEqual([of(2)]);

  await world.at('2033-04-01T02:00:30Z'); // ten hours before
  await job('apply-retention');
  expect([await texts(idle), await texts(busy)]).toEqual([2, 2]);
  await ops`update settings set run_text_days = null`;
  await world.at('2033-04-02T02:00:30Z');
  await job('apply-retention');
  expect(await told()).toEqual([]);
  expect(await texts(idle)).toBe(2);
  await ops`update settings set run_text_days = default`;
  await world.at('2033-04-03T02:00:30Z');
  expect(await job('apply-retention')).toEqual([{ slots: '1', rows_touched: '2' }]);
  expect([await texts(idle), await texts(busy)]).toEqual([0, 2]);
  expect(await owner`select from runs where user_id = ${idle}`).toHaveLength(2);
});

it('keeps the text of a run that has not ended, for that says what is to be charged, however long nobody ended it (spec 5.2, 7.1)', async () => {
  await world.at('2033-06-01T12:00:00Z');
  const user = await world.person();
  const { begun_run_id: run } = await world.start(user);
  await world.checkpoint(user, run, 50);
  await world.at('2033-09-02T02:00:30Z'); // off for three months
  await job('apply-retention');
  expect(await texts(user)).toBe(1);
  await job('expire-holds');
  expect(await owner`select status, credits::int from runs where id = ${run}`).toEqual([
    { status: 'expired', credits: 1 },
  ]);
  await world.at('2033-09-03T02:00:30Z');
  await job('apply-retention');
  expect(await texts(user)).toBe(0);
});

it('drops bodies of webhook events that are done, not of others, and old job history, but for the newest of each (spec 7.1)', async () => {
  await world.at('2034-01-01T00:00:00Z');
  await job('forget-keys');
  await job('expire-holds');
  const event = (id: string, status: string, at: string) => owner`
    insert into stripe_events (id, type, created, livemode, body, status, same_version, received_at)
    values (${id}, 'test', 0, false, '{}', ${status}, true, ${at}::text::timestamptz)`;
  await event('evt_old', 'applied', '2034-01-01T00:00Z');
  await event('evt_puzzling', 'needs_review', '2034-01-01T00:00Z');
  await event('evt_new', 'applied', '2034-03-01T00:00Z');
  await owner`insert into stripe_effects (user_id, event_id, applied_at) values
    (${world.author.id}, 'evt_old', '2034-01-01'), (${world.author.id}, 'evt_new', '2034-03-01')`;
  await world.at('2034-04-05T02:11:00Z');
  await job('expire-holds');
  await job('forget-history');
  expect(await owner`select id from stripe_events where body is null and type = 'test'`).toEqual([{ id: 'evt_old' }]);
  expect(await owner`select event_id from stripe_effects`).toEqual([{ event_id: 'evt_new' }]);
  expect(await ops`select slot from job_runs where job in ('expire-holds', 'forget-keys') order by job`).toEqual([
    { slot: new Date('2034-04-05T02:11:00Z') },
    { slot: new Date('2034-01-01T00:00:00Z') },
  ]);
  await expect(ops`update settings set inbox_body_days = 29`).rejects.toMatchObject({ code: '23514' });
});

it('drops messages that are done, in batches, but for what keeps a user from being told again (spec 7.1, 9)', async () => {
  await world.at('2034-06-01T00:00:00Z');
  await owner`truncate messages`;
  const [user, other] = [await world.person(), await world.person()];
  const write = (
    name: string,
    days: number,
    more: { to?: string; kind?: string; done?: 'delivered_at' | 'given_up_at' },
  ) => owner`
    insert into messages (dedupe, channel, kind, user_id, period, subject, body, created_at, due_at, delivered_at, given_up_at)
    select ${name}, ${more.to ? 'user_email' : 'webhook'}, ${more.kind ?? 'credits_low'}, ${more.to ?? null}, ${name}, 'x', 'x', at, at,
      case when ${more.done ?? ''} = 'delivered_at' then at end, case when ${more.done ?? ''} = 'given_up_at' then at end
    from (select core.now() - make_interval(days => ${days}) as at) x`;
  const left = async () => {
    const rows = await owner`select dedupe from messages order by dedupe`;
    return rows.map(({ dedupe }) => dedupe);
  };
  await write('alert of long ago', 91, { done: 'delivered_at' });
  await write('alert of late', 89, { done: 'delivered_at' });
  await write('alert that nobody takes', 200, {});
  await write('mail, oldest', 300, { to: user, done: 'delivered_at' });
  await write('mail, given up', 250, { to: user, done: 'given_up_at' });
  await write('mail, newest', 200, { to: user, done: 'delivered_at' });
  await write('mail, of another kind', 300, { to: user, kind: 'throttled', done: 'delivered_at' });
  await write('mail, to another', 300, { to: other, done: 'delivered_at' });
  const kept = [
    'alert of late',
    'alert that nobody takes',
    'mail, newest',
    'mail, of another kind',
    'mail, to another',
  ];

  await ops`update settings set message_days = null`;
  await ops`select ops.forget_history()`;
  expect(await left()).toHaveLength(8);
  await ops`update settings set message_days = default`;
  await ops`select ops.forget_history()`;
  expect(await left()).toEqual(kept);
  await expect(ops`update settings set message_days = 39`).rejects.toMatchObject({ code: '23514' });

  await ops`update settings set job_batch = 1`;
  for (let n = 0; n < 130; n++) await write(`many ${n}`, 100, { done: 'delivered_at' });
  await ops`select ops.forget_history()`;
  expect(await left()).toHaveLength(kept.length + 30);
  await ops`select ops.forget_history()`;
  expect(await left()).toEqual(kept);
  await ops`update settings set job_batch = default`;
  await owner`truncate messages`;
});

it('shows what waits for a server that does not come, and since when (spec 7.1)', async () => {
  await owner`delete from stripe_work`;
  await owner`truncate stripe_events`;
  await owner`select core.want_work('fetch_payment', 'pi_1', null), core.want_work('fetch_payment', 'pi_2', null, delay => '1 hour')`;
  await owner`
    insert into stripe_events (id, type, created, livemode, body, status, same_version, received_at)
    values ('evt_1', 'test', 0, false, '{}', 'received', true, core.now() - interval '5 minutes')`;
  const waiting = () => ops`select kind, key from ops.unclaimed_work`;
  expect(await waiting()).toEqual([
    { kind: 'stripe_event', key: 'evt_1' },
    { kind: 'fetch_payment', key: 'pi_1' },
  ]);
  expect(await job('retry-stripe-events')).toEqual([{ slots: '1', rows_touched: '1' }]);
  expect((await waiting()).map(({ kind }) => kind).sort()).toEqual(['apply_event', 'fetch_payment']);
  await world.app`select from api.claim_stripe_work(10)`;
  expect(await waiting()).toEqual([]);
  await world.pass('3 minutes'); // its server died
  expect((await waiting()).map(({ key }) => key).sort()).toEqual(['evt_1', 'pi_1']);
  await owner`delete from stripe_work`;
  await owner`truncate stripe_events`;
});

it('a server does by itself all that is due, when it starts (spec 7.1)', async () => {
  await owner`truncate job_runs`;
  const database = await openDatabase({ url: world.appUrl, pool: 1, production: false });
  const jobs = startJobs(database.jobs, createLog('silent'));
  const left = () => ops`select from ops.due_jobs()`;
  await expect.poll(left, { timeout: 30_000 }).toHaveLength(0);
  await jobs.stop();
  await database.close();
  const [{ jobs: all } = {}] = await ops`select count(*)::int as jobs from jobs`;
  expect(await ops`select from job_runs where ran_by = 'prpm_app' and finished_at is not null`).toHaveLength(all);
  expect(await ops`select job, last_error from ops.jobs where has_failed`).toEqual([]);
});
