import type { TRPCClient } from '@trpc/client';
import { PlaygroundError } from './error.ts';
import { isLast } from './run.ts';
import { newKey, start } from './start.ts';
import type { AppRouter, CompareAsk, ComparisonEvent, Receipt } from './types.ts';
import { watch } from './watch.ts';

/** Of each side text as it is made, then its receipt, or why it failed. Sides are numbered from 1, as they were asked for. */
export type ComparisonPart =
  | { type: 'delta'; side: number; text: string }
  | { type: 'receipt'; side: number; receipt: Receipt }
  | { type: 'failure'; side: number; error: PlaygroundError };

export type CompareOptions = {
  /** Stops all sides that go on; each still ends with its receipt. */
  signal?: AbortSignal | undefined;
  /** The same key and request give the same comparison, charged once. Made anew where left out. */
  idempotencyKey?: string | undefined;
  /** Told that all have begun. */
  onStart?: ((comparison: Begun) => void) | undefined;
  /** Told of each side what it runs, and what it may cost at most. */
  onSide?: ((side: Extract<ComparisonEvent, { type: 'run.created' }>['data']) => void) | undefined;
};

type Begun = Extract<ComparisonEvent, { type: 'comparison.created' }>['data'];
type Api = TRPCClient<AppRouter>;

export async function* compareSides(
  api: Api,
  ask: CompareAsk,
  { signal, idempotencyKey = newKey(), onStart, onSide }: CompareOptions = {},
): AsyncGenerator<ComparisonPart, void, undefined> {
  signal?.throwIfAborted();
  const begun = await start(() => api.runs.comparisons.start.mutate({ ...ask, idempotencyKey }));
  const open = new Map(begun.sides.map(({ side, runId }) => [side, runId]));

  // Where this fails the runs end by themselves: nobody follows them, or they come to their end.
  const stop = () =>
    Promise.all([...open.values()].map((runId) => api.runs.stop.mutate({ runId }).catch(() => undefined)));
  signal?.addEventListener('abort', stop, { once: true });
  if (signal?.aborted) void stop();
  let isLeft = true;
  try {
    for await (const event of watchComparison(api, begun.comparisonId)) {
      if (event.type === 'comparison.created') onStart?.(event.data);
      if (event.type === 'run.created') onSide?.(event.data);
      if (event.type === 'output.delta') yield { type: 'delta', side: event.data.side, text: event.data.text };
      if (!isLast(event)) continue;
      open.delete(event.data.side);
      isLeft = open.size > 0;
      yield lastPart(event);
    }
  } catch (error) {
    isLeft = false;
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    if (isLeft) await stop();
  }
}

type LastEvent = Extract<ComparisonEvent, { type: 'run.completed' | 'run.stopped' | 'run.failed' }>;

function lastPart(event: LastEvent): ComparisonPart {
  if (event.type === 'run.failed') {
    const { side, ...failed } = event.data;
    return { type: 'failure', side, error: PlaygroundError.ofRun(failed) };
  }
  const { side, ...receipt } = event.data;
  return { type: 'receipt', side, receipt };
}

/** The comparison's events, each once, across connections that break, to the last side's last. */
export function watchComparison(
  api: Api,
  comparisonId: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<ComparisonEvent, void, undefined> {
  let open = 0;
  return watch<ComparisonEvent>({
    connect: (lastEventId, listener) => api.runs.comparisons.stream.subscribe({ comparisonId, lastEventId }, listener),
    isLast: (event) => {
      if (event.type === 'comparison.created') open = event.data.sides.length;
      if (isLast(event)) open -= 1;
      return open === 0;
    },
    lost: `The connection to comparison ${comparisonId} was lost. It goes on: read it later, by its id.`,
    signal,
  });
}
