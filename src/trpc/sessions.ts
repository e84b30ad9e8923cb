import { uuidv7 } from 'uuidv7';
import { z } from 'zod';
import {
  deleteSession,
  exportSession,
  featureResult,
  forkSession,
  giveFeedback,
  listResults,
  listSessions,
  readSession,
  readShared,
  renameSession,
  resultsSchema,
  sessionPageSchema,
  sessionWithExchangesSchema,
  sharedSchema,
  shareSession,
  unshareSession,
  voteShared,
  votesSchema,
} from '../calls/sessions.ts';
import { Failure } from '../errors/failure.ts';
import { conversationOf, conversationSchema } from './conversation.ts';
import { characters, idInput, packageInput, pageInput } from './inputs.ts';
import { fileFormats, filePieceSchema, pieceOf } from './session-file.ts';
import { publicProcedure, readProcedure, router } from './trpc.ts';

/** Exchanges in a piece of an export: some 2 MB at the most. */
const EXCHANGES_A_PIECE = 100;

const paginationSchema = z.object({ limit: z.number(), offset: z.number() });
const sessionInput = z.object({ sessionId: idInput });
const shareInput = z.object({ shareToken: z.string().trim().min(1).max(100) });

export const sessionsRouter = router({
  list: readProcedure
    .input(
      z.object({
        ...pageInput(20),
        query: z
          .string()
          .trim()
          .max(500)
          .nullish()
          .describe('Words of the texts; also model:alias, package:name, cost:>n (credits), "or" and -word.'),
      }),
    )
    .output(sessionPageSchema.extend({ pagination: paginationSchema }))
    .query(async ({ ctx, input: { limit, cursor, offset, query } }) => {
      const { sql } = ctx.services.database;
      const page = { limit, cursor: cursor ?? null, offset, query: query ?? null };
      return { ...(await listSessions(sql, ctx.principal.userId, page)), pagination: { limit, offset } };
    }),

  read: readProcedure
    .input(sessionInput)
    .output(sessionWithExchangesSchema.extend({ conversation: conversationSchema }))
    .query(async ({ ctx, input }) => {
      const session = there(await readSession(ctx.services.database.reads, ctx.principal.userId, input.sessionId));
      return { ...session, conversation: conversationOf(session.exchanges) };
    }),

  rename: readProcedure
    .input(sessionInput.extend({ title: z.string().trim().max(200).nullable() }))
    .output(z.object({ title: z.string().nullable() }))
    .mutation(async ({ ctx, input }) =>
      there(await renameSession(ctx.services.database.sql, ctx.principal.userId, input.sessionId, input.title)),
    ),

  delete: readProcedure
    .input(sessionInput)
    .output(z.object({ message: z.string() }))
    .mutation(async ({ ctx, input }) => {
      const found = await deleteSession(ctx.services.database.sql, ctx.principal.userId, input.sessionId);
      if (!found) throw noSession();
      return { message: 'Session deleted successfully' };
    }),

  share: readProcedure
    .input(sessionInput)
    .output(z.object({ shareToken: z.string(), shareUrl: z.string(), sharedAt: z.string() }))
    .mutation(async ({ ctx, input }) => {
      const share = there(await shareSession(ctx.services.database.sql, ctx.principal.userId, input.sessionId));
      return { ...share, shareUrl: ctx.services.pageUrl(`/playground/shared/${share.shareToken}`) };
    }),

  unshare: readProcedure
    .input(sessionInput)
    .output(z.object({ ended: z.boolean() }))
    .mutation(async ({ ctx, input }) => ({
      ended: await unshareSession(ctx.services.database.sql, ctx.principal.userId, input.sessionId),
    })),

  /** A copy of a shared session, to go on with in one's own account. */
  fork: readProcedure
    .input(shareInput)
    .output(z.object({ sessionId: z.string(), exchangeCount: z.number() }))
    .mutation(async ({ ctx, input }) => {
      const fork = await forkSession(ctx.services.database.sql, ctx.principal.userId, uuidv7(), input.shareToken);
      if (fork === undefined) throw noShare();
      return fork;
    }),

  /** A piece of the file: the first without a cursor, each further one with the nextCursor of the one before. */
  export: readProcedure
    .input(
      sessionInput.extend({
        format: z.enum(fileFormats).default('markdown'),
        cursor: z.string().max(1000).nullish().describe('next_cursor of the piece before.'),
      }),
    )
    .output(filePieceSchema)
    .query(async ({ ctx, input: { sessionId, format, cursor = null } }) => {
      const page = { cursor, limit: EXCHANGES_A_PIECE };
      const session = there(await exportSession(ctx.services.database.reads, ctx.principal.userId, sessionId, page));
      return pieceOf(session, format, cursor === null);
    }),

  feedback: readProcedure
    .input(
      sessionInput.extend({
        exchangeIndex: z.int().min(0).max(100_000).describe('Which exchange, counted from 0.'),
        isEffective: z.boolean(),
        comment: z.string().trim().max(1000).nullish(),
      }),
    )
    .output(z.object({ success: z.boolean(), feedbackId: z.string() }))
    .mutation(async ({ ctx, input }) => {
      const { runId, isNew } = there(
        await giveFeedback(ctx.services.database.sql, ctx.principal.userId, {
          ...input,
          comment: input.comment ?? null,
        }),
      );
      if (!isNew) throw new Failure('feedback_exists');
      return { success: true, feedbackId: runId };
    }),

  shared: publicProcedure
    .input(shareInput)
    .output(sharedSchema.extend({ conversation: conversationSchema }))
    .query(async ({ ctx, input }) => {
      const shared = await readShared(ctx.services.database.sql, ctx.visitor, input.shareToken);
      if (shared === undefined) throw noShare();
      return { ...shared, conversation: conversationOf(shared.exchanges) };
    }),

  vote: publicProcedure
    .input(shareInput.extend({ isHelpful: z.boolean(), feedbackText: z.string().trim().max(1000).nullish() }))
    .output(votesSchema.extend({ message: z.string() }))
    .mutation(async ({ ctx, input }) => {
      const vote = { ...input, feedbackText: input.feedbackText ?? null };
      const votes = await voteShared(ctx.services.database.sql, ctx.visitor, vote);
      if (votes === undefined) throw noShare();
      return { ...votes, message: 'Feedback recorded successfully' };
    }),

  results: publicProcedure
    .input(
      z.object({
        packageId: packageInput,
        sort: z.enum(['popular', 'recent', 'helpful', 'featured']).default('popular'),
        limit: z.int().min(1).max(50).default(10),
      }),
    )
    .output(resultsSchema)
    .query(async ({ ctx, input }) => {
      const found = await listResults(ctx.services.database.reads, ctx.visitor.userId, input);
      if (found === undefined) throw new Failure('package_not_found', 'There is no such package that you may see.');
      return found;
    }),

  feature: readProcedure
    .input(
      z.object({
        result: z.string().trim().min(1).max(100).describe("Token of the result's link, or its session's id."),
        isFeatured: z.boolean().nullish(),
        featureDescription: characters(1, 500).nullish(),
        featureDisplayOrder: z.int().min(0).max(1_000_000).nullish(),
      }),
    )
    .output(
      z.object({
        success: z.boolean(),
        shareToken: z.string(),
        isFeatured: z.boolean(),
        featureDescription: z.string().nullable(),
        featureDisplayOrder: z.number(),
      }),
    )
    .mutation(async ({ ctx, input }) => {
      const feature = await featureResult(ctx.services.database.sql, ctx.principal.userId, {
        result: input.result,
        isFeatured: input.isFeatured ?? null,
        description: input.featureDescription ?? null,
        displayOrder: input.featureDisplayOrder ?? null,
      });
      if (feature === undefined) throw noShare();
      return {
        success: true,
        shareToken: feature.shareToken,
        isFeatured: feature.featuredAt !== null,
        featureDescription: feature.description,
        featureDisplayOrder: feature.displayOrder,
      };
    }),
});

const noSession = () => new Failure('session_not_found', 'There is no such session of yours.');
const noShare = () => new Failure('session_not_found', 'There is no such shared result, or it is no longer shared.');

function there<T>(found: T | undefined): T {
  if (found === undefined) throw noSession();
  return found;
}
