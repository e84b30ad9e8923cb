// Answers that are made faster than they are taken.
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { tracked } from '@trpc/server';
import { describe, expect, it } from 'vitest';
import { sendExport, sendPieces } from '../../src/http/download.ts';
import { sendEvents } from '../../src/http/sse.ts';

const STALLS = 30;
/** More than a response takes before it asks to wait. */
const MUCH = 'x'.repeat(100_000);

/** A client that reads on and on, and all that came; rejects where it is hung up on. */
async function received(answer: (outgoing: ServerResponse) => Promise<void>): Promise<string> {
  const server = createServer((_, outgoing) => void answer(outgoing));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get({ port, host: '127.0.0.1', agent: false }, resolve).once('error', reject);
    });
    let text = '';
    for await (const piece of response.setEncoding('utf8')) text += piece;
    return text;
  } finally {
    server.close();
  }
}

const listeners = (outgoing: ServerResponse) =>
  ['drain', 'close', 'error'].map((name) => outgoing.listenerCount(name)).reduce((sum, count) => sum + count);

const failed = () => ({ type: 'run.failed', data: {} });
const ways = {
  'a stream of events': (outgoing: ServerResponse, each: () => unknown) => {
    async function* events() {
      for (let n = 1; n <= STALLS; n += 1) {
        yield tracked(String(n), { type: 'output.delta', data: { text: MUCH } });
        await each();
      }
    }
    return sendEvents(outgoing, events(), {}, failed);
  },
  'an export': (outgoing: ServerResponse, each: () => unknown) => {
    async function* pages() {
      for (let n = 1; n <= STALLS; n += 1) {
        yield { part: `table_${n}`, rows: JSON.stringify([MUCH]) };
        await each();
      }
    }
    return sendExport(outgoing, pages(), {}, 'export.json');
  },
  'a file in pieces': (outgoing: ServerResponse, each: () => unknown) => {
    const piece = { filename: 'session.md', contentType: 'text/markdown', content: MUCH };
    const next = async (cursor: string) => {
      await each();
      return { ...piece, nextCursor: Number(cursor) < STALLS ? String(Number(cursor) + 1) : null };
    };
    return sendPieces(outgoing, { ...piece, nextCursor: '2' }, next, {});
  },
};

describe.each(Object.entries(ways))('%s', (_, send) => {
  it('that stalls again and again leaves no listeners behind', async () => {
    const counts: number[] = [];
    let stalls = 0;
    const text = await received((outgoing) => {
      outgoing.on('drain', () => {
        stalls += 1;
      });
      return send(outgoing, () => counts.push(listeners(outgoing)));
    });
    expect(text.length).toBeGreaterThanOrEqual(STALLS * MUCH.length);
    expect(stalls).toBeGreaterThanOrEqual(STALLS - 1);
    expect(counts.length).toBeGreaterThanOrEqual(STALLS - 1);
    expect(new Set(counts)).toEqual(new Set([counts[0]]));
  });

  it('whose reader has hung up meanwhile comes to an end', async () => {
    let over: Promise<void> | undefined;
    let outgoing: ServerResponse | undefined;
    const reading = received((response) => {
      outgoing = response;
      over = send(response, () => response.closed || once(response.destroy(), 'close'));
      return over;
    });
    await expect(reading).rejects.toThrow();
    await over;
    expect(outgoing?.destroyed).toBe(true);
  });
});
