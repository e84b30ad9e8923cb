import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Figures } from '../calls/jobs.ts';
import type { Log } from './log.ts';

/** How a run ended, and with what. `ending` is a status of runs, or `unsettled` where it could not be booked. */
export type RunOutcome = {
  model: string;
  ending: string;
  /** Seconds. */
  duration: number;
  firstToken: number | null;
  tokens: { uncached: number; cached: number; cacheWrite: number; output: number };
  credits: number;
  /** US dollars. */
  cost: number;
};

export type Metrics = ReturnType<typeof createMetrics>;

const REQUEST_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];
const RUN_SECONDS = [0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 90, 120];
const FIRST_TOKEN_SECONDS = [0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30];
/** Several who ask at once are told the same. */
const FIGURES_FOR_MS = 5_000;
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/**
 * What one process did, counted here, and what the database says, asked when somebody looks. No label is a user, a package
 * or a text: each has as many values as there are routes, models, codes and jobs. Spec 11.4.
 */
export function createMetrics(readFigures: () => Promise<Figures>, log: Log) {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const own = countersIn(registry);
  const ofDatabase = gaugesIn(registry);
  let shown: { figures: Promise<Figures | null>; at: number } | undefined;

  function figures(): Promise<Figures | null> {
    const now = performance.now();
    if (shown === undefined || now - shown.at > FIGURES_FOR_MS) {
      const read = readFigures().catch((error: unknown) => {
        log.warn({ error }, 'the database could not be asked for its metrics');
        return null;
      });
      shown = { figures: read, at: now };
    }
    return shown.figures;
  }

  return {
    contentType: registry.contentType,

    /** Everything, as Prometheus reads it. */
    async text(): Promise<string> {
      ofDatabase.show(await figures());
      return registry.metrics();
    },

    /** `ms` until the answer was complete. */
    request(method: string, route: string, status: number, ms: number): void {
      const verb = METHODS.has(method) ? method : 'other';
      own.requests.inc({ method: verb, route, status });
      own.requestSeconds.observe({ method: verb, route }, ms / 1_000);
    },

    runBegan: () => own.running.inc(),

    runEnded({ model, ending, duration, firstToken, tokens, credits, cost }: RunOutcome): void {
      own.running.dec();
      own.runs.inc({ model, ending });
      own.runSeconds.observe({ model }, duration);
      if (firstToken !== null) own.firstTokenSeconds.observe({ model }, firstToken);
      const { uncached, cached, cacheWrite, output } = tokens;
      if (uncached > 0) own.tokens.inc({ model, kind: 'input' }, uncached);
      if (cached > 0) own.tokens.inc({ model, kind: 'cached_input' }, cached);
      if (cacheWrite > 0) own.tokens.inc({ model, kind: 'cache_write' }, cacheWrite);
      if (output > 0) own.tokens.inc({ model, kind: 'output' }, output);
      if (credits > 0) own.credits.inc({ model }, credits);
      if (cost > 0) own.cost.inc({ model }, cost);
    },

    runRefused: (code: string) => own.refusals.inc({ code }),
    providerFailed: (provider: string, code: string) => own.providerErrors.inc({ provider, code }),
    stripeEvent: (outcome: string) => own.stripeEvents.inc({ outcome }),
    stripeWork: (kind: string, outcome: 'done' | 'retried' | 'failed') => own.stripeWork.inc({ kind, outcome }),
  };
}

function countersIn(registry: Registry) {
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name: `prpm_${name}`, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, buckets: number[], ...labelNames: L[]) =>
    new Histogram({ name: `prpm_${name}`, help, buckets, labelNames, registers });
  return {
    requests: counter('http_requests_total', 'Requests answered.', 'method', 'route', 'status'),
    requestSeconds: histogram(
      'http_request_duration_seconds',
      'Time until an answer was complete; of a stream, until its end.',
      REQUEST_SECONDS,
      ...(['method', 'route'] as const),
    ),
    running: new Gauge({ name: 'prpm_runs_in_flight', help: 'Runs that this process carries out now.', registers }),
    runs: counter('runs_total', 'Runs that ended here, by how they ended.', 'model', 'ending'),
    refusals: counter(
      'run_refusals_total',
      'Runs that were refused here, by the error code that was answered.',
      'code',
    ),
    runSeconds: histogram(
      'run_duration_seconds',
      'Time from the call of the provider to its end.',
      RUN_SECONDS,
      'model',
    ),
    firstTokenSeconds: histogram(
      'run_first_token_seconds',
      'Time from the call of the provider to the first piece of an answer.',
      FIRST_TOKEN_SECONDS,
      'model',
    ),
    tokens: counter('tokens_total', 'Tokens used; input is what was not cached.', 'model', 'kind'),
    credits: counter('credits_charged_total', 'Credits charged for runs.', 'model'),
    cost: counter('provider_cost_dollars_total', 'Cost of runs at the providers, US dollars.', 'model'),
    providerErrors: counter('provider_errors_total', 'Calls of providers that failed for good.', 'provider', 'code'),
    stripeEvents: counter('stripe_events_total', "Deliveries of Stripe's webhook, by what became of them.", 'outcome'),
    stripeWork: counter('stripe_work_total', 'Work at Stripe that was tried here.', 'kind', 'outcome'),
  };
}

type Shown = [name: string, help: string, value: (figures: Figures) => number | null | undefined];

/** Of the whole database, so every process tells the same: take the maximum of them, not the sum. */
const SHOWN: readonly Shown[] = [
  ['users', 'People whose account is open.', (f) => f.users],
  ['open_runs', 'Runs that are under way anywhere.', (f) => f.openRuns ?? 0],
  ['overdue_holds', 'People with a run whose server seems to be gone.', (f) => f.overdueHolds],
  ['held_credits', 'Credits held for runs under way.', (f) => f.heldCredits ?? 0],
  ['held_cost_dollars', 'Cost held for runs under way, US dollars.', (f) => f.heldCost ?? 0],
  ['month_cost_dollars', "Cost of this month's runs, US dollars.", (f) => f.monthCost ?? 0],
  [
    'month_subscription_revenue_dollars',
    'What subscriptions pay a month now, US dollars.',
    (f) => f.monthSubscriptionRevenue ?? 0,
  ],
  [
    'month_pack_revenue_dollars',
    'What packs brought this month, less what went back, US dollars.',
    (f) => f.monthPackRevenue ?? 0,
  ],
  ['free_tier_cost_dollars', 'What the free tier has cost today, US dollars.', (f) => f.freeTierCost ?? 0],
  ['free_tier_budget_dollars', 'What it may cost a day, US dollars; absent without a limit.', (f) => f.freeTierBudget],
  ['free_tier_paused', '1 while its budget is used up.', (f) => Number(f.freeTierPaused)],
  ['runs_enabled', '0 while settings.runs_enabled is off.', (f) => Number(f.runsEnabled)],
  ['purchases_enabled', '0 while settings.purchases_enabled is off.', (f) => Number(f.purchasesEnabled)],
  ['stripe_events_waiting', 'Events that are stored and not applied.', (f) => f.eventsWaiting],
  ['stripe_events_waiting_seconds', 'Age of the oldest of them.', (f) => f.eventsWaitingSeconds ?? 0],
  ['stripe_events_in_review', 'Events that need a person.', (f) => f.eventsInReview],
  ['stripe_work_due', 'Work at Stripe that is due and not done.', (f) => f.workDue],
  ['stripe_work_due_seconds', 'For how long the oldest of it is due.', (f) => f.workDueSeconds ?? 0],
  ['stripe_work_failed', 'Work at Stripe that was given up.', (f) => f.workFailed],
  [
    'messages_undelivered',
    'Alerts and mails that do not arrive; see ops.undelivered_messages.',
    (f) => f.messagesUndelivered,
  ],
  ['analytics_age_seconds', 'Time since the analytics were refreshed.', (f) => f.analyticsAgeSeconds],
  [
    'provider_drift_rows',
    'Rows of ops.provider_drift that were off when they were last looked at; absent before.',
    (f) => f.driftRows,
  ],
];

function gaugesIn(registry: Registry) {
  const registers = [registry];
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Gauge({ name: `prpm_${name}`, help, labelNames, registers });
  const up = gauge('database_up', '1 when the database answered just now; else what it tells is absent.');
  const plain = SHOWN.map(([name, help, value]) => ({ shown: gauge(name, help), value }));
  const throttled = gauge('users_throttled', 'People throttled, by whom.', 'by');
  const alerts = gauge('alerts_open', 'Alerts that are open; see ops.alerts_now.', 'severity');
  // Not `job`, which Prometheus itself sets.
  const jobLate = gauge('job_late_seconds', 'How late a job of the database is.', 'name');
  const jobFailed = gauge('job_failed', '1 when the newest slot of a job that ended has an error.', 'name');

  return {
    show(figures: Figures | null): void {
      up.set(figures === null ? 0 : 1);
      for (const { shown } of plain) shown.remove();
      for (const labelled of [throttled, alerts, jobLate, jobFailed]) labelled.reset();
      if (figures === null) return;
      for (const { shown, value } of plain) {
        const now = value(figures);
        if (now !== null && now !== undefined) shown.set(now);
      }
      throttled.set({ by: 'limit' }, figures.throttledByLimit ?? 0);
      throttled.set({ by: 'operator' }, figures.throttledByOperator ?? 0);
      alerts.set({ severity: 'warning' }, figures.alertsWarning ?? 0);
      alerts.set({ severity: 'critical' }, figures.alertsCritical ?? 0);
      for (const { job, lateSeconds, failed } of figures.jobs ?? []) {
        jobLate.set({ name: job }, lateSeconds);
        jobFailed.set({ name: job }, Number(failed));
      }
    },
  };
}
