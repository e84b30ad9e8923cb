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

/** A page of movements, newest first; amounts above 0 came in. */
export const historySchema = z.object({
  transactions: z.array(
    z.object({
      id: z.number(),
      type: z.string(),
      amount: z.number(),
      balanceAfter: z.number(),
      kind: z.string().nullable(),
      description: z.string().nullable(),
      sessionId: z.string().nullable(),
      runId: z.string().nullable(),
      purchaseId: z.string().nullable(),
      createdAt: z.string(),
    }),
  ),
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
