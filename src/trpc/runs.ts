import { type TrackedEnvelope, tracked } from '@trpc/server';
import { z } from 'zod';
import {
  chargeStepSchema,
  describeCustomPrompts,
  estimateSchema,
  explainCharge,
  invitationSchema,
  type receiptSchema,
  type StoredRun,
} from '../calls/runs.ts';
import type { Ask } from '../engine/engine.ts';
import { type NumberedEvent, type RunEvent, shownReceiptSchema, showReceipt } from '../engine/events.ts';
import { Failure } from '../errors/failure.ts';
import {
  askInput,
  CUSTOM_PROMPT_LENGTH,
  customPromptInput,
  idInput,
  nothingInput,
  packageInput,
  runInput,
} from './inputs.ts';
import {
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
  .omit({ packageId: true, packageVersion: true, useNoPrompt: true })
  .extend({ customPrompt: customPromptInput.describe("One's own prompt.") });

const customPromptsSchema = z.object({
  available: z.boolean().describe('Whether who asks may run one now.'),
  requirements: z.object({ verifiedAuthor: z.literal(true), isMet: z.boolean(), description: z.string() }),
  limits: z.object({
    minPromptLength: z.number(),
    maxPromptLength: z.number(),
    recommendedPromptLength: z.string(),
    maxTokensOutput: z.number(),
    firstTokenTimeoutSeconds: z.number(),
    timeoutSeconds: z.number(),
  }),
  pricing: z.object({ creditMultiplier: z.number(), description: z.string() }),
});

const startedSchema = z.object({ runId: z.string(), sessionId: z.string(), isNew: z.boolean() });

const eventsSchema = z.custom<AsyncIterable<TrackedEnvelope<RunEvent>>>(
  (value) => typeof value === 'object' && value !== null && Symbol.asyncIterator in value,
);

const followInput = z.object({ runId: idInput, lastEventId: z.string().nullish() });
const anonymousInput = askInput.pick({ input: true, packageVersion: true }).extend({ packageId: packageInput });

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
          isMet: verifiedAuthor,
          description: 'Only verified authors may run their own prompts.',
        },
        limits: {
          minPromptLength: least,
          maxPromptLength: most,
          recommendedPromptLength: '500 to 5,000 characters',
          maxTokensOutput: rules.maxOutputTokens,
          firstTokenTimeoutSeconds: rules.firstTokenTimeoutMs / 1000,
          timeoutSeconds: rules.runTimeoutMs / 1000,
        },
        pricing: {
          creditMultiplier,
          description: `Each begun ${tokensPerCredit.toLocaleString('en')} tokens are a credit, times the model's factor, times ${creditMultiplier}.`,
        },
      };
    }),

  start: runProcedure
    .input(runInput)
    .output(startedSchema)
    .mutation(async ({ ctx, input }) => {
      const { runId, sessionId, isNew } = await ctx.services.engine.begin(
        ctx.principal.userId,
        askOf(input),
        ctx.facts,
      );
      return { runId, sessionId, isNew };
    }),

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

  /** One run a month for a visitor who is not signed in. Spec 5.9. */
  anonymous: publicProcedure
    .input(anonymousInput)
    .output(
      invitationSchema.extend({
        runId: z.string(),
        response: z.string(),
        tokensUsed: z.number().nullable(),
        durationMs: z.number().nullable(),
        model: z.string(),
      }),
    )
    .mutation(async ({ ctx, input, signal }) => {
      const { run, invitation } = await ctx.services.engine.beginAnonymous(ctx.visitor, visitOf(input), ctx.facts);
      const end = await run.wait(signal);
      if (end === null) throw new Failure('run_in_progress', undefined, { runId: run.runId });
      const { receipt, answer, failure } = end;
      if (failure !== null || receipt === null) throw withOutcome(failure ?? new Failure('internal_error'), end, false);
      const { tokensUsed, durationMs, model } = receipt;
      return { runId: run.runId, response: answer, tokensUsed, durationMs, model, ...invitation };
    }),

  startAnonymous: publicProcedure
    .input(anonymousInput)
    .output(invitationSchema.extend({ runId: z.string() }))
    .mutation(async ({ ctx, input }) => {
      const { run, invitation } = await ctx.services.engine.beginAnonymous(ctx.visitor, visitOf(input), ctx.facts);
      return { runId: run.runId, ...invitation };
    }),

  /** Only while it runs, and on the server that carries it out: nothing of it is kept. */
  streamAnonymous: publicProcedure
    .input(followInput)
    .output(eventsSchema)
    .subscription(({ ctx, input, signal }) =>
      trackedEvents(ctx.services.engine.followAnonymous(input.runId, placeOf(input), signal)),
    ),

  estimate: estimateProcedure
    .input(askInput)
    .output(
      estimateSchema.extend({
        estimatedCredits: z.number().nullable(),
        estimatedTokens: z.number().nullable(),
        currentBalance: z.number(),
      }),
    )
    .mutation(async ({ ctx, input }) => {
      const estimate = await ctx.services.engine.estimate(ctx.principal.userId, askOf(input));
      const { creditsLikely, tokensLikely, balance } = estimate;
      return { ...estimate, estimatedCredits: creditsLikely, estimatedTokens: tokensLikely, currentBalance: balance };
    }),
});

function placeOf({ lastEventId }: z.output<typeof followInput>): number {
  return /^\d{1,9}$/.test(lastEventId ?? '') ? Number(lastEventId) : 0;
}

function visitOf({ packageId, packageVersion = null, input }: z.output<typeof anonymousInput>) {
  return { packageId, packageVersion, input };
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

type Asked = Partial<z.output<typeof runInput>> & { input: string };

function askOf(input: Asked): Ask {
  return {
    packageId: input.packageId ?? null,
    packageVersion: input.packageVersion ?? null,
    sessionId: input.sessionId ?? null,
    model: input.model ?? null,
    useNoPrompt: input.useNoPrompt ?? false,
    customPrompt: input.customPrompt ?? null,
    maxOutputTokens: input.maxOutputTokens ?? null,
    input: input.input,
    temperature: input.temperature ?? null,
    idempotencyKey: input.idempotencyKey ?? null,
  };
}

async function* trackedEvents(events: AsyncIterable<NumberedEvent>): AsyncGenerator<TrackedEnvelope<RunEvent>> {
  for await (const { id, event } of events) yield tracked(String(id), event);
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
