// What a refresh of all analytics costs: against one plain aggregate over the runs stored, and as runs pile up.
import type postgres from 'postgres';
import { median, startDatabase } from './database.ts';
import type { Length, Report } from './report.ts';

const users = 10_000;

/** simulate_vs_scan with 1 million runs stored, refresh_vs_scan with 2 million, refresh_growth from 400 thousand to 4 million; 10,000 new runs before each refresh. */
export async function measureAnalytics(report: Report, { rounds, quick }: Length): Promise<void> {
  const [few, hundred, some, many] = quick ? [10, 20, 40, 100] : [40, 100, 200, 400]; // runs of each user
  const database = await startDatabase(0);
  const { sql } = database;
  try {
    await sql`set jit = off`; // as for the roles that ask
    await sql.file(`${import.meta.dirname}/usage.sql`);
    await sql`select bench_fill_people(${users})`;
    let stored = 0;
    let scans = 0;
    const fillTo = async (hours: number) => {
      await sql`select bench_fill_usage(${stored}, ${hours - 1}, ${users})`;
      stored = hours;
      await sql`vacuum analyze`;
      await sql`select refresh_user_cost_analytics()`;
      await sql`checkpoint`;
    };
    const round = async () => {
      await sql`select bench_fill_usage(${stored}, ${stored}, ${users})`;
      stored += 1;
      const before = await scansOfRuns(sql);
      const time = await milliseconds(() => sql`select refresh_user_cost_analytics()`);
      scans += (await scansOfRuns(sql)) - before;
      return time;
    };
    const refreshes = async () => {
      const times: number[] = [];
      for (let i = 0; i < rounds + 2; i++) times.push(await round());
      return median(times);
    };

    await fillTo(few);
    const least = await refreshes();
    await fillTo(hundred);
    await measureSimulation(report, sql, hundred * users);
    await fillTo(some);
    const ratios: number[] = [];
    const scanTimes: number[] = [];
    for (let i = 0; i < rounds + 2; i++) {
      const refresh = await round();
      const scan = await milliseconds(() => sql`select count(*), sum(cost), sum(credits) from runs`);
      scanTimes.push(scan);
      ratios.push(refresh / scan);
    }
    report('refresh_scan_ms', median(scanTimes), `ms, one aggregate over ${some * users} runs`);
    report('refresh_vs_scan', median(ratios), 'ratio');
    report('month_figures_ms', await milliseconds(() => sql`select * from core.month_figures(core.now())`), 'ms');
    report('loss_makers_ms', await milliseconds(() => sql`select * from ops.loss_makers`), 'ms');
    await fillTo(many);
    const most = await refreshes();
    report('refresh_ms', most, `ms, ${many * users} runs stored, ${users} new`);
    report('refresh_growth', most / least, `ratio, ${many * users} runs stored over ${few * users}`);
    report('refresh_scans', scans, 'sequential scans of runs by all these refreshes');
    if (scans > 0) throw new Error('A refresh read all of runs.');
    const wrong = await sql`
      select * from core.audit_usage('00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff') limit 5`;
    if (wrong.length > 0) throw new Error(`The rollups disagree after the bench: ${JSON.stringify(wrong)}`);
  } finally {
    await database.stop();
  }
}

/** What bench_fill_usage makes costs everybody the same: near no limit of tier unlimited's, above those of tier free. */
const scenarios = {
  simulate_vs_scan: [
    'unlimited',
    `model_prices => '{"sonnet": {"input": 4}, "opus": {"output": 30}}', tokens_per_credit => 6000, max_request_tokens => 15000`,
  ],
  simulate_everybody_replayed_vs_scan: ['free', `limits => '{"free": {"daily_cost_limit": 0.05}}'`],
} as const;

/** simulate_vs_scan: ops.simulate over the runs of 31 days, over one aggregate on the same rows, turn by turn. */
async function measureSimulation(report: Report, sql: postgres.Sql, runs: number) {
  const days = `since => (now() at time zone 'UTC')::date - 31, until => (now() at time zone 'UTC')::date + 1`;
  const scan = () => sql`select count(*), sum(cost), sum(credits) from runs`;
  for (const [name, [tier, changes]] of Object.entries(scenarios)) {
    await sql`update runs set tier_name = ${tier} where tier_name <> ${tier}`;
    await sql`vacuum analyze runs`;
    const ratios: number[] = [];
    for (let i = 0; i < 3; i++) {
      const simulation = await milliseconds(() => sql.unsafe(`select * from ops.simulate(${days}, ${changes})`));
      ratios.push(simulation / (await milliseconds(scan)));
    }
    report(name, median(ratios), `ratio, ${runs} runs`);
  }
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Sequential scans of runs so far. */
async function scansOfRuns(sql: postgres.Sql): Promise<number> {
  await sql`select pg_stat_force_next_flush()`;
  const [row] = await sql`select seq_scan from pg_stat_user_tables where relid = 'public.runs'::regclass`;
  return Number(row?.seq_scan);
}
