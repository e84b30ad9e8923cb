import type Stripe from 'stripe';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bought, clientOf, openShop, refusalOf, type Shop, START, sellPack, sellPlan, subscribed } from './shop.ts';

let shop: Shop;
let client: Stripe;
beforeAll(async () => {
  shop = await openShop();
  client = shop.client;
});
afterAll(() => shop.stripe.stop());

describe('accounts, products and prices', () => {
  test('the key’s account is found', async () => {
    const account = await client.accounts.retrieveCurrent();
    expect(account).toMatchObject({ object: 'account', charges_enabled: true });
  });

  test('a product is created with its price, changed, listed and found', async () => {
    const product = await client.products.create({
      name: 'Large pack',
      metadata: { pack: 'large' },
      default_price_data: { currency: 'usd', unit_amount: 2000 },
    });
    const changed = await client.products.update(product.id, { active: false, metadata: { pack: '', kind: 'x' } });
    expect(changed).toMatchObject({ active: false, metadata: { kind: 'x' } });
    const found = await client.products.retrieve(product.id, { expand: ['default_price'] });
    expect(found.default_price).toMatchObject({ unit_amount: 2000, type: 'one_time' });
    const listed = await client.products.list({ active: false, limit: 1 });
    expect(listed.data.map(({ id }) => id)).toEqual([product.id]);
  });

  test('a price is found by its lookup key, and its decimal is a Decimal', async () => {
    const { data } = await client.prices.list({ lookup_keys: ['individual'], expand: ['data.product'] });
    expect(data).toHaveLength(1);
    expect(data[0]).toMatchObject({
      unit_amount: 600,
      type: 'recurring',
      recurring: { interval: 'month', interval_count: 1 },
    });
    expect(data[0]?.product).toMatchObject({ object: 'product', name: 'PRPM+' });
    expect(String(data[0]?.unit_amount_decimal)).toBe('600');
  });

  test('a lookup key moves to another price only when that is said', async () => {
    const { product } = shop.individual;
    const wanted = { currency: 'usd', unit_amount: 700, product: String(product), lookup_key: 'moving' };
    const first = await client.prices.create(wanted);
    expect(await refusalOf(client.prices.create(wanted))).toMatchObject({ statusCode: 400, param: 'lookup_key' });
    await client.prices.create({ ...wanted, transfer_lookup_key: true });
    expect((await client.prices.retrieve(first.id)).lookup_key).toBeNull();
    expect((await client.prices.update(first.id, { active: false })).active).toBe(false);
  });
});

describe('customers', () => {
  test('a customer is created, changed and found by e-mail', async () => {
    const made = await client.customers.create({ email: 'grace@example.com', name: 'Grace', metadata: { user: '7' } });
    const changed = await client.customers.update(made.id, {
      name: '',
      address: { city: 'Leipzig' },
      metadata: { x: 'y' },
    });
    expect(changed).toMatchObject({
      name: null,
      metadata: { user: '7', x: 'y' },
      address: { city: 'Leipzig', line1: null },
    });
    const { data } = await client.customers.list({ email: 'grace@example.com' });
    expect(data.map(({ id }) => id)).toEqual([made.id]);
  });

  test('a deleted customer is found as deleted, is in no list, and can buy nothing', async () => {
    const made = await client.customers.create({ email: 'gone@example.com' });
    expect(await client.customers.del(made.id)).toMatchObject({ id: made.id, deleted: true });
    expect(await client.customers.retrieve(made.id)).toMatchObject({ id: made.id, deleted: true });
    expect((await client.customers.list({ email: 'gone@example.com' })).data).toEqual([]);
    const refusal = await refusalOf(sellPack({ ...shop, customer: made }));
    expect(refusal).toMatchObject({ statusCode: 404, code: 'resource_missing', param: 'customer' });
  });

  test('deleting a customer ends their subscriptions first', async () => {
    const customer = await client.customers.create({ email: 'leaving@example.com' });
    const subscription = await subscribed({ ...shop, customer });
    await client.customers.del(customer.id);
    expect((await client.subscriptions.retrieve(subscription.id)).status).toBe('canceled');
    const types = shop.stripe.events().map(({ type }) => type);
    expect(types.slice(-2)).toEqual(['customer.subscription.deleted', 'customer.deleted']);
  });
});

describe('checkout sessions', () => {
  test('an open session has an address to pay at, lives a day, and has no payment yet', async () => {
    const session = await sellPack(shop);
    expect(session.id).toMatch(/^cs_test_/);
    expect(session).toMatchObject({
      status: 'open',
      payment_status: 'unpaid',
      payment_intent: null,
      amount_total: 500,
      url: `${shop.stripe.url}/pay/${session.id}`,
      expires_at: START.getTime() / 1000 + 24 * 60 * 60,
    });
  });

  test('prices may be given in line', async () => {
    const product_data = { name: 'Medium pack' };
    const session = await sellPack(shop, {
      line_items: [{ price_data: { currency: 'usd', unit_amount: 1000, product_data }, quantity: 2 }],
    });
    expect(session.amount_total).toBe(2000);
    const { data } = await client.checkout.sessions.listLineItems(session.id);
    expect(data).toMatchObject([{ description: 'Medium pack', quantity: 2, amount_total: 2000 }]);
  });

  test('metadata for the payment reaches the payment and its charge; the session’s own does not', async () => {
    const payment = await bought(shop);
    expect(payment).toMatchObject({ status: 'succeeded', amount_received: 500, metadata: { purchase_id: 'p1' } });
    const charge = await client.charges.retrieve(String(payment.latest_charge));
    expect(charge.metadata).toEqual({ purchase_id: 'p1' });
    expect(payment).not.toHaveProperty('invoice');
    expect(charge).not.toHaveProperty('invoice');
  });

  test('metadata for the subscription reaches the subscription, and not its payment', async () => {
    const subscription = await subscribed(shop);
    expect(subscription.metadata).toEqual({ plan: 'individual' });
    const [payment] = (await client.paymentIntents.list({ customer: shop.customer.id, limit: 1 })).data;
    expect(payment?.metadata).toEqual({});
  });

  test('the session of a payment is found by it', async () => {
    const payment = await bought(shop);
    const { data } = await client.checkout.sessions.list({ payment_intent: payment.id });
    expect(data).toMatchObject([{ payment_intent: payment.id, status: 'complete', payment_status: 'paid', url: null }]);
  });

  test('only an open session expires, and then it has no address', async () => {
    const session = await sellPlan(shop);
    expect(await client.checkout.sessions.expire(session.id)).toMatchObject({ status: 'expired', url: null });
    expect((await refusalOf(client.checkout.sessions.expire(session.id))).statusCode).toBe(400);
    expect(() => shop.stripe.pay(session.id)).toThrow('expired');
  });

  test.each([
    ['half an hour at least', 29 * 60],
    ['a day at most', 25 * 60 * 60],
  ])('a session lives %s', async (_what, seconds) => {
    const refusal = await refusalOf(sellPack(shop, { expires_at: START.getTime() / 1000 + seconds }));
    expect(refusal).toMatchObject({ statusCode: 400, param: 'expires_at' });
  });

  test('what belongs to the other mode is refused', async () => {
    expect(await refusalOf(sellPlan(shop, { payment_intent_data: { metadata: { a: 'b' } } }))).toMatchObject({
      param: 'payment_intent_data',
    });
    expect(await refusalOf(sellPack(shop, { subscription_data: { metadata: { a: 'b' } } }))).toMatchObject({
      param: 'subscription_data',
    });
  });

  test('automatic tax for a known customer needs leave to save their address', async () => {
    const taxed = { automatic_tax: { enabled: true } };
    expect((await refusalOf(sellPack(shop, taxed))).code).toBe('customer_tax_location_invalid');
    const session = await sellPack(shop, { ...taxed, customer_update: { address: 'auto' } });
    expect(session.automatic_tax.enabled).toBe(true);
  });

  test('without a customer, a subscription makes one and a payment does not', async () => {
    const anonymous = { customer: undefined, customer_email: 'new@example.com' } as never;
    const plan = shop.stripe.pay((await sellPlan(shop, anonymous)).id);
    expect(await client.customers.retrieve(plan.customer ?? '')).toMatchObject({ email: 'new@example.com' });
    const pack = shop.stripe.pay((await sellPack(shop, anonymous)).id);
    expect(pack).toMatchObject({ customer: null, customer_details: { email: 'new@example.com' } });
  });

  test('a pack with invoice_creation has an invoice payment whose invoice belongs to no subscription', async () => {
    const session = shop.stripe.pay((await sellPack(shop, { invoice_creation: { enabled: true } })).id);
    const { data } = await client.invoicePayments.list({
      payment: { type: 'payment_intent', payment_intent: session.payment_intent ?? '' },
      expand: ['data.invoice'],
    });
    expect(data).toMatchObject([{ status: 'paid', invoice: { parent: null, status: 'paid', amount_paid: 500 } }]);
  });
});

describe('payments', () => {
  test('a subscription’s payment leads by an invoice payment to its invoice and from there to the subscription', async () => {
    const subscription = await subscribed(shop);
    const [payment] = (await client.paymentIntents.list({ limit: 1 })).data;
    const { data } = await client.invoicePayments.list({
      payment: { type: 'payment_intent', payment_intent: payment?.id ?? '' },
      expand: ['data.invoice'],
    });
    expect(data).toHaveLength(1);
    expect(data[0]).toMatchObject({
      amount_paid: 600,
      status: 'paid',
      invoice: {
        billing_reason: 'subscription_create',
        parent: { type: 'subscription_details', subscription_details: { subscription: subscription.id } },
      },
    });
    const invoice = data[0]?.invoice as Stripe.Invoice;
    expect(invoice).not.toHaveProperty('subscription');
    expect((await client.invoicePayments.list({ invoice: invoice.id })).data).toHaveLength(1);
    expect((await client.invoices.list({ subscription: subscription.id })).data.map(({ id }) => id)).toEqual([
      invoice.id,
    ]);
    const lines = await client.invoices.listLineItems(invoice.id);
    const [item] = subscription.items.data;
    expect(lines.data).toMatchObject([
      {
        amount: 600,
        period: { start: item?.current_period_start, end: item?.current_period_end },
        parent: { subscription_item_details: { proration: false, subscription_item: item?.id } },
        pricing: { price_details: { price: shop.individual.id } },
      },
    ]);
  });

  test('expand gives objects in place of ids, also in lists and several levels deep', async () => {
    const { id } = await subscribed(shop);
    const expand = ['customer', 'latest_invoice.payments'];
    const one = await client.subscriptions.retrieve(id, { expand });
    expect(one).toMatchObject({
      customer: { email: 'ada@example.com' },
      latest_invoice: { payments: { data: [{ amount_paid: 600, payment: { type: 'payment_intent' } }] } },
    });
    const many = await client.subscriptions.list({
      limit: 1,
      expand: ['data.latest_invoice', 'data.customer'],
    });
    expect(many.data[0]).toMatchObject({ latest_invoice: { status: 'paid' }, customer: { email: 'ada@example.com' } });
    expect((await client.subscriptions.retrieve(id)).latest_invoice).toMatch(/^in_/);
  });

  test.each([
    ['status', 'status'],
    ['nonsense', 'nonsense'],
    ['more than four levels', 'latest_invoice.payments.data.payment.payment_intent'],
  ])('what cannot be expanded is refused: %s', async (_what, path) => {
    const { id } = await subscribed(shop);
    const refusal = await refusalOf(client.subscriptions.retrieve(id, { expand: [path] }));
    expect(refusal).toMatchObject({ statusCode: 400, param: 'expand' });
  });
});

test('a live key makes everything live', async () => {
  const live = await openShop({ secretKey: 'sk_live_sandbox' });
  try {
    const session = await sellPack(live);
    expect(session.id).toMatch(/^cs_live_/);
    expect(session.livemode).toBe(true);
    live.stripe.pay(session.id);
    expect(new Set(live.stripe.events().map(({ livemode }) => livemode))).toEqual(new Set([true]));
    expect((await refusalOf(clientOf(shop.stripe).customers.retrieve(live.customer.id))).code).toBe('resource_missing');
  } finally {
    await live.stripe.stop();
  }
});
