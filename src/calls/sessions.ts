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
  /** Of all the user's sessions; null for a search, and where the page is not complete. */
  total: z.number().nullable(),
  /** False: so many are new that older ones are still missing; ask again. */
  complete: z.boolean(),
});

export type Page = { limit: number; cursor: string | null; offset: number };

/** All of a user's sessions, or those that a search finds; newest run first. */
export async function listSessions(
  sql: Sql,
  userId: string,
  page: Page & { query: string | null },
): Promise<z.output<typeof sessionPageSchema>> {
  const rows = await sql`
    select sessions, next_cursor, total, complete from api.list_sessions(${userId}, ${page.limit}, ${page.cursor}, ${page.offset}, ${page.query})`;
  return parseRow(sessionPageSchema, rows);
}

const exchangeSchema = z.object({
  /** Null in a session of somebody else's, and of what was copied. */
  runId: z.string().nullable(),
  isCopy: z.boolean(),
  status: z.string(),
  question: z.string(),
  answer: z.string(),
  model: z.string(),
  providerModel: z.string(),
  packageVersion: z.string(),
  baseline: z.boolean(),
  /** It stands for all that was said before. */
  isSummary: z.boolean(),
  creditsSpent: z.number(),
  tokensUsed: z.number(),
  estimated: z.boolean(),
  durationMs: z.number().nullable(),
  error: z.string().nullable(),
  isEffective: z.boolean().nullable(),
  startedAt: z.string(),
  finishedAt: z.string().nullable(),
});

export const sessionWithExchangesSchema = sessionSchema.extend({
  isMine: z.boolean(),
  shareToken: z.string().nullable(),
  exchanges: z.array(exchangeSchema),
});
export type SessionWithExchanges = z.output<typeof sessionWithExchangesSchema>;

/** A session of this user, or a shared one, with what was said in it; undefined where there is none. */
export async function readSession(
  sql: Sql,
  userId: string,
  sessionId: string,
): Promise<SessionWithExchanges | undefined> {
  const rows = await sql`
    select id, title, package_id, package_name, package_version, model, last_status, run_count, credits_spent, total_tokens,
      total_duration_ms, created_at, last_run_at, is_mine, share_token, exchanges
    from api.read_session(${userId}, ${sessionId})`;
  return findRow(sessionWithExchangesSchema, rows);
}

/** Null or blank: named by its first question again. Undefined where there is no such session of this user's. */
export async function renameSession(
  sql: Sql,
  userId: string,
  sessionId: string,
  title: string | null,
): Promise<{ title: string | null } | undefined> {
  const rows = await sql`select renamed_title as title from api.rename_session(${userId}, ${sessionId}, ${title})`;
  return findRow(z.object({ title: z.string().nullable() }), rows);
}

/** Whether there was such a session of this user's. */
export async function deleteSession(sql: Sql, userId: string, sessionId: string): Promise<boolean> {
  const rows = await sql`select id from api.delete_session(${userId}, ${sessionId})`;
  return rows.length > 0;
}

const shareSchema = z.object({ shareToken: z.string(), sharedAt: z.string() });

/** The link's token; the same as long as the session is shared. Undefined where there is no such session of this user's. */
export async function shareSession(
  sql: Sql,
  userId: string,
  sessionId: string,
): Promise<z.output<typeof shareSchema> | undefined> {
  return findRow(shareSchema, await sql`select share_token, shared_at from api.share_session(${userId}, ${sessionId})`);
}

/** Whether it was shared. */
export async function unshareSession(sql: Sql, userId: string, sessionId: string): Promise<boolean> {
  const rows = await sql`select ended from api.unshare_session(${userId}, ${sessionId})`;
  return parseRow(z.object({ ended: z.boolean() }), rows).ended;
}

const comparisonSchema = z.object({
  id: z.string(),
  sides: z.array(z.object({ runId: z.string(), sessionId: z.string() })),
  createdAt: z.string(),
  shareToken: z.string().nullable(),
});

/** A comparison of this user's, its sides in their order; undefined where there is none. Spec 5.8. */
export async function readComparison(
  sql: Sql,
  userId: string,
  comparisonId: string,
): Promise<z.output<typeof comparisonSchema> | undefined> {
  const rows = await sql`
    select
      id, created_at, share_token,
      (
        select json_agg(json_build_object('run_id', s.run_id, 'session_id', s.session_id) order by s.place)
        from unnest(run_ids, session_ids) with ordinality s (run_id, session_id, place)
      ) as sides
    from api.read_comparison(${userId}, ${comparisonId})`;
  return findRow(comparisonSchema, rows);
}

/** One link for all sides. Undefined where there is no such comparison of this user's. */
export async function shareComparison(
  sql: Sql,
  userId: string,
  comparisonId: string,
): Promise<z.output<typeof shareSchema> | undefined> {
  const rows = await sql`select share_token, shared_at from api.share_comparison(${userId}, ${comparisonId})`;
  return findRow(shareSchema, rows);
}

/** Whether it was shared. */
export async function unshareComparison(sql: Sql, userId: string, comparisonId: string): Promise<boolean> {
  const rows = await sql`select ended from api.unshare_comparison(${userId}, ${comparisonId})`;
  return parseRow(z.object({ ended: z.boolean() }), rows).ended;
}

const forkSchema = z.object({ sessionId: z.string(), exchangeCount: z.number() });

/** A copy of a shared session in this user's account; the same one when asked again. Undefined where nothing is shared so. */
export async function forkSession(
  sql: Sql,
  userId: string,
  newSessionId: string,
  shareToken: string,
): Promise<z.output<typeof forkSchema> | undefined> {
  return findRow(
    forkSchema,
    await sql`select session_id, exchange_count from api.fork_session(${userId}, ${newSessionId}, ${shareToken})`,
  );
}

const exportedSessionSchema = z.object({
  id: z.string(),
  title: z.string().nullable(),
  packageName: z.string().nullable(),
  packageVersion: z.string().nullable(),
  model: z.string().nullable(),
  runCount: z.number(),
  creditsSpent: z.number(),
  totalTokens: z.number(),
  createdAt: z.string(),
  lastRunAt: z.string(),
  exchanges: z.array(
    z.object({
      question: z.string(),
      answer: z.string(),
      status: z.string(),
      model: z.string(),
      packageVersion: z.string(),
      baseline: z.boolean(),
      isSummary: z.boolean(),
      creditsSpent: z.number(),
      inputTokens: z.number().nullable(),
      outputTokens: z.number().nullable(),
      startedAt: z.string(),
      finishedAt: z.string().nullable(),
    }),
  ),
  nextCursor: z.string().nullable(),
});
export type ExportedSession = z.output<typeof exportedSessionSchema>;

/** Some exchanges of a session of this user's, with its header; undefined where there is none. */
export async function exportSession(
  sql: Sql,
  userId: string,
  sessionId: string,
  page: { cursor: string | null; limit: number },
): Promise<ExportedSession | undefined> {
  const rows = await sql`
    select id, title, package_name, package_version, model, run_count, credits_spent, total_tokens, created_at, last_run_at, exchanges, next_cursor
    from api.export_session(${userId}, ${sessionId}, ${page.cursor}, ${page.limit})`;
  return findRow(exportedSessionSchema, rows);
}

/** What anybody sees of a shared session: neither ids nor anything of its owner. */
export const sharedSchema = z.object({
  title: z.string(),
  packageName: z.string(),
  packageVersion: z.string(),
  model: z.string(),
  viewCount: z.number(),
  helpfulCount: z.number(),
  notHelpfulCount: z.number(),
  myVote: z.boolean().nullable(),
  isMine: z.boolean(),
  sharedAt: z.string(),
  exchanges: z.array(
    z.object({
      question: z.string(),
      answer: z.string(),
      model: z.string(),
      packageVersion: z.string(),
      baseline: z.boolean(),
      isSummary: z.boolean(),
      creditsSpent: z.number(),
      inputTokens: z.number().nullable(),
      outputTokens: z.number().nullable(),
      tokensUsed: z.number(),
      startedAt: z.string(),
      finishedAt: z.string().nullable(),
    }),
  ),
  /** Of a comparison, which has no exchanges; null for a session. */
  sides: z
    .array(
      z.object({
        packageName: z.string(),
        packageVersion: z.string(),
        baseline: z.boolean(),
        model: z.string(),
        status: z.string(),
        question: z.string(),
        answer: z.string(),
        creditsSpent: z.number(),
        tokensUsed: z.number(),
        durationMs: z.number().nullable(),
        startedAt: z.string(),
        finishedAt: z.string().nullable(),
      }),
    )
    .nullable(),
});

/** Who looks: signed in or not, and from where. */
export type Visitor = { userId: string | null; address: string };

/** Counts the visitor's first view. Undefined where there is no such link any more. */
export async function readShared(
  sql: Sql,
  visitor: Visitor,
  shareToken: string,
): Promise<z.output<typeof sharedSchema> | undefined> {
  const rows = await sql`
    select title, package_name, package_version, model, view_count, helpful_count, not_helpful_count, my_vote, is_mine, shared_at, exchanges, sides
    from api.read_shared(${visitor.userId}, ${shareToken}, ${visitor.address})`;
  return findRow(sharedSchema, rows);
}

export const votesSchema = z.object({ helpfulCount: z.number(), notHelpfulCount: z.number() });

export async function voteShared(
  sql: Sql,
  visitor: Visitor,
  vote: { shareToken: string; isHelpful: boolean; feedbackText: string | null },
): Promise<z.output<typeof votesSchema> | undefined> {
  const rows = await sql`
    select helpful_count, not_helpful_count
    from api.vote_shared(${visitor.userId}, ${vote.shareToken}, ${visitor.address}, ${vote.isHelpful}, ${vote.feedbackText})`;
  return findRow(votesSchema, rows);
}

export const resultsSchema = z.object({
  results: z.array(
    z.object({
      shareToken: z.string(),
      packageName: z.string(),
      packageVersion: z.string(),
      model: z.string(),
      viewCount: z.number(),
      helpfulCount: z.number(),
      notHelpfulCount: z.number(),
      helpfulnessRatio: z.number().nullable(),
      userInput: z.string().nullable(),
      assistantResponse: z.string().nullable(),
      creditsSpent: z.number(),
      totalTokens: z.number(),
      isFeatured: z.boolean(),
      featureDescription: z.string().nullable(),
      featureDisplayOrder: z.number(),
      featuredAt: z.string().nullable(),
      sharedAt: z.string(),
      createdAt: z.string(),
    }),
  ),
  total: z.number(),
});

export type Sort = 'popular' | 'recent' | 'helpful' | 'featured';

/** Shared results of a package; undefined where the user may not see it. */
export async function listResults(
  sql: Sql,
  userId: string | null,
  { packageId, sort, limit }: { packageId: string; sort: Sort; limit: number },
): Promise<z.output<typeof resultsSchema> | undefined> {
  const rows = await sql`select results, total from api.list_results(${userId}, ${packageId}, ${sort}, ${limit})`;
  return findRow(resultsSchema, rows);
}

const featureSchema = z.object({
  shareToken: z.string(),
  featuredAt: z.string().nullable(),
  description: z.string().nullable(),
  displayOrder: z.number(),
});

/** `result` is a link's token or a session's id; what is null stays. Undefined where it is not shared. */
export async function featureResult(
  sql: Sql,
  userId: string,
  feature: { result: string; isFeatured: boolean | null; description: string | null; displayOrder: number | null },
): Promise<z.output<typeof featureSchema> | undefined> {
  const rows = await sql`
    select share_token, featured_at, description, display_order
    from api.feature_result(${userId}, ${feature.result}, ${feature.isFeatured}, ${feature.description}, ${feature.displayOrder})`;
  return findRow(featureSchema, rows);
}

/** The exchange that feedback is on, counted from 0, and whether it had none before; undefined where there is none of this user's. */
export async function giveFeedback(
  sql: Sql,
  userId: string,
  feedback: { sessionId: string; exchangeIndex: number; isEffective: boolean; comment: string | null },
): Promise<{ runId: string; isNew: boolean } | undefined> {
  const rows = await sql`
    select run_id, is_new
    from api.give_feedback(${userId}, ${feedback.sessionId}, ${feedback.exchangeIndex}, ${feedback.isEffective}, ${feedback.comment})`;
  return findRow(z.object({ runId: z.string(), isNew: z.boolean() }), rows);
}
