import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { leanFetch } from '../../src/providers/fetch.ts';
import { until } from './asking.ts';

let server: Server;
let url: string;
let connections = 0;
let closed = 0;

const ANSWERS: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
  '/echo': (request, response) => {
    response.setHeader('x-method', request.method ?? '').setHeader('x-length', request.headers['content-length'] ?? '');
    request.pipe(response);
  },
  '/never': () => undefined,
  '/begins': (_request, response) => void response.write('a beginning'),
  '/large': (_request, response) => void response.end(Buffer.alloc(8_000_000, 'x')),
  '/refused': (_request, response) => void response.writeHead(418, { 'x-why': 'tea' }).end('x'.repeat(1_000_000)),
  '/cut': (_request, response) => void response.writeHead(200).write('half', () => response.destroy()),
  '/headers': (_request, response) => void response.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end(),
};

beforeAll(async () => {
  server = createServer((request, response) => {
    response.on('close', () => {
      if (!response.writableFinished) closed += 1;
    });
    ANSWERS[request.url ?? '']?.(request, response);
  });
  server.on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

test('a request’s text and an answer’s status, headers and text go through', async () => {
  const response = await leanFetch(`${url}/echo`, { method: 'POST', body: 'Grüße 😀', headers: { 'x-a': 'b' } });
  expect(response.ok).toBe(true);
  expect([response.headers.get('x-method'), response.headers.get('x-length')]).toEqual(['POST', '12']);
  expect(await response.text()).toBe('Grüße 😀');
});

test('an error’s text is read up to 64 kB', async () => {
  const response = await leanFetch(`${url}/refused`);
  expect([response.ok, response.status, response.headers.get('x-why')]).toEqual([false, 418, 'tea']);
  expect((await response.text()).length).toBe(64 * 1024);
});

test('a slow reader gets all of a large answer', async () => {
  const { body } = await leanFetch(`${url}/large`);
  let bytes = 0;
  for await (const piece of body ?? []) {
    bytes += piece.length;
    if (bytes < 1_000_000) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(bytes).toBe(8_000_000);
});

test('an answer that is cut off is an error, after what had come', async () => {
  const { body } = await leanFetch(`${url}/cut`);
  let text = '';
  const reading = (async () => {
    for await (const piece of body ?? []) text += Buffer.from(piece).toString();
  })();
  await expect(reading).rejects.toThrow();
  expect(text).toBe('half');
});

test('headers above 16 kB are an error', async () => {
  await expect(leanFetch(`${url}/headers`)).rejects.toThrow(/header/i);
});

test('an address that nobody listens on is an error', async () => {
  await expect(leanFetch('http://127.0.0.1:1/')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

describe('aborting', () => {
  const reason = new Error('enough');

  test('before the request sends none', async () => {
    const before = connections;
    await expect(leanFetch(`${url}/echo`, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(connections).toBe(before);
  });

  test('before the answer closes the connection, and gives the signal’s reason', async () => {
    const before = closed;
    const stop = new AbortController();
    const response = leanFetch(`${url}/never`, { signal: stop.signal });
    setTimeout(() => stop.abort(reason), 30);
    await expect(response).rejects.toBe(reason);
    await until(() => closed === before + 1);
  });

  test('in the middle of an answer does so too', async () => {
    const before = closed;
    const stop = new AbortController();
    const { body } = await leanFetch(`${url}/begins`, { signal: stop.signal });
    const reading = (async () => {
      for await (const piece of body ?? []) {
        expect(Buffer.from(piece).toString()).toBe('a beginning');
        stop.abort(reason);
      }
    })();
    await expect(reading).rejects.toBe(reason);
    await until(() => closed === before + 1);
  });

  test('after the answer does nothing', async () => {
    const stop = new AbortController();
    const response = await leanFetch(`${url}/echo`, { method: 'POST', body: 'x', signal: stop.signal });
    expect(await response.text()).toBe('x');
    stop.abort(reason);
  });
});

describe('connections', () => {
  test('are used again', async () => {
    await (await leanFetch(`${url}/echo`, { method: 'POST', body: 'x' })).text();
    const before = connections;
    for (let i = 0; i < 5; i += 1) await (await leanFetch(`${url}/echo`, { method: 'POST', body: 'x' })).text();
    expect(connections).toBe(before);
  });

  test('are closed when a reader leaves an answer that does not end', async () => {
    const before = closed;
    const { body } = await leanFetch(`${url}/begins`);
    for await (const _piece of body ?? []) break;
    await until(() => closed === before + 1);
  });
});
