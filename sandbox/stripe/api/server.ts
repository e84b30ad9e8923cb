import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../errors.ts';
import { newId } from '../ids.ts';
import type { Json } from '../wire.ts';
import type { World } from '../world.ts';
import { expand } from './expand.ts';
import { Faults } from './faults.ts';
import { readForm } from './form.ts';
import { Idempotency } from './idempotency.ts';
import { Limiter } from './limiter.ts';
import { findRoute } from './route.ts';
import { routes } from './routes.ts';

export type Request = {
  method: string;
  path: string;
  query: string;
  headers: { authorization?: string | undefined; key?: string | undefined; version?: string | undefined };
  body: string;
};
export type Answer = { status: number; headers: Record<string, string>; body: string };

/** One call of the API, as it came and was answered; status 0: the connection was broken. */
export type Call = {
  method: string;
  path: string;
  parameters: Json;
  key: string | null;
  version: string | null;
  status: number;
  replayed: boolean;
};

const MOST_CALLS = 10_000;

/** Stripe's API: what it answers to a request; null breaks the connection. */
export class Api {
  readonly faults = new Faults();
  readonly limiter = new Limiter();
  readonly calls: Call[] = [];
  readonly #world: World;
  readonly #secretKey: string;
  readonly #nowMs: () => number;
  readonly #idempotency = new Idempotency();

  constructor(world: World, secretKey: string, nowMs: () => number) {
    this.#world = world;
    this.#secretKey = secretKey;
    this.#nowMs = nowMs;
  }

  async answer(request: Request): Promise<Answer | null> {
    const requestId = newId('req', 14);
    const parameters = { ...readForm(request.query), ...readForm(request.body) };
    const call: Call = {
      method: request.method,
      path: request.path,
      parameters,
      key: request.headers.key ?? null,
      version: request.headers.version ?? null,
      status: 0,
      replayed: false,
    };
    this.calls.push(call);
    if (this.calls.length > MOST_CALLS) this.calls.shift();
    const { faults } = this;
    const fault = faults.take(request.method, request.path);
    if (faults.delayMs > 0 && fault?.how === 'network') await sleep(faults.delayMs);
    if (fault?.how === 'network') return null;

    let answer: Answer;
    try {
      this.#admit(request);
      answer = await this.#once(request, requestId, () => {
        if (typeof fault?.how === 'number') throw injected(fault.how, fault.keep);
        return this.#perform(request, parameters, requestId);
      });
    } catch (error) {
      answer = answerOf(error, requestId);
    }
    if (fault?.how === 'after') return null;
    call.status = answer.status;
    call.replayed = 'idempotent-replayed' in answer.headers;
    answer.headers['stripe-version'] = request.headers.version ?? this.#world.settings.apiVersion;
    if (request.headers.key !== undefined) answer.headers['idempotency-key'] = request.headers.key;
    return answer;
  }

  #admit({ headers: { authorization = '' } }: Request): void {
    const [scheme = '', value = ''] = authorization.split(' ');
    const isBasic = scheme.toLowerCase() === 'basic';
    const key = isBasic ? Buffer.from(value, 'base64').toString('utf8').split(':')[0] : value;
    if (key === this.#secretKey) {
      if (this.limiter.admits()) return;
      const message = 'Request rate limit exceeded. Learn more at https://stripe.com/docs/rate-limits';
      throw new ApiError(429, message, { code: 'rate_limit', began: false });
    }
    const shown = key ? `${key.slice(0, 8)}${'*'.repeat(8)}` : '';
    const message = key
      ? `Invalid API Key provided: ${shown}`
      : 'You did not provide an API key. You need to provide your API key in the Authorization header.';
    throw new ApiError(401, message, { began: false });
  }

  /** With an idempotency key: carried out once, and answered the same again. */
  async #once(request: Request, requestId: string, perform: () => Json): Promise<Answer> {
    const { key } = request.headers;
    const delay = async () => {
      if (this.faults.delayMs > 0) await sleep(this.faults.delayMs);
    };
    if (key === undefined || request.method !== 'POST') {
      await delay();
      return good(perform(), requestId);
    }
    const { state } = this.#world;
    const fingerprint = `${request.method} ${request.path} ${request.body}`;
    const kept = this.#idempotency.begin(state, key, fingerprint, this.#nowMs());
    if (kept) {
      const headers = { 'request-id': requestId, 'idempotent-replayed': 'true', 'original-request': kept.requestId };
      return { status: kept.status, headers, body: kept.body };
    }
    let answer: Answer;
    let isKept = true;
    try {
      await delay();
      answer = good(perform(), requestId);
    } catch (error) {
      answer = answerOf(error, requestId);
      isKept = !(error instanceof ApiError) || error.began;
    }
    const { status, body } = answer;
    this.#idempotency.end(state, key, isKept ? { fingerprint, status, body, requestId, at: this.#nowMs() } : null);
    return answer;
  }

  #perform(request: Request, parameters: Json, requestId: string): Json {
    const found = findRoute(routes, request.method, request.path);
    if (!found) {
      const message = `Unrecognized request URL (${request.method}: ${request.path}).`;
      throw new ApiError(404, `${message} The sandbox may not have it.`, { began: false });
    }
    this.#world.request = { id: requestId, key: request.headers.key ?? null };
    try {
      const { object, expand: paths } = found.route.answer(this.#world, found.id, parameters);
      return expand(this.#world, object, paths);
    } finally {
      this.#world.request = null;
    }
  }
}

function injected(status: 409 | 429 | 500 | 503, keep: boolean): ApiError {
  if (status === 429) return new ApiError(429, 'Request rate limit exceeded.', { code: 'rate_limit', began: keep });
  if (status === 409)
    return new ApiError(409, 'This object cannot be accessed right now.', { code: 'lock_timeout', began: keep });
  return new ApiError(status, 'An unknown error occurred', { type: 'api_error', began: keep });
}

function good(body: Json, requestId: string): Answer {
  return { status: 200, headers: { 'request-id': requestId }, body: JSON.stringify(body, null, 2) };
}

function answerOf(error: unknown, requestId: string): Answer {
  const known =
    error instanceof ApiError
      ? error
      : new ApiError(500, error instanceof Error ? (error.stack ?? error.message) : String(error), {
          type: 'api_error',
        });
  const headers: Record<string, string> = { 'request-id': requestId };
  if (known.status === 429) headers['stripe-rate-limited-reason'] = 'global-rate';
  return { status: known.status, headers, body: JSON.stringify(known.body(requestId), null, 2) };
}
