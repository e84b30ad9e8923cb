import type { TRPCClient } from '@trpc/client';
import { PlaygroundError } from './error.ts';
import type { AppRouter, Ask, Receipt, RunEvent } from './types.ts';

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

/** How often a start is sent when no answer comes; its key makes it one run. */
const STARTS = 4;
/** How long the server may be away from a run that is followed. The run itself goes on. */
const PATIENCE_MS = 60_000;

export async function* runPackage(
  api: Api,
  follow: Follow,
  ask: Ask,
  { signal, idempotencyKey = newKey(), onStart }: RunOptions = {},
): AsyncGenerator<Part, void, undefined> {
  signal?.throwIfAborted();
  const { runId } = await start(api, { ...ask, idempotencyKey });

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
      else {
        const { receipt, ...problem } = event.data;
        throw new PlaygroundError(problem, { receipt });
      }
    }
  } catch (error) {
    isLeft = false;
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    if (isLeft) await stop();
  }
}

async function start(api: Api, ask: Ask & { idempotencyKey: string }) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await api.runs.start.mutate(ask);
    } catch (error) {
      const failure = PlaygroundError.from(error);
      const mayPass = failure.problem.status === 0 || failure.code === 'shutting_down';
      if (!mayPass || attempt === STARTS) throw failure;
      await new Promise((resolve) => setTimeout(resolve, 250 * attempt));
    }
  }
}

/** The run's events, each once, across connections that break. */
export async function* watchRun(
  api: Api,
  runId: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<RunEvent, void, undefined> {
  signal?.throwIfAborted();
  let close = () => {};
  const events = new ReadableStream<RunEvent>({
    start: (controller) => {
      close = subscribe(api, runId, {
        tell: (event) => controller.enqueue(event),
        fail: (error) => controller.error(PlaygroundError.from(error)),
      });
      signal?.addEventListener('abort', () => controller.error(signal.reason), { once: true });
    },
  }).getReader();
  try {
    for (;;) {
      const { value: event, done } = await events.read();
      if (done) return;
      yield event;
      if (isLast(event)) return;
    }
  } finally {
    close();
  }
}

type Listener = { tell(event: RunEvent): void; fail(error: unknown): void };

/** Connects, and again whenever the connection breaks. Returns what ends it. */
function subscribe(api: Api, runId: string, { tell, fail }: Listener): () => void {
  let lastEventId: string | undefined;
  let lostAt: number | undefined;
  let attempts = 0;
  let again: ReturnType<typeof setTimeout> | undefined;

  const lost = (cause: unknown) => {
    subscription.unsubscribe();
    lostAt ??= Date.now();
    if (Date.now() - lostAt > PATIENCE_MS) {
      const message = `The connection to run ${runId} was lost. The run goes on: read it later, by its id.`;
      return fail(new PlaygroundError({ error: 'connection_lost', message, status: 0 }, { cause }));
    }
    again = setTimeout(
      () => {
        subscription = connect();
      },
      Math.min(250 * 2 ** attempts++, 5_000),
    );
  };
  const connect = () =>
    api.runs.stream.subscribe(
      { runId, lastEventId },
      {
        // Not left to EventSource, which waits three seconds, and gives up where a proxy answers for a server that is away.
        onConnectionStateChange: ({ state, error }) => {
          if (state === 'connecting' && error !== null) lost(error);
        },
        onData: ({ id, data }) => {
          lastEventId = id;
          lostAt = undefined;
          attempts = 0;
          tell(data);
        },
        onError: (error) => {
          if (PlaygroundError.from(error).problem.status === 0) lost(error);
          else fail(error);
        },
      },
    );
  let subscription = connect();
  return () => {
    clearTimeout(again);
    subscription.unsubscribe();
  };
}

const isLast = (event: RunEvent) =>
  event.type === 'run.completed' || event.type === 'run.stopped' || event.type === 'run.failed';

/** Not randomUUID, which a page that is not served by https lacks. */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('-');
}
