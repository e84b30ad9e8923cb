import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TokenCounts } from '../../src/providers/provider.ts';
import { compose } from './answer.ts';
import { anthropic } from './anthropic.ts';
import { type Dialect, parseBody, Refused, type Reply } from './dialect.ts';
import { type Directives, readDirectives } from './directives.ts';
import { fixedAnswer } from './fixed.ts';
import { openai } from './openai.ts';
import { countInput, cutAnswer, filler, PromptCache } from './usage.ts';

export type Options = {
  /** 0 picks a free one. */
  port?: number;
  host?: string;
  /** Milliseconds to the first piece of text, and from each piece to the next. */
  firstTokenMs?: number;
  tokenMs?: number;
  /**
   * `composed` from the prompt and counted with o200k_base; `fixed`: always the same bytes, for benches: see fixed.ts.
   * Default: composed, but fixed where both times are 0.
   */
  answers?: 'composed' | 'fixed';
  /** Prompt prefixes shorter than this are not cached, as with the real providers. */
  cacheMinTokens?: number;
};

type Counters = {
  /** Requests that arrived, and how they ended; the rest are open. */
  calls: number;
  completed: number;
  /** Answered with an error status. */
  refused: number;
  /** The client closed the connection before the end. */
  aborted: number;
  /** We broke off, because a directive said so. */
  broken: number;
  /** Sums of what was reported. */
  tokens: TokenCounts;
};

export type StandIns = {
  url: string;
  /** As each SDK takes it. */
  anthropicBaseURL: string;
  openaiBaseURL: string;
  /** Live: the same object changes with each call. */
  calls: { anthropic: Counters; openai: Counters };
  /** Adds these directives to each of the next `times` calls, whatever their text; null ends it. */
  disturb(directives: Directives | null): void;
  stop(): Promise<void>;
};

/** Stand-ins for Anthropic and OpenAI on one port; any key that begins with `sandbox` is good. */
export async function startStandIns(options: Options = {}): Promise<StandIns> {
  const { port = 0, host = '127.0.0.1', firstTokenMs = 400, tokenMs = 25, cacheMinTokens = 1024 } = options;
  const answers = options.answers ?? (firstTokenMs === 0 && tokenMs === 0 ? 'fixed' : 'composed');
  const calls = { anthropic: counters(), openai: counters() };
  const cache = new PromptCache(cacheMinTokens);
  const timesByText = new Map<string, number>();
  let disturbance: Directives | null = null;
  let requests = 0;

  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (request.method === 'GET' && path === '/sandbox/calls') return json(response, 200, {}, calls);
    if (path === anthropic.path) return void answer(anthropic, calls.anthropic, request, response);
    if (path === openai.path) return void answer(openai, calls.openai, request, response);
    json(response, 404, {}, openai.error(404, `Unknown request URL: ${request.method} ${path}`, ''));
  });

  async function answer(dialect: Dialect, count: Counters, request: IncomingMessage, response: ServerResponse) {
    requests += 1;
    count.calls += 1;
    const id = `sandbox${requests.toString(16).padStart(12, '0')}`;
    const headers = dialect.headers(`req_${id}`);
    const gone = new AbortController();
    let endedByUs = false;
    response.on('close', () => {
      if (response.writableFinished || endedByUs) return;
      count.aborted += 1;
      gone.abort();
    });
    const refuse = (status: number, message: string, more: Record<string, string> = {}) => {
      count.refused += 1;
      json(response, status, { ...headers, ...more }, dialect.error(status, message, `req_${id}`));
    };
    const destroy = () => {
      endedByUs = true;
      count.broken += 1;
      response.destroy();
    };
    const complete = (reported: TokenCounts | null) => {
      count.completed += 1;
      if (reported) add(count.tokens, reported);
    };

    try {
      const body = await read(request);
      if (!dialect.key(request.headers)?.startsWith('sandbox')) {
        return refuse(401, 'invalid x-api-key: the sandbox takes any key that begins with "sandbox"');
      }
      if (answers === 'fixed' && disturbance === null) {
        const fixed = fixedAnswer(dialect, request.headers, body);
        if (fixed) {
          response.writeHead(200, { ...headers, ...(fixed.stream ? EVENT_STREAM : JSON_TYPE) }).end(fixed.bytes);
          return complete(fixed.usage);
        }
      }

      const ask = dialect.read(request.headers, parseBody(body));
      const input = ask.turns.findLast(({ role }) => role === 'user')?.text ?? '';
      const wanted = directives(input);
      const worded = (text: string) => (wanted.nul ? text.replaceAll(' ', ' \0') : text);
      if (wanted.status !== undefined && wanted.status !== 200) {
        const pause = wanted['retry-after'] ?? (wanted.status === 429 ? 20 : null);
        const retry = { 'x-should-retry': String(wanted.status === 429 || wanted.status >= 500) };
        return refuse(
          wanted.status,
          worded(wordsOf(wanted.status)),
          pause === null ? retry : { ...retry, 'retry-after': String(pause) },
        );
      }
      if (wanted.reset) return destroy();
      if (wanted.hang) return;

      const said = worded(wanted.tokens === undefined ? compose(ask.system, input) : filler(wanted.tokens));
      const { pieces, tokens: output, cut } = cutAnswer(said, ask.maxTokens);
      const counted = {
        input: await countInput(ask),
        output,
        ...(await cache.look(ask, dialect === openai ? 128 : 1)),
      };
      const usage = wanted['no-usage'] ? null : (wanted.usage ?? counted);
      const reply: Reply = { ask, id, created: Math.floor(Date.now() / 1000), pieces, cut, usage };
      const wait = async (ms: number) => {
        if (ms > 0) await sleep(ms, undefined, { signal: gone.signal });
      };

      if (!ask.stream) {
        await wait(wanted.slow ?? firstTokenMs);
        json(response, 200, headers, dialect.whole(reply));
        return complete(usage);
      }

      const write = writer(response, wanted.ragged ?? false, gone.signal);
      response.writeHead(200, { ...headers, ...EVENT_STREAM });
      await write(dialect.opening(reply));
      await wait(wanted.slow ?? firstTokenMs);
      for (const [i, piece] of pieces.entries()) {
        if (i > 0) await wait(wanted.pace ?? tokenMs);
        if (wanted.cut === i) return destroy();
        if (i === 3 && (wanted['error-mid-stream'] || wanted.malformed)) {
          count.broken += 1;
          await write(wanted.malformed ? dialect.malformed : dialect.broken(`req_${id}`));
          return response.end();
        }
        await write(dialect.piece(reply, piece));
      }
      if (wanted.cut !== undefined) return destroy();
      await write(dialect.closing(reply));
      response.end();
      complete(ask.wantsUsage ? usage : null);
    } catch (error) {
      if (gone.signal.aborted) return; // the client has gone, and was counted
      if (error instanceof Refused) refuse(error.status, error.message);
      else refuse(500, error instanceof Error ? error.message : 'Internal server error');
    }
  }

  /** What the text asks for and what disturb() added, as long as their `times` last. */
  function directives(input: string): Directives {
    let wanted: Directives;
    try {
      wanted = readDirectives(input);
    } catch (error) {
      throw new Refused(400, error instanceof Error ? error.message : String(error));
    }
    if (wanted.times !== undefined) {
      const before = timesByText.get(input) ?? 0;
      timesByText.set(input, before + 1);
      if (before >= wanted.times) wanted = {};
    }
    if (disturbance === null) return wanted;
    const { times = Number.POSITIVE_INFINITY, ...more } = disturbance;
    disturbance = times > 1 ? { ...disturbance, times: times - 1 } : null;
    return { ...wanted, ...more };
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const address = server.address();
  const url = `http://${host}:${typeof address === 'object' && address ? address.port : port}`;
  return {
    url,
    anthropicBaseURL: url,
    openaiBaseURL: `${url}/v1`,
    calls,
    disturb: (directives) => {
      disturbance = directives;
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const EVENT_STREAM = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' };
const JSON_TYPE = { 'content-type': 'application/json' };

function counters(): Counters {
  const tokens = { input: 0, cached: 0, cacheWrite: 0, output: 0 };
  return { calls: 0, completed: 0, refused: 0, aborted: 0, broken: 0, tokens };
}

function add(sum: TokenCounts, more: TokenCounts): void {
  sum.input += more.input;
  sum.cached += more.cached;
  sum.cacheWrite += more.cacheWrite;
  sum.output += more.output;
}

/** The providers' words for a status; for 400 with what must not reach a user. */
function wordsOf(status: number): string {
  if (status === 400) {
    return 'messages.0: this input was refused (request req_0sandbox1234, key sk-ant-sandbox-0123456789, see https://sandbox.example/errors)';
  }
  if (status === 401) return 'invalid x-api-key';
  if (status === 403) return 'Your credentials may not use this model.';
  if (status === 429) return 'This request would exceed your rate limit.';
  if (status === 529) return 'Overloaded';
  return status >= 500 ? 'Internal server error' : 'The request was refused.';
}

function read(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const read: Buffer[] = [];
    request.on('data', (bytes: Buffer) => read.push(bytes));
    request.on('end', () => resolve(Buffer.concat(read).toString('utf8')));
    request.on('error', reject);
  });
}

function json(response: ServerResponse, status: number, headers: Record<string, string>, body: object): void {
  response.writeHead(status, { ...headers, ...JSON_TYPE }).end(JSON.stringify(body));
}

/** Writes text; if ragged, in portions of seven bytes. */
function writer(response: ServerResponse, ragged: boolean, gone: AbortSignal) {
  return async (text: string): Promise<void> => {
    const bytes = Buffer.from(text);
    const step = ragged ? 7 : bytes.length;
    for (let i = 0; i < bytes.length; i += step) {
      gone.throwIfAborted();
      // Handed to the system before we go on, so that a connection that is then destroyed has delivered it.
      await new Promise((resolve) => response.write(bytes.subarray(i, i + step), resolve));
    }
  };
}
