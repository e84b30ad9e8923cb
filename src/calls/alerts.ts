import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { findRow, parseRow, parseRows } from '../database/rows.ts';

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

export type Channel = 'webhook' | 'operator_email' | 'user_email';

/**
 * Something to deliver. `recipient` is a user's address, null for operators; `payload` is the body of a webhook, as it is to
 * be signed; `unsubscribeToken` is null where the mail cannot be declined.
 */
const messageSchema = z.object({
  messageId: z.string(),
  attempt: z.number(),
  channel: z.enum(['webhook', 'operator_email', 'user_email']),
  recipient: z.string().nullable(),
  subject: z.string(),
  body: z.string(),
  payload: z.string().nullable(),
  unsubscribeToken: z.string().nullable(),
});
export type Message = z.output<typeof messageSchema>;

/** Takes up to `most` messages that are due on these channels, for two minutes, and says that a server has them. Spec 9. */
export async function claimMessages(sql: Sql, channels: Channel[], most: number): Promise<Message[]> {
  const rows = await sql`
    select message_id, attempt, channel, recipient, subject, body, payload, unsubscribe_token
    from api.claim_messages((select array_agg(c) from json_array_elements_text(${JSON.stringify(channels)}::text::json) c), ${most})`;
  return parseRows(messageSchema, rows);
}

/** The message's receiver took it. */
export async function finishMessage(sql: Sql, messageId: string): Promise<void> {
  await sql`select from api.finish_message(${messageId})`;
}

/** It could not be delivered: it is tried again later, unless that is final. */
export async function failMessage(
  sql: Sql,
  { messageId, attempt }: Message,
  error: string,
  isFinal: boolean,
): Promise<void> {
  await sql`select from api.fail_message(${messageId}, ${attempt}, ${error}, ${isFinal})`;
}

/** Declines the kind of mail that a token from a mail names; undefined for a token that no mail carried. Spec 9. */
export async function unsubscribe(sql: Sql, token: string): Promise<{ declined: string } | undefined> {
  return findRow(z.object({ declined: z.string() }), await sql`select declined from api.unsubscribe(${token})`);
}

/** Where a user's mails go, null for nowhere, and which kinds they want. */
export const emailPreferencesSchema = z.object({
  email: z.string().nullable(),
  limits: z.boolean(),
  credits: z.boolean(),
  payments: z.boolean(),
});
export type EmailPreferences = z.output<typeof emailPreferencesSchema>;

export async function readEmailPreferences(sql: Sql, userId: string): Promise<EmailPreferences> {
  const rows = await sql`select email, limits, credits, payments from api.read_email_preferences(${userId})`;
  return parseRow(emailPreferencesSchema, rows);
}

/** Null leaves a kind as it is. Returns what holds then. */
export async function setEmailPreferences(
  sql: Sql,
  userId: string,
  { limits, credits, payments }: { [kind in 'limits' | 'credits' | 'payments']: boolean | null },
): Promise<EmailPreferences> {
  const rows = await sql`
    select email, limits, credits, payments
    from api.set_email_preferences(${userId}, ${limits}, ${credits}, ${payments})`;
  return parseRow(emailPreferencesSchema, rows);
}
