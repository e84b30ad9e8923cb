import type { ServerResponse } from 'node:http';
import type { TrackedEnvelope } from '@trpc/server';
import { snakeCase } from '../names.ts';
import { write } from './write.ts';

const PING_MS = 15_000;

/** `no-transform` and x-accel-buffering keep proxies from collecting what is meant to arrive as it is made. */
const STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
};

/** An event of a run or of a comparison. */
export type StreamedEvent = { type: string; data: object };

/** Writes events as server-sent events, with a comment every 15 s, until they or the connection end. Spec 5.2. */
export async function sendEvents(
  outgoing: ServerResponse,
  events: AsyncIterable<TrackedEnvelope<StreamedEvent>>,
  headers: Record<string, string>,
  failed: (error: unknown) => StreamedEvent,
): Promise<void> {
  outgoing.writeHead(200, { ...STREAM_HEADERS, ...headers });
  outgoing.flushHeaders();
  const ping = setInterval(() => outgoing.write(': ping\n\n'), PING_MS);
  try {
    for await (const [id, { type, data }] of events) {
      if (outgoing.destroyed) break;
      await write(outgoing, `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(snakeCase(data))}\n\n`);
    }
  } catch (error) {
    const { type, data } = failed(error);
    outgoing.write(`event: ${type}\ndata: ${JSON.stringify(data)}\n\n`);
  } finally {
    clearInterval(ping);
    outgoing.end();
  }
}
