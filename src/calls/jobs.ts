import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { findRow, parseRow, parseRows } from '../database/rows.ts';

const batchSchema = z.object({
  ran: z.boolean(),
  more: z.boolean(),
  rowsTouched: z.number().nullable(),
  error: z.string().nullable(),
});

/** Names of the jobs that have something to do now. Spec 7.1. */
export async function dueJobs(sql: Sql): Promise<string[]> {
  return parseRows(z.object({ job: z.string() }), await sql`select job from api.due_jobs()`).map(({ job }) => job);
}

/** One batch of a job's due slot: `ran` is false where nothing is due or somebody else is at it. `error` says what went wrong. */
export async function runJob(sql: Sql, job: string): Promise<z.output<typeof batchSchema>> {
  return parseRow(batchSchema, await sql`select ran, more, rows_touched, error from api.run_job(${job})`);
}

const count = z.number().nullable();
/** US dollars or seconds, which arrive as text. */
const amount = z.string().transform(Number).nullable();

const figuresSchema = z.object({
  ...{ users: count, throttledByLimit: count, throttledByOperator: count },
  ...{ openRuns: count, overdueHolds: count, heldCredits: count, heldCost: amount },
  ...{ monthCost: amount, monthSubscriptionRevenue: amount, monthPackRevenue: amount },
  ...{ freeTierCost: amount, freeTierBudget: amount, freeTierPaused: z.boolean() },
  ...{ runsEnabled: z.boolean(), purchasesEnabled: z.boolean() },
  ...{ eventsWaiting: count, eventsWaitingSeconds: amount, eventsInReview: count },
  ...{ workDue: count, workDueSeconds: amount, workFailed: count },
  ...{ analyticsAgeSeconds: amount, driftRows: count },
  ...{ alertsWarning: count, alertsCritical: count, messagesUndelivered: count },
  jobs: z.array(z.object({ job: z.string(), lateSeconds: z.number(), failed: z.boolean() })).nullable(),
});
export type Figures = z.output<typeof figuresSchema>;

/** What metrics tell of the database. Sums over nothing are null. Spec 11.4. */
export async function readMetrics(sql: Sql): Promise<Figures> {
  const rows = await sql`
    select users, throttled_by_limit, throttled_by_operator, open_runs, overdue_holds, held_credits, held_cost, month_cost,
      month_subscription_revenue, month_pack_revenue, free_tier_cost, free_tier_budget, free_tier_paused, runs_enabled,
      purchases_enabled, events_waiting, events_waiting_seconds, events_in_review, work_due, work_due_seconds, work_failed,
      analytics_age_seconds, drift_rows, alerts_warning, alerts_critical, messages_undelivered, jobs
    from api.read_metrics()`;
  return parseRow(figuresSchema, rows);
}

export const problemSchema = z.object({ check: z.string(), detail: z.string(), whatToDo: z.string() });

const jobSchema = z.object({
  job: z.string(),
  description: z.string(),
  everySeconds: z.number(),
  lastSlot: z.string().nullable(),
  lastStartedAt: z.string().nullable(),
  lastFinishedAt: z.string().nullable(),
  lastRows: z.number().nullable(),
  lastError: z.string().nullable(),
  nextDueAt: z.string(),
  lateSeconds: z.number(),
  isLate: z.boolean(),
  hasFailed: z.boolean(),
});
export const jobsSchema = z.object({ jobs: z.array(jobSchema) });

/** What each job did last and when it is due next, for an administrator. Spec 7.2. */
export async function listJobs(sql: Sql, userId: string): Promise<z.output<typeof jobsSchema>> {
  return parseRow(jobsSchema, await sql`select jobs from api.list_jobs(${userId}) as jobs`);
}

/** What is not as it should be, for an administrator; none means healthy. Spec 12. */
export async function readHealth(sql: Sql, userId: string): Promise<z.output<typeof problemSchema>[]> {
  return parseRows(problemSchema, await sql`select "check", detail, what_to_do from api.read_health(${userId})`);
}

const readySchema = z.object({ migration: z.number().nullable(), jobs: z.enum(['alive', 'stopped', 'none']) });

/** The number of the newest migration, and whether jobs are done: `stopped` where they were until lately. Spec 11.4. */
export async function checkReady(sql: Sql): Promise<z.output<typeof readySchema>> {
  return parseRow(readySchema, await sql`select migration, jobs from api.check_ready()`);
}

/** What an erasure takes, and what stays. `to_confirm`: nothing was done yet. */
export const erasureSchema = z.object({
  outcome: z.enum(['to_confirm', 'erased']),
  erasedAt: z.string().nullable(),
  purchasedCredits: z.number(),
  otherCredits: z.number(),
  subscription: z.string().nullable(),
  runningRuns: z.number(),
  sessions: z.number(),
  privatePackages: z.number(),
  publishedPackages: z.number(),
});

/** Erases a user who has confirmed how many purchased credits they lose. Spec 10.8. */
export async function eraseUser(
  sql: Sql,
  userId: string,
  confirmPurchasedCredits: number | null,
): Promise<z.output<typeof erasureSchema>> {
  const rows = await sql`
    select outcome, erased_at, purchased_credits, other_credits, subscription, running_runs, sessions, private_packages,
      published_packages
    from api.erase_user(${userId}, ${confirmPurchasedCredits})`;
  return parseRow(erasureSchema, rows);
}

/** Makes a job's newest slot due once more, for an administrator; null where it never ran. Spec 7.2. */
export async function repeatJob(sql: Sql, userId: string, job: string, reason: string): Promise<string | null> {
  const rows = await sql`select slot from api.repeat_job(${userId}, ${job}, ${reason})`;
  return findRow(z.object({ slot: z.string() }), rows)?.slot ?? null;
}

export const figureSchema = z.object({
  figure: z.string(),
  value: z.coerce.number().nullable(),
  unit: z.string(),
  note: z.string().nullable(),
});

/** What is going on now, as ops.health says, for an administrator. Spec 12. */
export async function readFigures(sql: Sql, userId: string): Promise<z.output<typeof figureSchema>[]> {
  return parseRows(figureSchema, await sql`select figure, value, unit, note from api.read_figures(${userId})`);
}
