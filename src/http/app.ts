import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { TrackedEnvelope } from '@trpc/server';
import { fetchRequestHandler } from '@trpc/server/adapters/fetch';
import { type Context, Hono } from 'hono';
import { bringsSecret } from '../auth/shared-secret.ts';
import { checkReady } from '../calls/jobs.ts';
import type { Facts } from '../engine/engine.ts';
import { databaseFailure } from '../errors/database.ts';
import { Failure } from '../errors/failure.ts';
import { problemOf } from '../errors/problem.ts';
import { failureFrom } from '../errors/trpc.ts';
import { bothCases, snakeCase } from '../names.ts';
import { appRouter } from '../trpc/_app.ts';
import { isIterated } from '../trpc/iterated.ts';
import type { PageServices, Services, Context as TrpcContext } from '../trpc/trpc.ts';
import { parseObject, readBody, readBytes } from './body.ts';
import { docsPage } from './docs.ts';
import { sendExport, sendPieces } from './download.ts';
import { camelKeys } from './input.ts';
import { openApi } from './openapi.ts';
import { answerAsset, answerDocument, isPagePath, movedTo } from './page.ts';
import { type ProcedureRoute, type Route, routes } from './routes.ts';
import { answerCallback, answerSignIn, CALLBACK, SIGN_IN } from './sign-in.ts';
import { type StreamedEvent, sendEvents } from './sse.ts';
import { answerUnsubscribe } from './unsubscribe.ts';

type Bindings = { Bindings: HttpBindings };

export const VERSION = '0.1.0';
const API = '/api/v1';
const METRICS = '/metrics';
const DOCS = '/docs';
/** What metrics call a path that is none of ours. */
const NO_ROUTE = 'none';
const PROCEDURES = new Set(Object.keys(appRouter._def.procedures));
/** Spec 6.5. */
const MOST_WEBHOOK_BYTES = 1024 * 1024;
const STREAM: NonNullable<ProcedureRoute['stream']> = { start: appRouter.runs.start, follow: appRouter.runs.stream };

/** The HTTP interface: /trpc, /api/v1, /healthz, /readyz, /metrics. */
export function createApp(services: Services, table: readonly Route[] = routes): Hono<Bindings> {
  const app = new Hono<Bindings>();
  const methods = new Map<string, string[]>();

  for (const route of table) {
    const path = `${API}${route.path}`;
    methods.set(path, [...(methods.get(path) ?? []), route.method]);
    app.on(route.method, path, (c) => answer(services, route, path, c));
  }

  const plain = (path: string, body: () => Promise<Record<string, unknown>>) => {
    methods.set(path, ['GET']);
    app.get(path, async (c) => {
      const call = beginCall(services, c, path);
      try {
        return reply(services, call, 200, JSON.stringify(await body()));
      } catch (error) {
        return replyProblem(services, call, failureFrom(error));
      }
    });
  };
  let document: Record<string, unknown> | undefined;
  plain('/healthz', async () => ({ status: 'ok' }));
  plain('/readyz', () => readiness(services));
  plain(`${API}/health`, () => readiness(services));
  plain(`${API}/openapi.json`, async () => {
    document ??= openApi(VERSION);
    return document;
  });

  let docs: ReturnType<typeof docsPage> | undefined;
  methods.set(DOCS, ['GET']);
  app.get(DOCS, (c) => {
    docs ??= docsPage(VERSION);
    const response = reply(services, beginCall(services, c, DOCS), 200, docs.page, 'text/html; charset=utf-8');
    response.headers.set('content-security-policy', docs.policy);
    return response;
  });

  if (services.metrics !== undefined) {
    methods.set(METRICS, ['GET']);
    app.get(METRICS, (c) => answerMetrics(services, c));
  }

  const declining = `${API}/unsubscribe`;
  methods.set(declining, ['GET', 'POST']);
  app.on(['GET', 'POST'], declining, async (c) => {
    const call = beginCall(services, c, declining);
    try {
      const token = c.req.query('token') ?? '';
      const [status, html] = await answerUnsubscribe(services.database.sql, call.method, token);
      note(services, call, status);
      return c.html(html, status);
    } catch (error) {
      return replyProblem(services, call, failureFrom(error));
    }
  });

  for (const [path, allowed] of methods) {
    app.all(path, (c) => replyProblem(services, beginCall(services, c, path), notAllowed(c.req.raw.method, allowed)));
  }
  app.all('/trpc/*', (c) => answerTrpc(services, c));
  const { page } = services;
  if (page !== undefined) {
    app.get(SIGN_IN, (c) => seen(services, c, SIGN_IN, () => answerSignIn(page, queryParameters(c))));
    app.get(CALLBACK, (c) =>
      seen(services, c, CALLBACK, async ({ incoming, requestId }) => {
        if (page.openId === undefined) throw new Failure('route_not_found');
        const note = (error: unknown) => services.log.warn({ error, requestId }, 'a sign-in did not succeed');
        return answerCallback(page, page.openId, { incoming, query: queryParameters(c), note });
      }),
    );
  }
  app.notFound((c) => seen(services, c, NO_ROUTE, () => answerPage(page, c)));
  app.onError((error, c) => {
    const call = beginCall(services, c);
    services.log.error({ error, requestId: call.requestId }, 'request failed');
    return replyProblem(services, call, failureFrom(error));
  });
  return app;
}

/** An answer that is no JSON, noted as all are. */
async function seen(
  services: Services,
  c: Context<Bindings>,
  route: string,
  make: (call: Call) => Promise<Response>,
): Promise<Response> {
  const call = beginCall(services, c, route);
  try {
    const response = await make(call);
    note(services, call, response.status);
    return response;
  } catch (error) {
    return replyProblem(services, call, failureFrom(error));
  }
}

const queryParameters = (c: Context<Bindings>) => new URL(c.req.url).searchParams;

/** A file of the page, or its document: at a path that is a page's, and to whoever looks for one where there is nothing. */
async function answerPage(page: PageServices | undefined, c: Context<Bindings>): Promise<Response> {
  const { path, method } = c.req;
  if (page === undefined || (method !== 'GET' && method !== 'HEAD')) throw new Failure('route_not_found');
  const target = movedTo(path, queryParameters(c));
  if (target !== undefined) return c.redirect(target);
  const wantsDocument = c.req.header('accept')?.includes('text/html') && !/^\/(api|trpc|assets|auth)(\/|$)/.test(path);
  if (!isPagePath(path) && !path.startsWith('/assets/') && !wantsDocument) throw new Failure('route_not_found');

  const built = await page.built;
  const asset = built?.assets.get(path);
  if (asset !== undefined) return answerAsset(asset, c.req.header('accept-encoding'));
  if (built === undefined || path.startsWith('/assets/')) throw new Failure('route_not_found');
  return answerDocument(built, isPagePath(path) ? 200 : 404);
}

/** One request: what its answer and its line in the log need. */
type Call = {
  requestId: string;
  method: string;
  path: string;
  /** The path as a route has it, with names for what changes. */
  route: string;
  started: number;
  facts: Facts;
  incoming: IncomingMessage;
  case?: ProcedureRoute['case'] | undefined;
};

function beginCall({ traces }: Services, c: Context<Bindings>, route = NO_ROUTE): Call {
  const { incoming } = c.env;
  const sent = incoming.headers['x-request-id'];
  const requestId = typeof sent === 'string' && /^[\w-]{8,64}$/.test(sent) ? sent : randomUUID();
  const { method = '', headers } = incoming;
  const facts: Facts = {};
  if (traces !== undefined) facts.trace = traces.request(method, route, headers.traceparent?.toString());
  return { requestId, method, path: c.req.path, route, started: performance.now(), facts, incoming };
}

async function answer(services: Services, asked: Route, path: string, c: Context<Bindings>): Promise<Response> {
  const call = beginCall(services, c, path);
  const { incoming, outgoing } = c.env;
  const forVisitors = 'visitors' in asked && incoming.headers.authorization === undefined ? asked.visitors : undefined;
  const route: Route = forVisitors === undefined ? asked : { ...asked, ...forVisitors };
  try {
    if ('webhook' in route) return await answerWebhook(services, call);
    const body = await readBody(incoming);
    call.case = route.case;
    if (call.method === 'HEAD' && route.streams !== undefined) throw notAllowed('HEAD', ['GET']);

    const sent = camelKeys({ ...queryOf(c, route), ...parseObject(body), ...route.fixed });
    for (const [param, field] of Object.entries(route.params ?? {})) sent[field] = c.req.param(param);
    if (route.inPieces) delete sent.cursor; // the file is whole
    const key = incoming.headers['idempotency-key'];
    if (route.streams === 'asked' && key !== undefined) sent.idempotencyKey = key;

    const signal = hangUp(outgoing);
    const context: TrpcContext = {
      ...{ services, authorization: incoming.headers.authorization, requestId: call.requestId, path: call.path },
      address: services.addressOf(incoming),
      facts: call.facts,
    };
    const invoke = (name: string, procedure: ProcedureRoute['procedure'], input: unknown): Promise<unknown> =>
      procedure({
        ...{ ctx: context, path: name, type: procedure._def.type, signal, batchIndex: 0 },
        getRawInput: () => Promise.resolve(input),
      });

    if (route.streams === 'always' || (route.streams === 'asked' && wantsStream(incoming, sent.stream))) {
      let follow: unknown = { ...sent, lastEventId: incoming.headers['last-event-id'] };
      const { start, follow: followIt, of = 'run' } = route.stream ?? STREAM;
      if (route.streams === 'asked') follow = await invoke('runs.start', start, sent);
      const events = await invoke('runs.stream', followIt, follow);
      await sendEvents(outgoing, eventsOf(events), headersOf(services, call), (error) => {
        const failure = failureFrom(error);
        if (failure.code === 'internal_error')
          services.log.error({ error, requestId: call.requestId }, 'stream failed');
        return { type: `${of}.failed`, data: problemOf(failure, call) };
      });
      note(services, call, 200);
      return RESPONSE_ALREADY_SENT;
    }
    const output = await invoke(route.name, route.procedure, sent);
    if (route.inPieces) {
      const next = (cursor: string) => invoke(route.name, route.procedure, { ...sent, cursor });
      await sendPieces(outgoing, output, next, headersOf(services, call));
      note(services, call, 200);
      return RESPONSE_ALREADY_SENT;
    }
    if (route.file !== undefined) {
      await sendExport(outgoing, pagesOf(output), headersOf(services, call), route.file);
      note(services, call, 200);
      return RESPONSE_ALREADY_SENT;
    }
    return reply(services, call, route.status ?? 200, JSON.stringify(named(route, output)));
  } catch (error) {
    const failure = failureFrom(error);
    if ('webhook' in route) noteRefused(services, call, failure);
    return replyProblem(services, call, failure);
  }
}

function named({ case: naming }: ProcedureRoute, output: unknown): unknown {
  if (naming === 'camel') return output;
  return naming === 'both' ? bothCases(output) : snakeCase(output);
}

async function answerWebhook(services: Services, call: Call): Promise<Response> {
  const { billing, log } = services;
  const bytes = await readBytes(call.incoming, MOST_WEBHOOK_BYTES);
  if (billing === undefined) throw new Failure('billing_not_configured');
  const { 'stripe-signature': signature } = call.incoming.headers;
  const { id, type, outcome } = await billing.receive({
    bytes,
    signature: Array.isArray(signature) ? signature.join(',') : signature,
  });
  services.metrics?.counted.stripeEvent(outcome);
  log.info({ requestId: call.requestId, eventId: id, eventType: type, outcome }, 'Stripe event');
  return reply(services, call, 200, '{"received":true}');
}

/** Whoever sends webhooks does not tell the operator why they are not taken. */
function noteRefused({ log, metrics }: Services, { requestId }: Call, { code, message, cause: error }: Failure): void {
  metrics?.counted.stripeEvent(code);
  log[code === 'internal_error' ? 'error' : 'warn']({ requestId, code, reason: message, error }, 'webhook not taken');
}

/** Fields of the query, for routes that have no other place for them. */
function queryOf(c: Context<Bindings>, route: ProcedureRoute): Record<string, unknown> {
  if (route.method !== 'GET' && route.method !== 'DELETE') return {};
  const query: Record<string, unknown> = c.req.query();
  for (const name of route.numbers ?? []) {
    const value = query[name];
    if (typeof value === 'string' && /^-?\d{1,15}(\.\d{1,6})?$/.test(value)) query[name] = Number(value);
  }
  return query;
}

function wantsStream({ headers }: IncomingMessage, stream: unknown): boolean {
  if (stream !== undefined && stream !== null && typeof stream !== 'boolean') {
    const message = 'must be true or false';
    throw new Failure('validation_error', `stream ${message}.`, { errors: [{ field: 'stream', message }] });
  }
  return stream ?? headers.accept?.includes('text/event-stream') ?? false;
}

function eventsOf(events: unknown): AsyncIterable<TrackedEnvelope<StreamedEvent>> {
  if (!isIterated(events)) throw new TypeError('no events');
  return events as AsyncIterable<TrackedEnvelope<StreamedEvent>>; // the output of a stream's procedure, which its schema checks
}

function pagesOf(pages: unknown): AsyncIterable<unknown> {
  if (!isIterated(pages)) throw new TypeError('no pages');
  return pages; // each page is checked when it is written
}

/** Aborted when the caller is gone before the answer was complete. */
function hangUp(outgoing: ServerResponse): AbortSignal {
  const controller = new AbortController();
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) controller.abort();
  });
  return controller.signal;
}

function notAllowed(method: string, allowed: string[]): Failure {
  return new Failure('method_not_allowed', `${method} is not allowed here.`, { allow: allowed.join(', ') });
}

const NO_SUCH_FUNCTION = '42883';

/** Spec 11.4. */
async function readiness({ database, engine, newestMigration }: Services): Promise<Record<string, unknown>> {
  if (engine.draining) throw new Failure('shutting_down');
  const { migration, jobs } = await checkReady(database.reads).catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === NO_SUCH_FUNCTION)
      throw new Failure('database_not_migrated');
    throw databaseFailure(error) ?? error;
  });
  if ((migration ?? 0) < (newestMigration ?? 0)) throw new Failure('database_not_migrated');
  if (jobs === 'stopped') throw new Failure('jobs_stopped');
  return { status: 'ok', version: VERSION, jobs };
}

/** Asks for the token before anything else. Spec 11.4. */
async function answerMetrics(services: Services, c: Context<Bindings>): Promise<Response> {
  const call = beginCall(services, c, METRICS);
  const { metrics } = services;
  if (metrics === undefined || !bringsSecret(call.incoming.headers.authorization, metrics.token)) {
    return replyProblem(
      services,
      call,
      new Failure('authentication_required', 'Send METRICS_TOKEN as a bearer token.'),
    );
  }
  return reply(services, call, 200, await metrics.counted.text(), metrics.counted.contentType);
}

/**
 * The typed interface. With `trpc-errors: inside` what was refused (4xx) comes as 207, as tRPC answers a batch of which a part
 * was: its client reads the error in the body, and a browser does not complain in its console of what the page shows anyway.
 */
async function answerTrpc(services: Services, c: Context<Bindings>): Promise<Response> {
  const procedure = c.req.path.slice('/trpc/'.length);
  const call = beginCall(services, c, PROCEDURES.has(procedure) ? `/trpc/${procedure}` : '/trpc');
  let req: Request = c.req.raw;
  if (req.method === 'POST') {
    try {
      const body = await readBody(c.env.incoming);
      const headers = new Headers(req.headers);
      headers.set('content-type', 'application/json');
      req = new Request(req.url, { method: 'POST', headers, body, signal: hangUp(c.env.outgoing) });
    } catch (error) {
      return replyProblem(services, call, failureFrom(error));
    }
  }
  const page = call.incoming.headers.authorization === undefined ? services.page : undefined;
  const login = page?.logins.read(call.incoming);
  if (page !== undefined && req.method === 'POST' && login !== undefined && !page.logins.isFromPage(call.incoming))
    return replyProblem(services, call, new Failure('cross_site_request'));
  const cookies: string[] = [];
  const isInside = req.headers.get('trpc-errors') === 'inside';
  let status: number | undefined;
  const response = await fetchRequestHandler({
    endpoint: '/trpc',
    router: appRouter,
    req,
    createContext: () => ({
      ...{ services, authorization: call.incoming.headers.authorization, requestId: call.requestId, path: call.path },
      address: services.addressOf(call.incoming),
      facts: call.facts,
      ...(page !== undefined && { login, setCookie: (cookie: string) => void cookies.push(cookie) }),
    }),
    responseMeta: ({ errors }) => {
      const headers = new Headers(headersOf(services, call));
      const isOver = errors.some((error) => ['login_expired', 'account_closed'].includes(failureFrom(error).code));
      if (login !== undefined && page !== undefined && isOver) cookies.push(page.logins.cleared());
      for (const cookie of cookies) headers.append('set-cookie', cookie);
      const waits = errors.map((error) => failureFrom(error).extras.retryAfter ?? 0);
      if (errors.length > 0 && Math.max(...waits) > 0)
        headers.set('retry-after', String(Math.ceil(Math.max(...waits))));
      const statuses = errors.map((error) => failureFrom(error).status);
      if (!isInside || errors.length === 0 || Math.max(...statuses) >= 500) return { headers };
      status = Math.max(...statuses);
      return { headers, status: 207 };
    },
  });
  note(services, call, status ?? response.status);
  return response;
}

function headersOf({ engine }: Services, { requestId, facts }: Call): Record<string, string> {
  const headers: Record<string, string> = { 'x-request-id': requestId, 'x-content-type-options': 'nosniff' };
  const { rate, creditsRemaining } = facts;
  if (rate !== undefined) {
    headers['ratelimit-policy'] = `"${rate.policy}";q=${rate.limit};w=60`;
    headers.ratelimit = `"${rate.policy}";r=${rate.remaining};t=${rate.reset}`;
  }
  if (creditsRemaining !== undefined) headers['prpm-credits-remaining'] = String(creditsRemaining);
  if (engine.draining) headers.connection = 'close';
  return headers;
}

function reply(services: Services, call: Call, status: number, body: string, type = 'application/json'): Response {
  note(services, call, status);
  const headers = headersOf(services, call);
  headers['content-type'] = type;
  headers['cache-control'] = 'no-store';
  return new Response(body, { status, headers });
}

function replyProblem(services: Services, call: Call, failure: Failure): Response {
  const { allow, retryAfter } = failure.extras;
  const body = JSON.stringify(problemOf(failure, call));
  const response = reply(services, call, failure.status, body, 'application/problem+json');
  if (allow !== undefined) response.headers.set('allow', allow);
  if (retryAfter !== undefined) response.headers.set('retry-after', String(Math.ceil(retryAfter)));
  if (failure.status === 401) response.headers.set('www-authenticate', 'Bearer');
  // What was not read to its end stands in the way of another request.
  if (!call.incoming.complete) response.headers.set('connection', 'close');
  return response;
}

function note({ requests, metrics }: Services, call: Call, status: number): void {
  const { requestId, method, path, route, started, facts } = call;
  const ms = Math.round((performance.now() - started) * 10) / 10;
  metrics?.counted.request(method, route, status, ms);
  facts.trace?.end(status);
  // A path can open something, too: that of a shared session.
  const shown = /:\w*token/i.test(route) ? route : path;
  requests.info({ requestId, method, path: shown, status, ms, runId: facts.runId }, 'request');
}
