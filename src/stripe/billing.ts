import { beginPortal, beginSubscriptionChange, forgetCustomer, type ReturnUrls } from '../calls/billing.ts';
import type { Environment } from '../config/environment.ts';
import type { Database } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import { refusalFailure } from '../errors/refusal.ts';
import { isCustomerGone, isKeyRefused, isPassing, isPortalMissing } from '../errors/stripe.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type Purchase, purchase, subscribe } from './checkout.ts';
import { openAccount } from './client.ts';
import { checkPrices, priceIds } from './prices.ts';
import { type Delivery, type Received, receiveEvent } from './webhook.ts';
import { createWorker } from './worker.ts';

const LOOK_EVERY_MS = 60_000;

export type Billing = {
  /** Origins that a person may be sent back to. */
  returnOrigins: readonly string[];
  subscribe(userId: string, urls: ReturnUrls): Promise<string>;
  purchase(userId: string, pack: string, urls: ReturnUrls): Promise<Purchase>;
  /** Cancels at the end of the period, or takes that back; at Stripe too when it returns. */
  change(userId: string, action: 'cancel' | 'resume'): Promise<void>;
  portal(userId: string, returnUrl: string): Promise<string>;
  /** Takes a delivery of the webhook. */
  receive(delivery: Delivery): Promise<Received>;
  /** There may be something to do at Stripe. */
  nudge(): void;
  /** Until nothing is under way at Stripe and nothing is due now. */
  idle(): Promise<void>;
  stop(): Promise<void>;
};

export type BillingOptions = {
  environment: Environment;
  database: Pick<Database, 'sql' | 'reads'>;
  log: Log;
  metrics?: Metrics | undefined;
  /** Look each minute for work that is due. */
  isLooking: boolean;
};

/**
 * Billing by the account of STRIPE_SECRET_KEY; undefined without one. Throws where prices at Stripe are others than in the
 * database, but not where Stripe is away. Spec 6.
 */
export async function openBilling(options: BillingOptions): Promise<Billing | undefined> {
  const { environment, database, log, metrics } = options;
  const { STRIPE_SECRET_KEY: key, STRIPE_API_BASE: base } = environment;
  if (key === undefined) return undefined;
  const { STRIPE_PLAYGROUND_WEBHOOK_SECRET: secrets = [], STRIPE_PORTAL_CONFIGURATION_ID: configuration } = environment;
  const { sql, reads } = database;
  const account = openAccount({ key, base });
  const ids = priceIds(environment);
  if (secrets.length === 0) log.warn('STRIPE_PLAYGROUND_WEBHOOK_SECRET is missing: what is paid will not arrive');

  const complaints = await seePrices();
  if (complaints !== undefined && complaints.length > 0) throw new Error(`${DIFFERENT}\n${complaints.join('\n')}`);
  let arePricesSeen = complaints !== undefined;
  const worker = createWorker({ sql: reads, account, log, metrics });

  /** What is wrong with the prices; undefined where Stripe is away. */
  async function seePrices(): Promise<string[] | undefined> {
    try {
      return await checkPrices(reads, account, ids);
    } catch (error) {
      if (isKeyRefused(error)) throw new Error(KEY_REFUSED, { cause: error });
      if (!isPassing(error)) throw error;
      log.warn({ error }, 'Stripe is away: prices could not be compared, and will be as soon as it is there');
      return undefined;
    }
  }

  async function look(): Promise<void> {
    worker.nudge();
    if (arePricesSeen) return;
    try {
      const late = await seePrices();
      arePricesSeen = late !== undefined;
      if (late !== undefined && late.length > 0) log.error({ complaints: late }, DIFFERENT);
    } catch (error) {
      log.error({ error }, 'prices at Stripe could not be compared');
    }
  }
  const timer = options.isLooking ? setInterval(() => void look(), LOOK_EVERY_MS) : undefined;
  if (options.isLooking) worker.nudge();

  return {
    returnOrigins: environment.ALLOWED_RETURN_ORIGINS,
    subscribe: (userId, urls) => subscribe({ sql, account }, userId, urls),
    purchase: (userId, pack, urls) => purchase({ sql, account }, userId, pack, urls),

    async change(userId, action) {
      const begun = await beginSubscriptionChange(sql, userId, action);
      if (begun.outcome === 'refused') throw refusalFailure(begun.refusal);
      if (begun.outcome === 'ready') return;
      const outcome = await worker.perform(begun.workId);
      worker.nudge();
      if (outcome?.done) return;
      if (outcome?.isFinal) throw new Failure('subscription_differs', DIFFERS, {}, { cause: outcome.error });
      throw new Failure('billing_unavailable', QUEUED, { retryAfter: 5 }, { cause: outcome?.error });
    },

    async portal(userId, returnUrl) {
      const begun = await beginPortal(sql, userId, account.livemode);
      if (begun.outcome === 'refused') throw refusalFailure(begun.refusal);
      const { stripe } = await account.load();
      const session = await stripe.billingPortal.sessions
        .create({
          ...{ customer: begun.customerId, return_url: returnUrl },
          ...(configuration !== undefined && { configuration }),
        })
        .catch((error: unknown) => {
          if (isCustomerGone(error)) return;
          if (isPortalMissing(error)) throw new Failure('billing_not_configured', NO_PORTAL, {}, { cause: error });
          throw error;
        });
      if (session !== undefined) return session.url;
      await forgetCustomer(sql, userId, begun.customerId);
      throw new Failure('no_customer');
    },

    async receive(delivery) {
      if (secrets.length === 0) throw new Failure('billing_not_configured', 'No signing secret of the webhook is set.');
      const received = await receiveEvent({ sql: reads, account, secrets, log }, delivery);
      worker.nudge();
      return received;
    },

    nudge: () => worker.nudge(),
    idle: () => worker.idle(),

    async stop() {
      clearInterval(timer);
      await worker.stop();
    },
  };
}

const KEY_REFUSED =
  'STRIPE_SECRET_KEY is refused by Stripe, or may not read prices. Put in the key of the right account, in the right mode.';
const DIFFERENT =
  'Prices at Stripe are not what plans and packs in the database say. Change the plan or pack, or name another price:';
const DIFFERS =
  'Stripe did not take the change: what it knows of your subscription is not what we know. It is being compared; look again in a minute.';
const NO_PORTAL = 'The account at Stripe has no configuration of the customer portal: npm run stripe:setup makes one.';
const QUEUED = 'Stripe has not answered yet. The change is kept and will be made; look again in a moment.';
