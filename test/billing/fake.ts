// A database that is not there: what each api function answers, by its name, and a server's HTTP interface in front of it.
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { type Environment, readEnvironment } from '../../src/config/environment.ts';
import type { Sql } from '../../src/database/client.ts';
import { createApp } from '../../src/http/app.ts';
import { type Billing, openBilling } from '../../src/stripe/billing.ts';
import { createLog, type Log } from '../../src/telemetry/log.ts';
import type { Services } from '../../src/trpc/trpc.ts';

/** Rows for the arguments that it was called with. */
export type Answers = Record<string, (...values: unknown[]) => unknown[] | Promise<unknown[]>>;

export type FakeSql = Sql & { calls: { name: string; values: unknown[] }[]; named(name: string): unknown[][] };

export function fakeSql(answers: Answers): FakeSql {
  const calls: FakeSql['calls'] = [];
  const usual: Answers = {
    stripe_limits: () => [{ maxRps: 1_000 }],
    claim_stripe_work: () => [],
    set_stripe_prices: () => [],
    admit_read: () => [{ allowed: true, rateLimit: null, rateRemaining: null, rateReset: null }],
  };
  const run = async (text: TemplateStringsArray, ...values: unknown[]) => {
    const name = /api\.(\w+)\(/.exec(text.join('?'))?.[1] ?? '';
    calls.push({ name, values });
    const answer = answers[name] ?? usual[name];
    if (answer === undefined) throw new Error(`nobody has said what ${name} answers`);
    return answer(...values);
  };
  const named = (name: string) => calls.flatMap((call) => (call.name === name ? [call.values] : []));
  return Object.assign(run, { json: (value: unknown) => value, calls, named }) as unknown as FakeSql;
}

export const silent = createLog('silent');

export function environment(variables: Record<string, string> = {}): Environment {
  return readEnvironment({
    APP_DATABASE_URL: 'postgres://prpm_app:x@localhost/nowhere',
    ALLOWED_RETURN_ORIGINS: 'https://app.example,http://localhost:5173',
    ...variables,
  });
}

export const USER = '0197a000-0000-7000-8000-000000000001';

export type House = { url: string; sql: FakeSql; billing: Billing | undefined; close(): Promise<void> };

/** Listens with this environment; the token is whatever, and its scopes are what is said. */
export async function openHouse(
  answers: Answers,
  variables: Record<string, string> = {},
  { log = silent, scopes = ['read', 'billing'] }: { log?: Log; scopes?: string[] } = {},
): Promise<House> {
  const sql = fakeSql(answers);
  const database = { sql, reads: sql, jobs: sql, close: async () => {} };
  const billing = await openBilling({ environment: environment(variables), database, log, isLooking: false });
  const principal = {
    userId: USER,
    username: 'ada',
    email: null,
    isAdmin: false,
    tokenId: null,
    scopes: new Set(scopes),
  };
  const services = {
    ...{ database, billing, log, requests: log, engine: { draining: false } },
    addressOf: () => '192.0.2.1',
    authenticate: (header: string | undefined) => (header === undefined ? null : principal),
  } as unknown as Services;
  const server = createServer(getRequestListener(createApp(services).fetch));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return {
    ...{ url: `http://127.0.0.1:${address.port}`, sql, billing },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await billing?.stop();
    },
  };
}
