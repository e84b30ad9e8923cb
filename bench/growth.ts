// Does the hot path slow down as runs pile up? Two databases on one cluster's settings, alternating.
import { expectCleanAudit, median, startDatabase, transactionsPerSecond } from './database.ts';
import type { Length, Report } from './report.ts';

const users = 10_000;

/** pairs_growth: pairs a second with 5 million runs stored over that with 50 thousand. */
export async function measureGrowth(report: Report, { seconds, rounds, quick }: Length): Promise<void> {
  const [small, large] = [50_000, quick ? 500_000 : 5_000_000];
  const few = await startDatabase(users);
  const many = await startDatabase(users);
  try {
    for (const [database, runs] of [
      [few, small],
      [many, large],
    ] as const) {
      await database.sql`select bench_fill_runs(${runs}, ${users})`;
      await database.sql`vacuum analyze`;
      await database.sql`checkpoint`;
      transactionsPerSecond(database.appUrl, 'pair.sql', Math.min(10, seconds));
    }
    const ratios: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const least = transactionsPerSecond(few.appUrl, 'pair.sql', seconds);
      ratios.push(transactionsPerSecond(many.appUrl, 'pair.sql', seconds) / least);
    }
    report('pairs_growth', median(ratios), `ratio, ${large} runs stored over ${small}`);
    await expectCleanAudit(few.sql);
    await expectCleanAudit(many.sql);
  } finally {
    await few.stop();
    await many.stop();
  }
}
