// A shop that sells by Stripe: the stand-in, the real package as its client, what is for sale, and who buys it.
import { createServer } from 'node:http';
import Stripe from 'stripe';
import { type Options, type StripeStandIn, startStripe } from '../../sandbox/stripe/stripe.ts';

export const HOUR = 60 * 60 * 1000;
export const DAY = 24 * HOUR;
export const START = new Date('2027-01-10T12:00:00Z');

export type Shop = {
  stripe: StripeStandIn;
  /** Never tries again by itself, so that a test sees each answer. */
  client: Stripe;
  customer: Stripe.Customer;
  /** $6.00 and $3.00 a month, and a pack of $5.00. */
  individual: Stripe.Price;
  member: Stripe.Price;
  pack: Stripe.Price;
};

export async function openShop(options: Options = {}): Promise<Shop> {
  const stripe = await startStripe({ now: START, ...options });
  const client = clientOf(stripe);
  const monthly = { currency: 'usd', recurring: { interval: 'month' } } as const;
  const product = await client.products.create({ name: 'PRPM+' });
  const [individual, member, pack, customer] = await Promise.all([
    client.prices.create({ ...monthly, product: product.id, unit_amount: 600, lookup_key: 'individual' }),
    client.prices.create({ ...monthly, product: product.id, unit_amount: 300, lookup_key: 'member' }),
    client.prices.create({ currency: 'usd', unit_amount: 500, product_data: { name: 'Small pack' } }),
    client.customers.create({ email: 'ada@example.com', metadata: { user_id: 'u1' } }),
  ]);
  return { stripe, client, customer, individual, member, pack };
}

export function clientOf(stripe: StripeStandIn, config: Stripe.StripeConfig = {}): Stripe {
  return new Stripe(stripe.secretKey, { ...stripe.clientOptions, maxNetworkRetries: 0, telemetry: false, ...config });
}

const URLS = {
  success_url: 'https://shop.example/done?session={CHECKOUT_SESSION_ID}',
  cancel_url: 'https://shop.example/no',
};

export function sellPlan(
  { client, customer, individual }: Shop,
  more: Partial<Stripe.Checkout.SessionCreateParams> = {},
): Promise<Stripe.Checkout.Session> {
  return client.checkout.sessions.create({
    mode: 'subscription',
    customer: customer.id,
    line_items: [{ price: individual.id, quantity: 1 }],
    subscription_data: { metadata: { plan: 'individual' }, billing_mode: { type: 'flexible' } },
    ...URLS,
    ...more,
  });
}

export function sellPack(
  { client, customer, pack }: Shop,
  more: Partial<Stripe.Checkout.SessionCreateParams> = {},
): Promise<Stripe.Checkout.Session> {
  return client.checkout.sessions.create({
    mode: 'payment',
    customer: customer.id,
    line_items: [{ price: pack.id, quantity: 1 }],
    payment_intent_data: { metadata: { purchase_id: 'p1' } },
    metadata: { seen: 'session' },
    ...URLS,
    ...more,
  });
}

/** A subscription that has been paid for the first time. */
export async function subscribed(
  shop: Shop,
  more: Partial<Stripe.Checkout.SessionCreateParams> = {},
): Promise<Stripe.Subscription> {
  const session = shop.stripe.pay((await sellPlan(shop, more)).id);
  return shop.client.subscriptions.retrieve(session.subscription ?? '');
}

/** A pack that has been paid: its payment. */
export async function bought(shop: Shop): Promise<Stripe.PaymentIntent> {
  const session = shop.stripe.pay((await sellPack(shop)).id);
  return shop.client.paymentIntents.retrieve(session.payment_intent ?? '');
}

/** The types of the events that this made, in order. */
export async function eventsOf(stripe: StripeStandIn, work: () => unknown): Promise<string[]> {
  const before = stripe.events().length;
  await work();
  return stripe
    .events()
    .slice(before)
    .map(({ type }) => type);
}

/** What the API answers in place of an object. */
export async function refusalOf(call: Promise<unknown>): Promise<Stripe.errors.StripeError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Stripe.errors.StripeError) return error;
    throw error;
  }
  throw new Error('That was not refused.');
}

type Received = { body: string; signature: string };

/** An endpoint that keeps what it gets; `answers` says with which status, by default 200. */
export async function openEndpoint(answers: (count: number) => number | Promise<number> = () => 200) {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const read: Buffer[] = [];
    for await (const bytes of request) read.push(bytes);
    const signature = String(request.headers['stripe-signature']);
    received.push({ body: Buffer.concat(read).toString('utf8'), signature });
    response.writeHead(await answers(received.length)).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  return {
    url: `http://127.0.0.1:${address.port}/hook`,
    received,
    types: () => received.map(({ body }) => (JSON.parse(body) as Stripe.Event).type),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
