import { once } from 'node:events';
import type { ServerResponse } from 'node:http';

/** Writes a piece of an answer. Resolves when more can be taken, or nothing any more: then `outgoing` is destroyed. */
export async function write(outgoing: ServerResponse, text: string): Promise<void> {
  if (outgoing.write(text) || outgoing.destroyed) return;
  // Whichever comes first takes the listeners of the other along: an answer can stall thousands of times.
  const over = new AbortController();
  const { signal } = over;
  try {
    await Promise.race([once(outgoing, 'drain', { signal }), once(outgoing, 'close', { signal })]);
  } finally {
    over.abort();
  }
}
