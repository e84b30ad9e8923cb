// What the same server costs without the product: one route that makes the same provider call and two trivial database calls.
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { openDatabase } from '../src/database/client.ts';
import { createProviders } from '../src/providers/create.ts';

const { APP_DATABASE_URL = '', ANTHROPIC_BASE_URL = '' } = process.env;
const database = await openDatabase({ url: APP_DATABASE_URL, pool: 4, production: false });
const providers = createProviders({ anthropic: { apiKey: 'sandbox', baseURL: ANTHROPIC_BASE_URL }, openai: undefined });
const app = new Hono();
app.post('/bare', async (context) => {
  const { input } = await context.req.json();
  await database.sql`select 1 as one`;
  const result = await providers.call(
    {
      provider: 'anthropic',
      model: 'claude-sonnet-4-6',
      system: 'prompt '.repeat(585),
      messages: [{ role: 'user', content: String(input) }],
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
  return context.json({ response: result.text, tokens: result.usage });
});
const server = createServer(getRequestListener(app.fetch));
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  console.log(`ready http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`);
});
