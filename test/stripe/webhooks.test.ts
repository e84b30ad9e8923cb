import Stripe from 'stripe';
import { afterEach, describe, expect, test } from 'vitest';
import type { Options } from '../../sandbox/stripe/stripe.ts';
import { bought, DAY, openEndpoint, openShop, type Shop, START, sellPack, subscribed } from './shop.ts';

const SECRET = 'whsec_test';
type Endpoint = Awaited<ReturnType<typeof openEndpoint>>;

let shop: Shop;
let endpoint: Endpoint;
afterEach(async () => {
  await shop.stripe.stop();
  await endpoint.close();
});

type Setup = Options & { events?: string[]; endpointVersion?: string; answers?: Parameters<typeof openEndpoint>[0] };

async function begin({ events = ['*'], endpointVersion, answers, ...options }: Setup = {}): Promise<void> {
  endpoint = await openEndpoint(answers);
  const webhook = {
    url: endpoint.url,
    secret: SECRET,
    events,
    ...(endpointVersion && { apiVersion: endpointVersion }),
  };
  shop = await openShop({ webhooks: [webhook], ...options });
}

const verified = ({ body, signature }: { body: string; signature: string }, secret = SECRET): Stripe.Event =>
  shop.client.webhooks.constructEvent(body, signature, secret);
/** Whether any event has this object's shape: their union is too wide to look into. */
const objectOf = (event: Stripe.Event) => event.data.object as unknown as Record<string, unknown>;

describe('signatures', () => {
  test('the package verifies what is delivered', async () => {
    await begin();
    await bought(shop);
    await shop.stripe.deliverAll();
    const events = endpoint.received.map((received) => verified(received));
    expect(events.map(({ id }) => id)).toEqual(shop.stripe.events().map(({ id }) => id));
    expect(events.at(-1)).toMatchObject({ object: 'event', type: 'checkout.session.completed', livemode: false });
  });

  test('while a secret is rolled both verify, and then only the new one', async () => {
    await begin();
    const [{ id = '' } = {}] = shop.stripe.endpoints();
    const fresh = shop.stripe.rollSecret(id);
    const [event] = shop.stripe.events();
    await shop.stripe.deliver(event?.id ?? '');
    const [both] = endpoint.received;
    expect(both?.signature.match(/v1=/g)).toHaveLength(2);
    for (const secret of [SECRET, fresh]) expect(both && verified(both, secret).id).toBe(event?.id);
    shop.stripe.dropOldSecrets(id);
    await shop.stripe.redeliver(event?.id ?? '');
    const last = endpoint.received.at(-1);
    expect(() => last && verified(last)).toThrow(Stripe.errors.StripeSignatureVerificationError);
    expect(last && verified(last, fresh).id).toBe(event?.id);
  });

  test('each delivery is signed anew, with the time of its own', async () => {
    let now = 1_800_000_000;
    await begin({ signAt: () => now });
    const [event] = shop.stripe.events();
    await shop.stripe.deliver(event?.id ?? '');
    now += 3600;
    await shop.stripe.redeliver(event?.id ?? '');
    expect(endpoint.received.map(({ signature }) => signature.split(',')[0])).toEqual(['t=1800000000', 't=1800003600']);
  });

  test('a test can sign what it makes up', async () => {
    await begin();
    const body = JSON.stringify({ id: 'evt_own', object: 'event' });
    const old = Math.floor(Date.now() / 1000) - 301;
    expect(verified({ body, signature: shop.stripe.sign(body, SECRET) }).id).toBe('evt_own');
    expect(() => verified({ body, signature: shop.stripe.sign(body, SECRET, old) })).toThrow('tolerance');
  });
});

describe('what is sent', () => {
  test('an endpoint gets the types that it asked for', async () => {
    await begin({ events: ['payment_intent.succeeded', 'charge.refunded'] });
    shop.stripe.refund((await bought(shop)).id);
    await shop.stripe.deliverAll();
    expect(endpoint.types()).toEqual(['payment_intent.succeeded', 'charge.refunded']);
  });

  test('in any order, several times, and in parallel', async () => {
    let most = 0;
    let open = 0;
    const slow = async () => {
      open += 1;
      most = Math.max(most, open);
      await new Promise((resolve) => setTimeout(resolve, 20));
      open -= 1;
      return 200;
    };
    await begin({ answers: slow });
    await bought(shop);
    const random = [0.9, 0.1, 0.5, 0.3];
    const results = await shop.stripe.deliverAll({ times: 2, parallel: 3, shuffle: () => random[results_++ % 4] ?? 0 });
    expect(most).toBe(3);
    expect(results).toHaveLength(2 * shop.stripe.events().length);
    const got = endpoint.received.map((received) => verified(received).id);
    expect([...got].sort()).toEqual(
      shop.stripe
        .events()
        .flatMap(({ id }) => [id, id])
        .sort(),
    );
    expect([...new Set(got)]).not.toEqual(shop.stripe.events().map(({ id }) => id));
  });
  let results_ = 0;

  test('these events, in this order', async () => {
    await begin();
    const { id } = await subscribed(shop);
    const [created, updated] = shop.stripe.events('customer.subscription.created', 'customer.subscription.updated');
    await shop.stripe.deliver([updated?.id ?? '', created?.id ?? '']);
    const events = endpoint.received.map((received) => verified(received));
    expect(events.map((event) => [event.type, objectOf(event).id])).toEqual([
      ['customer.subscription.updated', id],
      ['customer.subscription.created', id],
    ]);
    expect(events[0]?.created).toBe(events[1]?.created);
  });

  test('an event shows its object as it was then, and nothing in it is expanded', async () => {
    await begin();
    await subscribed(shop);
    const [created] = shop.stripe.events('customer.subscription.created');
    expect(created?.data.object).toMatchObject({ status: 'incomplete', latest_invoice: expect.stringMatching(/^in_/) });
    expect((await shop.client.events.retrieve(created?.id ?? '')).data.object).toMatchObject({ status: 'incomplete' });
  });

  test('an endpoint of an older version gets the period on the subscription, and the invoice on the payment', async () => {
    await begin({ endpointVersion: '2024-06-20' });
    const subscription = await subscribed(shop);
    await shop.stripe.deliverAll();
    const events = endpoint.received.map((received) => verified(received));
    const of = (type: string) => events.find((event) => event.type === type);
    const created = of('customer.subscription.created');
    expect(created?.api_version).toBe('2024-06-20');
    expect(created && objectOf(created).current_period_end).toBe(subscription.items.data[0]?.current_period_end);
    const payment = of('payment_intent.succeeded');
    expect(payment && objectOf(payment).invoice).toBe(subscription.latest_invoice);
    const invoice = of('invoice.paid');
    expect(invoice && objectOf(invoice)).toMatchObject({ subscription: subscription.id, paid: true });
  });

  test('of the other mode, of another account, of another version: where a test asks for it', async () => {
    await begin();
    const [event] = shop.stripe.events();
    const id = event?.id ?? '';
    await shop.stripe.deliver(id, { livemode: true });
    await shop.stripe.deliver(id, { account: 'acct_other', context: 'ctx' });
    await shop.stripe.deliver(id, { apiVersion: '2020-08-27' });
    expect(endpoint.received.map((received) => verified(received))).toMatchObject([
      { livemode: true },
      { account: 'acct_other', context: 'ctx' },
      { api_version: '2020-08-27' },
    ]);
    expect(shop.stripe.render(id, { livemode: true }).livemode).toBe(true);
  });
});

describe('by themselves', () => {
  test('they come one after the other, as soon as something happens', async () => {
    await begin({ delivery: 'auto' });
    await bought(shop);
    await shop.stripe.settled();
    expect(endpoint.types()).toEqual(shop.stripe.events().map(({ type }) => type));
    expect(shop.stripe.pending()).toEqual([]);
  });

  test('what is answered with an error is tried again after growing gaps, and given up after the last', async () => {
    const statuses = [500, 302, 200];
    await begin({
      delivery: 'auto',
      deliveryGapsMs: [10, 20],
      events: ['charge.refunded'],
      answers: (n) => statuses[n - 1] ?? 500,
    });
    const payment = await bought(shop);
    shop.stripe.refund(payment.id, 1);
    await expect.poll(() => endpoint.received.length).toBe(3);
    await expect.poll(() => shop.stripe.deliveries()[0]?.state).toBe('delivered');
    shop.stripe.refund(payment.id, 1);
    await expect.poll(() => shop.stripe.deliveries()[1]?.state).toBe('failed');
    expect(shop.stripe.deliveries().map(({ tries }) => tries.map(({ status }) => status))).toEqual([
      [500, 302, 200],
      [500, 500, 500],
    ]);
  });

  test('they can be held back and released', async () => {
    await begin({ delivery: 'auto' });
    await shop.stripe.settled();
    const before = endpoint.received.length;
    shop.stripe.hold();
    await bought(shop);
    await shop.stripe.settled();
    expect(endpoint.received).toHaveLength(before);
    shop.stripe.release();
    await shop.stripe.settled();
    expect(endpoint.received).toHaveLength(shop.stripe.events().length);
  });

  test('while the clock is moved, those of each step arrive before the next step', async () => {
    await begin({ delivery: 'auto', events: ['customer.subscription.updated', 'invoice.paid'] });
    await subscribed(shop);
    await shop.stripe.settled();
    const before = endpoint.received.length;
    await shop.stripe.clock.advance(63 * DAY);
    expect(endpoint.types().slice(before)).toEqual([
      'customer.subscription.updated',
      'invoice.paid',
      'customer.subscription.updated',
      'invoice.paid',
    ]);
  });

  test('an endpoint that is not there loses nothing that can be listed', async () => {
    await begin({ delivery: 'auto', deliveryGapsMs: [] });
    await shop.stripe.settled();
    await endpoint.close();
    await bought(shop);
    await shop.stripe.settled();
    const { data } = await shop.client.events.list({ delivery_success: false, types: ['payment_intent.succeeded'] });
    expect(data).toMatchObject([{ type: 'payment_intent.succeeded', pending_webhooks: 1 }]);
  });
});

describe('the list of events', () => {
  test('it is filtered by type, time and delivery, and reaches back 30 days', async () => {
    await begin();
    const list = (wanted: Stripe.EventListParams) => shop.client.events.list({ limit: 100, ...wanted });
    await shop.stripe.deliverAll();
    expect((await list({ delivery_success: false })).data).toEqual([]);
    await shop.stripe.clock.advance(DAY);
    await bought(shop);
    const since = START.getTime() / 1000;
    expect((await list({ type: 'charge.*', created: { gt: since } })).data.map(({ type }) => type)).toEqual([
      'charge.succeeded',
    ]);
    expect((await list({ delivery_success: false })).data).toHaveLength(
      (await list({ created: { gt: since } })).data.length,
    );
    expect((await list({ delivery_success: true, types: ['customer.created'] })).data).toHaveLength(1);
    await shop.stripe.clock.advance(29 * DAY);
    expect((await list({ types: ['customer.created'] })).data).toEqual([]);
    expect((await list({ types: ['payment_intent.succeeded'] })).data).toHaveLength(1);
  });

  test('no more than 20 types, and not both kinds of filter', async () => {
    await begin();
    await expect(shop.client.events.list({ types: Array.from({ length: 21 }, () => 'x') })).rejects.toThrow('types');
    await expect(shop.client.events.list({ type: 'x', types: ['y'] })).rejects.toThrow('only specify one');
  });
});

test('an endpoint is made by the API, shows its secret once, and gets what it asked for until it is off', async () => {
  await begin({ webhooks: [] });
  const made = await shop.client.webhookEndpoints.create({
    url: endpoint.url,
    enabled_events: ['payment_intent.succeeded'],
    api_version: Stripe.API_VERSION as Stripe.WebhookEndpointCreateParams.ApiVersion,
  });
  expect(made.secret).toMatch(/^whsec_/);
  expect(await shop.client.webhookEndpoints.retrieve(made.id)).not.toHaveProperty('secret');
  await bought(shop);
  await shop.stripe.deliverAll();
  const [received] = endpoint.received;
  expect(received && verified(received, made.secret).type).toBe('payment_intent.succeeded');
  await shop.client.webhookEndpoints.update(made.id, { disabled: true });
  shop.stripe.pay((await sellPack(shop)).id);
  expect(shop.stripe.pending()).toEqual([]);
  await shop.client.webhookEndpoints.del(made.id);
  expect((await shop.client.webhookEndpoints.list()).data).toEqual([]);
});
