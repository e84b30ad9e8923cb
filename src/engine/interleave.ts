/**
 * Items of all sources as they come, each with its source's place. Where the reader leaves, `leave` has to make sources that
 * wait for something end.
 */
export async function* interleave<T>(
  sources: readonly AsyncIterable<T>[],
  leave: () => void,
): AsyncGenerator<[place: number, item: T], void, undefined> {
  const readers = sources.map((source) => source[Symbol.asyncIterator]());
  const read = async (place: number) => ({ place, next: await readers[place]?.next() });
  const waiting = new Map(readers.map((_, place) => [place, read(place)]));
  try {
    while (waiting.size > 0) {
      const { place, next } = await Promise.race(waiting.values());
      waiting.delete(place);
      if (next === undefined || next.done) continue;
      waiting.set(place, read(place)); // last, so that who talks much leaves a turn to the others
      yield [place, next.value];
    }
  } finally {
    leave();
    for (const one of waiting.values()) one.catch(() => undefined);
    for (const reader of readers) reader.return?.().catch(() => undefined);
  }
}
