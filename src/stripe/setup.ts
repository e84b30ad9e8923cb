// `npm run stripe:setup`: makes what the playground sells, and how people manage it, at Stripe; what is there stays.
import { existsSync } from 'node:fs';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import type Stripe from 'stripe';
import { type Environment, environmentSchema } from '../config/environment.ts';
import { type LoadedStripe, openAccount } from './client.ts';
import { PRICE_VARIABLES } from './prices.ts';

type Name = (typeof PRICE_VARIABLES)[number]['name'];
type Product = { title: string; cents: number; interval: 'month' | null };

/** What things cost at first. The database has its own figures, and compares them with Stripe's when a server starts. */
const PRODUCTS: Record<Name, Product> = {
  prpm_plus_individual: { title: 'PRPM+ Individual', cents: 600, interval: 'month' },
  prpm_plus_org_member: { title: 'PRPM+ Org Member', cents: 300, interval: 'month' },
  small: { title: 'Small Pack', cents: 500, interval: null },
  medium: { title: 'Medium Pack', cents: 1000, interval: null },
  large: { title: 'Large Pack', cents: 2000, interval: null },
};
const CURRENCY = 'usd';

/** Metadata under which what was made here is found again. */
const MARK = 'prpm_playground';

/** The guide's five, and those that tell sooner what would else be found by looking. Spec 6.3. */
const EVENTS: Stripe.WebhookEndpointCreateParams.EnabledEvent[] = [
  'customer.subscription.created',
  'customer.subscription.updated',
  'customer.subscription.deleted',
  'payment_intent.succeeded',
  'charge.refunded',
  'checkout.session.completed',
  'checkout.session.expired',
  'checkout.session.async_payment_succeeded',
  'checkout.session.async_payment_failed',
  'payment_intent.payment_failed',
  'invoice.paid',
  'invoice.payment_failed',
  'invoice.payment_action_required',
  'refund.created',
  'refund.updated',
  'refund.failed',
  'charge.dispute.created',
  'charge.dispute.updated',
  'charge.dispute.closed',
  'customer.subscription.paused',
  'customer.subscription.resumed',
  'customer.deleted',
];

/** The account's own settings could offer what our rules do not know: another plan, a pause, an end at once. Spec 6.1. */
const FEATURES = {
  invoice_history: { enabled: true },
  payment_method_update: { enabled: true },
  customer_update: { enabled: true, allowed_updates: ['email', 'name', 'address', 'tax_id'] },
  subscription_cancel: { enabled: true, mode: 'at_period_end', proration_behavior: 'none' },
  subscription_update: { enabled: false },
  subscription_pause: { enabled: false },
} satisfies Stripe.BillingPortal.ConfigurationCreateParams.Features;

export type SetupOptions = { dryRun?: boolean; webhookUrl?: string | undefined };

export type Setup = {
  /** What there is, was made, was set or differs, for a person. */
  lines: string[];
  /** What the server's environment is to say. With `dryRun` only what is there already. */
  environment: Partial<Record<keyof Environment, string>>;
};

type Setting = LoadedStripe & Setup & { dryRun: boolean };

/** Makes what is missing at Stripe, once: found again by lookup key, metadata or URL. `dryRun` only says what it would do. */
export async function setUpStripe(loaded: LoadedStripe, options: SetupOptions = {}): Promise<Setup> {
  const { dryRun = false, webhookUrl } = options;
  const setting: Setting = { ...loaded, dryRun, lines: [], environment: {} };
  await setUpPrices(setting);
  await setUpPortal(setting);
  if (webhookUrl !== undefined) await setUpWebhook(setting, webhookUrl);
  const { lines, environment } = setting;
  return { lines, environment };
}

type State = 'there' | 'made' | 'set' | 'DIFFERS';

function say({ lines, dryRun }: Setting, state: State, ...words: (string | undefined)[]): void {
  const word = dryRun ? { made: 'would make', set: 'would set', there: 'there', DIFFERS: 'DIFFERS' }[state] : state;
  lines.push(`${word.padEnd(10)}  ${words.filter(Boolean).join(', ')}`);
}

async function setUpPrices(setting: Setting): Promise<void> {
  const { stripe, dryRun, environment } = setting;
  const keys = PRICE_VARIABLES.map(({ name }) => lookupKey(name));
  const { data: prices } = await stripe.prices.list({ lookup_keys: keys, limit: 100 });
  for (const { variable, name } of PRICE_VARIABLES) {
    const product = PRODUCTS[name];
    const price = prices.find((one) => one.lookup_key === lookupKey(name));
    let id = price?.id;
    if (price === undefined) {
      if (!dryRun) id = await makePrice(stripe, name);
      say(setting, 'made', product.title, id, money(product));
    } else if (differs(price, product)) {
      say(setting, 'DIFFERS', product.title, id, `${shown(price)} and not ${money(product)}; it is left as it is`);
    } else {
      say(setting, 'there', product.title, id, shown(price));
    }
    if (id !== undefined) environment[variable] = id;
  }
}

async function setUpPortal(setting: Setting): Promise<void> {
  const { stripe, dryRun, environment } = setting;
  const { configurations } = stripe.billingPortal;
  const portal = await findPortal(stripe);
  let id = portal?.id;
  if (portal === undefined) {
    if (!dryRun) id = (await configurations.create({ features: FEATURES, metadata: { [MARK]: 'portal' } })).id;
    say(setting, 'made', 'portal', id);
  } else if (hasFeatures(portal)) {
    say(setting, 'there', 'portal', id);
  } else {
    if (!dryRun) await configurations.update(portal.id, { features: FEATURES });
    say(setting, 'set', 'portal', id, 'to what it should offer');
  }
  if (id !== undefined) environment.STRIPE_PORTAL_CONFIGURATION_ID = id;
}

/** Its signing secret is told once: when it is made. */
async function setUpWebhook(setting: Setting, url: string): Promise<void> {
  const { stripe, apiVersion, dryRun, environment } = setting;
  const endpoint = await findEndpoint(stripe, url);
  if (endpoint === undefined) {
    const wanted = { url, enabled_events: EVENTS, api_version: apiVersion, metadata: { [MARK]: 'webhook' } };
    const made = dryRun ? undefined : await stripe.webhookEndpoints.create(wanted);
    say(setting, 'made', 'webhook', made?.id, url, `version ${apiVersion}`);
    if (made?.secret !== undefined) environment.STRIPE_PLAYGROUND_WEBHOOK_SECRET = made.secret;
    return;
  }
  const { id, status, enabled_events: enabled } = endpoint;
  const version = endpoint.api_version ?? 'that of the account';
  if (version !== apiVersion || status !== 'enabled') {
    const advice = `and not ${apiVersion}, enabled; it is left as it is: remove it and run this again to have it made`;
    say(setting, 'DIFFERS', 'webhook', id, `version ${version}`, status, advice);
    return;
  }
  const missing = enabled.includes('*') ? [] : EVENTS.filter((event) => !enabled.includes(event));
  if (missing.length === 0) {
    say(setting, 'there', 'webhook', id, url);
    return;
  }
  // Events that Stripe has answered are such as it takes.
  const others = enabled as typeof EVENTS;
  if (!dryRun) await stripe.webhookEndpoints.update(id, { enabled_events: [...others, ...missing] });
  say(setting, 'set', 'webhook', id, `also ${missing.join(', ')}`);
}

const lookupKey = (name: Name) => (name.startsWith('prpm_') ? name : `prpm_pack_${name}`);

const money = ({ cents, interval }: Product) =>
  `$${(cents / 100).toFixed(2)}${interval === null ? '' : ` a ${interval}`}`;

function shown({ unit_amount: cents, currency, recurring, active }: Stripe.Price): string {
  const every = recurring === null ? '' : ` every ${recurring.interval_count} ${recurring.interval}`;
  return `${((cents ?? 0) / 100).toFixed(2)} ${currency}${every}${active ? '' : ', archived'}`;
}

function differs({ unit_amount: amount, currency, recurring, active }: Stripe.Price, product: Product): boolean {
  const interval = recurring?.interval_count === 1 || recurring === null ? (recurring?.interval ?? null) : undefined;
  return !active || amount !== product.cents || currency !== CURRENCY || interval !== product.interval;
}

async function makePrice(stripe: Stripe, name: Name): Promise<string> {
  const { title, cents, interval } = PRODUCTS[name];
  const metadata = { [MARK]: name };
  const product = (await findProduct(stripe, name)) ?? (await stripe.products.create({ name: title, metadata }));
  const price = await stripe.prices.create({
    ...{ product: product.id, unit_amount: cents, currency: CURRENCY, lookup_key: lookupKey(name), metadata },
    ...(interval !== null && { recurring: { interval } }),
  });
  return price.id;
}

async function findProduct(stripe: Stripe, name: Name): Promise<Stripe.Product | undefined> {
  for await (const product of stripe.products.list({ active: true, limit: 100 })) {
    if (product.metadata[MARK] === name) return product;
  }
  return undefined;
}

async function findPortal(stripe: Stripe): Promise<Stripe.BillingPortal.Configuration | undefined> {
  for await (const portal of stripe.billingPortal.configurations.list({ active: true, limit: 100 })) {
    if (portal.metadata?.[MARK] === 'portal') return portal;
  }
  return undefined;
}

/** Whether it offers what ours does, and nothing else; Stripe answers more fields than it was given. */
function hasFeatures({ features }: Stripe.BillingPortal.Configuration): boolean {
  return Object.entries(FEATURES).every(([feature, wanted]) =>
    Object.entries(wanted).every(([field, value]) => {
      const there: unknown = Reflect.get(Reflect.get(features, feature) ?? {}, field);
      return isDeepStrictEqual(sorted(there), sorted(value));
    }),
  );
}

const sorted = (value: unknown) => (Array.isArray(value) ? value.toSorted() : value);

async function findEndpoint(stripe: Stripe, url: string): Promise<Stripe.WebhookEndpoint | undefined> {
  for await (const endpoint of stripe.webhookEndpoints.list({ limit: 100 })) {
    if (endpoint.url === url) return endpoint;
  }
  return undefined;
}

async function main(variables: Record<string, string | undefined>, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { 'dry-run': { type: 'boolean', default: false }, 'webhook-url': { type: 'string' } },
  });
  const { 'dry-run': dryRun, 'webhook-url': webhookUrl } = values;
  if (webhookUrl !== undefined && !/^https?:$/.test(URL.parse(webhookUrl)?.protocol ?? '')) {
    throw new Error(`--webhook-url takes a URL such as https://example.com${WEBHOOK_PATH}, not "${webhookUrl}".`);
  }
  const needed = environmentSchema.pick({ STRIPE_SECRET_KEY: true, STRIPE_API_BASE: true }).safeParse(variables);
  if (!needed.success) {
    throw new Error(needed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}.`).join('\n'));
  }
  const { STRIPE_SECRET_KEY: key, STRIPE_API_BASE: base } = needed.data;
  if (key === undefined)
    throw new Error('STRIPE_SECRET_KEY is missing: set it to the secret key of the Stripe account.');

  const account = openAccount({ key, base });
  console.log(`Stripe, ${account.livemode ? 'live' : 'test'} mode${dryRun ? '; nothing is changed' : ''}.`);
  const { lines, environment } = await setUpStripe(await account.load(), { dryRun, webhookUrl });
  for (const line of lines) console.log(line);
  const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  if (settings.length > 0) console.log(`\nFor the server's environment:\n\n${settings.join('\n')}`);
}

const WEBHOOK_PATH = '/api/v1/playground/webhooks/stripe/credits';

if (import.meta.main) {
  if (existsSync('.env')) process.loadEnvFile('.env');
  await main(process.env, process.argv.slice(2)).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
}
