import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { findRow, parseRow } from '../database/rows.ts';

/** A session without its texts; totals are sums over its runs. */
const sessionSchema = z.object({
  id: z.string(),
  title: z.string().nullable(),
  packageId: z.string(),
  packageName: z.string().nullable(),
  packageVersion: z.string().nullable(),
  model: z.string().nullable(),
  lastStatus: z.string().nullable(),
  runCount: z.number(),
  creditsSpent: z.number(),
  totalTokens: z.number(),
  totalDurationMs: z.number(),
  createdAt: z.string(),
  lastRunAt: z.string(),
});

export const sessionPageSchema = z.object({
  sessions: z.array(sessionSchema),
  nextCursor: z.string().nullable(),
  total: z.number(),
});

export type Page = { limit: number; cursor: string | null; offset: number };

export async function listSessions(sql: Sql, userId: string, page: Page): Promise<z.output<typeof sessionPageSchema>> {
  const rows = await sql`
    select sessions, next_cursor, total from api.list_sessions(${userId}, ${page.limit}, ${page.cursor}, ${page.offset})`;
  return parseRow(sessionPageSchema, rows);
}

const exchangeSchema = z.object({
  runId: z.string(),
  status: z.string(),
  question: z.string(),
  answer: z.string(),
  model: z.string(),
  providerModel: z.string(),
  packageVersion: z.string(),
  baseline: z.boolean(),
  creditsSpent: z.number(),
  tokensUsed: z.number(),
  estimated: z.boolean(),
  durationMs: z.number().nullable(),
  error: z.string().nullable(),
  startedAt: z.string(),
  finishedAt: z.string().nullable(),
});

export const sessionWithExchangesSchema = sessionSchema.extend({ exchanges: z.array(exchangeSchema) });
export type SessionWithExchanges = z.output<typeof sessionWithExchangesSchema>;

/** A session of this user with what was said in it; undefined where there is none. */
export async function readSession(
  sql: Sql,
  userId: string,
  sessionId: string,
): Promise<SessionWithExchanges | undefined> {
  const rows = await sql`
    select id, title, package_id, package_name, package_version, model, last_status, run_count, credits_spent, total_tokens,
      total_duration_ms, created_at, last_run_at, exchanges
    from api.read_session(${userId}, ${sessionId})`;
  return findRow(sessionWithExchangesSchema, rows);
}
