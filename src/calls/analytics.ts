import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow, parseRows } from '../database/rows.ts';
import { snakeCase } from '../names.ts';
import { creditsSchema } from './credits.ts';
import { throttleStepSchema } from './limits.ts';

/** A calendar month (UTC), exact at every moment; money in US dollars. Spec 8.3. */
export const costSummarySchema = z.object({
  totalMonthlyRevenue: z.number(),
  totalMonthlyCost: z.number(),
  /** Percent of what is earned; null without revenue. */
  overallMargin: z.number().nullable(),
  activeUsers: z.number(),
  /** Null of a month that is over: it is not kept. */
  throttledUsers: z.number().nullable(),
  highRiskUsers: z.number(),
  subscriptionRevenue: z.number(),
  packRevenue: z.number(),
  earnedPackRevenue: z.number(),
  averageCostPerUser: z.number().nullable(),
  totalUsers: z.number(),
  asOf: z.string(),
});

/** `month` as 2026-01; this one where null. */
export async function readCostSummary(
  sql: Sql,
  userId: string,
  month: string | null,
): Promise<z.output<typeof costSummarySchema>> {
  const rows = await sql`select summary from api.read_cost_summary(${userId}, ${month}) as summary`;
  return parseRow(z.object({ summary: costSummarySchema }), rows).summary;
}

const userCostSchema = z.object({
  userId: z.string(),
  username: z.string(),
  email: z.string().nullable(),
  prpmPlusStatus: z.string().nullable(),
  currentMonthApiCost: z.number(),
  currentMonthRequests: z.number(),
  avgCostPerRequest: z.number().nullable(),
  lifetimeApiCost: z.number(),
  totalRequests: z.number(),
  monthlyRevenue: z.number(),
  currentMarginPercent: z.number().nullable(),
  percentOfLimit: z.number().nullable(),
  isThrottled: z.boolean(),
  riskLevel: z.string(),
  lastRequestAt: z.string().nullable(),
  userCreatedAt: z.string(),
});

/** As of the last refresh of the analytics. */
export const userCostsPageSchema = z.object({
  users: z.array(userCostSchema),
  nextCursor: z.string().nullable(),
  total: z.number(),
  asOf: z.string().nullable(),
});

export type UserCostsAsked = {
  risk: string | null;
  search: string | null;
  sort: string;
  isDescending: boolean;
  limit: number;
  cursor: string | null;
};

export async function listUserCosts(
  sql: Sql,
  userId: string,
  asked: UserCostsAsked,
): Promise<z.output<typeof userCostsPageSchema>> {
  const rows = await sql`
    select users, next_cursor, total, as_of
    from api.list_user_costs(
      ${userId}, ${asked.risk}, ${asked.search}, ${asked.sort}, ${asked.isDescending}, ${asked.limit}, ${asked.cursor}
    )`;
  return parseRow(userCostsPageSchema, rows);
}

/** One user as of now; money in US dollars. */
export const userCostsSchema = z.object({
  userId: z.string(),
  username: z.string(),
  email: z.string().nullable(),
  isAdmin: z.boolean(),
  userCreatedAt: z.string(),
  closedAt: z.string().nullable(),
  lastRequestAt: z.string().nullable(),
  tier: z.string(),
  tierOverride: z.string().nullable(),
  prpmPlusStatus: z.string().nullable(),
  entitledUntil: z.string().nullable(),
  monthlyRevenue: z.number(),
  currentMonthCost: z.number(),
  currentMarginPercent: z.number().nullable(),
  costLimit: z.number().nullable(),
  percentUsed: z.number().nullable(),
  lifetimeCost: z.number(),
  totalRequests: z.number(),
  isThrottled: z.boolean(),
  throttledReason: z.string().nullable(),
  throttledBy: z.string().nullable(),
  throttledAt: z.string().nullable(),
  throttledUntil: z.string().nullable(),
  limitsWaivedUntil: z.string().nullable(),
  windows: z.array(
    z.object({
      window: z.enum(['month', 'day', 'hour', 'minute']),
      unit: z.enum(['dollars', 'runs', 'attempts']),
      used: z.number(),
      held: z.number(),
      limit: z.number().nullable(),
      resetsAt: z.string(),
    }),
  ),
  credits: creditsSchema,
  lots: z.array(
    z.object({
      id: z.string(),
      kind: z.string(),
      source: z.string(),
      granted: z.number(),
      remaining: z.number(),
      paidPerCredit: z.number(),
      cost: z.number(),
      expiresAt: z.string().nullable(),
      createdAt: z.string(),
    }),
  ),
  runs: z.array(
    z.object({
      runId: z.string(),
      status: z.string(),
      model: z.string(),
      packageName: z.string().nullable(),
      packageVersion: z.string(),
      tier: z.string(),
      tokens: z.number(),
      credits: z.number(),
      shortfall: z.number(),
      cost: z.number(),
      value: z.number(),
      margin: z.number(),
      marginPercent: z.number().nullable(),
      error: z.string().nullable(),
      startedAt: z.string(),
      finishedAt: z.string().nullable(),
    }),
  ),
  refusals: z.array(
    z.object({
      reason: z.string(),
      refusals: z.number(),
      limit: z.number().nullable(),
      used: z.number().nullable(),
      unit: z.string().nullable(),
      hourStart: z.string(),
      lastAt: z.string(),
    }),
  ),
  explanation: z.array(throttleStepSchema),
  asOf: z.string(),
});

export async function readUserCosts(
  sql: Sql,
  userId: string,
  targetUserId: string,
): Promise<z.output<typeof userCostsSchema>> {
  const rows = await sql`select costs from api.read_user_costs(${userId}, ${targetUserId}) as costs`;
  return parseRow(z.object({ costs: userCostsSchema }), rows).costs;
}

/** What runs used, cost and brought, by period; money in US dollars. */
export const costSeriesSchema = z.object({
  every: z.string(),
  from: z.string(),
  to: z.string(),
  by: z.string().nullable(),
  series: z.array(
    z.object({
      key: z.string().nullable(),
      name: z.string(),
      points: z.array(
        z.object({
          period: z.string(),
          users: z.number(),
          runs: z.number(),
          failedRuns: z.number(),
          tokens: z.number(),
          credits: z.number(),
          cost: z.number(),
          value: z.number(),
          margin: z.number(),
          marginPercent: z.number().nullable(),
        }),
      ),
    }),
  ),
});

export type CostSeriesAsked = { every: string; from: string | null; to: string | null; by: string | null };

export async function readCostSeries(
  sql: Sql,
  userId: string,
  { every, from, to, by }: CostSeriesAsked,
): Promise<z.output<typeof costSeriesSchema>> {
  const rows = await sql`
    select series from api.read_cost_series(${userId}, ${every}, ${from}, ${to}, ${by}) as series`;
  return parseRow(z.object({ series: costSeriesSchema }), rows).series;
}

export const refreshSchema = z.object({ message: z.string(), asOf: z.string().nullable() });

/** Says so where another refresh is running. */
export async function refreshAnalytics(sql: Sql, userId: string): Promise<z.output<typeof refreshSchema>> {
  return parseRow(refreshSchema, await sql`select message, as_of from api.refresh_analytics(${userId})`);
}

/** What runs used, cost and brought by model, package or plan; money in US dollars. */
export const costsBySchema = z.object({
  from: z.string(),
  to: z.string(),
  rows: z.array(
    z.object({
      key: z.string(),
      name: z.string(),
      users: z.number(),
      runs: z.number(),
      failedRuns: z.number(),
      inputTokens: z.number(),
      cachedTokens: z.number(),
      outputTokens: z.number(),
      credits: z.number(),
      shortfall: z.number(),
      cost: z.number(),
      averageCostPerRun: z.number().nullable(),
      value: z.number(),
      freeCost: z.number(),
      paidMargin: z.number(),
      paidMarginPercent: z.number().nullable(),
      costPerCredit: z.number().nullable(),
      valuePerCredit: z.number().nullable(),
      cacheSaving: z.number(),
      losesMoney: z.boolean(),
    }),
  ),
});

export async function listCostsBy(
  sql: Sql,
  userId: string,
  by: 'model' | 'package' | 'plan',
  { from, to }: { from: string | null; to: string | null },
): Promise<z.output<typeof costsBySchema>> {
  const rows = await sql`select costs from api.list_costs_by(${userId}, ${by}, ${from}, ${to}) as costs`;
  return parseRow(z.object({ costs: costsBySchema }), rows).costs;
}

/** A plan's month, or with `plan` "total" that of all; money in US dollars. */
export const projectedSchema = z.object({
  plan: z.string(),
  users: z.number(),
  monthlyPrice: z.coerce.number().nullable(),
  revenue: z.coerce.number(),
  averageCost: z.coerce.number().nullable(),
  cost: z.coerce.number(),
  profit: z.coerce.number(),
  marginPercent: z.coerce.number().nullable(),
});

export type Projection = {
  subscribers: number[] | null;
  averageCosts: number[] | null;
  prices: number[] | null;
  plans: string[] | null;
};

/** From the figures given, or from the present where there are none. Spec 8.5. */
export async function projectMargin(
  sql: Sql,
  userId: string,
  { subscribers, averageCosts, prices, plans }: Projection,
): Promise<z.output<typeof projectedSchema>[]> {
  const list = (values: (string | number)[] | null) => values?.map(String) ?? null;
  const rows = await sql`
    select plan, users, monthly_price, revenue, average_cost, cost, profit, margin_percent
    from api.project_margin(
      ${userId}, ${list(subscribers)}::text[]::integer[], ${list(averageCosts)}::text[]::numeric[],
      ${list(prices)}::text[]::numeric[], ${plans}
    )`;
  return parseRows(projectedSchema, rows);
}

const scenarioSchema = z.object({
  revenue: z.coerce.number(),
  subscriptionRevenue: z.coerce.number(),
  packRevenue: z.coerce.number(),
  cost: z.coerce.number(),
  margin: z.coerce.number(),
  marginPercent: z.coerce.number().nullable(),
  runs: z.number(),
  credits: z.coerce.number(),
  refusedRuns: z.number(),
  shortenedRuns: z.number(),
  throttledUsers: z.number(),
});

/** A past time as it was, and as it would have been; money in US dollars. */
export const simulationSchema = z.object({ was: scenarioSchema, simulated: scenarioSchema });

type Listed<T> = readonly T[] | null | undefined;

/** What is to be changed; what is left out is as it was. Days are UTC, `until` not included; prices and limits in US dollars. */
export type Scenario = {
  preset?: string | null | undefined;
  since?: string | null | undefined;
  until?: string | null | undefined;
  planPrices?: Listed<{ plan: string; price: number }>;
  packPrices?: Listed<{ pack: string; price: number }>;
  modelPrices?: Listed<{ model: string; [kind: string]: unknown }>;
  multipliers?: Listed<{ model: string; multiplier: number }>;
  limits?: Listed<{ tier: string; [limit: string]: unknown }>;
  tokensPerCredit?: number | null | undefined;
  maxRequestTokens?: number | null | undefined;
};

/** Replays a past time under other rules. Spec 8.6. */
export async function simulate(sql: Sql, userId: string, asked: Scenario): Promise<z.output<typeof simulationSchema>> {
  const rows = await sql`
    select revenue, subscription_revenue, pack_revenue, cost, margin, margin_percent, runs, credits, refused_runs, shortened_runs, throttled_users
    from api.simulate(
      ${userId}, ${asked.preset ?? null}, ${asked.since ?? null}, ${asked.until ?? null},
      ${byName(asked.planPrices, ({ plan, price }) => [plan, price])}::text::jsonb,
      ${byName(asked.packPrices, ({ pack, price }) => [pack, price])}::text::jsonb,
      ${byName(asked.modelPrices, ({ model, ...prices }) => [model, snakeCase(prices)])}::text::jsonb,
      ${byName(asked.multipliers, ({ model, multiplier }) => [model, multiplier])}::text::jsonb,
      ${byName(asked.limits, ({ tier, ...limits }) => [tier, snakeCase(limits)])}::text::jsonb,
      ${asked.tokensPerCredit ?? null}, ${asked.maxRequestTokens ?? null}
    )`;
  const [was, simulated] = parseRows(scenarioSchema, rows);
  return simulationSchema.parse({ was, simulated });
}

/** A list as the database takes it: an object by name, as JSON. */
function byName<T>(list: Listed<T>, entry: (item: T) => [string, unknown]): string | null {
  return list ? JSON.stringify(Object.fromEntries(list.map(entry))) : null;
}

const count = z.number();
const use = { sessions: count, uniqueUsers: count, creditsSpent: count };

/** How an author's packages are used, each person counted once. Spec 8.7. */
export const authorSummarySchema = z.object({
  totalPackages: count,
  totalPlaygroundSessions: count,
  totalUniqueUsers: count,
  totalCreditsSpent: count,
  sessionsLast7Days: count,
  sessionsLast30Days: count,
  totalSuggestedInputs: count,
  activeSuggestedInputs: count,
  totalSharedSessions: count,
  totalFeaturedSessions: count,
  totalShareViews: count,
  topPackageName: z.string().nullable(),
  packages: z.array(z.object({ id: z.string(), name: z.string(), visibility: z.string(), ...use })),
});

export async function readAuthorSummary(sql: Sql, userId: string): Promise<z.output<typeof authorSummarySchema>> {
  const rows = await sql`select summary from api.read_author_summary(${userId}) as summary`;
  return parseRow(z.object({ summary: authorSummarySchema }), rows).summary;
}

export const packageAnalyticsSchema = z.object({
  packageId: z.string(),
  packageName: z.string(),
  totalPlaygroundSessions: count,
  totalRuns: count,
  uniqueUsers: count,
  totalCreditsSpent: count,
  avgCreditsPerSession: count,
  sessionsLast7Days: count,
  sessionsLast30Days: count,
  anonymousRuns: count,
  suggestedInputsCount: count,
  featuredSessionsCount: count,
  sharedSessionsCount: count,
  totalShareViews: count,
  ratings: z.object({ effective: count, notEffective: count, helpful: count, notHelpful: count }),
  models: z.array(z.object({ model: z.string(), runs: count, ...use })),
});

/** Null where this user cannot see the package. */
export async function readPackageAnalytics(
  sql: Sql,
  userId: string,
  packageId: string,
): Promise<z.output<typeof packageAnalyticsSchema> | null> {
  const rows = await sql`select analytics from api.read_package_analytics(${userId}, ${packageId}) as analytics`;
  return parseRow(z.object({ analytics: packageAnalyticsSchema.nullable() }), rows).analytics;
}

export const inputAnalyticsSchema = z.object({
  suggestedInputs: z.array(
    z.object({
      suggestedInputId: z.string(),
      title: z.string(),
      category: z.string().nullable(),
      difficulty: z.string(),
      isActive: z.boolean(),
      totalClicks: count,
      completedTests: count,
      uniqueUsers: count,
      /** Percent. */
      conversionRate: count,
      clicksLast7Days: count,
      clicksLast30Days: count,
      lastClickedAt: z.string().nullable(),
      createdAt: z.string(),
    }),
  ),
  summary: z.object({ totalInputs: count, totalClicks: count, totalCompletions: count, avgConversionRate: count }),
});

/** Null where this user cannot see the package. */
export async function readInputAnalytics(
  sql: Sql,
  userId: string,
  packageId: string,
): Promise<z.output<typeof inputAnalyticsSchema> | null> {
  const rows = await sql`select analytics from api.read_input_analytics(${userId}, ${packageId}) as analytics`;
  return parseRow(z.object({ analytics: inputAnalyticsSchema.nullable() }), rows).analytics;
}

export const packageSeriesSchema = z.object({
  data: z.array(
    z.object({ date: z.string(), sessionsCount: count, uniqueUsers: count, creditsSpent: count, sharedCount: count }),
  ),
  totalDays: count,
});

/** Null where this user cannot see the package. */
export async function readPackageSeries(
  sql: Sql,
  userId: string,
  packageId: string,
  days: number,
): Promise<z.output<typeof packageSeriesSchema> | null> {
  const rows = await sql`select series from api.read_package_series(${userId}, ${packageId}, ${days}) as series`;
  return parseRow(z.object({ series: packageSeriesSchema.nullable() }), rows).series;
}

export const inputSeriesSchema = z.object({
  data: z.array(z.object({ date: z.string(), clicks: count, completions: count, uniqueUsers: count })),
  totalDays: count,
});

/** Null where there is none that this user can see. */
export async function readInputSeries(
  sql: Sql,
  userId: string,
  suggestedInputId: string,
  days: number,
): Promise<z.output<typeof inputSeriesSchema> | null> {
  const rows = await sql`select series from api.read_input_series(${userId}, ${suggestedInputId}, ${days}) as series`;
  return parseRow(z.object({ series: inputSeriesSchema.nullable() }), rows).series;
}

export const presetSchema = z.object({ preset: z.string(), meaning: z.string() });

/** The recommendations that `simulate` knows by name, for an administrator. Spec 8.6. */
export async function listPresets(sql: Sql, userId: string): Promise<z.output<typeof presetSchema>[]> {
  return parseRows(presetSchema, await sql`select preset, meaning from api.list_presets(${userId})`);
}

/** Of each tier how many people have used 0 to 10 percent of their monthly limit, 10 to 20, and so on; last 100 or more. */
export const limitUseSchema = z.array(z.object({ tierName: z.string(), people: z.array(z.number()) }));

/** For an administrator. Spec 3.3, 8.3. */
export async function readLimitUse(sql: Sql, userId: string): Promise<z.output<typeof limitUseSchema>> {
  const rows = await sql`select use from api.read_limit_use(${userId}) as use`;
  return parseRow(z.object({ use: limitUseSchema }), rows).use;
}

/** Credits and US dollars. */
export const lossMakersSchema = z.array(
  z.object({
    kind: z.string(),
    name: z.string(),
    credits: z.number(),
    cost: z.number(),
    value: z.number(),
    loss: z.number(),
    costPerCredit: z.number().nullable(),
    valuePerCredit: z.number().nullable(),
  }),
);

/** What loses money, the worst of each kind first, for an administrator. Spec 8.4. */
export async function listLossMakers(sql: Sql, userId: string): Promise<z.output<typeof lossMakersSchema>> {
  const rows = await sql`select losses from api.list_loss_makers(${userId}) as losses`;
  return parseRow(z.object({ losses: lossMakersSchema }), rows).losses;
}
