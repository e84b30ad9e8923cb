import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow } from '../database/rows.ts';
import type { Page } from './sessions.ts';

/** What can be spent, in credits; lots in the order in which they are. */
export const creditsSchema = z.object({
  balance: z.number(),
  held: z.number(),
  available: z.number(),
  monthly: z.object({ allocated: z.number(), used: z.number(), remaining: z.number(), resetAt: z.string().nullable() }),
  rollover: z.object({ amount: z.number(), expiresAt: z.string().nullable() }),
  purchased: z.number(),
  signup: z.number(),
  bonus: z.number(),
  breakdown: z.object({
    monthly: z.number(),
    rollover: z.number(),
    signup: z.number(),
    bonus: z.number(),
    purchased: z.number(),
  }),
  lots: z.array(
    z.object({
      id: z.string(),
      kind: z.string(),
      granted: z.number(),
      remaining: z.number(),
      held: z.number(),
      source: z.string(),
      expiresAt: z.string().nullable(),
      createdAt: z.string(),
    }),
  ),
});

export async function readCredits(sql: Sql, userId: string): Promise<z.output<typeof creditsSchema>> {
  const rows = await sql`select credits from api.read_credits(${userId}) as credits`;
  return parseRow(z.object({ credits: creditsSchema }), rows).credits;
}

/** Amounts above 0 came in. */
const movementSchema = z.object({
  id: z.number(),
  userId: z.string(),
  type: z.string(),
  amount: z.number(),
  balanceAfter: z.number(),
  kind: z.string().nullable(),
  description: z.string().nullable(),
  sessionId: z.string().nullable(),
  runId: z.string().nullable(),
  purchaseId: z.string().nullable(),
  metadata: z.object({ lotId: z.string().nullable(), model: z.string().nullable() }),
  createdAt: z.string(),
});
export type Movement = z.output<typeof movementSchema>;

/** A page of movements, newest first. */
export const historySchema = z.object({
  transactions: z.array(movementSchema),
  nextCursor: z.string().nullable(),
  total: z.number(),
});

export async function listCreditHistory(
  sql: Sql,
  userId: string,
  type: string | null,
  page: Page,
): Promise<z.output<typeof historySchema>> {
  const rows = await sql`
    select transactions, next_cursor, total
    from api.list_credit_history(${userId}, ${type}, ${page.limit}, ${page.cursor}, ${page.offset})`;
  return parseRow(historySchema, rows);
}

const exportedHistorySchema = historySchema.pick({ transactions: true, nextCursor: true });

/** A piece of a file of movements, newest first. */
export async function exportCreditHistory(
  sql: Sql,
  userId: string,
  type: string | null,
  cursor: string | null,
): Promise<z.output<typeof exportedHistorySchema>> {
  const rows = await sql`
    select transactions, next_cursor from api.export_credit_history(${userId}, ${type}, ${cursor})`;
  return parseRow(exportedHistorySchema, rows);
}

/** Day by day (UTC), oldest first, and what is to come at the pace of late; `emptyOn` is the day on which nothing is left. */
export const creditSeriesSchema = z.object({
  days: z.array(
    z.object({ day: z.string(), cameIn: z.number(), spent: z.number(), lapsed: z.number(), balance: z.number() }),
  ),
  /** Credits a day. */
  pace: z.number(),
  ahead: z.array(z.object({ day: z.string(), balance: z.number() })),
  emptyOn: z.string().nullable(),
});

export async function readCreditSeries(
  sql: Sql,
  userId: string,
  days: number,
): Promise<z.output<typeof creditSeriesSchema>> {
  const rows = await sql`select series from api.read_credit_series(${userId}, ${days}) as series`;
  return parseRow(z.object({ series: creditSeriesSchema }), rows).series;
}

/** The newest steps, oldest first; the last one is the books' own figure. */
export const balanceStepsSchema = z.object({
  steps: z.array(
    z.object({
      step: z.number(),
      at: z.string(),
      type: z.string(),
      change: z.number(),
      balance: z.number(),
      lot: z.string().nullable(),
      explanation: z.string(),
    }),
  ),
  total: z.number(),
});

/** How a balance came to be; another's than the asking user's for administrators alone. Spec 4.8, 12. */
export async function explainBalance(
  sql: Sql,
  userId: string,
  targetUserId: string | null,
  limit: number,
): Promise<z.output<typeof balanceStepsSchema>> {
  return parseRow(
    balanceStepsSchema,
    await sql`select steps, total from api.explain_balance(${userId}, ${targetUserId}, ${limit})`,
  );
}

export const grantedSchema = z.object({ granted: z.number(), balance: z.number() });

/** Gives somebody bonus credits, for an administrator. Spec 4.7. */
export async function grantCredits(
  sql: Sql,
  userId: string,
  targetUserId: string,
  amount: number,
  reason: string,
): Promise<z.output<typeof grantedSchema>> {
  const rows =
    await sql`select granted, balance from api.grant_credits(${userId}, ${targetUserId}, ${amount}, ${reason})`;
  return parseRow(grantedSchema, rows);
}
