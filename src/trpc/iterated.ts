// Outputs that come one after the other.
import { type TrackedEnvelope, tracked } from '@trpc/server';
import { z } from 'zod';

export const isIterated = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** Of what a procedure gives piece by piece; the pieces are not looked at. */
export const iteratedSchema = <T>() => z.custom<AsyncIterable<T>>(isIterated);

/** Events with the ids by which a broken stream is taken up again. */
export async function* trackedEvents<T>(
  events: AsyncIterable<{ id: string | number; event: T }>,
): AsyncGenerator<TrackedEnvelope<T>> {
  for await (const { id, event } of events) yield tracked(String(id), event);
}
