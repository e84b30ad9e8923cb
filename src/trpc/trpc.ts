import { initTRPC } from '@trpc/server';
import type { Authenticate } from '../auth/authenticate.ts';
import type { Logins } from '../auth/logins.ts';
import type { OpenId } from '../auth/openid.ts';
import type { Principal } from '../auth/principal.ts';
import { bringsSecret } from '../auth/shared-secret.ts';
import type { Scope } from '../calls/accounts.ts';
import { admitRead } from '../calls/limits.ts';
import type { Database } from '../database/client.ts';
import type { Engine, Facts } from '../engine/engine.ts';
import { Failure } from '../errors/failure.ts';
import { problemOf } from '../errors/problem.ts';
import { failureFrom, trpcErrorFrom } from '../errors/trpc.ts';
import type { AddressOf } from '../http/address.ts';
import { unstorable } from '../http/input.ts';
import type { Page } from '../http/page.ts';
import type { Billing } from '../stripe/billing.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Traces } from '../telemetry/traces.ts';

/** What there is one of in a server. */
export type Services = {
  database: Database;
  engine: Engine;
  authenticate: Authenticate;
  /** Undefined without an account at Stripe. */
  billing?: Billing | undefined;
  /** What the cron routes ask for as a bearer token; undefined: nothing. */
  cronSecret?: string | undefined;
  /** The number of the newest migration that the server knows; it is not ready on a database that lacks it. */
  newestMigration?: number;
  log: Log;
  /** One line for each request. */
  requests: Log;
  /** Undefined where nobody may look at them. */
  metrics?: { counted: Metrics; token: string } | undefined;
  /** Undefined where nobody collects them. */
  traces?: Traces | undefined;
  addressOf: AddressOf;
  /** The address of a page, as people see it. */
  pageUrl(path: string): string;
  /** Undefined where a server has no page. */
  page?: PageServices | undefined;
};

export type PageServices = {
  /** What was built; undefined where nothing was. It may be in the making while the server serves all else already. */
  built: Promise<Page | undefined>;
  logins: Logins;
  /** Undefined without an issuer to sign in at. */
  openId: OpenId | undefined;
  /** Whom a demo lets anybody be; nobody elsewhere. */
  people: readonly DemoPerson[];
  /** Of the page, as people see it. */
  origin(): string;
};
export type DemoPerson = { userId: string; username: string; about: string };

export type Context = {
  services: Services;
  authorization: string | undefined;
  /** What the page's cookie holds; for /trpc alone. Spec 2.2. */
  login?: string | undefined;
  /** Sets a cookie with the answer; for /trpc alone. */
  setCookie?: ((cookie: string) => void) | undefined;
  requestId: string;
  path: string;
  /** Where the request came from. */
  address: string;
  /** What the answer's headers will say. */
  facts: Facts;
};

const t = initTRPC.context<Context>().create({
  isDev: false,
  sse: { ping: { enabled: true, intervalMs: 15_000 } },
  errorFormatter: ({ shape, error, ctx }) => {
    const failure = failureFrom(error);
    const problem = problemOf(failure, { path: ctx?.path ?? '/trpc', requestId: ctx?.requestId ?? '' });
    return { ...shape, message: failure.message, data: { ...shape.data, httpStatus: failure.status, problem } };
  },
});

export const router = t.router;

/**
 * The one place where errors of the database, and all others, become tRPC's. What PostgreSQL cannot store as text is
 * refused before it is looked at any closer. Spec 11.3.
 */
const base = t.procedure.use(async ({ next, ctx, path, getRawInput }) => {
  const field = unstorable(await getRawInput());
  if (field !== null) {
    const message = 'has a character that is no text: NUL, or half of a surrogate pair';
    throw trpcErrorFrom(
      new Failure('validation_error', `${field || 'The request'} ${message}.`, { errors: [{ field, message }] }),
    );
  }
  const result = await next();
  if (result.ok) return result;
  const error = trpcErrorFrom(result.error);
  const failure = failureFrom(error);
  if (failure.code === 'internal_error') {
    ctx.services.log.error({ error: failure.cause, requestId: ctx.requestId, path }, 'request failed');
  } else if (failure.code === 'database_unavailable') {
    ctx.services.log.warn({ error: failure.cause, requestId: ctx.requestId, path }, 'database unavailable');
  } else if (failure.code === 'billing_unavailable') {
    ctx.services.log.warn({ error: failure.cause, requestId: ctx.requestId, path }, 'Stripe unavailable');
  }
  throw error;
});

/** For schedulers: anybody, or where a secret is set, whoever knows it. Spec 7.3. */
export const cronProcedure = base.use(({ ctx, next }) => {
  const { cronSecret } = ctx.services;
  if (cronSecret !== undefined) {
    if (ctx.authorization === undefined)
      throw new Failure('authentication_required', 'Send CRON_SECRET as a bearer token.');
    if (!bringsSecret(ctx.authorization, cronSecret)) throw new Failure('invalid_token', 'That is not CRON_SECRET.');
  }
  return next();
});

/** For whoever has a good token or JWT with this scope, or with all of these. */
function procedureFor(scope: Scope | readonly Scope[] | null) {
  const needed: readonly Scope[] = typeof scope === 'string' ? [scope] : (scope ?? []);
  return base.meta({ scope: needed[0] ?? null }).use(async ({ ctx, next }) => {
    const found = ctx.services.authenticate(ctx.authorization, ctx.login);
    // What is remembered needs no turn of the event loop.
    const principal: Principal | null = found instanceof Promise ? await found : found;
    if (principal === null) throw new Failure('authentication_required');
    const missing = needed.find((one) => !principal.scopes.has(one));
    if (missing !== undefined) throw new Failure('insufficient_scope', `This needs a token with the scope ${missing}.`);
    return next({ ctx: { principal } });
  });
}

/**
 * For anybody, so many times a minute. Who sends a token or JWT is who it says; a bad one is refused, never taken for
 * nobody. Spec 2.2, 3.6.
 */
export const publicProcedure = base.meta({ scope: null }).use(async ({ ctx, next }) => {
  const principal = await ctx.services.authenticate(ctx.authorization, ctx.login);
  await countRead({ ...ctx, principal });
  return next({ ctx: { visitor: { userId: principal?.userId ?? null, address: ctx.address } } });
});

/** Codes of a sign-in that is over. */
const ENDED: ReadonlySet<string> = new Set(['login_expired', 'account_closed']);

/** For the page, which asks who looks at it: a sign-in that is over is nobody's, and its cookie goes. */
export const viewerProcedure = base.meta({ scope: null }).use(async ({ ctx, next }) => {
  const { authenticate, page } = ctx.services;
  let viewer: Principal | null = null;
  try {
    viewer = await authenticate(ctx.authorization, ctx.login);
  } catch (error) {
    if (!(error instanceof Failure) || !ENDED.has(error.code) || ctx.login === undefined) throw error;
    if (page !== undefined) ctx.setCookie?.(page.logins.cleared());
  }
  await countRead({ ...ctx, principal: viewer });
  return next({ ctx: { viewer } });
});

export const runProcedure = procedureFor('run');
export const publishProcedure = procedureFor('publish');

/** Counted in the user's minute of reads. Spec 3.6. */
function countedProcedureFor(scope: Scope | readonly Scope[] | null) {
  return procedureFor(scope).use(async ({ ctx, next }) => {
    await countRead(ctx);
    return next();
  });
}

/** Where there is an account at Stripe, which is then in the context. */
function billingProcedureFor(scope: Scope) {
  return countedProcedureFor(scope).use(({ ctx, next }) => next({ ctx: { billing: billingOf(ctx) } }));
}

function billingOf({ services: { billing } }: Context): Billing {
  if (billing === undefined) throw new Failure('billing_not_configured');
  return billing;
}

export const signedInProcedure = countedProcedureFor(null);
/** Who could do all that a person can do to their account may end it. */
export const ownerProcedure = countedProcedureFor(['run', 'read', 'billing', 'publish']);
export const readProcedure = countedProcedureFor('read');
export const estimateProcedure = countedProcedureFor('run');
/** The token may administer; whether its owner may, the database says. Spec 2.2. */
export const adminProcedure = countedProcedureFor('admin');
/** What is sold, for anybody. */
export const publicBillingProcedure = publicProcedure.use(({ ctx, next }) =>
  next({ ctx: { billing: billingOf(ctx) } }),
);
export const billingReadProcedure = billingProcedureFor('read');
export const billingProcedure = billingProcedureFor('billing');

/** Somebody else is asked about with a token that may administer. */
export function whoIsMeant({ principal }: { principal: Principal }, userId: string | null | undefined): string | null {
  if (userId === undefined || userId === null || userId === principal.userId) return null;
  if (!principal.scopes.has('admin')) {
    throw new Failure('insufficient_scope', "Somebody else's needs a token with the scope admin.");
  }
  return userId;
}

/** Admits a read or throws `rate_limited`. */
export async function countRead(ctx: Context & { principal: Principal | null }): Promise<void> {
  const admission = await admitRead(ctx.services.database.sql, ctx.principal?.userId ?? null, ctx.address);
  const { rateLimit: limit, rateRemaining: remaining, rateReset: reset } = admission;
  if (limit !== null && remaining !== null && reset !== null)
    ctx.facts.rate = { policy: 'reads', limit, remaining, reset };
  if (admission.allowed) return;
  const message = `At most ${limit} reads a minute. Try again when the minute is over.`;
  throw new Failure('rate_limited', message, { retryAfter: reset ?? 60, refusal: { limit, unit: 'reads' } });
}
