// A database with people, a clock that is data, and a job of the test's own: it touches each of them once a slot.
import { afterAll } from 'vitest';
import { createDatabase } from '../harness/database.ts';

/** Users that `probe` sweeps. */
const people = 30;

export async function openJobs() {
  const database = await createDatabase();
  afterAll(() => database.drop());
  const { owner, ops } = database;

  await ops`select from generate_series(1, ${people}) n, ops.create_user('person' || n || '@example.com', 'person' || n)`;
  await owner.unsafe(`
    create table touched (user_id uuid not null, slow boolean not null default false);
    create table troubles (user_id uuid primary key, slow double precision not null default 0, fails boolean not null default false);
    create function core.everybody(now timestamptz, after uuid, most integer) returns setof uuid language plpgsql stable as $$
    begin
      return query select u.id from public.users u where u.id > after order by u.id limit most;
    end
    $$;
    create function core.touch(user_id uuid, now timestamptz) returns integer language plpgsql set search_path = '' as $$
    declare
      trouble public.troubles;
    begin
      select t.* into trouble from public.troubles t where t.user_id = touch.user_id;
      insert into public.touched (user_id) values (touch.user_id);
      perform pg_sleep(trouble.slow);
      if trouble.fails then
        raise exception 'no luck';
      end if;
      return 1;
    end
    $$;
  `);
  // Here a batch ends by its count alone: on a busy machine its 50 ms would be over first.
  await owner`
    do $$ begin execute replace(pg_get_functiondef('core.do_batch'::regproc), '50 milliseconds', '1 hour'); end $$`;

  /** Moves the database's clock there; it goes on from there. */
  async function at(time: string): Promise<void> {
    await ops`
      update settings
      set clock_offset = make_interval(secs => extract(epoch from ${time}::timestamptz - now())::float8)`;
  }

  /** The job `probe`, as if it had never run. */
  async function probe(kind: { every?: string; each?: boolean; batch?: number } = {}): Promise<void> {
    await owner`truncate job_runs, touched, troubles`;
    await owner`update settings set job_batch = ${kind.batch ?? 10}`;
    await owner`
      insert into jobs (job, every, each_slot, due_users, per_user, description)
      values ('probe', ${kind.every ?? '1 day'}, ${kind.each ?? false}, 'everybody', 'touch', 'Touches everybody')
      on conflict (job) do update set every = excluded.every, each_slot = excluded.each_slot`;
  }

  /** How often each person was touched, and nobody else: [times, people] pairs. */
  async function touches(): Promise<[number, number][]> {
    const rows = await owner<{ times: number; people: number }[]>`
      with t as materialized (select user_id, count(*) as times from touched group by user_id)
      select coalesce(t.times, 0)::int as times, count(*)::int as people
      from users u left join t on t.user_id = u.id
      group by 1 order by 1`;
    return rows.map((row) => [row.times, row.people]);
  }

  const history = (job: string) => ops`
    select slot, missed::int, rows_touched::int as rows, batches, error, finished_at is not null as is_done, ran_by
    from job_runs where job = ${job} order by slot`;
  const runJob = (job: string, by = ops) => by.unsafe(`call ops.run_job('${job}')`);

  return { ...database, people, at, probe, touches, history, runJob };
}
