// Comparisons: runs of one question side by side. A side fails alone; what it answers is a run's, with its number.
import type { TrackedEnvelope } from '@trpc/server';
import { z } from 'zod';
import { comparisonEstimateSchema } from '../calls/runs.ts';
import { shareComparison, unshareComparison } from '../calls/sessions.ts';
import { noComparison } from '../engine/comparison.ts';
import type { Begun } from '../engine/engine.ts';
import {
  begunSideSchema,
  type ComparisonEvent,
  failureOf,
  type RunEnd,
  shownReceiptSchema,
  showReceipt,
} from '../engine/events.ts';
import { compareInput, comparisonInput, idInput, sidesOf } from './inputs.ts';
import { iteratedSchema, trackedEvents } from './iterated.ts';
import { countRead, estimateProcedure, readProcedure, router, runProcedure } from './trpc.ts';

const sideSchema = begunSideSchema.extend({
  response: z.string(),
  receipt: shownReceiptSchema.nullable().describe('Null where it could not be booked yet.'),
  failure: z
    .object({ error: z.string(), message: z.string(), status: z.number() })
    .nullable()
    .describe('Why this side failed; what was delivered and charged all the same, its receipt says.'),
});
type Side = z.output<typeof sideSchema>;
const answerSchema = z.object({ comparisonId: z.string(), sides: z.array(sideSchema) });
const storedSchema = z.object({
  comparisonId: z.string(),
  createdAt: z.string(),
  shareToken: z.string().nullable(),
  question: z.string().nullable().describe('Null where its text is gone.'),
  sides: z.array(sideSchema.extend({ response: z.string().nullable() })),
});
const startedSchema = z.object({ comparisonId: z.string(), isNew: z.boolean(), sides: z.array(begunSideSchema) });
const namedInput = z.object({ comparisonId: idInput });

const eventsSchema = iteratedSchema<TrackedEnvelope<ComparisonEvent>>();

export const comparisonsRouter = router({
  execute: runProcedure
    .input(comparisonInput)
    .output(answerSchema)
    .mutation(async ({ ctx, input, signal }) => {
      const { engine } = ctx.services;
      const { userId, isAdmin } = ctx.principal;
      const { comparisonId, sides } = await engine.comparisons.begin(userId, askOf(input), ctx.facts);
      const ends = await Promise.all(sides.map((begun) => engine.result(userId, begun, signal)));
      const answers = ends.flatMap((end, place) => {
        const begun = sides[place];
        return begun === undefined ? [] : answerOf(place + 1, begun, end, isAdmin);
      });
      const remaining = ends.map(({ receipt }) => receipt?.creditsRemaining).filter((left) => left !== undefined);
      if (remaining.length > 0) ctx.facts.creditsRemaining = Math.min(...remaining);
      return { comparisonId, sides: answers };
    }),

  start: runProcedure
    .input(comparisonInput)
    .output(startedSchema)
    .mutation(async ({ ctx, input }) => {
      const begun = await ctx.services.engine.comparisons.begin(ctx.principal.userId, askOf(input), ctx.facts);
      const sides = begun.sides.map(({ runId, sessionId }, place) => ({ side: place + 1, runId, sessionId }));
      return { ...begun, sides };
    }),

  /** All sides in one stream. To stop a side, or to follow it alone, is to stop or follow its run. */
  stream: runProcedure
    .input(namedInput.extend({ lastEventId: z.string().nullish() }))
    .output(eventsSchema)
    .subscription(async ({ ctx, input, signal }) => {
      const { comparisons } = ctx.services.engine;
      const { userId, isAdmin } = ctx.principal;
      if (!comparisons.isLive(userId, input.comparisonId)) await countRead(ctx);
      const after = placesOf(input.lastEventId);
      return trackedEvents(await comparisons.follow(userId, input.comparisonId, { after, signal, isAdmin }));
    }),

  /** What all sides would cost, and the refusal that they would meet. Spec 5.7. */
  estimate: estimateProcedure
    .input(compareInput)
    .output(comparisonEstimateSchema)
    .mutation(({ ctx, input }) =>
      ctx.services.engine.comparisons.estimate(ctx.principal.userId, {
        sides: sidesOf(input),
        maxOutputTokens: input.maxOutputTokens ?? null,
      }),
    ),

  read: readProcedure
    .input(namedInput)
    .output(storedSchema)
    .query(async ({ ctx, input }) => {
      const { engine } = ctx.services;
      const { userId, isAdmin } = ctx.principal;
      const { id, createdAt, shareToken, sides } = await engine.comparisons.read(userId, input.comparisonId);
      const runs = await Promise.all(sides.map(({ runId }) => engine.read(userId, runId)));
      const shown = runs.map(({ receipt, answer }, place) => {
        const { runId, sessionId } = receipt;
        const failure = receipt.status === 'running' ? null : failureOf(receipt);
        const side = answerOf(place + 1, { runId, sessionId }, { receipt, answer: answer ?? '', failure }, isAdmin);
        return { ...side, response: answer };
      });
      const question = runs.map((run) => run.question).find((text) => text !== null) ?? null;
      return { comparisonId: id, createdAt, shareToken, question, sides: shown };
    }),

  /** One link for all sides. */
  share: readProcedure
    .input(namedInput)
    .output(z.object({ shareToken: z.string(), shareUrl: z.string(), sharedAt: z.string() }))
    .mutation(async ({ ctx, input }) => {
      const share = await shareComparison(ctx.services.database.sql, ctx.principal.userId, input.comparisonId);
      if (share === undefined) throw noComparison();
      return { ...share, shareUrl: ctx.services.pageUrl(`/playground/shared/${share.shareToken}`) };
    }),

  unshare: readProcedure
    .input(namedInput)
    .output(z.object({ ended: z.boolean() }))
    .mutation(async ({ ctx, input }) => ({
      ended: await unshareComparison(ctx.services.database.sql, ctx.principal.userId, input.comparisonId),
    })),
});

function askOf(input: z.output<typeof comparisonInput>) {
  const { maxOutputTokens, idempotencyKey } = input;
  return {
    sides: sidesOf(input),
    maxOutputTokens: maxOutputTokens ?? null,
    idempotencyKey: idempotencyKey ?? null,
  };
}

function answerOf(
  side: number,
  { runId, sessionId }: Pick<Begun, 'runId' | 'sessionId'>,
  { receipt, answer, failure }: RunEnd,
  isAdmin: boolean,
): Side {
  return {
    ...{ side, runId, sessionId, response: answer },
    receipt: receipt === null ? null : showReceipt(receipt, isAdmin),
    failure: failure === null ? null : { error: failure.code, message: failure.message, status: failure.status },
  };
}

/** Where each side is, as its last event's id said; null for what is none. */
function placesOf(lastEventId: string | null | undefined): number[] | null {
  return /^\d{1,9}(\.\d{1,9}){1,3}$/.test(lastEventId ?? '') ? (lastEventId ?? '').split('.').map(Number) : null;
}
