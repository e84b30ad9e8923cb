import { z } from 'zod';
import {
  costSeriesSchema,
  costSummarySchema,
  listUserCosts,
  readCostSeries,
  readCostSummary,
  readUserCosts,
  refreshAnalytics,
  refreshSchema,
  userCostsPageSchema,
  userCostsSchema,
} from '../calls/analytics.ts';
import { idInput, nothingInput } from './inputs.ts';
import { adminProcedure, router } from './trpc.ts';

const risk = z.enum(['safe', 'low_risk', 'medium_risk', 'high_risk']);

const usersInput = z.object({
  risk: risk.nullish().describe('Only this risk level.'),
  riskLevel: risk.nullish().describe('The same as risk.'),
  search: z.string().max(200).nullish().describe('Part of an e-mail or username, or an id.'),
  sort: z
    .enum(['cost', 'lifetime_cost', 'requests', 'revenue', 'margin', 'percent_of_limit', 'last_request', 'created'])
    .default('cost'),
  order: z.enum(['asc', 'desc']).default('desc'),
  limit: z.int().min(1).max(100).default(100).describe('How many, at most.'),
  cursor: z.string().max(1000).nullish().describe('nextCursor of the page before.'),
});

const seriesInput = z.object({
  every: z.enum(['day', 'week', 'month']).default('day'),
  from: z.iso.date().nullish().describe('First day, UTC; 30 days, 12 weeks or 12 months back where left out.'),
  to: z.iso.date().nullish().describe('Last day, included; today where left out.'),
  by: z.enum(['model', 'package', 'plan']).nullish().describe('A series for each of them; one of all where left out.'),
});

/** What an operator sees of revenue, cost and margin. The database refuses everybody but administrators. Spec 8.3. */
const costsRouter = router({
  summary: adminProcedure
    .input(nothingInput)
    .output(costSummarySchema)
    .query(({ ctx }) => readCostSummary(ctx.services.database.reads, ctx.principal.userId)),

  users: adminProcedure
    .input(usersInput)
    .output(userCostsPageSchema)
    .query(({ ctx, input }) =>
      listUserCosts(ctx.services.database.reads, ctx.principal.userId, {
        risk: input.risk ?? input.riskLevel ?? null,
        search: input.search ?? null,
        sort: input.sort,
        isDescending: input.order === 'desc',
        limit: input.limit,
        cursor: input.cursor ?? null,
      }),
    ),

  user: adminProcedure
    .input(z.object({ userId: idInput }))
    .output(userCostsSchema)
    .query(({ ctx, input }) => readUserCosts(ctx.services.database.reads, ctx.principal.userId, input.userId)),

  timeSeries: adminProcedure
    .input(seriesInput)
    .output(costSeriesSchema)
    .query(({ ctx, input: { every, from, to, by } }) =>
      readCostSeries(ctx.services.database.reads, ctx.principal.userId, {
        ...{ every, from: from ?? null, to: to ?? null, by: by ?? null },
      }),
    ),

  refresh: adminProcedure
    .input(nothingInput)
    .output(refreshSchema.extend({ success: z.literal(true) }))
    .mutation(async ({ ctx }) => ({
      ...(await refreshAnalytics(ctx.services.database.reads, ctx.principal.userId)),
      success: true as const,
    })),
});

export const analyticsRouter = router({ costs: costsRouter });
