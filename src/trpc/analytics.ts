import { z } from 'zod';
import {
  authorSummarySchema,
  costSeriesSchema,
  costSummarySchema,
  costsBySchema,
  inputAnalyticsSchema,
  inputSeriesSchema,
  limitUseSchema,
  listCostsBy,
  listLossMakers,
  listPresets,
  listUserCosts,
  lossMakersSchema,
  packageAnalyticsSchema,
  packageSeriesSchema,
  presetSchema,
  projectedSchema,
  projectMargin,
  readAuthorSummary,
  readCostSeries,
  readCostSummary,
  readInputAnalytics,
  readInputSeries,
  readLimitUse,
  readPackageAnalytics,
  readPackageSeries,
  readUserCosts,
  refreshAnalytics,
  refreshSchema,
  simulate,
  simulationSchema,
  userCostsPageSchema,
  userCostsSchema,
} from '../calls/analytics.ts';
import { Failure } from '../errors/failure.ts';
import { idInput, nothingInput, packageInput } from './inputs.ts';
import { adminProcedure, readProcedure, router } from './trpc.ts';

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

const summaryInput = z
  .object({
    month: z
      .string()
      .regex(/^\d{4}-\d{2}$/, 'a month as 2026-01')
      .nullish()
      .describe('A month (UTC), as 2026-01; this one where left out.'),
  })
  .optional();

const seriesInput = z.object({
  every: z.enum(['day', 'week', 'month']).default('day'),
  from: z.iso.date().nullish().describe('First day, UTC; 30 days, 12 weeks or 12 months back where left out.'),
  to: z.iso.date().nullish().describe('Last day, included; today where left out.'),
  by: z.enum(['model', 'package', 'plan']).nullish().describe('A series for each of them; one of all where left out.'),
});

const daysInput = z.object({
  from: z.iso.date().nullish().describe('First day, UTC; 30 days in all where left out.'),
  to: z.iso.date().nullish().describe('Last day, included; today where left out.'),
});

/** A list; in a query, values with commas between them. */
function listOf<T extends z.ZodType>(item: T) {
  return z.preprocess(
    (value) => (typeof value === 'string' ? value.split(',').map((one) => one.trim() || undefined) : value),
    z.array(item).min(1).max(100),
  );
}

const figure = z.coerce.number().min(0).max(1_000_000_000);
const projectionInput = z.object({
  subscribers: listOf(figure.int()).nullish().describe('People by plan, as 60,30,10; those of now where left out.'),
  averageCosts: listOf(figure)
    .nullish()
    .describe('US dollars a month each costs, by plan; those of now where left out.'),
  prices: listOf(figure).nullish().describe('US dollars a month, by plan; those of the plans where left out.'),
  plans: listOf(z.string().min(1).max(100))
    .nullish()
    .describe('Which plans the lists are of; prpm_plus_individual, prpm_plus_org_member and free where left out.'),
});

const name = z.string().min(1).max(100);
const listed = <T extends z.ZodType>(item: T) => z.array(item).max(100).nullish();
const limitInput = z.object({
  tier: name,
  monthlyCostLimit: figure.nullish(),
  dailyCostLimit: figure.nullish(),
  hourlyRequestLimit: figure.int().nullish(),
});
const whatIfInput = z.object({
  preset: name.nullish().describe('A recommendation: one of ops.simulation_presets; the other fields go before it.'),
  since: z.iso.date().nullish().describe('First day, UTC; the last calendar month where left out.'),
  until: z.iso.date().nullish().describe('The day after the last.'),
  planPrices: listed(z.object({ plan: name, price: figure })).describe('US dollars a month.'),
  packPrices: listed(z.object({ pack: name, price: figure })).describe('US dollars.'),
  modelPrices: listed(
    z
      .object({ model: name, input: figure, cachedRead: figure, cacheWrite: figure, output: figure })
      .partial()
      .required({ model: true }),
  ).describe('US dollars per million tokens; as they were where left out.'),
  multipliers: listed(z.object({ model: name, multiplier: figure })).describe(
    'Credits for each begun tokensPerCredit.',
  ),
  limits: listed(limitInput).describe('US dollars and runs; null is none, left out as it is.'),
  tokensPerCredit: z.int().nullish(),
  maxRequestTokens: z.int().nullish().describe('Of a request, the answer included.'),
});

/** What an operator sees of revenue, cost and margin. The database refuses everybody but administrators. Spec 8.3. */
const costsRouter = router({
  summary: adminProcedure
    .input(summaryInput)
    .output(costSummarySchema)
    .query(({ ctx, input }) =>
      readCostSummary(ctx.services.database.reads, ctx.principal.userId, input?.month ?? null),
    ),

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

  models: adminProcedure
    .input(daysInput)
    .output(costsBySchema)
    .query(({ ctx, input: { from, to } }) =>
      listCostsBy(ctx.services.database.reads, ctx.principal.userId, 'model', { from: from ?? null, to: to ?? null }),
    ),

  packages: adminProcedure
    .input(daysInput)
    .output(costsBySchema)
    .query(({ ctx, input: { from, to } }) =>
      listCostsBy(ctx.services.database.reads, ctx.principal.userId, 'package', { from: from ?? null, to: to ?? null }),
    ),

  /** By tier, which a plan gives. */
  plans: adminProcedure
    .input(daysInput)
    .output(costsBySchema)
    .query(({ ctx, input: { from, to } }) =>
      listCostsBy(ctx.services.database.reads, ctx.principal.userId, 'plan', { from: from ?? null, to: to ?? null }),
    ),

  limitUse: adminProcedure
    .input(nothingInput)
    .output(z.object({ tiers: limitUseSchema }))
    .query(async ({ ctx }) => ({ tiers: await readLimitUse(ctx.services.database.reads, ctx.principal.userId) })),

  lossMakers: adminProcedure
    .input(nothingInput)
    .output(z.object({ losses: lossMakersSchema }))
    .query(async ({ ctx }) => ({ losses: await listLossMakers(ctx.services.database.reads, ctx.principal.userId) })),

  presets: adminProcedure
    .input(nothingInput)
    .output(z.object({ presets: z.array(presetSchema) }))
    .query(async ({ ctx }) => ({ presets: await listPresets(ctx.services.database.reads, ctx.principal.userId) })),

  projection: adminProcedure
    .input(projectionInput)
    .output(z.object({ plans: z.array(projectedSchema), total: projectedSchema }))
    .query(async ({ ctx, input: { subscribers, averageCosts, prices, plans } }) => {
      const asked = {
        ...{ subscribers: subscribers ?? null, averageCosts: averageCosts ?? null },
        ...{ prices: prices ?? null, plans: plans ?? null },
      };
      const rows = await projectMargin(ctx.services.database.reads, ctx.principal.userId, asked);
      return { plans: rows.slice(0, -1), total: projectedSchema.parse(rows.at(-1)) };
    }),

  whatIf: adminProcedure
    .input(whatIfInput)
    .output(simulationSchema)
    .query(({ ctx, input }) => simulate(ctx.services.database.reads, ctx.principal.userId, input)),

  refresh: adminProcedure
    .input(nothingInput)
    .output(refreshSchema.extend({ success: z.literal(true) }))
    .mutation(async ({ ctx }) => ({
      ...(await refreshAnalytics(ctx.services.database.reads, ctx.principal.userId)),
      success: true as const,
    })),
});

const packageAsked = z.object({ packageId: packageInput });
const days = z.int().min(1).max(90).default(30).describe('How many days (UTC), today the last.');

/** What authors see of their packages. Spec 8.7. */
const authorsRouter = router({
  summary: readProcedure
    .input(nothingInput)
    .output(authorSummarySchema)
    .query(({ ctx }) => readAuthorSummary(ctx.services.database.reads, ctx.principal.userId)),

  package: readProcedure
    .input(packageAsked)
    .output(packageAnalyticsSchema)
    .query(async ({ ctx, input: { packageId } }) =>
      ofPackage(await readPackageAnalytics(ctx.services.database.reads, ctx.principal.userId, packageId), packageId),
    ),

  packageSeries: readProcedure
    .input(packageAsked.extend({ days }))
    .output(packageSeriesSchema)
    .query(async ({ ctx, input: { packageId, days } }) =>
      ofPackage(await readPackageSeries(ctx.services.database.reads, ctx.principal.userId, packageId, days), packageId),
    ),

  inputs: readProcedure
    .input(packageAsked)
    .output(inputAnalyticsSchema)
    .query(async ({ ctx, input: { packageId } }) =>
      ofPackage(await readInputAnalytics(ctx.services.database.reads, ctx.principal.userId, packageId), packageId),
    ),

  inputSeries: readProcedure
    .input(z.object({ suggestedInputId: idInput, days }))
    .output(inputSeriesSchema)
    .query(async ({ ctx, input: { suggestedInputId, days } }) => {
      const series = await readInputSeries(ctx.services.database.reads, ctx.principal.userId, suggestedInputId, days);
      if (series === null) throw new Failure('not_found', 'There is no such suggested input that you may see.');
      return series;
    }),
});

function ofPackage<T>(found: T | null, packageId: string): T {
  if (found === null) throw new Failure('package_not_found', `There is no package ${packageId}.`);
  return found;
}

export const analyticsRouter = router({ costs: costsRouter, authors: authorsRouter });
