import { z } from 'zod';
import { type Invitation, invitationSchema, type Receipt, receiptSchema } from '../calls/runs.ts';
import { Failure } from '../errors/failure.ts';
import { type ErrorCode, isErrorCode, registry } from '../errors/registry.ts';

/** A receipt as its owner sees it; `cost` in US dollars, for admins only. */
export const shownReceiptSchema = receiptSchema.extend({ cost: z.string().optional() });
export type ShownReceipt = z.output<typeof shownReceiptSchema>;

export function showReceipt(receipt: Receipt, isAdmin: boolean): ShownReceipt {
  if (isAdmin) return receipt;
  const { cost: _, ...shown } = receipt;
  return shown;
}

const createdSchema = z.object({
  runId: z.string(),
  sessionId: z.string(),
  model: z.string(),
  providerModel: z.string(),
  packageId: z.string(),
  packageVersion: z.string(),
  /** Tokens, credits; null where the run is another instance's. */
  outputCap: z.number().nullable(),
  holdCredits: z.number().nullable(),
  availableCredits: z.number().nullable(),
});

const failedSchema = z.object({
  error: z.enum(Object.keys(registry) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  status: z.number(),
  retryAfter: z.number().optional().describe('Seconds after which it may be asked again.'),
  receipt: shownReceiptSchema.nullable(),
});

const SIDE = { side: z.number().describe('Which side, from 1, as they were asked for.') };
export const begunSideSchema = z.object({ ...SIDE, runId: z.string(), sessionId: z.string() });

/**
 * What a follower of a run is told, in this order; the last three are last. Ids grow: that of a delta is one more than
 * the characters sent so far, so an id says where to go on even when the run is another instance's or long over.
 */
export const runEventSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('run.created'), data: createdSchema }),
  z.object({ type: z.literal('output.delta'), data: z.object({ text: z.string() }) }),
  z.object({
    type: z.literal('usage'),
    data: z.object({
      tokens: receiptSchema.shape.tokens,
      tokensUsed: z.number().nullable(),
      estimated: z.boolean(),
    }),
  }),
  // A visitor is told how to sign up, too.
  z.object({ type: z.literal('run.completed'), data: shownReceiptSchema.extend(invitationSchema.partial().shape) }),
  z.object({ type: z.literal('run.stopped'), data: shownReceiptSchema }),
  z.object({ type: z.literal('run.failed'), data: failedSchema }),
]);
export type RunEvent = z.output<typeof runEventSchema>;
/** An event of a side's run, with the number of the side. */
const ofSide = <Type extends string, Data extends z.core.$ZodShape>({
  shape: { type, data },
}: z.ZodObject<{ type: z.ZodLiteral<Type>; data: z.ZodObject<Data> }>) => z.object({ type, data: data.extend(SIDE) });
const [created, delta, usage, completed, stopped, failed] = runEventSchema.options;

/**
 * What a follower of a comparison is told: first what its sides are, then of each side all that a follower of its run is told,
 * with the number of the side, as it comes. An id says where each side is, so it is where all of them go on.
 */
export const comparisonEventSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('comparison.created'),
    data: z.object({ comparisonId: z.string(), sides: z.array(begunSideSchema) }),
  }),
  ofSide(created),
  ofSide(delta),
  ofSide(usage),
  ofSide(completed),
  ofSide(stopped),
  ofSide(failed),
]);
export type ComparisonEvent = z.output<typeof comparisonEventSchema>;

export type NumberedEvent = { id: number; event: RunEvent };

/** How a run ended. `receipt` is null where it could not be settled, and then `failure` is set. */
export type RunEnd = { receipt: Receipt | null; answer: string; failure: Failure | null };

/** What ended a stored run, in words of the registry; null where it completed or was stopped. Spec 5.3, 5.4. */
export function failureOf(receipt: Receipt, retryAfter?: number | null): Failure | null {
  if (receipt.status === 'completed' || receipt.status === 'stopped') return null;
  // Stopped before the provider was asked: nothing was charged, and nothing failed.
  if (receipt.status === 'released' && receipt.error === null) return null;
  const code: ErrorCode = receipt.error !== null && isErrorCode(receipt.error) ? receipt.error : 'internal_error';
  const seconds = retryAfter ?? (registry[code][0] === 503 ? 5 : undefined);
  return new Failure(code, receipt.errorReason ?? undefined, { retryAfter: seconds, runId: receipt.runId });
}

export const START = 1;

/** The events that stand at the end of every stream. `after` is the last id that the follower has seen. */
export function* closingEvents(end: RunEnd, after: number, isAdmin: boolean): Generator<NumberedEvent> {
  const last = START + end.answer.length;
  const { receipt, failure } = end;
  if (receipt !== null && after <= last) {
    const { tokens, tokensUsed, estimated } = receipt;
    yield { id: last + 1, event: { type: 'usage', data: { tokens, tokensUsed, estimated } } };
  }
  const shown = receipt && showReceipt(receipt, isAdmin);
  if (failure !== null || shown === null) {
    const { code, message, status, extras } = failure ?? new Failure('internal_error');
    const { retryAfter } = extras;
    const data = { error: code, message, status, ...(retryAfter !== undefined && { retryAfter }), receipt: shown };
    yield { id: last + 2, event: { type: 'run.failed', data } };
  } else {
    const type = shown.status === 'completed' ? 'run.completed' : 'run.stopped';
    yield { id: last + 2, event: { type, data: shown } };
  }
}

/** The events of a visitor's run: the last one says how to sign up. */
export async function* withInvitation(
  events: AsyncIterable<NumberedEvent>,
  invitation: Invitation,
): AsyncGenerator<NumberedEvent> {
  for await (const { id, event } of events) {
    yield event.type === 'run.completed'
      ? { id, event: { ...event, data: { ...event.data, ...invitation } } }
      : { id, event };
  }
}
