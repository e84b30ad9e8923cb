import { z } from 'zod';
import {
  balanceStepsSchema,
  creditSeriesSchema,
  creditsSchema,
  explainBalance,
  exportCreditHistory,
  grantCredits,
  grantedSchema,
  historySchema,
  listCreditHistory,
  readCreditSeries,
  readCredits,
} from '../calls/credits.ts';
import { csvPiece } from './credit-file.ts';
import { idInput, pageInput, reasonInput, whoseInput } from './inputs.ts';
import { filePieceSchema } from './session-file.ts';
import { adminProcedure, readProcedure, router, whoIsMeant } from './trpc.ts';

const typeInput = z
  .string()
  .max(20)
  .nullish()
  .describe('signup, monthly, purchase, spend, rollover, expire, refund, bonus or admin.');
const historyInput = z.object({ ...pageInput(50), type: typeInput });

export const creditsRouter = router({
  balance: readProcedure
    .input(z.object({}).optional())
    .output(creditsSchema)
    .query(async ({ ctx }) => {
      const credits = await readCredits(ctx.services.database.reads, ctx.principal.userId);
      ctx.facts.creditsRemaining = credits.available;
      return credits;
    }),

  history: readProcedure
    .input(historyInput)
    .output(historySchema.extend({ pagination: z.object({ limit: z.number(), offset: z.number() }) }))
    .query(async ({ ctx, input: { type, limit, cursor, offset } }) => {
      const { reads } = ctx.services.database;
      const page = { limit, cursor: cursor ?? null, offset };
      const history = await listCreditHistory(reads, ctx.principal.userId, type ?? null, page);
      return { ...history, pagination: { limit, offset } };
    }),

  /** A piece of a CSV file of movements: the first without a cursor, each further one with the nextCursor of the one before. */
  file: readProcedure
    .input(
      z.object({
        type: typeInput,
        cursor: z.string().max(1000).nullish().describe('next_cursor of the piece before.'),
      }),
    )
    .output(filePieceSchema)
    .query(async ({ ctx, input: { type = null, cursor = null } }) => {
      const piece = await exportCreditHistory(ctx.services.database.reads, ctx.principal.userId, type, cursor);
      return csvPiece(piece, cursor === null);
    }),

  /** Credits day by day, and how long they last at the pace of late. */
  series: readProcedure
    .input(z.object({ days: z.int().min(1).max(90).default(30).describe('How many days back, and ahead.') }))
    .output(creditSeriesSchema)
    .query(({ ctx, input }) => readCreditSeries(ctx.services.database.reads, ctx.principal.userId, input.days)),

  explain: readProcedure
    .input(whoseInput.extend({ limit: pageInput(100).limit }))
    .output(balanceStepsSchema)
    .query(({ ctx, input }) =>
      explainBalance(ctx.services.database.reads, ctx.principal.userId, whoIsMeant(ctx, input.userId), input.limit),
    ),

  grant: adminProcedure
    .input(
      z.object({ userId: idInput, amount: z.int().min(1).max(1_000_000).describe('Credits.'), reason: reasonInput }),
    )
    .output(grantedSchema)
    .mutation(({ ctx, input: { userId, amount, reason } }) =>
      grantCredits(ctx.services.database.sql, ctx.principal.userId, userId, amount, reason),
    ),
});
