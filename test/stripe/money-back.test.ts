import type Stripe from 'stripe';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bought, DAY, eventsOf, openShop, refusalOf, type Shop, subscribed } from './shop.ts';

let shop: Shop;
let client: Stripe;
beforeAll(async () => {
  shop = await openShop();
  client = shop.client;
});
afterAll(() => shop.stripe.stop());

const chargeOf = async ({ latest_charge: id }: Stripe.PaymentIntent) => client.charges.retrieve(String(id));

describe('refunds', () => {
  test('each is told by charge.refunded, whose object is the charge with the sum so far and no list', async () => {
    const payment = await bought(shop);
    const types = await eventsOf(shop.stripe, async () => {
      await client.refunds.create({ payment_intent: payment.id, amount: 120, metadata: { why: 'x' } });
      await client.refunds.create({ charge: String(payment.latest_charge) });
    });
    expect(types).toEqual(['refund.created', 'charge.refunded', 'refund.created', 'charge.refunded']);
    const [first, second] = shop.stripe.events('charge.refunded').slice(-2);
    expect(first?.data.object).toMatchObject({ object: 'charge', amount_refunded: 120, refunded: false });
    expect(second?.data.object).toMatchObject({ object: 'charge', amount_refunded: 500, refunded: true });
    expect(first?.data.object).not.toHaveProperty('refunds');
    const { data } = await client.refunds.list({ payment_intent: payment.id });
    expect(data.map(({ amount, status }) => [amount, status])).toEqual([
      [380, 'succeeded'],
      [120, 'succeeded'],
    ]);
    const expanded = await client.charges.retrieve(String(payment.latest_charge), { expand: ['refunds'] });
    expect(expanded.refunds?.data).toHaveLength(2);
  });

  test('no more than was paid can be refunded', async () => {
    const payment = await bought(shop);
    const refund = (amount?: number) =>
      client.refunds.create({ payment_intent: payment.id, ...(amount && { amount }) });
    expect(await refusalOf(refund(501))).toMatchObject({ statusCode: 400, param: 'amount' });
    await refund();
    expect((await refusalOf(refund(1))).code).toBe('charge_already_refunded');
  });

  test('a refund may fail weeks later; what the charge says then stays', async () => {
    const payment = await bought(shop);
    const refund = shop.stripe.refund(payment.id);
    await shop.stripe.clock.advance(21 * DAY);
    const types = await eventsOf(shop.stripe, () => shop.stripe.failRefund(refund.id));
    expect(types).toEqual(['refund.updated', 'refund.failed']);
    expect(await client.refunds.retrieve(refund.id)).toMatchObject({
      status: 'failed',
      failure_reason: expect.any(String),
    });
    expect((await chargeOf(payment)).amount_refunded).toBe(500);
    expect(shop.stripe.refundable(payment.id)).toBe(500);
  });

  test('a failed refund lowers what the charge says, where that is asked for', async () => {
    const payment = await bought(shop);
    shop.stripe.failRefund(shop.stripe.refund(payment.id, 200).id, true);
    expect((await chargeOf(payment)).amount_refunded).toBe(0);
  });

  test('a pending refund comes through or is canceled', async () => {
    const payment = await bought(shop);
    const one = shop.stripe.refund(payment.id, 100, 'pending');
    const two = shop.stripe.refund(payment.id, 100, 'pending');
    expect(one.status).toBe('pending');
    expect(shop.stripe.settleRefund(one.id).status).toBe('succeeded');
    expect(shop.stripe.cancelRefund(two.id).status).toBe('canceled');
    expect(() => shop.stripe.failRefund(two.id)).toThrow('canceled');
  });

  test('refunds of all payments are listed by time', async () => {
    const refund = shop.stripe.refund((await bought(shop)).id);
    const { data } = await client.refunds.list({ created: { gte: refund.created }, limit: 1 });
    expect(data.map(({ id }) => id)).toEqual([refund.id]);
  });
});

describe('disputes', () => {
  test('a dispute may be of a part, takes the money at once, and marks the charge', async () => {
    const payment = await bought(shop);
    const types = await eventsOf(shop.stripe, () => shop.stripe.openDispute(payment.id, { amount: 300 }));
    expect(types).toEqual(['charge.dispute.created', 'charge.dispute.funds_withdrawn']);
    const [dispute] = (await client.disputes.list({ payment_intent: payment.id, expand: ['data.charge'] })).data;
    expect(dispute).toMatchObject({ amount: 300, status: 'needs_response', charge: { disputed: true } });
    const refusal = await refusalOf(client.refunds.create({ payment_intent: payment.id }));
    expect(refusal.code).toBe('charge_disputed');
  });

  test.each([
    ['won', ['charge.dispute.closed', 'charge.dispute.funds_reinstated']],
    ['lost', ['charge.dispute.closed']],
    ['prevented', ['charge.dispute.closed', 'charge.dispute.funds_reinstated']],
  ] as const)('it ends %s', async (ending, types) => {
    const { id } = shop.stripe.openDispute((await bought(shop)).id);
    expect(await eventsOf(shop.stripe, () => shop.stripe.closeDispute(id, ending))).toEqual(types);
    expect((await client.disputes.retrieve(id)).status).toBe(ending);
    expect(() => shop.stripe.closeDispute(id, ending)).toThrow(ending);
  });

  test('an inquiry takes no money and is closed as a warning', async () => {
    const payment = await bought(shop);
    const types = await eventsOf(shop.stripe, () =>
      shop.stripe.openDispute(payment.id, { status: 'warning_needs_response' }),
    );
    expect(types).toEqual(['charge.dispute.created']);
    const [dispute] = (await client.disputes.list({ payment_intent: payment.id })).data;
    const id = dispute?.id ?? '';
    expect(() => shop.stripe.closeDispute(id, 'lost')).toThrow();
    expect(shop.stripe.closeDispute(id, 'warning_closed').status).toBe('warning_closed');
  });

  test('after lost an appeal may still be won', async () => {
    const { id } = shop.stripe.openDispute((await bought(shop)).id);
    shop.stripe.closeDispute(id, 'lost');
    const types = await eventsOf(shop.stripe, () => shop.stripe.appealDispute(id));
    expect(types).toEqual(['charge.dispute.updated']);
    expect(shop.stripe.closeDispute(id, 'won').status).toBe('won');
  });

  test('where the account has it so, a dispute ends the subscription', async () => {
    const { id } = await subscribed(shop);
    const [payment] = (await client.paymentIntents.list({ limit: 1 })).data;
    shop.stripe.openDispute(payment?.id ?? '', { endsSubscription: true });
    expect(await client.subscriptions.retrieve(id)).toMatchObject({
      status: 'canceled',
      cancellation_details: { reason: 'payment_disputed' },
    });
  });
});
