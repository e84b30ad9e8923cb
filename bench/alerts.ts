// What a check of all alerts costs, with many users and many runs stored: it runs every five minutes beside the runs.
import { median, startDatabase } from './database.ts';
import type { Length, Report } from './report.ts';

/** check_alerts_ms: a check that finds a tenth of the users to warn, all of them warned before. */
export async function measureAlerts(report: Report, { rounds, quick }: Length): Promise<void> {
  const [users, runs] = quick ? [10_000, 5] : [100_000, 10];
  const database = await startDatabase(0);
  const { sql } = database;
  try {
    await sql`set jit = off`; // as for the roles that ask
    await sql.file(`${import.meta.dirname}/usage.sql`);
    await sql`select bench_fill_people(${users})`;
    await sql`select bench_fill_usage(${720 - runs + 1}, 720, ${users})`;
    await sql`
      update users set email = username || '@example.com', current_month_limited_cost = case when random() < 0.1 then 0.45 else 0.1 end`;
    await sql`vacuum analyze`;
    await sql`select refresh_user_cost_analytics()`;
    await sql`insert into alert_channels select c, core.now() from unnest(array['webhook', 'operator_email', 'user_email']) c`;
    await sql`checkpoint`;
    const first = await milliseconds(() => sql`select ops.check_alerts()`);
    const times: number[] = [];
    for (let i = 0; i < rounds; i++) times.push(await milliseconds(() => sql`select ops.check_alerts()`));
    const [mails] = await sql`select count(*)::int as count from messages where user_id is not null`;
    report(
      'check_alerts_first_ms',
      first,
      `ms, ${users} users, ${users * runs} runs stored, ${mails?.count} mails written`,
    );
    report('check_alerts_ms', median(times), 'ms, nothing new');
    await sql`update alert_intervals set checked_at = null`;
    report(
      'check_alerts_hourly_ms',
      await milliseconds(() => sql`select ops.check_alerts()`),
      'ms, with what is looked at once an hour',
    );
    for (const [part, more, when] of [
      ['spend', '', 'ms of it'],
      ['run', '', 'ms of it'],
      ['limit', '', 'ms of it'],
      ['loss', '', 'ms of it'],
      ['billing', '', 'ms of it'],
      ['usage', ", '{}'", 'ms of the hourly one'],
    ])
      report(
        `check_alerts_${part}_ms`,
        await milliseconds(() => sql.unsafe(`select * from core.${part}_conditions(core.now()${more})`)),
        when ?? '',
      );
    for (const part of ['limit', 'credit', 'payment'])
      report(
        `check_alerts_${part}_mails_ms`,
        await milliseconds(() => sql.unsafe(`select * from core.${part}_notices(core.now())`)),
        'ms of it',
      );
  } finally {
    await database.stop();
  }
}

async function milliseconds(statement: () => PromiseLike<unknown>): Promise<number> {
  const start = performance.now();
  await statement();
  return performance.now() - start;
}
