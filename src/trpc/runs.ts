import { type TrackedEnvelope, tracked } from '@trpc/server';
import { z } from 'zod';
import {
  chargeStepSchema,
  estimateSchema,
  explainCharge,
  invitationSchema,
  type receiptSchema,
  type StoredRun,
} from '../calls/runs.ts';
import type { Ask } from '../engine/engine.ts';
import { type NumberedEvent, type RunEvent, shownReceiptSchema, showReceipt } from '../engine/events.ts';
import { Failure } from '../errors/failure.ts';
import { askInput, idInput, packageInput, runInput } from './inputs.ts';
import { countRead, estimateProcedure, publicProcedure, readProcedure, router, runProcedure } from './trpc.ts';

const messageSchema = z.object({
  role: z.enum(['user', 'assistant']),
  content: z.string(),
  timestamp: z.string().optional(),
  tokens: z.number().optional(),
});

const answerSchema = shownReceiptSchema.extend({ response: z.string(), conversation: z.array(messageSchema) });
const storedSchema = shownReceiptSchema.extend({ question: z.string().nullable(), response: z.string().nullable() });
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
    .mutation(async ({ ctx, input, signal }) => {
      const { engine } = ctx.services;
      const { userId, isAdmin } = ctx.principal;
      const begun = await engine.begin(userId, askOf(input), ctx.facts);
      const end = await engine.result(userId, begun, signal);
      const { receipt, answer, failure } = end;
      if (receipt !== null) ctx.facts.creditsRemaining = receipt.creditsRemaining;
      if (failure !== null || receipt === null)
        throw withOutcome(failure ?? new Failure('internal_error'), end, isAdmin);
      const conversation = await engine.conversation(userId, begun, end);
      return { ...showReceipt(receipt, isAdmin), response: answer, conversation };
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

function askOf(input: z.output<typeof askInput> & { idempotencyKey?: string | null | undefined }): Ask {
  return {
    packageId: input.packageId ?? null,
    packageVersion: input.packageVersion ?? null,
    sessionId: input.sessionId ?? null,
    model: input.model ?? null,
    useNoPrompt: input.useNoPrompt ?? false,
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
