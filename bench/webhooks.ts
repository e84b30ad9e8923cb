// Stripe's events through SQL alone: kept in the inbox and applied, against TPC-B on the same cluster, alternating.
import { expectCleanAudit, median, startDatabase, startTpcb, transactionsPerSecond } from './database.ts';
import type { Length, Report } from './report.ts';

const users = 10_000;

/** webhooks_per_s and webhooks_vs_tpcb: a change of a subscription each, of many people. */
export async function measureWebhooks(report: Report, { seconds, rounds }: Length): Promise<void> {
  const database = await startDatabase(users);
  try {
    const { appUrl, superuserUrl, sql } = database;
    await sql`select bench_fill_customers(${users})`;
    await sql`vacuum analyze`;
    const tpcb = await startTpcb(superuserUrl);
    transactionsPerSecond(appUrl, 'webhook.sql', Math.min(5, seconds));
    await sql`checkpoint`;
    const ratios: number[] = [];
    const handled: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const ours = transactionsPerSecond(appUrl, 'webhook.sql', seconds);
      handled.push(ours);
      ratios.push(ours / transactionsPerSecond(tpcb, null, seconds));
    }
    const [left] = await sql`
      select count(*) filter (where status not in ('applied')) as wrong, count(*) as all from stripe_events`;
    if (Number(left?.wrong) > 0) throw new Error(`${left?.wrong} of ${left?.all} events were not applied`);
    report('webhooks_per_s', median(handled), 'events/s');
    report('webhooks_vs_tpcb', median(ratios), 'ratio');
    await expectCleanAudit(sql);
  } finally {
    await database.stop();
  }
}
