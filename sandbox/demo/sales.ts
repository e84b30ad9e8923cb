// What the people of the history pay: at a Stripe whose clock goes with theirs, by the functions that a server calls.
import { readEnvironment } from '../../src/config/environment.ts';
import type { Database } from '../../src/database/client.ts';
import { openBilling } from '../../src/stripe/billing.ts';
import { openAccount } from '../../src/stripe/client.ts';
import { setUpStripe } from '../../src/stripe/setup.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { startStripe } from '../stripe/stripe.ts';

const urls = { successUrl: 'https://yourdomain.com/success', cancelUrl: 'https://yourdomain.com/cancel' };
const secret = 'whsec_history';

export type Sales = Awaited<ReturnType<typeof openSales>>;

/** `database` is the server's; its clock is to be moved before this one. */
export async function openSales(database: Database, start: Date) {
  const stripe = await startStripe({ now: start, realTime: true });
  const { environment } = await setUpStripe(await openAccount({ key: stripe.secretKey, base: stripe.url }).load());
  const billing = await openBilling({
    environment: readEnvironment({
      ...environment,
      APP_DATABASE_URL: 'postgres://unused',
      STRIPE_SECRET_KEY: stripe.secretKey,
      STRIPE_API_BASE: stripe.url,
      STRIPE_PLAYGROUND_WEBHOOK_SECRET: secret,
    }),
    database,
    log: createLog('silent'),
    isLooking: false,
  });
  if (billing === undefined) throw new Error('the history has no billing');
  const heard = new Set<string>();

  /** What a webhook would bring. */
  async function hear(): Promise<void> {
    for (const event of stripe.events()) {
      if (heard.has(event.id)) continue;
      heard.add(event.id);
      const body = JSON.stringify(event);
      const received = await billing?.receive({ bytes: Buffer.from(body), signature: stripe.sign(body, secret) });
      if (!/^(applied|ignored)$/.test(received?.outcome ?? ''))
        throw new Error(`${event.type} in the history: ${received?.outcome}`);
    }
    await billing?.idle();
  }

  async function pay(checkoutUrl: string): Promise<void> {
    stripe.pay(new URL(checkoutUrl).pathname.split('/').at(-1) ?? '');
    await hear();
  }

  return {
    /** Renewals on the way happen, and are heard of at the end of it. */
    async moveTo(moment: Date): Promise<void> {
      if (moment <= stripe.clock.now()) return;
      await stripe.clock.advance(moment);
      if (stripe.events().length > heard.size) await hear();
    },
    subscribe: async (userId: string) => pay(await billing.subscribe(userId, urls)),
    buy: async (userId: string, pack: string) => pay((await billing.purchase(userId, pack, urls)).checkoutUrl),
    /** All that Stripe knows then. */
    snapshot: () => stripe.snapshot(),
    async close(): Promise<void> {
      await billing.stop();
      await stripe.stop();
    },
  };
}
