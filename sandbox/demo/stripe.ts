// The demo's Stripe: the sandbox's, in this process, set up as `npm run stripe:setup` sets up an account; or a real account.
import { type Environment, environmentSchema, readEnvironment } from '../../src/config/environment.ts';
import { openAccount } from '../../src/stripe/client.ts';
import { setUpStripe } from '../../src/stripe/setup.ts';
import { type StripeStandIn, startStripe } from '../stripe/stripe.ts';
import type { Home, Memory } from './home.ts';
import { choosePort, host } from './ports.ts';

const keepEveryMs = 500;
const sandboxKey = 'sk_test_sandbox';
/** The guide's own origin, for those who type its commands as they stand. */
const guideOrigin = 'https://yourdomain.com';

type Variables = Partial<Record<keyof Environment, string>>;

export type Shop = {
  shown: string;
  notes: string[];
  /** What the server reads. */
  variables: Variables;
  /** What other terminals get: never a real account's. */
  exported: Variables;
  /** Lets webhooks go: the server is there. */
  open(): void;
  /** Keeps them back until it is there again. */
  hold(): void;
  /** Keeps its state for the next start. */
  stop(): Promise<void>;
};

/** Goes on with the Stripe that this demo had; `origin` is where its server will listen. */
export async function startShop(home: Home, memory: Memory, origin: string): Promise<Shop> {
  const known = memory.stripe;
  const snapshot = home.recallStripe();
  const port = await choosePort(known?.port ?? 0);
  const isMoved = known !== null && known.port !== port;
  const stripe = await startStripe({
    ...{ host, port, secretKey: sandboxKey, realTime: true, delivery: 'auto', held: true },
    ...(snapshot !== undefined && { snapshot }),
  });
  try {
    const variables = await setUp(stripe, home, memory, origin);
    const stopKeeping = keepState(stripe, home);
    return {
      shown: `a stand-in at ${stripe.url}: no card, no money; ${stripe.url}/sandbox/… steers it`,
      notes: isMoved ? [`port ${known.port} is taken, so Stripe's pages have moved to ${stripe.url}`] : [],
      variables,
      exported: Object.fromEntries(Object.entries(variables).filter(([name]) => name.startsWith('STRIPE_'))),
      open: () => stripe.release(),
      hold: () => stripe.hold(),
      async stop() {
        await stripe.stop();
        stopKeeping();
      },
    };
  } catch (error) {
    await stripe.stop();
    throw error;
  }
}

/** Prices, portal and webhook, by the command that sets up an account. A webhook's secret is told once, so it is remembered. */
async function setUp(stripe: StripeStandIn, home: Home, memory: Memory, origin: string) {
  const webhookUrl = `${origin}/api/v1/playground/webhooks/stripe/credits`;
  const account = openAccount({ key: stripe.secretKey, base: stripe.url });
  const loaded = await account.load();
  // The demo's server may listen on another port than last time.
  const endpoint = stripe.endpoints().find(({ url }) => url === memory.stripe?.webhookUrl);
  if (endpoint) await loaded.stripe.webhookEndpoints.update(endpoint.id, { url: webhookUrl });
  const { environment } = await setUpStripe(loaded, { webhookUrl });
  const webhookSecret = environment.STRIPE_PLAYGROUND_WEBHOOK_SECRET ?? memory.stripe?.webhookSecret;
  if (webhookSecret === undefined) throw new Error('The secret of the webhook is not known; --reset starts it over.');
  memory.stripe = { port: Number(new URL(stripe.url).port), webhookUrl, webhookSecret };
  home.remember(memory);
  return {
    STRIPE_SECRET_KEY: stripe.secretKey,
    STRIPE_API_BASE: stripe.url,
    ...environment,
    STRIPE_PLAYGROUND_WEBHOOK_SECRET: webhookSecret,
    ALLOWED_RETURN_ORIGINS: [...pageOrigins(origin), guideOrigin].join(),
  } satisfies Variables;
}

/** Writes its state down soon after each change, for a demo may be killed. Returns what writes it a last time. */
function keepState(stripe: StripeStandIn, home: Home): () => void {
  let last = '';
  const keep = () => {
    const now = stripe.snapshot();
    if (now !== last) home.keepStripe(now);
    last = now;
  };
  keep();
  const timer = setInterval(keep, keepEveryMs).unref();
  return () => {
    clearInterval(timer);
    keep();
  };
}

/** The account of the environment's keys. Without one billing answers that it is not configured. */
export function ownShop(given: NodeJS.ProcessEnv, origin: string): Shop {
  const nothingMore = { exported: {}, open: () => {}, hold: () => {}, stop: async () => {} };
  const variables = billingVariables(given);
  // Placeholders count as missing.
  const { STRIPE_SECRET_KEY: key, ALLOWED_RETURN_ORIGINS: origins } = readEnvironment({
    APP_DATABASE_URL: 'postgres://unused',
    ...variables,
  });
  // A demo's own, from `. DIR/env`.
  const isSandbox = key === sandboxKey;
  if (key === undefined || isSandbox) {
    const notes = isSandbox ? ["STRIPE_SECRET_KEY is that of a demo's stand-in: it counts as unset"] : [];
    return { shown: 'none, STRIPE_SECRET_KEY is not set', notes, variables: {}, ...nothingMore };
  }
  const shown = `your account, ${key.includes('_live_') ? 'live mode: people pay real money' : 'test mode'}`;
  const withOrigins = { ...variables, ALLOWED_RETURN_ORIGINS: [...pageOrigins(origin), ...origins].join() };
  return { shown, notes: [], variables: withOrigins, ...nothingMore };
}

/** People write one or the other. */
const pageOrigins = (origin: string) => [origin, origin.replace(host, 'localhost')];

/** Those that billing reads. */
function billingVariables(given: NodeJS.ProcessEnv): Variables {
  const names = Object.keys(environmentSchema.shape);
  return Object.fromEntries(
    names.flatMap((name) => (/^(STRIPE_|ALLOWED_RETURN)/.test(name) && given[name] ? [[name, given[name]]] : [])),
  );
}
