// Traces by OTLP, as a collector receives them.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readEnvironment } from '../../src/config/environment.ts';
import { all, call, events, type House, openHouse } from '../http/house.ts';

type Span = {
  name: string;
  kind: number;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  status: { code?: number };
  attributes: Record<string, unknown>;
};

/** A collector that keeps what it gets. */
async function startCollector() {
  const received: { path: string | undefined; key: string | undefined; text: string }[] = [];
  const server: Server = createServer(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    received.push({ path: request.url, key: request.headers['x-key']?.toString(), text });
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo; // of a server that listens on a port
  return { url: `http://127.0.0.1:${port}`, received, stop: () => new Promise((resolve) => server.close(resolve)) };
}

function read(value: Record<string, unknown>): unknown {
  const [[type, inner] = ['', undefined]] = Object.entries(value);
  if (type === 'arrayValue') return (inner as { values: Record<string, unknown>[] }).values.map(read); // as OTLP writes it
  return type === 'intValue' ? Number(inner) : inner;
}

function spansIn(text: string): Span[] {
  const { resourceSpans } = JSON.parse(text);
  return resourceSpans.flatMap(({ scopeSpans }: { scopeSpans: { spans: never[] }[] }) =>
    scopeSpans.flatMap(({ spans }) =>
      spans.map(
        (span: { attributes: { key: string; value: Record<string, unknown> }[] } & Omit<Span, 'attributes'>) => ({
          ...span,
          attributes: Object.fromEntries(span.attributes.map(({ key, value }) => [key, read(value)])),
        }),
      ),
    ),
  );
}

let house: House;
let collector: Awaited<ReturnType<typeof startCollector>>;
let spans: Span[];
const secret = 'zebra';
const traceId = '0af7651916cd43dd8448eb211c80319c';
let runId: string;

beforeAll(async () => {
  house = await openHouse();
  collector = await startCollector();
  const server = await house.another({
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%2Cb',
  });
  const path = '/api/v1/playground/run';
  const body = (input: string) => ({ package_id: 'haiku', model: 'gpt-4o-mini', input: `${secret} ${input}` });
  const { token } = house.ada;
  const done = await call(server.url, 'POST', path, {
    ...{ token, body: { ...body('rain'), temperature: 0.5 } },
    headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
  });
  runId = done.json.run_id;
  await call(server.url, 'POST', path, { token, body: body('[[sandbox: status=400]]') });
  await all(events(server.url, 'POST', path, { token, body: body('snow') }));
  await call(server.url, 'GET', '/nowhere');
  await server.close();
  spans = collector.received.flatMap(({ text }) => spansIn(text));
});
afterAll(async () => {
  expect(await house.audit()).toEqual([]);
  await house.close();
  await collector.stop();
});

const named = (name: string) => spans.filter((span) => span.name === name);

describe('traces (spec 11.4)', () => {
  it('go where the environment says, with its headers, all of them before the server has stopped', () => {
    expect(collector.received.length).toBeGreaterThan(0);
    for (const { path, key } of collector.received) expect([path, key]).toEqual(['/v1/traces', 'a,b']);
    expect(spans.map(({ name }) => name).sort()).toEqual(
      [
        ...Array(3).fill('POST /api/v1/playground/run'),
        ...['run', 'run', 'run', 'GET none'],
        ...Array(3).fill('chat gpt-4o-mini'),
      ].sort(),
    );
  });

  it("go on from the caller's, from the request to its run to the provider", () => {
    const [request] = named('POST /api/v1/playground/run').filter((span) => span.traceId === traceId);
    const [run] = named('run').filter((span) => span.traceId === traceId);
    const [chat] = named('chat gpt-4o-mini').filter((span) => span.traceId === traceId);
    expect([request?.parentSpanId, request?.kind]).toEqual(['b7ad6b7169203331', 2]);
    expect(run?.parentSpanId).toBe(request?.spanId);
    expect([chat?.parentSpanId, chat?.kind]).toEqual([run?.spanId, 3]);
    expect(run?.attributes).toMatchObject({
      'prpm.run.id': runId,
      'prpm.run.status': 'completed',
      'prpm.model': 'gpt-4o-mini',
    });
    expect(request?.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/api/v1/playground/run',
      'http.response.status_code': 200,
    });
  });

  it('name what a provider was asked and used by the gen_ai conventions', async () => {
    const [chat] = named('chat gpt-4o-mini').filter((span) => span.traceId === traceId);
    const [row] = await house.database.owner`
      select output_cap, input_tokens, output_tokens, cached_tokens, cache_write_tokens from runs where id = ${runId}`;
    expect(chat?.attributes).toEqual({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'openai',
      'gen_ai.request.model': 'gpt-4o-mini',
      'gen_ai.request.max_tokens': row?.output_cap,
      'gen_ai.request.temperature': 0.5,
      'gen_ai.usage.input_tokens': row?.input_tokens,
      'gen_ai.usage.output_tokens': row?.output_tokens,
      'gen_ai.usage.cache_read.input_tokens': row?.cached_tokens,
      'gen_ai.usage.cache_creation.input_tokens': row?.cache_write_tokens,
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.response.time_to_first_chunk': expect.any(Number),
    });
  });

  it('show what failed as an error, by its code', () => {
    const failed = spans.filter(({ status }) => status.code === 2);
    expect(failed.map(({ name, attributes }) => [name, attributes['error.type']]).sort()).toEqual([
      ['POST /api/v1/playground/run', '502'],
      ['chat gpt-4o-mini', 'provider_error'],
      ['run', 'provider_error'],
    ]);
  });

  it('have nothing of what people wrote, what models answered, or who they are', () => {
    const text = collector.received.map((one) => one.text).join('\n');
    for (const word of [secret, 'haiku', 'nowhere', house.ada.token, house.ada.userId, 'sandbox-openai']) {
      expect(text).not.toContain(word);
    }
  });
});

describe('their environment (spec 11.5)', () => {
  const environment = (variables: Record<string, string>) =>
    readEnvironment({ APP_DATABASE_URL: 'postgres://unused', ...variables });

  it('names a headers list that is none', () => {
    expect(environment({ OTEL_EXPORTER_OTLP_HEADERS: 'a=b, c=d%20e' }).OTEL_EXPORTER_OTLP_HEADERS).toEqual({
      a: 'b',
      c: 'd e',
    });
    for (const wrong of ['a', 'a=b=c', 'a=%zz', '=b'])
      expect(() => environment({ OTEL_EXPORTER_OTLP_HEADERS: wrong })).toThrow(
        /^OTEL_EXPORTER_OTLP_HEADERS has an entry/,
      );
  });
});
