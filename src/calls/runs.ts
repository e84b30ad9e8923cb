import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { findRow, parseRow, parseRows } from '../database/rows.ts';
import { refusalSchema } from '../errors/refusal.ts';

const runStatus = z.enum(['running', 'completed', 'stopped', 'failed', 'released', 'expired']);

const rate = {
  rateLimit: z.number().nullable(),
  rateRemaining: z.number().nullable(),
  rateReset: z.number().nullable(),
};

const message = z.object({ role: z.enum(['user', 'assistant']), content: z.string() });

const startedSchema = z.object({
  outcome: z.literal('started'),
  begunRunId: z.string(),
  begunSessionId: z.string(),
  provider: z.string(),
  providerModel: z.string(),
  modelAlias: z.string(),
  packageId: z.string(),
  packageName: z.string(),
  version: z.string(),
  systemPrompt: z.string().nullable(),
  history: z.array(message).nullable(),
  outputCap: z.number(),
  cachePrompt: z.boolean(),
  firstTokenTimeoutMs: z.number(),
  runTimeoutMs: z.number(),
  checkpointMs: z.number(),
  abandonAfterMs: z.number(),
  holdCredits: z.number(),
  availableCredits: z.number(),
  ...rate,
});
export type StartedRun = z.output<typeof startedSchema>;

/** What a prompt with variables is filled in by: as it was published, how its variables are described, and what was given for them. */
const templateSchema = z.object({
  outcome: z.literal('template'),
  version: z.string(),
  systemPrompt: z.string(),
  template: z.object({
    variables: z.record(z.string(), z.unknown()).nullable(),
    givenVariables: z.record(z.string(), z.unknown()),
  }),
});
export type Template = z.output<typeof templateSchema>;

const begunSchema = z.discriminatedUnion('outcome', [
  startedSchema,
  templateSchema,
  z.object({ outcome: z.literal('known'), begunRunId: z.string(), begunSessionId: z.string(), runStatus }),
  z.object({ outcome: z.literal('refused'), refusal: refusalSchema, ...rate }),
]);
export type BegunRun = z.output<typeof begunSchema>;

/** What a run asks for. `packageId` is an id or a name; `inputTokens` is the caller's own text, `customPromptTokens` their own prompt. */
export type RunRequest = {
  packageId: string | null;
  packageVersion: string | null;
  sessionId: string | null;
  model: string | null;
  useNoPrompt: boolean;
  inputTokens: number;
  customPromptTokens: number | null;
  countedWith: string;
  maxOutputTokens: number | null;
  history: HistoryMode | null;
  variables: Record<string, unknown> | null;
  /** Of the package's prompt with its variables filled in. */
  promptTokens: number | null;
};

/** `fit`: without the oldest exchanges, where they leave the answer no room. `summarise`: so too, and the answer takes their place. */
export type HistoryMode = 'fit' | 'summarise';

const jsonOf = (variables: RunRequest['variables']) => (variables === null ? null : JSON.stringify(variables));

/** Lets a run in, or says why not, or what to fill in first. */
export async function beginRun(
  sql: Sql,
  userId: string,
  runId: string,
  request: RunRequest,
  idempotency: { key: string; hash: Buffer } | null,
): Promise<BegunRun> {
  const rows = await sql`
    select outcome, begun_run_id, begun_session_id, run_status, refusal, provider, provider_model, model_alias, package_id,
      package_name, version, system_prompt, history, output_cap, cache_prompt, first_token_timeout_ms, run_timeout_ms,
      checkpoint_ms, abandon_after_ms, hold_credits, available_credits, rate_limit, rate_remaining, rate_reset, template
    from api.begin_run(
      ${userId}, ${runId}, ${request.packageId}, ${request.packageVersion}, ${request.sessionId}, ${request.model},
      ${request.useNoPrompt}, ${request.inputTokens}, ${request.countedWith}, ${request.maxOutputTokens}, ${request.customPromptTokens},
      ${idempotency?.key ?? null}, ${idempotency?.hash ?? null}, ${request.history}, ${request.promptTokens},
      ${jsonOf(request.variables)}::text::jsonb
    )`;
  return parseRow(begunSchema, rows);
}

/** A side of a comparison: what it does not have in common with the others. */
type SideRequest = Omit<RunRequest, 'maxOutputTokens'>;

const jsonOfSides = (sides: SideRequest[]) =>
  JSON.stringify(
    sides.map((side) => ({
      ...{
        package: side.packageId,
        package_version: side.packageVersion,
        session_id: side.sessionId,
        model: side.model,
      },
      ...{ use_no_prompt: side.useNoPrompt, input_tokens: side.inputTokens, counted_with: side.countedWith },
      ...{ custom_prompt_tokens: side.customPromptTokens, history: side.history },
      ...{ variables: side.variables, prompt_tokens: side.promptTokens },
    })),
  );

const begunSideSchema = z.object({
  begunComparisonId: z.string().nullable(),
  /** From 1, as asked for; null where all sides together are refused. */
  side: z.number().nullable(),
  begun: begunSchema,
});
export type BegunSide = z.output<typeof begunSideSchema>;

/** A request for two to four runs of one question. `runIds` are new, and in the order of time. */
export type ComparisonRequest = { runIds: string[]; sides: SideRequest[]; maxOutputTokens: number | null };

/** Lets all sides of a comparison in or none: a row a side; or those whose prompts are to be filled in first; or one refusal. Spec 5.8. */
export async function beginComparison(
  sql: Sql,
  userId: string,
  comparisonId: string,
  { runIds, sides, maxOutputTokens }: ComparisonRequest,
  idempotency: { key: string; hash: Buffer } | null,
): Promise<BegunSide[]> {
  const rows = await sql`
    select begun_comparison_id, side, to_json(begun) as begun
    from api.begin_comparison(
      ${userId}, ${comparisonId}, string_to_array(${runIds.join()}, ',')::uuid[], ${jsonOfSides(sides)}::text::jsonb, ${maxOutputTokens},
      ${idempotency?.key ?? null}, ${idempotency?.hash ?? null}
    )`;
  return parseRows(begunSideSchema, rows);
}

/** What a visitor who is not signed in is told beside an answer. */
export const invitationSchema = z.object({ loginRequired: z.boolean(), loginUrl: z.string(), message: z.string() });
export type Invitation = z.output<typeof invitationSchema>;

/** Lets a visitor's one run of the month in, or says why not; `asRun`: as /run says it. Spec 5.9. */
export async function beginAnonymousRun(
  sql: Sql,
  visitor: { userId: string | null; address: string },
  runId: string,
  request: Pick<
    RunRequest,
    'packageId' | 'packageVersion' | 'inputTokens' | 'countedWith' | 'variables' | 'promptTokens'
  > & { asRun: boolean },
): Promise<{ begun: BegunRun; invitation: Invitation }> {
  const rows = await sql`
    select begun, invitation
    from api.begin_anonymous_run(
      ${visitor.userId}, ${runId}, ${visitor.address}, ${request.packageId}, ${request.packageVersion},
      ${request.inputTokens}, ${request.countedWith}, ${request.promptTokens}, ${jsonOf(request.variables)}::text::jsonb,
      ${request.asRun}
    )`;
  return parseRow(z.object({ begun: begunSchema, invitation: invitationSchema }), rows);
}

/** The model of a visitor's run, the credits that a new account begins with, and why there is no run now. */
export const visitSchema = z.object({
  model: z.string(),
  signupCredits: z.number(),
  refusal: refusalSchema.nullable(),
});

/** What a visitor who is not signed in may run now. Spec 5.9. */
export async function describeVisit(
  sql: Sql,
  visitor: { userId: string | null; address: string },
): Promise<z.output<typeof visitSchema>> {
  const rows = await sql`
    select model, signup_credits, refusal from api.describe_visit(${visitor.userId}, ${visitor.address})`;
  return parseRow(visitSchema, rows);
}

const costWindow = z.object({ limit: z.string().nullable(), used: z.string(), resetsAt: z.string() });

/** Of a run: what it used, what it was charged (credits, by kind), what is left. Costs and cost windows are US dollars as text. */
export const receiptSchema = z.object({
  runId: z.string(),
  sessionId: z.string(),
  status: runStatus,
  model: z.string(),
  providerModel: z.string(),
  packageId: z.string(),
  packageVersion: z.string(),
  baseline: z.boolean(),
  creditsSpent: z.number(),
  creditsByKind: z.record(z.string(), z.number()),
  shortfall: z.number(),
  creditsRemaining: z.number(),
  tokensUsed: z.number().nullable(),
  tokens: z.object({
    input: z.number().nullable(),
    cached: z.number().nullable(),
    cacheWrite: z.number().nullable(),
    output: z.number().nullable(),
  }),
  estimated: z.boolean(),
  cost: z.string(),
  error: z.string().nullable(),
  errorReason: z.string().nullable(),
  firstTokenMs: z.number().nullable(),
  durationMs: z.number().nullable(),
  startedAt: z.string(),
  finishedAt: z.string().nullable(),
  /** When an operator gave the credits back: creditsSpent is 0 since. */
  refundedAt: z.string().nullable(),
  paidByPurchasedOnly: z.boolean(),
  /** Of the conversation. Tokens that its next run brings, of those that a whole request can have; what this run left out. */
  context: z.object({
    historyTokens: z.number().nullable(),
    requestLimit: z.number().nullable(),
    droppedExchanges: z.number().nullable(),
  }),
  limits: z.object({
    tier: z.string().nullable(),
    hourly: z.object({ limit: z.number().nullable(), used: z.number(), resetsAt: z.string() }),
    daily: costWindow,
    monthly: costWindow,
  }),
});
export type Receipt = z.output<typeof receiptSchema>;

/** The database's type core.receipt, column by column. */
const receiptColumns = receiptSchema.omit({ tokensUsed: true, tokens: true, context: true, limits: true }).extend({
  ...receiptSchema.shape.context.shape,
  inputTokens: z.number().nullable(),
  cachedTokens: z.number().nullable(),
  cacheWriteTokens: z.number().nullable(),
  outputTokens: z.number().nullable(),
  tier: z.string().nullable(),
  hourlyLimit: z.number().nullable(),
  hourlyUsed: z.number(),
  hourEndsAt: z.string(),
  dailyLimit: z.string().nullable(),
  dailyUsed: z.string(),
  dayEndsAt: z.string(),
  monthlyLimit: z.string().nullable(),
  monthlyUsed: z.string(),
  monthEndsAt: z.string(),
});

/** The same figures as a receipt shows them. */
function receiptOf(row: z.output<typeof receiptColumns>): Receipt {
  const { inputTokens: input, outputTokens: output } = row;
  // Named one by one: to leave columns out of a copy costs more than all else that is done with a receipt.
  return {
    runId: row.runId,
    sessionId: row.sessionId,
    status: row.status,
    model: row.model,
    providerModel: row.providerModel,
    packageId: row.packageId,
    packageVersion: row.packageVersion,
    baseline: row.baseline,
    creditsSpent: row.creditsSpent,
    creditsByKind: row.creditsByKind,
    shortfall: row.shortfall,
    creditsRemaining: row.creditsRemaining,
    tokensUsed: input === null || output === null ? null : input + output,
    tokens: { input, cached: row.cachedTokens, cacheWrite: row.cacheWriteTokens, output },
    estimated: row.estimated,
    cost: row.cost,
    error: row.error,
    errorReason: row.errorReason,
    firstTokenMs: row.firstTokenMs,
    durationMs: row.durationMs,
    startedAt: row.startedAt,
    finishedAt: row.finishedAt,
    refundedAt: row.refundedAt,
    paidByPurchasedOnly: row.paidByPurchasedOnly,
    context: {
      historyTokens: row.historyTokens,
      requestLimit: row.requestLimit,
      droppedExchanges: row.droppedExchanges,
    },
    limits: {
      tier: row.tier,
      hourly: { limit: row.hourlyLimit, used: row.hourlyUsed, resetsAt: row.hourEndsAt },
      daily: { limit: row.dailyLimit, used: row.dailyUsed, resetsAt: row.dayEndsAt },
      monthly: { limit: row.monthlyLimit, used: row.monthlyUsed, resetsAt: row.monthEndsAt },
    },
  };
}

/** Tokens of a call; `input` null where the provider's report was lost. */
export type Usage = { input: number | null; cached: number; cacheWrite: number; output: number };

const checkpointSchema = z.object({ status: z.string().nullable(), stopRequested: z.boolean().nullable() });

/** Stores what a run has produced so far. A status other than `running` means that it is to stop. */
export async function checkpointRun(
  sql: Sql,
  run: { userId: string; runId: string; question: string; answer: string; usage: Usage },
): Promise<z.output<typeof checkpointSchema>> {
  const rows = await sql`
    select status, stop_requested
    from api.checkpoint_run(
      ${run.userId}, ${run.runId}, ${run.question}, ${run.answer},
      ${run.usage.output}, ${run.usage.input}, ${run.usage.cached}, ${run.usage.cacheWrite}
    )`;
  return parseRow(checkpointSchema, rows);
}

export type Settlement = {
  userId: string;
  runId: string;
  called: boolean;
  usage: Usage;
  question: string;
  error: string | null;
  errorReason: string | null;
  durationMs: number;
};

/** Of a run that delivered something, or was stopped. */
export type Delivery = Settlement & {
  ending: 'completed' | 'length' | 'stopped' | 'failed';
  estimated: boolean;
  answer: string;
  firstTokenMs: number | null;
};

/** Books what really happened. Called again it answers the same receipt. */
export async function settleRun(sql: Sql, run: Delivery): Promise<Receipt> {
  const rows = await sql`
    select *
    from api.settle_run(
      ${run.userId}, ${run.runId}, ${run.ending}, ${run.called},
      ${run.usage.input}, ${run.usage.cached}, ${run.usage.cacheWrite}, ${run.usage.output}, ${run.estimated},
      ${run.question}, ${run.answer}, ${run.error}, ${run.errorReason}, ${run.firstTokenMs}, ${run.durationMs}
    )`;
  return receiptOf(parseRow(receiptColumns, rows));
}

/** Ends a run that delivered nothing: nothing is charged. */
export async function releaseRun(sql: Sql, run: Settlement): Promise<Receipt> {
  const rows = await sql`
    select *
    from api.release_run(
      ${run.userId}, ${run.runId}, ${run.called},
      ${run.usage.input}, ${run.usage.cached}, ${run.usage.cacheWrite}, ${run.usage.output},
      ${run.question}, ${run.error}, ${run.errorReason}, ${run.durationMs}
    )`;
  return receiptOf(parseRow(receiptColumns, rows));
}

/** Ends a visitor's run. Called again it answers the same receipt. Spec 5.9. */
export async function settleAnonymousRun(sql: Sql, run: Omit<Delivery, 'userId'>): Promise<Receipt> {
  const rows = await sql`
    select *
    from api.settle_anonymous_run(
      ${null}, ${run.runId}, ${run.ending}, ${run.called}, ${run.answer !== ''},
      ${run.usage.input}, ${run.usage.cached}, ${run.usage.cacheWrite}, ${run.usage.output}, ${run.estimated},
      ${run.error}, ${run.errorReason}, ${run.firstTokenMs}, ${run.durationMs}
    )`;
  return receiptOf(parseRow(receiptColumns, rows));
}

const storedColumns = receiptColumns.extend({ question: z.string().nullable(), answer: z.string().nullable() });
export type StoredRun = { receipt: Receipt; question: string | null; answer: string | null };

/** A run of this user with its texts, as stored; undefined where there is none. */
export async function readRun(sql: Sql, userId: string, runId: string): Promise<StoredRun | undefined> {
  const found = findRow(
    storedColumns,
    await sql`select (receipt).*, question, answer from api.read_run(${userId}, ${runId})`,
  );
  if (found === undefined) return undefined;
  return { receipt: receiptOf(found), question: found.question, answer: found.answer };
}

/** Asks a run to stop, wherever it runs. Its status, or undefined where there is none. */
export async function stopRun(sql: Sql, userId: string, runId: string): Promise<string | undefined> {
  return findRow(z.object({ status: z.string() }), await sql`select status from api.stop_run(${userId}, ${runId})`)
    ?.status;
}

/** Credits and tokens least, likely and most, and the refusal that the run would meet; null where that came first. */
export const estimateSchema = z.object({
  creditsLeast: z.number().nullable(),
  creditsLikely: z.number().nullable(),
  creditsMost: z.number().nullable(),
  tokensInput: z.number().nullable(),
  tokensLikely: z.number().nullable(),
  tokensMost: z.number().nullable(),
  outputCap: z.number().nullable(),
  canAfford: z.boolean(),
  balance: z.number(),
  model: z.string().nullable(),
  providerModel: z.string().nullable(),
  packageVersion: z.string().nullable(),
  /** Tokens of the conversation that would come along, and how many of its oldest exchanges would not. */
  historyTokens: z.number().nullable(),
  droppedExchanges: z.number().nullable(),
  refusal: refusalSchema.nullable(),
});

export async function estimateRun(
  sql: Sql,
  userId: string,
  runId: string,
  request: RunRequest,
): Promise<z.output<typeof estimateSchema> | Template> {
  const rows = await sql`
    select estimate
    from api.estimate_run(
      ${userId}, ${runId}, ${request.packageId}, ${request.packageVersion}, ${request.sessionId}, ${request.model},
      ${request.useNoPrompt}, ${request.inputTokens}, ${request.countedWith}, ${request.maxOutputTokens}, ${request.customPromptTokens},
      ${request.history}, ${request.promptTokens}, ${jsonOf(request.variables)}::text::jsonb
    ) as estimate`;
  return parseRow(z.object({ estimate: z.union([estimateSchema, templateSchema]) }), rows).estimate;
}

/** Of all sides together, and of each as if it were alone. `refusedSide` counts from 1; null where all together are refused. */
export const comparisonEstimateSchema = estimateSchema
  .pick({ creditsLeast: true, creditsLikely: true, creditsMost: true, canAfford: true, balance: true, refusal: true })
  .extend({ sides: z.array(estimateSchema), refusedSide: z.number().nullable() });
const templateSidesSchema = z.object({
  outcome: z.literal('template'),
  sides: z.array(z.union([estimateSchema, templateSchema])),
});

export async function estimateComparison(
  sql: Sql,
  userId: string,
  { runIds, sides, maxOutputTokens }: ComparisonRequest,
): Promise<z.output<typeof comparisonEstimateSchema> | z.output<typeof templateSidesSchema>> {
  const rows = await sql`
    select estimate
    from api.estimate_comparison(
      ${userId}, string_to_array(${runIds.join()}, ',')::uuid[], ${jsonOfSides(sides)}::text::jsonb, ${maxOutputTokens}
    ) as estimate`;
  return parseRow(z.object({ estimate: z.union([comparisonEstimateSchema, templateSidesSchema]) }), rows).estimate;
}

/** What holds for custom prompts, and whether this user may run one. */
const customPromptsSchema = z.object({
  available: z.boolean(),
  verifiedAuthor: z.boolean(),
  maxOutputTokens: z.number(),
  creditMultiplier: z.coerce.number(),
  tokensPerCredit: z.number(),
  firstTokenTimeoutMs: z.number(),
  runTimeoutMs: z.number(),
});

export async function describeCustomPrompts(
  sql: Sql,
  userId: string | null,
): Promise<z.output<typeof customPromptsSchema>> {
  const rows = await sql`
    select available, verified_author, max_output_tokens, credit_multiplier, tokens_per_credit, first_token_timeout_ms, run_timeout_ms
    from api.describe_custom_prompts(${userId})`;
  return parseRow(customPromptsSchema, rows);
}

export const chargeStepSchema = z.object({
  step: z.number(),
  what: z.string(),
  quantity: z.number().nullable(),
  rate: z.number().nullable(),
  amount: z.number().nullable(),
  unit: z.string(),
  explanation: z.string(),
});

/** How a run came to its charge; asked as an administrator also what it cost, and anybody's run. Spec 1.3, 12. */
export async function explainCharge(
  sql: Sql,
  userId: string,
  runId: string,
  asAdmin: boolean,
): Promise<z.output<typeof chargeStepSchema>[]> {
  const rows = await sql`select steps from api.explain_charge(${userId}, ${runId}, ${asAdmin}) as steps`;
  return parseRow(z.object({ steps: z.array(chargeStepSchema) }), rows).steps;
}

/** What running runs hold: credits, and US dollars. */
export const openHoldsSchema = z.object({
  total: z.number(),
  holds: z.array(
    z.object({
      runId: z.string(),
      userId: z.string(),
      username: z.string(),
      email: z.string().nullable(),
      model: z.string(),
      includedCreditsHeld: z.number(),
      purchasedCreditsHeld: z.number(),
      costHeld: z.number(),
      startedAt: z.string(),
      holdExpiresAt: z.string(),
      expiresInSeconds: z.number(),
    }),
  ),
});

/** The newest first, for an administrator. Spec 3.2. */
export async function listOpenHolds(sql: Sql, userId: string): Promise<z.output<typeof openHoldsSchema>> {
  const rows = await sql`select open from api.list_open_holds(${userId}) as open`;
  return parseRow(z.object({ open: openHoldsSchema }), rows).open;
}
