import type { AnyProcedure } from '@trpc/server';
import type { ErrorCode } from '../errors/registry.ts';
import { appRouter } from '../trpc/_app.ts';

const { runs, sessions, credits, billing, catalog, limits, accounts, analytics, alerts, jobs } = appRouter;
const { costs, authors } = analytics;
const { comparisons } = runs;

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
  /** Answers with the file whose pieces the procedure gives, one after the other; of one of these types. */
  inPieces?: readonly string[];
  /** What starts what is asked for as a stream, and what follows it; those of a user's run where not said. */
  stream?: { start: AnyProcedure; follow: AnyProcedure; of?: 'comparison' };
  /** What does it for who sends no token at all; `open` stands beside it. */
  visitors?: { name: string; procedure: AnyProcedure; stream: { start: AnyProcedure; follow: AnyProcedure } };
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
const comparisonId = { params: { id: 'comparisonId' } };
const compared = { start: comparisons.start, follow: comparisons.stream, of: 'comparison' } as const;
const inputId = { params: { id: 'suggestedInputId' } };
const shareToken = { params: { token: 'shareToken' } };
const page = ['limit', 'offset'];
const paid = { case: 'camel', unconfigured: 'billing_not_configured' } as const;
const admin = { case: 'both' } as const;
const userId = { params: { id: 'userId' } };
const cron = { open: true } as const;
const webhook = { name: 'billing.webhook', webhook: 'stripe', unconfigured: 'billing_not_configured' } as const;

/** A package's name in a path, its scope and all. */
const NAME = '(?:@[^/]+/)?[^/]+';

/** Every route of /api/v1 with its procedure: routing and OpenAPI are both made of this. Spec 11.2. */
export const routes: readonly Route[] = [
  { method: 'POST', path: '/playground/execute', summary: 'Run a package', ...execute },
  { method: 'GET', path: '/playground/execute', summary: 'Run a package; the body comes with GET', ...execute },
  {
    method: 'POST',
    path: '/playground/run',
    summary: 'Run a package; without a token once a month, as playground/anonymous-run does',
    ...execute,
    open: true,
    visitors: {
      ...{ name: 'runs.visit', procedure: runs.visit },
      stream: { start: runs.startVisit, follow: runs.streamAnonymous },
    },
  },
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
    path: '/playground/sessions/:id/summarise',
    summary: 'Sum a session up; the conversation goes on from that',
    name: 'runs.summarise',
    procedure: runs.summarise,
    streams: 'asked',
    stream: { start: runs.startSummary, follow: runs.stream },
    ...sessionId,
  },
  {
    method: 'POST',
    path: '/playground/sessions/:id/summarise/estimate',
    summary: 'What a summary of a session would cost',
    name: 'runs.estimateSummary',
    procedure: runs.estimateSummary,
    ...sessionId,
  },
  {
    method: 'POST',
    path: '/playground/estimate',
    summary: 'What a run would cost',
    name: 'runs.estimate',
    procedure: runs.estimate,
  },
  {
    method: 'POST',
    path: '/playground/compare',
    summary: 'Run one question on two to four sides',
    name: 'runs.comparisons.execute',
    procedure: comparisons.execute,
    streams: 'asked',
    stream: compared,
  },
  {
    method: 'POST',
    path: '/playground/compare/estimate',
    summary: 'What a comparison would cost',
    name: 'runs.comparisons.estimate',
    procedure: comparisons.estimate,
  },
  {
    method: 'GET',
    path: '/playground/compare/:id',
    summary: 'Read a comparison',
    name: 'runs.comparisons.read',
    procedure: comparisons.read,
    ...comparisonId,
  },
  {
    method: 'GET',
    path: '/playground/compare/:id/stream',
    summary: 'Follow all sides of a comparison',
    name: 'runs.comparisons.stream',
    procedure: comparisons.stream,
    streams: 'always',
    stream: compared,
    ...comparisonId,
  },
  {
    method: 'POST',
    path: '/playground/compare/:id/share',
    summary: 'Share a comparison, all sides by one link',
    name: 'runs.comparisons.share',
    procedure: comparisons.share,
    ...comparisonId,
  },
  {
    method: 'DELETE',
    path: '/playground/compare/:id/share',
    summary: 'Share a comparison no longer',
    name: 'runs.comparisons.unshare',
    procedure: comparisons.unshare,
    ...comparisonId,
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
    summary:
      'Follow a run: one that nobody follows for abandon_after_ms (10 s) is stopped, and charged for what it had delivered',
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
    method: 'GET',
    path: '/playground/sessions/:id/export',
    summary: 'Take a session away as a file',
    name: 'sessions.export',
    procedure: sessions.export,
    inPieces: ['text/markdown', 'application/json'],
    ...sessionId,
  },
  {
    method: 'POST',
    path: '/playground/shared/:token/fork',
    summary: 'Copy a shared session to go on with',
    name: 'sessions.fork',
    procedure: sessions.fork,
    ...shareToken,
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
    path: '/playground/credits/history/export',
    summary: 'Credit movements as a CSV file',
    name: 'credits.file',
    procedure: credits.file,
    inPieces: ['text/csv'],
  },
  {
    method: 'GET',
    path: '/playground/credits/series',
    summary: 'Credits day by day, and how long they last',
    name: 'credits.series',
    procedure: credits.series,
    numbers: ['days'],
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
    path: '/playground/limits',
    summary: 'What may still be used of each limit',
    name: 'limits.read',
    procedure: limits.read,
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
    method: 'POST',
    path: '/packages/manifest',
    summary: 'Publish what a prpm.json describes',
    name: 'catalog.packages.publishManifest',
    procedure: catalog.packages.publishManifest,
    status: 201,
  },
  {
    method: 'POST',
    path: '/packages/markdown',
    summary: 'Publish a Markdown file with front matter',
    name: 'catalog.packages.publishMarkdown',
    procedure: catalog.packages.publishMarkdown,
    status: 201,
  },
  {
    method: 'PATCH',
    path: `/packages/:name{${NAME}}/versions/:version`,
    summary: 'Deprecate or yank a version, or take that back',
    name: 'catalog.packages.changeVersion',
    procedure: catalog.packages.changeVersion,
    params: { name: 'packageId', version: 'version' },
  },
  {
    method: 'PATCH',
    path: `/packages/:name{${NAME}}`,
    summary: 'Change what is said of a package, and who sees it',
    name: 'catalog.packages.change',
    procedure: catalog.packages.change,
    params: { name: 'packageId' },
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
    path: '/suggested-inputs/package/:id',
    summary: 'Inputs to try a package with',
    name: 'catalog.suggestedInputs.list',
    procedure: catalog.suggestedInputs.list,
    open: true,
    params: { id: 'packageId' },
  },
  {
    method: 'GET',
    path: '/suggested-inputs/author/:id',
    summary: 'Suggested inputs that you proposed',
    name: 'catalog.suggestedInputs.byAuthor',
    procedure: catalog.suggestedInputs.byAuthor,
    params: { id: 'authorId' },
  },
  {
    method: 'POST',
    path: '/suggested-inputs',
    summary: 'Propose an input to try your package with',
    name: 'catalog.suggestedInputs.create',
    procedure: catalog.suggestedInputs.create,
    status: 201,
  },
  {
    method: 'POST',
    path: '/suggested-inputs/record-usage',
    summary: 'Say that a suggested input was taken; counted once a visitor and day',
    name: 'catalog.suggestedInputs.use',
    procedure: catalog.suggestedInputs.use,
    open: true,
  },
  {
    method: 'POST',
    path: '/suggested-inputs/mark-complete',
    summary: 'Say that a run of a suggested input completed; counted where one did',
    name: 'catalog.suggestedInputs.complete',
    procedure: catalog.suggestedInputs.complete,
  },
  {
    method: 'PATCH',
    path: '/suggested-inputs/:id',
    summary: 'Change a suggested input',
    name: 'catalog.suggestedInputs.change',
    procedure: catalog.suggestedInputs.change,
    ...inputId,
  },
  {
    method: 'DELETE',
    path: '/suggested-inputs/:id',
    summary: 'Show a suggested input no longer',
    name: 'catalog.suggestedInputs.delete',
    procedure: catalog.suggestedInputs.delete,
    ...inputId,
  },

  {
    method: 'GET',
    path: '/analytics/author/summary',
    summary: 'How your packages are used',
    name: 'analytics.authors.summary',
    procedure: authors.summary,
  },
  {
    method: 'GET',
    path: '/analytics/package/:id',
    summary: 'How a package of yours is used',
    name: 'analytics.authors.package',
    procedure: authors.package,
    params: { id: 'packageId' },
  },
  {
    method: 'GET',
    path: '/analytics/suggested-inputs/package/:id',
    summary: 'How often the suggested inputs of a package are taken',
    name: 'analytics.authors.inputs',
    procedure: authors.inputs,
    params: { id: 'packageId' },
  },
  {
    method: 'GET',
    path: '/analytics/time-series/playground/:id',
    summary: "A package's use day by day",
    name: 'analytics.authors.packageSeries',
    procedure: authors.packageSeries,
    params: { id: 'packageId' },
    numbers: ['days'],
  },
  {
    method: 'GET',
    path: '/analytics/time-series/suggested-inputs/:id',
    summary: "A suggested input's use day by day",
    name: 'analytics.authors.inputSeries',
    procedure: authors.inputSeries,
    ...inputId,
    numbers: ['days'],
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
    summary: 'What PRPM+ costs',
    name: 'billing.pricing',
    procedure: billing.pricing,
    open: true,
    ...paid,
  },
  {
    method: 'GET',
    path: '/playground/credits/packages',
    summary: 'List packs of credits',
    name: 'billing.packs',
    procedure: billing.packs,
    open: true,
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
    summary: 'Revenue, cost and margin of a month',
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
