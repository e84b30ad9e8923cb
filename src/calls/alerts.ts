import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow } from '../database/rows.ts';

/** The alert raised last first; `about` names what it is about, blank for the whole. */
export const alertsPageSchema = z.object({
  alerts: z.array(
    z.object({
      id: z.number(),
      severity: z.enum(['warning', 'critical']),
      kind: z.string(),
      about: z.string(),
      userId: z.string().nullable(),
      what: z.string(),
      whatToDo: z.string(),
      raisedAt: z.string(),
      resolvedAt: z.string().nullable(),
      acknowledgedAt: z.string().nullable(),
      acknowledgedBy: z.string().nullable(),
      acknowledgedBecause: z.string().nullable(),
    }),
  ),
  nextCursor: z.string().nullable(),
  total: z.number(),
});

/** For an administrator. Spec 9. */
export async function listAlerts(
  sql: Sql,
  userId: string,
  { state, limit, cursor }: { state: string; limit: number; cursor: string | null },
): Promise<z.output<typeof alertsPageSchema>> {
  const rows = await sql`
    select alerts, next_cursor, total from api.list_alerts(${userId}, ${state}, ${limit}, ${cursor})`;
  return parseRow(alertsPageSchema, rows);
}

export const acknowledgedSchema = z.object({ acknowledgedAt: z.string(), acknowledgedBy: z.string() });

/** Says that this administrator is at an open alert. Spec 9. */
export async function acknowledgeAlert(
  sql: Sql,
  userId: string,
  alertId: number,
  reason: string,
): Promise<z.output<typeof acknowledgedSchema>> {
  const rows = await sql`
    select acknowledged_at, acknowledged_by from api.acknowledge_alert(${userId}, ${alertId}, ${reason})`;
  return parseRow(acknowledgedSchema, rows);
}
