import type Stripe from 'stripe';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DAY, eventsOf, HOUR, openShop, refusalOf, type Shop, START, sellPack, sellPlan, subscribed } from './shop.ts';

let shop: Shop;
beforeEach(async () => {
  shop = await openShop();
});
afterEach(() => shop.stripe.stop());

const retrieve = (id: string, expand: string[] = []) => shop.client.subscriptions.retrieve(id, { expand });
const latest = async (id: string) => (await retrieve(id, ['latest_invoice'])).latest_invoice as Stripe.Invoice;
const at = (time: string) => Date.parse(time) / 1000;
const advanceTo = (time: string) => shop.stripe.clock.advance(new Date(time));

describe('subscribing', () => {
  test('it is incomplete at first, and active when the first payment has come, all within a second', async () => {
    const session = await sellPlan(shop);
    const types = await eventsOf(shop.stripe, () => shop.stripe.pay(session.id));
    expect(types).toEqual([
      'customer.subscription.created',
      'invoice.created',
      'invoice.finalized',
      'payment_intent.created',
      'charge.succeeded',
      'payment_intent.succeeded',
      'invoice_payment.paid',
      'customer.subscription.updated',
      'invoice.paid',
      'invoice.payment_succeeded',
      'checkout.session.completed',
    ]);
    const [created] = shop.stripe.events('customer.subscription.created');
    const [updated] = shop.stripe.events('customer.subscription.updated');
    expect(created?.data.object).toMatchObject({ status: 'incomplete' });
    expect(updated?.data).toMatchObject({
      object: { status: 'active' },
      previous_attributes: { status: 'incomplete' },
    });
    expect(created?.created).toBe(updated?.created);
  });

  test('it is in flexible billing mode, and its period stands on its items only', async () => {
    const subscription = await subscribed(shop);
    expect(subscription.billing_mode.type).toBe('flexible');
    expect(subscription).not.toHaveProperty('current_period_end');
    expect(subscription.items.data).toMatchObject([
      { current_period_start: START.getTime() / 1000, current_period_end: at('2027-02-10T12:00:00Z') },
    ]);
  });

  test('a declined card leaves the session open and the subscription incomplete; paying later makes it active', async () => {
    const session = await sellPlan(shop);
    expect(shop.stripe.decline(session.id).status).toBe('open');
    const [subscription] = (await shop.client.subscriptions.list({ customer: shop.customer.id })).data;
    expect(subscription?.status).toBe('incomplete');
    await shop.stripe.clock.advance(5 * HOUR);
    shop.stripe.pay(session.id);
    expect((await retrieve(subscription?.id ?? '')).status).toBe('active');
    expect((await shop.client.subscriptions.list({ status: 'all' })).data).toHaveLength(1);
  });

  test('after 23 hours without a payment it is incomplete_expired, and that is final', async () => {
    const session = await sellPlan(shop);
    shop.stripe.decline(session.id);
    const [subscription] = (await shop.client.subscriptions.list()).data;
    const id = subscription?.id ?? '';
    await shop.stripe.clock.advance(23 * HOUR - 1000);
    expect((await retrieve(id)).status).toBe('incomplete');
    await shop.stripe.clock.advance(1000);
    expect(await retrieve(id)).toMatchObject({ status: 'incomplete_expired', ended_at: expect.any(Number) });
    expect((await latest(id)).status).toBe('void');
    const refusal = await refusalOf(shop.client.subscriptions.update(id, { cancel_at_period_end: true }));
    expect(refusal.statusCode).toBe(400);
    shop.stripe.pay(session.id);
    expect((await shop.client.subscriptions.list({ status: 'active' })).data.map((made) => made.id)).not.toContain(id);
  });

  test('a session that nobody pays expires after a day', async () => {
    const session = await sellPlan(shop);
    await shop.stripe.clock.advance(DAY);
    expect((await shop.client.checkout.sessions.retrieve(session.id)).status).toBe('expired');
    expect(shop.stripe.events('checkout.session.expired')).toHaveLength(1);
  });

  test('two sessions of one customer can both be paid', async () => {
    const [one, two] = [await sellPlan(shop), await sellPlan(shop)];
    shop.stripe.pay(one.id);
    shop.stripe.pay(two.id);
    const { data } = await shop.client.subscriptions.list({ customer: shop.customer.id });
    expect(data.map(({ status }) => status)).toEqual(['active', 'active']);
  });
});

describe('renewal', () => {
  test('the period moves at once, the invoice is a draft for an hour, and only then the money comes', async () => {
    const { id } = await subscribed(shop);
    const moving = await eventsOf(shop.stripe, () => advanceTo('2027-02-10T12:00:00Z'));
    expect(moving).toEqual(
      ['customer.subscription.trial_will_end', 'invoice.created', 'customer.subscription.updated'].slice(1),
    );
    expect(await latest(id)).toMatchObject({ status: 'draft', billing_reason: 'subscription_cycle', amount_paid: 0 });
    const moved = shop.stripe.events('customer.subscription.updated').at(-1);
    expect(moved?.data.object).toMatchObject({ status: 'active' });
    expect(moved?.data.previous_attributes).toMatchObject({
      items: { data: [{ object: 'subscription_item', current_period_end: at('2027-02-10T12:00:00Z') }] },
      latest_invoice: expect.stringMatching(/^in_/),
    });

    const paying = await eventsOf(shop.stripe, () => shop.stripe.clock.advance(HOUR));
    expect(paying).toEqual([
      'invoice.finalized',
      'payment_intent.created',
      'charge.succeeded',
      'payment_intent.succeeded',
      'invoice_payment.paid',
      'invoice.paid',
      'invoice.payment_succeeded',
    ]);
    const invoice = await latest(id);
    expect(invoice.status_transitions).toMatchObject({ paid_at: at('2027-02-10T13:00:00Z') });
    expect(invoice).toMatchObject({ status: 'paid', period_end: at('2027-02-10T12:00:00Z') });
    const period = { start: at('2027-02-10T12:00:00Z'), end: at('2027-03-10T12:00:00Z') };
    expect(invoice.lines.data).toMatchObject([{ period }]);
  });

  test('months are counted from the first day, so the 31st comes back after February', async () => {
    await advanceTo('2027-01-31T10:00:00Z');
    const { id } = await subscribed(shop);
    const ends: number[] = [];
    for (const time of ['2027-02-28T12:00:00Z', '2027-03-31T12:00:00Z', '2027-04-30T12:00:00Z']) {
      ends.push((await retrieve(id)).items.data[0]?.current_period_end ?? 0);
      await advanceTo(time);
    }
    expect(ends).toEqual([at('2027-02-28T10:00:00Z'), at('2027-03-31T10:00:00Z'), at('2027-04-30T10:00:00Z')]);
  });

  test('a long leap of the clock does every renewal, each at its own time', async () => {
    const { id } = await subscribed(shop);
    await advanceTo('2027-06-01T00:00:00Z');
    const { data } = await shop.client.invoices.list({ subscription: id });
    expect(data.map(({ created }) => new Date(created * 1000).toISOString().slice(5, 10))).toEqual([
      '05-10',
      '04-10',
      '03-10',
      '02-10',
      '01-10',
    ]);
    expect(new Set(data.map(({ status }) => status))).toEqual(new Set(['paid']));
  });

  test.each([
    ['a credit balance', (id: string) => shop.stripe.giveCredit(shop.customer.id, id.length > 0 ? 1000 : 0)],
    ['a coupon', (id: string) => shop.stripe.giveCoupon(id)],
  ])('a renewal that %s pays for has no payment at all', async (_what, give) => {
    const { id } = await subscribed(shop);
    give(id);
    const types = await eventsOf(shop.stripe, () => shop.stripe.clock.advance(32 * DAY));
    expect(types.filter((type) => /payment_intent|charge/.test(type))).toEqual([]);
    expect(types).toContain('invoice.paid');
    expect(await latest(id)).toMatchObject({
      status: 'paid',
      amount_due: 0,
      amount_paid: 0,
      lines: { data: [{ amount: 600 }] },
    });
    expect((await shop.client.invoicePayments.list({ invoice: (await latest(id)).id })).data).toEqual([]);
    await shop.stripe.clock.advance(31 * DAY);
    expect((await latest(id)).amount_paid).toBeGreaterThan(0);
  });

  test('a change of price without proration keeps the period and is charged from the next invoice on', async () => {
    const { id, items } = await subscribed(shop);
    const [item] = items.data;
    const changed = await shop.client.subscriptions.update(id, {
      items: [{ id: item?.id ?? '', price: shop.member.id }],
      proration_behavior: 'none',
    });
    expect(changed.items.data).toMatchObject([
      { id: item?.id, price: { id: shop.member.id }, current_period_end: item?.current_period_end },
    ]);
    await shop.stripe.clock.advance(32 * DAY);
    expect((await latest(id)).amount_paid).toBe(300);
  });

  test('without the item’s id a price is added beside the other', async () => {
    const { id } = await subscribed(shop);
    await shop.client.subscriptions.update(id, { items: [{ price: shop.member.id }], proration_behavior: 'none' });
    await shop.stripe.clock.advance(32 * DAY);
    expect((await latest(id)).amount_paid).toBe(900);
  });
});

describe('trials', () => {
  test('a trial begins with a paid invoice of $0 and ends with the first real one', async () => {
    const types = await eventsOf(shop.stripe, () => subscribed(shop, { subscription_data: { trial_period_days: 7 } }));
    expect(types.filter((type) => type.startsWith('payment_intent'))).toEqual([]);
    const [subscription] = (await shop.client.subscriptions.list()).data;
    const id = subscription?.id ?? '';
    expect(subscription).toMatchObject({ status: 'trialing', trial_end: at('2027-01-17T12:00:00Z') });
    expect(await latest(id)).toMatchObject({ status: 'paid', amount_paid: 0, billing_reason: 'subscription_create' });

    await advanceTo('2027-01-17T12:00:00Z');
    expect(shop.stripe.events('customer.subscription.trial_will_end')).toHaveLength(1);
    expect((await retrieve(id)).status).toBe('active');
    await shop.stripe.clock.advance(HOUR);
    expect(await latest(id)).toMatchObject({ status: 'paid', amount_paid: 600, billing_reason: 'subscription_cycle' });
    expect((await retrieve(id)).items.data[0]?.current_period_end).toBe(at('2027-02-17T12:00:00Z'));
  });
});

describe('packs', () => {
  test('a payment is made when the person pays, and the session is complete', async () => {
    const session = await sellPack(shop);
    expect(await eventsOf(shop.stripe, () => shop.stripe.pay(session.id))).toEqual([
      'payment_intent.created',
      'charge.succeeded',
      'payment_intent.succeeded',
      'checkout.session.completed',
    ]);
  });

  test('a declined card leaves the session open, and the same payment succeeds later', async () => {
    const session = await sellPack(shop);
    const types = await eventsOf(shop.stripe, () => shop.stripe.decline(session.id));
    expect(types).toEqual(['payment_intent.created', 'charge.failed', 'payment_intent.payment_failed']);
    const { payment_intent: first, status } = await shop.client.checkout.sessions.retrieve(session.id);
    expect(status).toBe('open');
    expect(await shop.client.paymentIntents.retrieve(String(first))).toMatchObject({
      status: 'requires_payment_method',
      last_payment_error: { code: 'card_declined' },
    });
    expect(shop.stripe.pay(session.id)).toMatchObject({ status: 'complete', payment_intent: first });
    expect(
      (await shop.client.charges.list({ payment_intent: String(first) })).data.map((charge) => charge.status),
    ).toEqual(['succeeded', 'failed']);
  });

  test('a session that expires cancels the payment that had been tried', async () => {
    const session = await sellPack(shop);
    shop.stripe.decline(session.id);
    expect(await eventsOf(shop.stripe, () => shop.stripe.clock.advance(DAY))).toEqual([
      'payment_intent.canceled',
      'checkout.session.expired',
    ]);
  });

  test.each([
    ['succeeded', 'paid', ['charge.succeeded', 'payment_intent.succeeded', 'checkout.session.async_payment_succeeded']],
    ['failed', 'unpaid', ['charge.failed', 'payment_intent.payment_failed', 'checkout.session.async_payment_failed']],
  ] as const)('a delayed payment completes the session unpaid, and later has %s', async (outcome, status, types) => {
    const session = await sellPack(shop);
    expect(shop.stripe.payDelayed(session.id)).toMatchObject({ status: 'complete', payment_status: 'unpaid' });
    await shop.stripe.clock.advance(3 * DAY);
    expect(await eventsOf(shop.stripe, () => shop.stripe.endDelayed(session.id, outcome))).toEqual(types);
    expect((await shop.client.checkout.sessions.retrieve(session.id)).payment_status).toBe(status);
  });

  test('giving up changes nothing and leads back', async () => {
    const session = await sellPack(shop);
    expect(
      await eventsOf(shop.stripe, () => expect(shop.stripe.abandon(session.id)).toBe('https://shop.example/no')),
    ).toEqual([]);
    expect((await shop.client.checkout.sessions.retrieve(session.id)).status).toBe('open');
  });
});
