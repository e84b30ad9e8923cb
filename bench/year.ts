// A year of a million people: do jobs, the refresh and a month's turn stay within their time? On one server, and on three nodes.
import postgres from 'postgres';
import { hasServerLibrary, startTemporaryCluster } from '../sandbox/postgres/cluster.ts';
import { startNodes } from '../sandbox/scale/nodes.ts';
import { randomPassword, randomPasswords, withDatabase } from '../src/database/roles.ts';
import { distribute } from '../src/scale/distribute.ts';
import { joinNodes } from '../src/scale/join.ts';
import { fillDatabase, startDatabase } from './database.ts';
import type { Length, Report } from './report.ts';

/** A job of many batches works for a sixth of its time (ops.run_job). */
const DUTY = 6;
/** Of a job that takes longer the rest is reckoned from the share of people whom it has looked at. */
const LONGEST_S = 120;

type Job = { job: string; period: number; batches: boolean };

/** year_<job>_s: how long each job takes as a month turns, with pauses, and as a share of the time until it is due again. Fails where one takes longer. */
export async function measureYear(report: Report, { quick }: Length): Promise<void> {
  const plain = await startDatabase(0);
  try {
    await measureJobs(report, plain.sql, 'year', quick ? 10_000 : 1_000_000);
  } finally {
    await plain.stop();
  }
}

/** scale_year_<job>_s: the same on three nodes, with fewer people. */
export async function measureScaleYear(report: Report, { quick }: Length): Promise<void> {
  if (!hasServerLibrary('citus')) {
    console.log('scale-year: Citus is not installed here, so nothing was measured.');
    return;
  }
  const settings = { shared_buffers: '1GB', max_wal_size: '16GB' };
  const nodes = await startNodes({
    start: (_, options) =>
      startTemporaryCluster({ ...options, fsync: true, settings: { ...options.settings, ...settings } }),
    password: randomPassword(),
  });
  try {
    const passwords = randomPasswords();
    nodes.keepPasswords(passwords);
    const [first, ...workers] = nodes.urls;
    const url = await fillDatabase(first, passwords, 0);
    await joinNodes([url, ...workers.map((worker) => withDatabase(worker, 'prpm'))]);
    const sql = postgres(url, { max: 1, onnotice: () => {} });
    await measureJobs(report, sql, 'scale_year', quick ? 10_000 : 100_000, () => distribute(url));
    await sql.end();
  } finally {
    await nodes.stop();
  }
}

async function measureJobs(
  report: Report,
  sql: postgres.Sql,
  prefix: string,
  people: number,
  spread: () => Promise<void> = async () => {},
): Promise<void> {
  const setClock = async (to: string) => {
    const [row] = await sql.unsafe<{ seconds: number }[]>(
      `select extract(epoch from (${to}) - clock_timestamp())::float8 as seconds`,
    );
    await sql`update settings set clock_offset = make_interval(secs => ${row?.seconds ?? 0})`;
  };
  await sql`update settings set clock_offset_allowed = true`;
  await sql.file(`${import.meta.dirname}/year.sql`);
  const month = (n: number) => `date_trunc('month', clock_timestamp()) - interval '${13 - n} months'`;
  for (let n = 1; n <= 12; n++) {
    await setClock(`${month(n)} + interval '2 days'`);
    await sql`select year_month(${n})`;
    await sql.unsafe('call ops.run_job()').catch(() => undefined); // of Stripe and the audit: see below
  }
  await setClock(`${month(13)} - interval '1 hour'`);
  await sql.unsafe('call ops.run_job()').catch(() => undefined);
  const [copies] = await sql<{ rows: string }[]>`select year_copies(${people}) as rows`;
  await spread();
  await sql`vacuum analyze`;
  report(`${prefix}_rows`, Number(copies?.rows), `rows of ${people} people`);

  await setClock(`${month(13)} + interval '4 hours'`);
  const jobs = await sql<Job[]>`
    select job, extract(epoch from every)::float8 as period, due_users is not null or job = 'audit-books' as batches from jobs order by after, job`;
  const late: string[] = [];
  for (const job of jobs) {
    const { seconds, touched, share } = await work(sql, job, people);
    const whole = (seconds * (job.batches ? DUTY : 1)) / share;
    const note = share < 1 ? `, reckoned from the first ${Math.round(share * people)} people` : '';
    report(
      `${prefix}_${job.job.replaceAll('-', '_')}_s`,
      whole,
      `s, ${touched} rows; ${(whole / job.period).toPrecision(2)} of its period${note}`,
    );
    if (whole > job.period) late.push(job.job);
  }
  if (late.length > 0) throw new Error(`These take longer than the time until they are due again: ${late.join(', ')}.`);
}

/** All batches of a job's due slot, without the pauses between them: seconds of work, rows, and which share of people it came to. */
async function work(
  sql: postgres.Sql,
  { job }: Job,
  people: number,
): Promise<{ seconds: number; touched: number; share: number }> {
  const begun = performance.now();
  const seconds = () => (performance.now() - begun) / 1000;
  let touched = 0;
  for (;;) {
    const [batch] = await sql<{ more: boolean; rows: string | null; error: string | null }[]>`
      select more, rows_touched as rows, error from ops.continue_job(${job})`;
    if (batch?.error != null) throw new Error(`${job}: ${batch.error}`);
    touched += Number(batch?.rows ?? 0);
    if (!batch?.more) return { seconds: seconds(), touched, share: 1 };
    if (seconds() < LONGEST_S) continue;
    const [reached] = await sql<{ n: string }[]>`
      select ('x' || right(cursor::text, 8))::bit(32)::bigint as n from job_runs where job = ${job} and finished_at is null order by id desc limit 1`;
    return { seconds: seconds(), touched, share: Math.min(1, Number(reached?.n) / people) };
  }
}
