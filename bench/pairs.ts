// Begin and settle through SQL alone, against TPC-B on the same cluster, alternating.
import { expectCleanAudit, median, startDatabase, startTpcb, transactionsPerSecond } from './database.ts';
import type { Length, Report } from './report.ts';

/** pairs_vs_tpcb and its parts, same_user_pairs_vs_distinct. */
export async function measurePairs(report: Report, { seconds, rounds }: Length): Promise<void> {
  const database = await startDatabase(10_000);
  try {
    const { appUrl, superuserUrl, sql } = database;
    const tpcb = await startTpcb(superuserUrl);
    transactionsPerSecond(appUrl, 'pair.sql', Math.min(5, seconds));
    await sql`checkpoint`;
    const ratios: number[] = [];
    const pairs: number[] = [];
    const base: number[] = [];
    const sameUser: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const ours = transactionsPerSecond(appUrl, 'pair.sql', seconds);
      const theirs = transactionsPerSecond(tpcb, null, seconds);
      pairs.push(ours);
      base.push(theirs);
      ratios.push(ours / theirs);
      sameUser.push(transactionsPerSecond(appUrl, 'pair-same-user.sql', Math.max(4, seconds / 4)) / ours);
    }
    report('tpcb_per_s', median(base), 'transactions/s');
    report('pairs_per_s', median(pairs), 'pairs/s');
    report('pairs_vs_tpcb', median(ratios), 'ratio');
    report('pairs_vs_tpcb_least', Math.min(...ratios), 'ratio');
    report('same_user_pairs_vs_distinct', median(sameUser), 'ratio');
    report('pair_one_client_ms', 1000 / transactionsPerSecond(appUrl, 'pair.sql', seconds / 2, 1), 'ms');
    const [wal] = await sql`
      select sum(wal_bytes) / sum(calls) * 2 as bytes from pg_stat_statements where query like 'select % from api.%_run(%'`;
    report('wal_per_pair', Number(wal?.bytes), 'bytes');
    await expectCleanAudit(sql);
  } finally {
    await database.stop();
  }
}
