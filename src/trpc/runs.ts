import type { TrackedEnvelope } from '@trpc/server';
import { z } from 'zod';
import {
  chargeStepSchema,
  describeCustomPrompts,
  describeVisit,
  estimateSchema,
  explainCharge,
  invitationSchema,
  listOpenHolds,
  openHoldsSchema,
  type receiptSchema,
  type StoredRun,
  visitSchema,
} from '../calls/runs.ts';
import type { Ask } from '../engine/ask.ts';
import type { Engine } from '../engine/engine.ts';
import { type RunEvent, shownReceiptSchema, showReceipt } from '../engine/events.ts';
import { Failure } from '../errors/failure.ts';
import { snakeName } from '../names.ts';
import { comparisonsRouter } from './comparisons.ts';
import {
  askInput,
  askOf,
  CUSTOM_PROMPT_LENGTH,
  customPromptInput,
  idInput,
  nothingInput,
  packageInput,
  runInput,
  summaryInput,
} from './inputs.ts';
import { iteratedSchema, trackedEvents } from './iterated.ts';
import {
  adminProcedure,
  type Context,
  countRead,
  estimateProcedure,
  publicProcedure,
  readProcedure,
  router,
  runProcedure,
} from './trpc.ts';

const messageSchema = z.object({
  role: z.enum(['user', 'assistant']),
  content: z.string(),
  timestamp: z.string().optional(),
  tokens: z.number().optional(),
});

const answerSchema = shownReceiptSchema.extend({ response: z.string(), conversation: z.array(messageSchema) });
const storedSchema = shownReceiptSchema.extend({ question: z.string().nullable(), response: z.string().nullable() });
const customInput = runInput
  .omit({ packageId: true, packageVersion: true, useNoPrompt: true, variables: true })
  .extend({ customPrompt: customPromptInput.describe("One's own prompt.") });

const customPromptsSchema = z.object({
  available: z.boolean().describe('Whether who asks may run one now.'),
  requirements: z.object({
    verifiedAuthor: z.literal(true),
    githubLinked: z.literal(false),
    isMet: z.boolean(),
    description: z.string(),
  }),
  limits: z.object({
    minPromptLength: z.number(),
    maxPromptLength: z.number(),
    recommendedPromptLength: z.string(),
    maxTokensOutput: z.number(),
    maxConversationTurns: z.null().describe('As many as a request has room for.'),
    firstTokenTimeoutSeconds: z.number(),
    timeoutSeconds: z.number(),
  }),
  pricing: z.object({ creditMultiplier: z.number(), description: z.string(), example: z.string() }),
  sandbox: z.object({ toolsEnabled: z.literal(false), description: z.string() }),
  tips: z.array(z.string()),
});

const estimateAnswerSchema = estimateSchema.extend({
  estimatedCredits: z.number().nullable(),
  estimatedTokens: z.number().nullable(),
  currentBalance: z.number(),
});

const SUMMARISE =
  'Summarise our conversation so far, so that it can go on from your summary alone: what I want, what was decided and why, facts, names and ' +
  'figures, code that is still needed, and what is open. Use at most 500 words. Begin at once, without a preamble.';
const startSummaryInput = summaryInput.extend({ idempotencyKey: runInput.shape.idempotencyKey });

const startedSchema = z.object({ runId: z.string(), sessionId: z.string(), isNew: z.boolean() });

const eventsSchema = iteratedSchema<TrackedEnvelope<RunEvent>>();

const followInput = z.object({ runId: idInput, lastEventId: z.string().nullish() });
const anonymousInput = askInput
  .pick({ input: true, packageVersion: true, variables: true })
  .extend({ packageId: packageInput });

const startedAnonymousSchema = invitationSchema.extend({ runId: z.string() });
/** Nothing of it is kept, so there is no session to go on in. */
const anonymousAnswerSchema = startedAnonymousSchema.extend({
  sessionId: z.null(),
  response: z.string(),
  tokensUsed: z.number().nullable(),
  durationMs: z.number().nullable(),
  model: z.string(),
  creditsSpent: z.number(),
  creditsRemaining: z.number(),
  conversation: z.array(messageSchema),
});

export const runsRouter = router({
  execute: runProcedure
    .input(runInput)
    .output(answerSchema)
    .mutation(({ ctx, input, signal }) => answerTo(ctx, askOf(input), signal)),

  /** One's own prompt in place of a package's, for verified authors. Spec 10.5. */
  executeCustom: runProcedure
    .input(customInput)
    .output(answerSchema.extend({ isCustomPrompt: z.literal(true), warnings: z.array(z.string()) }))
    .mutation(async ({ ctx, input, signal }) => ({
      ...(await answerTo(ctx, askOf(input), signal)),
      isCustomPrompt: true as const,
      warnings: warningsOf(input.customPrompt),
    })),

  customPrompts: publicProcedure
    .input(nothingInput)
    .output(customPromptsSchema)
    .query(async ({ ctx }) => {
      const [least, most] = CUSTOM_PROMPT_LENGTH;
      const rules = await describeCustomPrompts(ctx.services.database.reads, ctx.visitor.userId);
      const { available, verifiedAuthor, creditMultiplier, tokensPerCredit } = rules;
      return {
        available,
        requirements: {
          verifiedAuthor: true,
          githubLinked: false,
          isMet: verifiedAuthor,
          description: 'Only verified authors may run their own prompts.',
        },
        limits: {
          minPromptLength: least,
          maxPromptLength: most,
          recommendedPromptLength: '500 to 5,000 characters',
          maxTokensOutput: rules.maxOutputTokens,
          maxConversationTurns: null,
          firstTokenTimeoutSeconds: rules.firstTokenTimeoutMs / 1000,
          timeoutSeconds: rules.runTimeoutMs / 1000,
        },
        pricing: {
          creditMultiplier,
          description: `Each begun ${tokensPerCredit.toLocaleString('en')} tokens are a credit, times the model's factor, times ${creditMultiplier}.`,
          example: `Up to ${tokensPerCredit.toLocaleString('en')} tokens with a model of factor 1: ${creditMultiplier} credits.`,
        },
        sandbox: { toolsEnabled: false, description: 'The model can call no tools and reach nothing but the text.' },
        tips: ['Say what an answer must have, and show one.', 'Compare with no prompt at all, to see what yours adds.'],
      };
    }),

  start: runProcedure
    .input(runInput)
    .output(startedSchema)
    .mutation(({ ctx, input }) => startIt(ctx, askOf(input))),

  /** A run of its own whose answer is what the session's conversation goes on from. */
  summarise: runProcedure
    .input(startSummaryInput)
    .output(answerSchema)
    .mutation(({ ctx, input, signal }) => answerTo(ctx, summaryOf(input), signal)),

  startSummary: runProcedure
    .input(startSummaryInput)
    .output(startedSchema)
    .mutation(({ ctx, input }) => startIt(ctx, summaryOf(input))),

  estimateSummary: estimateProcedure
    .input(summaryInput)
    .output(estimateAnswerSchema)
    .mutation(({ ctx, input }) => estimateOf(ctx, summaryOf(input))),

  stream: runProcedure
    .input(followInput)
    .output(eventsSchema)
    .subscription(async ({ ctx, input, signal }) => {
      const { engine } = ctx.services;
      const { userId, isAdmin } = ctx.principal;
      if (!engine.isLive(userId, input.runId)) await countRead(ctx);
      return trackedEvents(await engine.follow(userId, input.runId, { after: placeOf(input), signal, isAdmin }));
    }),

  stop: runProcedure
    .input(z.object({ runId: idInput }))
    .output(storedSchema)
    .mutation(async ({ ctx, input }) =>
      showStored(await ctx.services.engine.stop(ctx.principal.userId, input.runId), ctx.principal.isAdmin),
    ),

  read: readProcedure
    .input(z.object({ runId: idInput }))
    .output(storedSchema)
    .query(async ({ ctx, input }) =>
      showStored(await ctx.services.engine.read(ctx.principal.userId, input.runId), ctx.principal.isAdmin),
    ),

  /** What the run cost in dollars, and anybody's run, for an administrator's token. */
  explain: readProcedure
    .input(z.object({ runId: idInput }))
    .output(z.object({ steps: z.array(chargeStepSchema) }))
    .query(async ({ ctx, input }) => {
      const { userId, isAdmin, scopes } = ctx.principal;
      const asAdmin = isAdmin && scopes.has('admin');
      return { steps: await explainCharge(ctx.services.database.reads, userId, input.runId, asAdmin) };
    }),

  /** What a visitor who is not signed in may run now: one run a month, or the refusal that it would meet. Spec 5.9. */
  offer: publicProcedure
    .input(nothingInput)
    .output(visitSchema)
    .query(({ ctx }) => describeVisit(ctx.services.database.reads, ctx.visitor)),

  openHolds: adminProcedure
    .input(nothingInput)
    .output(openHoldsSchema)
    .query(({ ctx }) => listOpenHolds(ctx.services.database.reads, ctx.principal.userId)),

  /** One run a month for a visitor who is not signed in. Spec 5.9. */
  anonymous: publicProcedure
    .input(anonymousInput)
    .output(anonymousAnswerSchema)
    .mutation(({ ctx, input, signal }) => answerToVisitor(ctx, visitOf(input), signal)),

  startAnonymous: publicProcedure
    .input(anonymousInput)
    .output(startedAnonymousSchema)
    .mutation(({ ctx, input }) => startForVisitor(ctx, visitOf(input))),

  /** The same, asked for as by somebody who is signed in. */
  visit: publicProcedure
    .input(runInput)
    .output(anonymousAnswerSchema)
    .mutation(({ ctx, input, signal }) => answerToVisitor(ctx, visitAsRun(input), signal)),

  startVisit: publicProcedure
    .input(runInput)
    .output(startedAnonymousSchema)
    .mutation(({ ctx, input }) => startForVisitor(ctx, visitAsRun(input))),

  /** Only while it runs, and on the server that carries it out: nothing of it is kept. */
  streamAnonymous: publicProcedure
    .input(followInput)
    .output(eventsSchema)
    .subscription(({ ctx, input, signal }) =>
      trackedEvents(ctx.services.engine.followAnonymous(input.runId, placeOf(input), signal)),
    ),

  estimate: estimateProcedure
    .input(askInput)
    .output(estimateAnswerSchema)
    .mutation(({ ctx, input }) => estimateOf(ctx, askOf(input))),

  comparisons: comparisonsRouter,
});

function placeOf({ lastEventId }: z.output<typeof followInput>): number {
  return /^\d{1,9}$/.test(lastEventId ?? '') ? Number(lastEventId) : 0;
}

type Visit = Parameters<Engine['beginAnonymous']>[1];

function visitOf({ packageId, packageVersion, variables, input }: z.output<typeof anonymousInput>): Visit {
  return { packageId, packageVersion: packageVersion ?? null, variables: variables ?? null, input, asRun: false };
}

/** What only somebody can have who is signed in; the model is that of visitors, whatever is asked for. */
const FOR_USERS = ['sessionId', 'customPrompt', 'useNoPrompt', 'maxOutputTokens', 'temperature', 'dropOldest'] as const;

function visitAsRun(input: z.output<typeof runInput>): Visit {
  const field = FOR_USERS.find((name) => (input[name] ?? false) !== false);
  if (field !== undefined)
    throw new Failure('authentication_required', `${snakeName(field)} is for those who send a token.`);
  if (!input.packageId)
    throw new Failure('validation_error', 'package_id is required.', {
      errors: [{ field: 'package_id', message: 'is required' }],
    });
  return { ...visitOf({ ...input, packageId: input.packageId }), asRun: true };
}

type Visited = Context & { visitor: { userId: string | null; address: string } };

async function answerToVisitor(
  ctx: Visited,
  visit: Visit,
  signal: AbortSignal | undefined,
): Promise<z.output<typeof anonymousAnswerSchema>> {
  const { run, invitation } = await ctx.services.engine.beginAnonymous(ctx.visitor, visit, ctx.facts);
  const end = await run.wait(signal);
  if (end === null) throw new Failure('run_in_progress', undefined, { runId: run.runId });
  const { receipt, answer, failure } = end;
  if (failure !== null || receipt === null) throw withOutcome(failure ?? new Failure('internal_error'), end, false);
  const { tokensUsed, durationMs, model, creditsSpent, creditsRemaining } = receipt;
  return {
    ...{
      runId: run.runId,
      sessionId: null,
      response: answer,
      tokensUsed,
      durationMs,
      model,
      creditsSpent,
      creditsRemaining,
    },
    conversation: [
      { role: 'user', content: visit.input },
      { role: 'assistant', content: answer },
    ],
    ...invitation,
  };
}

async function startForVisitor(ctx: Visited, visit: Visit): Promise<z.output<typeof startedAnonymousSchema>> {
  const { run, invitation } = await ctx.services.engine.beginAnonymous(ctx.visitor, visit, ctx.facts);
  return { runId: run.runId, ...invitation };
}

type Caller = Context & { principal: { userId: string; isAdmin: boolean } };

/** Carries a run out and waits for its end. */
async function answerTo(
  ctx: Caller,
  ask: Ask,
  signal: AbortSignal | undefined,
): Promise<z.output<typeof answerSchema>> {
  const { engine } = ctx.services;
  const { userId, isAdmin } = ctx.principal;
  const begun = await engine.begin(userId, ask, ctx.facts);
  const end = await engine.result(userId, begun, signal);
  const { receipt, answer, failure } = end;
  if (receipt !== null) ctx.facts.creditsRemaining = receipt.creditsRemaining;
  if (failure !== null || receipt === null) throw withOutcome(failure ?? new Failure('internal_error'), end, isAdmin);
  const conversation = await engine.conversation(userId, begun, end);
  return { ...showReceipt(receipt, isAdmin), response: answer, conversation };
}

async function startIt(ctx: Caller, ask: Ask): Promise<z.output<typeof startedSchema>> {
  const { runId, sessionId, isNew } = await ctx.services.engine.begin(ctx.principal.userId, ask, ctx.facts);
  return { runId, sessionId, isNew };
}

async function estimateOf(ctx: Caller, ask: Ask): Promise<z.output<typeof estimateAnswerSchema>> {
  const estimate = await ctx.services.engine.estimate(ctx.principal.userId, ask);
  const { creditsLikely, tokensLikely, balance } = estimate;
  return { ...estimate, estimatedCredits: creditsLikely, estimatedTokens: tokensLikely, currentBalance: balance };
}

/** What is likely not meant so; the run goes on all the same. */
function warningsOf(prompt: string): string[] {
  const warnings: string[] = [];
  if (prompt.length < 50) warnings.push('A prompt of less than 50 characters says little to the model.');
  if (prompt.length > 20_000)
    warnings.push('A prompt of more than 20,000 characters costs its tokens in every exchange.');
  if (/ignore[\s\S]{0,40}previous/i.test(prompt))
    warnings.push('The prompt asks to ignore what came before: there is nothing before it.');
  return warnings;
}

/** The package's prompt has no say in a summary. */
function summaryOf(input: z.output<typeof startSummaryInput>): Ask {
  return { ...askOf({ ...input, input: SUMMARISE, useNoPrompt: true }), history: 'summarise' };
}

function showStored({ receipt, question, answer }: StoredRun, isAdmin: boolean) {
  return { ...showReceipt(receipt, isAdmin), question, response: answer };
}

/** A failed run's answer says what was delivered and charged all the same. Spec 5.4. */
function withOutcome(
  failure: Failure,
  { receipt, answer }: { receipt: z.output<typeof receiptSchema> | null; answer: string },
  isAdmin: boolean,
) {
  const { code, message, extras, status } = failure;
  const outcome = receipt === null ? {} : { ...showReceipt(receipt, isAdmin), response: answer };
  return new Failure(code, message, { ...extras, details: outcome }, { cause: failure.cause, status });
}
