import { PlaygroundError } from './error.ts';

/** How long the server may be away from what is followed, which itself goes on. */
const PATIENCE_MS = 60_000;

type Listener<Event> = {
  onData(value: { id: string; data: Event }): void;
  onConnectionStateChange(change: { state: string; error: unknown }): void;
  onError(error: unknown): void;
};
type Watched<Event> = {
  /** Follows from the event after `lastEventId` on, or from the beginning. */
  connect(lastEventId: string | undefined, listener: Listener<Event>): { unsubscribe(): void };
  isLast(event: Event): boolean;
  /** What is said when the server stays away. */
  lost: string;
  signal: AbortSignal | undefined;
};

/** Events, each once, across connections that break. */
export async function* watch<Event>(watched: Watched<Event>): AsyncGenerator<Event, void, undefined> {
  const { isLast, signal } = watched;
  signal?.throwIfAborted();
  let close = () => {};
  const events = new ReadableStream<Event>({
    start: (controller) => {
      close = subscribe(watched, {
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

type Reader<Event> = { tell(event: Event): void; fail(error: unknown): void };

/** Connects, and again whenever the connection breaks. Returns what ends it. */
function subscribe<Event>({ connect, lost: message }: Watched<Event>, { tell, fail }: Reader<Event>): () => void {
  let lastEventId: string | undefined;
  let lostAt: number | undefined;
  let attempts = 0;
  let again: ReturnType<typeof setTimeout> | undefined;

  const lost = (cause: unknown) => {
    subscription.unsubscribe();
    lostAt ??= Date.now();
    if (Date.now() - lostAt > PATIENCE_MS)
      return fail(new PlaygroundError({ error: 'connection_lost', message, status: 0 }, { cause }));
    again = setTimeout(
      () => {
        subscription = open();
      },
      Math.min(250 * 2 ** attempts++, 5_000),
    );
  };
  const open = () =>
    connect(lastEventId, {
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
    });
  let subscription = open();
  return () => {
    clearTimeout(again);
    subscription.unsubscribe();
  };
}
