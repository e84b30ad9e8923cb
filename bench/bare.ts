// What the same server costs without the product: one route that makes the same provider call and two trivial database
// calls, through the same HTTP, tRPC, authentication, checks of input and output, and log.
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { z } from 'zod';
import { createAuthenticate } from '../src/auth/authenticate.ts';
import { openDatabase } from '../src/database/client.ts';
import { createEngine } from '../src/engine/engine.ts';
import { addressReader } from '../src/http/address.ts';
import { createApp } from '../src/http/app.ts';
import { createProviders } from '../src/providers/create.ts';
import { createLog, plainLog } from '../src/telemetry/log.ts';
import { runInput } from '../src/trpc/inputs.ts';
import { runProcedure } from '../src/trpc/trpc.ts';

const { APP_DATABASE_URL = '', ANTHROPIC_BASE_URL = '' } = process.env;
const database = await openDatabase({ url: APP_DATABASE_URL, pool: 3, production: false });
const providers = createProviders({ anthropic: { apiKey: 'sandbox', baseURL: ANTHROPIC_BASE_URL }, openai: undefined });
const log = createLog('info');
const engine = createEngine({ database, providers, log });
const authenticate = createAuthenticate(database.sql, undefined);
const system = 'prompt '.repeat(585);

const bare = runProcedure
  .input(runInput)
  .output(z.object({ response: z.string(), tokens: z.object({ input: z.number(), output: z.number() }).nullable() }))
  .mutation(async ({ input }) => {
    await database.sql`select 1 as one`;
    const result = await providers.call(
      {
        provider: 'anthropic',
        model: 'claude-sonnet-4-6',
        system,
        messages: [{ role: 'user', content: input.input }],
        maxOutputTokens: 4096,
        temperature: null,
        cachePrompt: false,
        firstTokenTimeoutMs: 30_000,
        timeoutMs: 120_000,
        userKey: null,
      },
      { signal: new AbortController().signal, onText: () => {} },
    );
    await database.sql`select 1 as one`;
    return { response: result.text, tokens: result.usage };
  });

const app = createApp(
  {
    database,
    engine,
    log,
    requests: plainLog(log),
    addressOf: addressReader([]),
    pageUrl: (path) => path,
    authenticate,
  },
  [{ method: 'POST', path: '/bare', summary: 'For the bench', name: 'bare', procedure: bare }],
);
const server = createServer(getRequestListener(app.fetch));
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(`ready http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`);
});
