/* Ten people subscribe and pay, one after the other: `npm run stripe:subscribe-ten`, after `. .demo/env`. */
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { z } from 'zod';

const most = 10;
const patienceMs = 10_000;

const { BASE_URL: base, DATABASE_URL: database } = z
  .object({ BASE_URL: z.url(), DATABASE_URL: z.url(), STRIPE_API_BASE: z.url() })
  .parse(process.env, { error: () => 'is missing: run this after . .demo/env' });

const accountSchema = z.object({ user_id: z.string(), token: z.string() });
const checkoutSchema = z.object({ checkoutUrl: z.url() });
const statusSchema = z.object({ isActive: z.boolean(), status: z.string().nullable(), tier: z.string() });
const creditsSchema = z.object({ credits: z.number() });

const sql = postgres(database, { max: 1, onnotice: () => {} });
let failed = 0;
try {
  const run = Date.now().toString(36);
  for (let nth = 1; nth <= most; nth++) {
    const label = `${String(nth).padStart(2)}/${most}`;
    try {
      await subscribe(label, `test-${run}-${nth}`);
    } catch (error) {
      failed += 1;
      console.log(`${label} FAILED: ${error instanceof Error ? error.message : error}`);
    }
  }
  const faults = await sql`select check_name, object from ops.audit_books()`;
  for (const { check_name: check, object } of faults) console.log(`the books: ${check} ${object}`);
  const books = faults.length === 0 ? 'the books balance' : 'the books do NOT balance';
  console.log(`${most - failed} of ${most} subscriptions without errors; ${books}.`);
  if (failed > 0 || faults.length > 0) process.exitCode = 1;
} finally {
  await sql.end();
}

async function subscribe(label: string, username: string): Promise<void> {
  const say = (what: string) => console.log(`${label} ${username}: ${what}`);
  const [account] = await sql`select user_id, token from ops.create_user(${`${username}@example.com`}, ${username})`;
  const { user_id: userId, token } = accountSchema.parse(account);
  say('signed up');

  const urls = { successUrl: 'https://yourdomain.com/success', cancelUrl: 'https://yourdomain.com/cancel' };
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(`${base}/api/v1/playground/subscribe`, {
    ...{ method: 'POST', headers, body: JSON.stringify(urls) },
  });
  if (!answer.ok) throw new Error(`subscribe answers ${answer.status}: ${await answer.text()}`);
  const { checkoutUrl } = checkoutSchema.parse(await answer.json());
  say(`pays at ${checkoutUrl}`);

  const paid = await fetch(checkoutUrl, {
    ...{ method: 'POST', body: new URLSearchParams({ action: 'pay' }), redirect: 'manual' },
  });
  const back = paid.headers.get('location');
  if (back !== urls.successUrl) throw new Error(`paying answers ${paid.status} and leads to ${back}`);
  say('paid, waiting for the webhook');

  for (const end = Date.now() + patienceMs; ; await sleep(50)) {
    const status = await fetch(`${base}/api/v1/playground/subscription`, { headers });
    const { isActive, status: word, tier } = statusSchema.parse(await status.json());
    const [row] = await sql`select included_credits::integer as credits from public.users where id = ${userId}`;
    const { credits } = creditsSchema.parse(row);
    if (isActive && credits >= 100) return say(`${word}, tier ${tier}, ${credits} credits`);
    if (Date.now() > end) throw new Error(`is ${word}, tier ${tier}, with ${credits} credits, ${patienceMs} ms later`);
  }
}
