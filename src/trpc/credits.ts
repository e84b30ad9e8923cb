import { z } from 'zod';
import {
  balanceStepsSchema,
  creditsSchema,
  explainBalance,
  historySchema,
  listCreditHistory,
  readCredits,
} from '../calls/credits.ts';
import { pageInput, whoseInput } from './inputs.ts';
import { readProcedure, router, whoIsMeant } from './trpc.ts';

const historyInput = z.object({
  ...pageInput(50),
  type: z
    .string()
    .max(20)
    .nullish()
    .describe('signup, monthly, purchase, spend, rollover, expire, refund, bonus or admin.'),
});

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

  explain: readProcedure
    .input(whoseInput.extend({ limit: pageInput(100).limit }))
    .output(balanceStepsSchema)
    .query(({ ctx, input }) =>
      explainBalance(ctx.services.database.reads, ctx.principal.userId, whoIsMeant(ctx, input.userId), input.limit),
    ),
});
