import type { TRPCClient } from '@trpc/client';
import { PlaygroundError } from './error.ts';
import { newKey, start } from './start.ts';
import type { AppRouter, Ask, Receipt, RunEvent } from './types.ts';
import { watch } from './watch.ts';

/** Text as it is made, then the receipt. */
export type Part = { type: 'delta'; text: string } | { type: 'receipt'; receipt: Receipt };

export type RunOptions = {
  /** Stops the run, which still ends with its receipt: what was made by then is charged. */
  signal?: AbortSignal | undefined;
  /** The same key and request give the same run, charged once. Made anew where left out. */
  idempotencyKey?: string | undefined;
  /** Told that the run has begun, and what it may cost at most. */
  onStart?: ((run: Created) => void) | undefined;
};

type Created = Extract<RunEvent, { type: 'run.created' }>['data'];
type Api = TRPCClient<AppRouter>;
export type Follow = (
  runId: string,
  options?: { signal?: AbortSignal | undefined },
) => AsyncGenerator<RunEvent, void, undefined>;

export async function* runPackage(
  api: Api,
  follow: Follow,
  ask: Ask,
  { signal, idempotencyKey = newKey(), onStart }: RunOptions = {},
): AsyncGenerator<Part, void, undefined> {
  signal?.throwIfAborted();
  const { runId } = await start(() => api.runs.start.mutate({ ...ask, idempotencyKey }));

  // Where this fails the run ends by itself: nobody follows it, or it comes to its end.
  const stop = () => api.runs.stop.mutate({ runId }).catch(() => undefined);
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) void stop();
  let isLeft = true;
  try {
    for await (const event of follow(runId)) {
      if (event.type === 'run.created') onStart?.(event.data);
      if (event.type === 'output.delta') yield { type: 'delta', text: event.data.text };
      if (!isLast(event)) continue;
      isLeft = false;
      if (event.type !== 'run.failed') yield { type: 'receipt', receipt: event.data };
      else throw PlaygroundError.ofRun(event.data);
    }
  } catch (error) {
    isLeft = false;
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    if (isLeft) await stop();
  }
}

/** The run's events, each once, across connections that break. */
export function watchRun(
  api: Api,
  runId: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<RunEvent, void, undefined> {
  return watch<RunEvent>({
    connect: (lastEventId, listener) => api.runs.stream.subscribe({ runId, lastEventId }, listener),
    isLast,
    lost: `The connection to run ${runId} was lost. Read it later, by its id: a run that nobody follows is soon stopped and charged for what it had delivered.`,
    signal,
  });
}

export const isLast = <Event extends { type: string }>(
  event: Event,
): event is Extract<Event, { type: 'run.completed' | 'run.stopped' | 'run.failed' }> =>
  event.type === 'run.completed' || event.type === 'run.stopped' || event.type === 'run.failed';
