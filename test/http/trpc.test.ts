import { createTRPCClient, httpBatchLink, httpSubscriptionLink, splitLink } from '@trpc/client';
import { afterAll, describe, expect, it } from 'vitest';
import type { AppRouter } from '../../src/trpc/_app.ts';
import { call, openHouse, until } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());

const headers = { authorization: `Bearer ${house.ada.token}` };
const client = createTRPCClient<AppRouter>({
  links: [
    splitLink({
      condition: (operation) => operation.type === 'subscription',
      true: httpSubscriptionLink({ url: `${house.url}/trpc`, EventSource: eventSource() }),
      false: httpBatchLink({ url: `${house.url}/trpc`, headers }),
    }),
  ],
});

/** Node has no EventSource without a flag; this is as much of one as the link uses, with our header. */
function eventSource() {
  return class extends EventTarget {
    static readonly CONNECTING = 0;
    static readonly OPEN = 1;
    static readonly CLOSED = 2;
    readonly CONNECTING = 0;
    readonly OPEN = 1;
    readonly CLOSED = 2;
    readonly withCredentials = false;
    readonly url: string;
    readyState = 0;
    onopen = null;
    onmessage = null;
    onerror = null;
    readonly #end = new AbortController();

    constructor(url: string | URL) {
      super();
      this.url = String(url);
      void this.#read();
    }
    close() {
      this.readyState = 2;
      this.#end.abort();
    }
    async #read() {
      try {
        const response = await fetch(this.url, {
          headers: { ...headers, accept: 'text/event-stream' },
          signal: this.#end.signal,
        });
        this.readyState = 1;
        this.dispatchEvent(new Event('open'));
        let rest = '';
        for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
          const blocks = (rest + piece).split('\n\n');
          rest = blocks.pop() ?? '';
          for (const block of blocks) {
            const fields = new Map(
              block
                .split('\n')
                .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]),
            );
            const init = { data: fields.get('data') ?? '', lastEventId: fields.get('id') ?? '' };
            if (fields.has('data')) this.dispatchEvent(new MessageEvent(fields.get('event') ?? 'message', init));
          }
        }
      } catch {
        this.dispatchEvent(new Event('error'));
      }
    }
  };
}

describe('the typed client', () => {
  it('starts a run, follows it to its last event, and reads it', async () => {
    const { runId, isNew } = await client.runs.start.mutate({
      packageId: 'haiku',
      input: 'hello',
      idempotencyKey: 'typed',
    });
    expect(isNew).toBe(true);
    const seen: { id: string; type: string }[] = [];
    let text = '';
    await new Promise<void>((resolve, reject) => {
      const subscription = client.runs.stream.subscribe(
        { runId },
        {
          onData: ({ id, data }) => {
            seen.push({ id, type: data.type });
            if (data.type === 'output.delta') text += data.data.text;
            if (data.type !== 'run.completed') return;
            subscription.unsubscribe();
            resolve();
          },
          onError: reject,
        },
      );
    });
    expect(seen[0]?.type).toBe('run.created');
    expect(seen.slice(-2).map(({ type }) => type)).toEqual(['usage', 'run.completed']);
    const read = await client.runs.read.query({ runId });
    expect(read).toMatchObject({ status: 'completed', response: text, question: 'hello' });
    expect(
      await client.runs.start.mutate({ packageId: 'haiku', input: 'hello', idempotencyKey: 'typed' }),
    ).toMatchObject({ runId, isNew: false });
  });

  it('runs to its end a run that nobody follows (spec 5.2)', async () => {
    await house.database.owner`update settings set abandon_after_ms = 0`;
    const { runId } = await client.runs.start.mutate({
      packageId: 'haiku',
      input: 'alone [[sandbox: tokens=30 pace=10]]',
    });
    await until(async () => (await client.runs.read.query({ runId })).status === 'completed');
    await house.database.owner`update settings set abandon_after_ms = 10000`;
  });

  it('gets errors as codes with the same problem as HTTP, and never a stack', async () => {
    await expect(client.runs.execute.mutate({ packageId: 'nowhere', input: 'x' })).rejects.toMatchObject({
      message: 'There is no package nowhere.',
      data: { code: 'NOT_FOUND', httpStatus: 404, problem: { error: 'package_not_found', status: 404 } },
    });
    const { text, status } = await call(house.url, 'POST', '/trpc/runs.execute', {
      token: house.ada.token,
      body: { input: 7 },
    });
    expect(status).toBe(400);
    expect(text).toContain('validation_error');
    expect(text).not.toMatch(/stack|node_modules|\.ts:/);
  });

  it('finds what was refused inside of an answer where it asks for that, which changes nothing of the HTTP interface', async () => {
    const inside = { 'trpc-errors': 'inside' };
    const gone = '/trpc/catalog.packages.read?input={"packageId":"nowhere"}';
    const told = await call(house.url, 'GET', gone, { headers: inside });
    expect([told.status, told.json.error.data.httpStatus]).toEqual([207, 404]);
    expect((await call(house.url, 'GET', gone)).status).toBe(404);
    expect((await call(house.url, 'GET', '/api/v1/packages/nowhere', { headers: inside })).status).toBe(404);
  });

  it('is told who is asked for, and that NUL is no text', async () => {
    const nobody = await call(house.url, 'GET', '/trpc/credits.balance');
    expect([nobody.status, nobody.json.error.data.problem.error]).toEqual([401, 'authentication_required']);
    await expect(client.catalog.packages.search.query({ query: 'a\0b' })).rejects.toMatchObject({
      data: { problem: { error: 'validation_error', errors: [{ field: 'query' }] } },
    });
  });

  it('cannot send more than 256 kB', async () => {
    const { status, json } = await call(house.url, 'POST', '/trpc/runs.execute', {
      token: house.ada.token,
      body: { input: 'x'.repeat(300_000) },
    });
    expect([status, json.error]).toEqual([413, 'request_too_long']);
  });
});
