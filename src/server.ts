import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { openChannels } from './alerts/channels.ts';
import { startDelivery } from './alerts/deliver.ts';
import { createAuthenticate } from './auth/authenticate.ts';
import { jwtVerifier } from './auth/jwt.ts';
import { openLogins } from './auth/logins.ts';
import { type OpenId, openIdClient } from './auth/openid.ts';
import { readMetrics } from './calls/jobs.ts';
import type { Environment } from './config/environment.ts';
import { openDatabase, type Sql } from './database/client.ts';
import { newestMigration } from './database/newest-migration.ts';
import { createEngine } from './engine/engine.ts';
import { addressReader } from './http/address.ts';
import { createApp, VERSION } from './http/app.ts';
import { type Page, readPage } from './http/page.ts';
import { startJobs } from './jobs/schedule.ts';
import { createProviders } from './providers/create.ts';
import { type Billing, openBilling } from './stripe/billing.ts';
import { createLog, type Log, plainLog } from './telemetry/log.ts';
import { createMetrics } from './telemetry/metrics.ts';
import type { Traces } from './telemetry/traces.ts';
import type { DemoPerson } from './trpc/trpc.ts';

export type ServerOptions = {
  environment: Environment;
  log?: Log;
  /** What was built of the page, where it is not what lies in web/dist; it may be in the making. */
  page?: Promise<Page | undefined>;
  /** Whom anybody may be without signing in: for a demo. */
  people?: readonly DemoPerson[];
  /** Do the jobs and the work at Stripe that are due each minute; harmless where pg_cron or others do them too. Default true. */
  jobs?: boolean;
};

export type RunningServer = {
  /** Where it listens, without a slash at the end. */
  url: string;
  /** Until nothing is under way at Stripe and nothing is due there now. */
  stripeIdle(): Promise<void>;
  /** Takes nothing new, lets runs end within `drainMs` (default DRAIN_MS), settles the others with what they have, closes everything. */
  close(drainMs?: number): Promise<void>;
};

/** Starts one instance. Any number of them can share a database. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { environment, log = createLog(options.environment.LOG_LEVEL) } = options;
  const database = await openDatabase({
    url: environment.APP_DATABASE_URL,
    workers: environment.APP_WORKER_URLS,
    pool: environment.DATABASE_POOL,
    production: environment.NODE_ENV === 'production',
  });
  const { AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience } = environment;
  const verifyJwt = issuer !== undefined && audience !== undefined ? jwtVerifier({ issuer, audience }) : undefined;
  const { ANTHROPIC_API_KEY: anthropic, OPENAI_API_KEY: openai } = environment;
  const providers = createProviders({
    anthropic: anthropic === undefined ? undefined : { apiKey: anthropic, baseURL: environment.ANTHROPIC_BASE_URL },
    openai: openai === undefined ? undefined : { apiKey: openai, baseURL: environment.OPENAI_BASE_URL },
  });
  const { jobs: hasJobs = true } = options;
  const { METRICS_TOKEN: token } = environment;
  const counted = token === undefined ? undefined : createMetrics(() => readMetrics(database.reads), log);
  let billing: Billing | undefined;
  let traces: Traces | undefined;
  try {
    traces = await traceWhereAsked(environment);
    billing = await openBilling({ environment, database, log, metrics: counted, isLooking: hasJobs });
  } catch (error) {
    await database.close();
    throw error;
  }
  const engine = createEngine({ database, providers, log, metrics: counted });
  let url = '';
  const origin = () => environment.PUBLIC_URL ?? url;
  const built = options.page ?? readPage();
  built.then(
    (found) => found ?? log.warn('the page is not built (npm run build): /playground and all others answer 404'),
    (error: unknown) => log.error({ error }, 'the page cannot be read'),
  );
  const services = {
    database,
    engine,
    billing,
    cronSecret: environment.CRON_SECRET,
    newestMigration: await newestMigration(),
    log,
    requests: plainLog(log),
    metrics: counted && token !== undefined ? { counted, token } : undefined,
    traces,
    addressOf: addressReader(environment.TRUSTED_PROXIES),
    pageUrl: (path: string) => `${origin()}${path}`,
    authenticate: createAuthenticate(database.sql, verifyJwt),
    page: {
      ...{ built, origin, people: options.people ?? [] },
      logins: openLogins(database.sql, origin),
      openId: issuerOf(environment, database.sql),
    },
  };
  const server = createServer(
    { keepAliveTimeout: 65_000, requestTimeout: 60_000 },
    getRequestListener(createApp(services).fetch),
  );

  try {
    await listen(server, environment.PORT, environment.HOST);
  } catch (error) {
    await billing?.stop();
    await database.close();
    throw error;
  }
  url = urlOf(server, environment.HOST);
  log.info({ url }, 'listening');
  const jobs = hasJobs ? startJobs(database.jobs, log) : undefined;
  const channels = openChannels(environment);
  if (hasJobs && !channels.has('webhook') && !channels.has('operator_email')) {
    log.warn('ALERT_WEBHOOK_URL and ALERT_EMAIL_TO are missing: alerts stay in the database, in ops.alerts_now');
  }
  const delivery = hasJobs && channels.size > 0 ? startDelivery(database.reads, channels, log) : undefined;

  const shutDown = async (drainMs: number) => {
    log.info('stopping: running runs may end');
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await engine.drain(drainMs);
    server.closeIdleConnections();
    const impatient = setTimeout(() => server.closeAllConnections(), 1_000);
    await closed;
    clearTimeout(impatient);
    await Promise.all([jobs?.stop(), delivery?.stop(), billing?.stop()]);
    await Promise.all([database.close(), traces?.close().catch(() => undefined)]);
    log.info('stopped');
  };
  let closing: Promise<void> | undefined;
  return {
    url,
    stripeIdle: async () => billing?.idle(),
    close: (drainMs = environment.DRAIN_MS) => {
      closing ??= shutDown(drainMs);
      return closing;
    },
  };
}

function issuerOf(environment: Environment, sql: Sql): OpenId | undefined {
  const { AUTH_ISSUER: issuer, AUTH_CLIENT_ID: clientId, AUTH_CLIENT_SECRET: clientSecret } = environment;
  return issuer === undefined || clientId === undefined
    ? undefined
    : openIdClient(sql, { issuer, clientId, clientSecret });
}

async function traceWhereAsked(environment: Environment): Promise<Traces | undefined> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = environment;
  if (endpoint === undefined) return undefined;
  const { OTEL_EXPORTER_OTLP_HEADERS: headers, OTEL_SERVICE_NAME: service } = environment;
  const { openTraces } = await import('./telemetry/traces.ts');
  return openTraces({ endpoint, headers, service, version: VERSION });
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function urlOf(server: Server, host: string): string {
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}
