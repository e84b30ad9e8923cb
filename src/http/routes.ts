import type { AnyProcedure } from '@trpc/server';
import type { ErrorCode } from '../errors/registry.ts';
import { appRouter } from '../trpc/_app.ts';

const { runs, sessions, credits, billing, catalog, limits, accounts, analytics, alerts, jobs } = appRouter;
const { costs } = analytics;

type Common = {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Under /api/v1, as Hono writes it. */
  path: string;
  summary: string;
};

/** A route and the procedure that does it. */
export type ProcedureRoute = Common & {
  name: string;
  procedure: AnyProcedure;
  /** Fields that stand in the path, by their names there. */
  params?: Record<string, string>;
  /** Fields that the route itself says. */
  fixed?: Record<string, string>;
  /** Fields of the query that are numbers. */
  numbers?: readonly string[];
  /** `asked`: answers as a stream where the caller asks for one. `always`: follows the run `params` name. */
  streams?: 'asked' | 'always';
  /** Answers with a file of this name, written as it is read. */
  file?: string;
  /** What starts a run that is asked for as a stream, and what follows it; those of users where not said. */
  stream?: { start: AnyProcedure; follow: AnyProcedure };
  status?: 201;
  /** How fields are named in answers: in snake_case where not said; in requests both are taken, in errors `both` is as `camel`. */
  case?: 'camel' | 'both';
  /** What it answers where the operator has not set it up. */
  unconfigured?: ErrorCode;
  /** Answers without a token, but where the operator has set a secret. */
  open?: boolean;
};

/** Takes what Stripe sends, as it comes: no token, and the signature is the only proof. */
type WebhookRoute = Common & { name: string; webhook: 'stripe'; unconfigured: ErrorCode };

export type Route = ProcedureRoute | WebhookRoute;

const execute = { name: 'runs.execute', procedure: runs.execute, streams: 'asked' } as const;
const runId = { params: { id: 'runId' } };
const sessionId = { params: { id: 'sessionId' } };
const shareToken = { params: { token: 'shareToken' } };
const page = ['limit', 'offset'];
const paid = { case: 'camel', unconfigured: 'billing_not_configured' } as const;
const admin = { case: 'both' } as const;
const userId = { params: { id: 'userId' } };
const cron = { open: true } as const;
const webhook = { name: 'billing.webhook', webhook: 'stripe', unconfigured: 'billing_not_configured' } as const;

/** Every route of /api/v1 with its procedure: routing and OpenAPI are both made of this. Spec 11.2. */
export const routes: readonly Route[] = [
  { method: 'POST', path: '/playground/execute', summary: 'Run a package', ...execute },
  { method: 'GET', path: '/playground/execute', summary: 'Run a package; the body comes with GET', ...execute },
  { method: 'POST', path: '/playground/run', summary: 'Run a package', ...execute },
  {
    method: 'POST',
    path: '/playground/sessions/:id/continue',
    summary: 'Go on in a session',
    ...execute,
    ...sessionId,
  },
  {
    method: 'POST',
    path: '/playground/anonymous-run',
    summary: 'Run a package without signing in, once a month',
    name: 'runs.anonymous',
    procedure: runs.anonymous,
    open: true,
    streams: 'asked',
    stream: { start: runs.startAnonymous, follow: runs.streamAnonymous },
  },
  {
    method: 'POST',
    path: '/custom-prompt/run',
    summary: "Run one's own prompt",
    name: 'runs.executeCustom',
    procedure: runs.executeCustom,
    streams: 'asked',
  },
  {
    method: 'GET',
    path: '/custom-prompt/info',
    summary: 'What holds for custom prompts',
    name: 'runs.customPrompts',
    procedure: runs.customPrompts,
    open: true,
  },
  {
    method: 'POST',
    path: '/playground/estimate',
    summary: 'What a run would cost',
    name: 'runs.estimate',
    procedure: runs.estimate,
  },
  {
    method: 'GET',
    path: '/playground/runs/:id',
    summary: 'Read a run',
    name: 'runs.read',
    procedure: runs.read,
    ...runId,
  },
  {
    method: 'GET',
    path: '/playground/runs/:id/charge',
    summary: "How a run's charge came to be",
    name: 'runs.explain',
    procedure: runs.explain,
    ...runId,
  },
  {
    method: 'GET',
    path: '/playground/runs/:id/stream',
    summary: 'Follow a run',
    name: 'runs.stream',
    procedure: runs.stream,
    ...runId,
    streams: 'always',
  },
  {
    method: 'POST',
    path: '/playground/runs/:id/stop',
    summary: 'Stop a run',
    name: 'runs.stop',
    procedure: runs.stop,
    ...runId,
  },
  {
    method: 'GET',
    path: '/playground/sessions',
    summary: 'List sessions',
    name: 'sessions.list',
    procedure: sessions.list,
    numbers: page,
  },
  {
    method: 'GET',
    path: '/playground/sessions/:id',
    summary: 'Read a session',
    name: 'sessions.read',
    procedure: sessions.read,
    ...sessionId,
  },
  {
    method: 'PATCH',
    path: '/playground/sessions/:id',
    summary: 'Rename a session',
    name: 'sessions.rename',
    procedure: sessions.rename,
    ...sessionId,
  },
  {
    method: 'DELETE',
    path: '/playground/sessions/:id',
    summary: 'Delete a session',
    name: 'sessions.delete',
    procedure: sessions.delete,
    ...sessionId,
  },
  {
    method: 'POST',
    path: '/playground/sessions/:id/share',
    summary: 'Share a session',
    name: 'sessions.share',
    procedure: sessions.share,
    ...sessionId,
  },
  {
    method: 'DELETE',
    path: '/playground/sessions/:id/share',
    summary: 'Share a session no longer',
    name: 'sessions.unshare',
    procedure: sessions.unshare,
    ...sessionId,
  },
  {
    method: 'PATCH',
    path: '/playground/sessions/:id/feature',
    summary: 'Feature a shared result of your package',
    name: 'sessions.feature',
    procedure: sessions.feature,
    params: { id: 'result' },
  },
  {
    method: 'GET',
    path: '/playground/shared/:token',
    summary: 'Read a shared session',
    name: 'sessions.shared',
    procedure: sessions.shared,
    open: true,
    ...shareToken,
  },
  {
    method: 'POST',
    path: '/playground/shared/:token/feedback',
    summary: 'Say whether a shared result helped',
    name: 'sessions.vote',
    procedure: sessions.vote,
    open: true,
    ...shareToken,
  },
  {
    method: 'GET',
    path: '/playground/packages/:id/top-results',
    summary: 'Shared results of a package',
    name: 'sessions.results',
    procedure: sessions.results,
    open: true,
    params: { id: 'packageId' },
    numbers: ['limit'],
  },
  {
    method: 'GET',
    path: '/playground/packages/:id/featured',
    summary: 'Featured results of a package',
    name: 'sessions.results',
    procedure: sessions.results,
    open: true,
    params: { id: 'packageId' },
    numbers: ['limit'],
    fixed: { sort: 'featured' },
  },
  {
    method: 'POST',
    path: '/playground/feedback',
    summary: 'Say whether an answer was of use',
    name: 'sessions.feedback',
    procedure: sessions.feedback,
  },
  {
    method: 'GET',
    path: '/playground/credits',
    summary: 'Read credits',
    name: 'credits.balance',
    procedure: credits.balance,
  },
  {
    method: 'GET',
    path: '/playground/credits/history',
    summary: 'List credit movements',
    name: 'credits.history',
    procedure: credits.history,
    numbers: page,
  },
  {
    method: 'GET',
    path: '/playground/credits/explain',
    summary: 'How a balance came to be',
    name: 'credits.explain',
    procedure: credits.explain,
    numbers: ['limit'],
  },
  {
    method: 'GET',
    path: '/playground/limits/explain',
    summary: 'What is used of each limit, and why somebody is throttled',
    name: 'limits.explain',
    procedure: limits.explain,
  },
  {
    method: 'GET',
    path: '/playground/models',
    summary: 'List models',
    name: 'catalog.models',
    procedure: catalog.models,
    open: true,
  },
  {
    method: 'GET',
    path: '/playground/models/:model/price',
    summary: 'What a model costs and charges, and since when',
    name: 'catalog.explainPrice',
    procedure: catalog.explainPrice,
    open: true,
    params: { model: 'model' },
  },
  {
    method: 'GET',
    path: '/packages',
    summary: 'Search packages',
    name: 'catalog.packages.search',
    procedure: catalog.packages.search,
    open: true,
    numbers: ['limit'],
  },
  {
    method: 'POST',
    path: '/packages',
    summary: 'Publish a version',
    name: 'catalog.packages.publish',
    procedure: catalog.packages.publish,
    status: 201,
  },
  {
    method: 'GET',
    path: '/packages/:name{.+}',
    summary: 'Read a package',
    name: 'catalog.packages.read',
    procedure: catalog.packages.read,
    open: true,
    params: { name: 'packageId' },
  },

  {
    method: 'GET',
    path: '/account',
    summary: 'Who you are, and what your token may do',
    name: 'accounts.me',
    procedure: accounts.me,
  },
  {
    method: 'GET',
    path: '/account/export',
    summary: 'Everything that is kept of you, as one JSON object',
    name: 'accounts.export',
    procedure: accounts.export,
    file: 'prpm-playground-export.json',
  },
  {
    method: 'POST',
    path: '/account/erase',
    summary: 'Erase your account for good; the first call says what is lost',
    name: 'accounts.erase',
    procedure: accounts.erase,
  },
  {
    method: 'GET',
    path: '/account/tokens',
    summary: 'List your API tokens',
    name: 'accounts.tokens.list',
    procedure: accounts.tokens.list,
  },
  {
    method: 'POST',
    path: '/account/tokens',
    summary: 'Make an API token; it is shown this once',
    name: 'accounts.tokens.create',
    procedure: accounts.tokens.create,
    status: 201,
  },
  {
    method: 'DELETE',
    path: '/account/tokens/:id',
    summary: 'Revoke an API token',
    name: 'accounts.tokens.revoke',
    procedure: accounts.tokens.revoke,
    params: { id: 'id' },
  },
  {
    method: 'GET',
    path: '/account/email-preferences',
    summary: 'Which mails you get',
    name: 'alerts.emailPreferences',
    procedure: alerts.emailPreferences,
  },
  {
    method: 'PATCH',
    path: '/account/email-preferences',
    summary: 'Say which mails you want',
    name: 'alerts.setEmailPreferences',
    procedure: alerts.setEmailPreferences,
  },

  {
    method: 'POST',
    path: '/playground/subscribe',
    summary: 'Subscribe to PRPM+',
    name: 'billing.subscribe',
    procedure: billing.subscribe,
    ...paid,
  },
  {
    method: 'GET',
    path: '/playground/subscription',
    summary: 'Read the subscription',
    name: 'billing.subscription',
    procedure: billing.subscription,
    ...paid,
  },
  {
    method: 'POST',
    path: '/playground/subscription/cancel',
    summary: 'Cancel at the end of the period',
    name: 'billing.cancel',
    procedure: billing.cancel,
    ...paid,
  },
  {
    method: 'POST',
    path: '/playground/subscription/resume',
    summary: 'Take a cancellation or a pause back',
    name: 'billing.resume',
    procedure: billing.resume,
    ...paid,
  },
  {
    method: 'POST',
    path: '/playground/subscription/portal',
    summary: 'Open the portal for cards and invoices',
    name: 'billing.portal',
    procedure: billing.portal,
    ...paid,
  },
  {
    method: 'GET',
    path: '/playground/pricing',
    summary: 'What PRPM+ costs you',
    name: 'billing.pricing',
    procedure: billing.pricing,
    ...paid,
  },
  {
    method: 'GET',
    path: '/playground/credits/packages',
    summary: 'List packs of credits',
    name: 'billing.packs',
    procedure: billing.packs,
    ...paid,
  },
  {
    method: 'POST',
    path: '/playground/credits/purchase',
    summary: 'Buy credits',
    name: 'billing.purchase',
    procedure: billing.purchase,
    ...paid,
  },
  { method: 'POST', path: '/playground/webhooks/stripe/credits', summary: 'Webhook for Stripe', ...webhook },
  { method: 'POST', path: '/webhooks/stripe', summary: 'Webhook for Stripe', ...webhook },

  {
    method: 'POST',
    path: '/playground/credits/cron/reset',
    summary: 'Book credits and subscriptions whose period is over',
    name: 'jobs.resetCredits',
    procedure: jobs.resetCredits,
    ...cron,
  },
  {
    method: 'POST',
    path: '/playground/credits/cron/expire',
    summary: 'Book credits that expired',
    name: 'jobs.expireCredits',
    procedure: jobs.expireCredits,
    ...cron,
  },

  {
    method: 'GET',
    path: '/admin/cost-analytics/summary',
    summary: 'Revenue, cost and margin of this month',
    name: 'analytics.costs.summary',
    procedure: costs.summary,
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/users',
    summary: 'What users cost and pay',
    name: 'analytics.costs.users',
    procedure: costs.users,
    numbers: ['limit'],
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/user/:id',
    summary: 'What a user costs, has and was refused',
    name: 'analytics.costs.user',
    procedure: costs.user,
    ...userId,
    ...admin,
  },
  {
    method: 'POST',
    path: '/admin/cost-analytics/user/:id/unthrottle',
    summary: "Lift a user's throttle",
    name: 'limits.releaseThrottle',
    procedure: limits.releaseThrottle,
    ...userId,
    ...admin,
  },
  {
    method: 'POST',
    path: '/admin/cost-analytics/refresh',
    summary: 'Refresh the analytics',
    name: 'analytics.costs.refresh',
    procedure: costs.refresh,
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/timeseries',
    summary: 'Use, cost and margin over time',
    name: 'analytics.costs.timeSeries',
    procedure: costs.timeSeries,
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/models',
    summary: 'Use, cost and margin by model',
    name: 'analytics.costs.models',
    procedure: costs.models,
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/packages',
    summary: 'Use, cost and margin by package',
    name: 'analytics.costs.packages',
    procedure: costs.packages,
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/projection',
    summary: "A month's margin, from figures given or from the present",
    name: 'analytics.costs.projection',
    procedure: costs.projection,
    ...admin,
  },
  {
    method: 'POST',
    path: '/admin/cost-analytics/what-if',
    summary: 'What a past time would have brought and cost under other prices and limits',
    name: 'analytics.costs.whatIf',
    procedure: costs.whatIf,
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/alerts',
    summary: 'What is wrong, or was',
    name: 'alerts.list',
    procedure: alerts.list,
    numbers: ['limit'],
    ...admin,
  },
  {
    method: 'POST',
    path: '/admin/cost-analytics/alerts/:id/acknowledge',
    summary: 'Say that somebody is at an alert',
    name: 'alerts.acknowledge',
    procedure: alerts.acknowledge,
    params: { id: 'alertId' },
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/jobs',
    summary: 'What each job did last, and when it is due',
    name: 'jobs.list',
    procedure: jobs.list,
    ...admin,
  },
  {
    method: 'GET',
    path: '/admin/cost-analytics/health',
    summary: 'What is not as it should be',
    name: 'jobs.health',
    procedure: jobs.health,
    ...admin,
  },
];
