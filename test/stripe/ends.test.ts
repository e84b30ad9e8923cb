import type Stripe from 'stripe';
import { afterEach, describe, expect, test } from 'vitest';
import type { Options } from '../../sandbox/stripe/stripe.ts';
import { DAY, eventsOf, HOUR, openShop, refusalOf, type Shop, subscribed } from './shop.ts';

let shop: Shop;
afterEach(() => shop.stripe.stop());

async function begin(options: Options = {}): Promise<{ id: string; periodEnd: number; item: string }> {
  shop = await openShop(options);
  const { id, items } = await subscribed(shop);
  return { id, periodEnd: items.data[0]?.current_period_end ?? 0, item: items.data[0]?.id ?? '' };
}
const retrieve = (id: string) => shop.client.subscriptions.retrieve(id);
const latest = async (id: string) => {
  const { latest_invoice: invoice } = await shop.client.subscriptions.retrieve(id, { expand: ['latest_invoice'] });
  return invoice as Stripe.Invoice;
};

describe('cancellation', () => {
  test('in the portal it is a date, with the boolean false', async () => {
    const { id, periodEnd } = await begin();
    expect(shop.stripe.portalCancel(id)).toMatchObject({
      status: 'active',
      cancel_at: periodEnd,
      cancel_at_period_end: false,
      cancellation_details: { reason: 'cancellation_requested' },
    });
    expect(shop.stripe.events('customer.subscription.updated').at(-1)?.data.previous_attributes).toMatchObject({
      cancel_at: null,
    });
    await shop.stripe.clock.advance(31 * DAY);
    expect(await retrieve(id)).toMatchObject({ status: 'canceled', ended_at: periodEnd });
    expect(shop.stripe.events().at(-1)?.type).toBe('customer.subscription.deleted');
  });

  test.each([
    ['the Dashboard', (id: string) => shop.stripe.dashboardCancel(id)],
    ['the API', (id: string) => shop.client.subscriptions.update(id, { cancel_at_period_end: true })],
  ])('by %s it is the boolean, without a date', async (_where, cancel) => {
    const { id, periodEnd } = await begin();
    await cancel(id);
    expect(await retrieve(id)).toMatchObject({ status: 'active', cancel_at: null, cancel_at_period_end: true });
    await shop.stripe.clock.advance(31 * DAY);
    expect(await retrieve(id)).toMatchObject({ status: 'canceled', ended_at: periodEnd });
    expect((await shop.client.invoices.list({ subscription: id })).data).toHaveLength(1);
  });

  test('each is taken back by its own parameter, and cancel, resume, cancel works within a day', async () => {
    const { id, periodEnd } = await begin();
    const update = (wanted: Stripe.SubscriptionUpdateParams) => shop.client.subscriptions.update(id, wanted);
    shop.stripe.portalCancel(id);
    expect((await update({ cancel_at_period_end: false })).cancel_at).toBe(periodEnd);
    expect(await update({ cancel_at: '' })).toMatchObject({ cancel_at: null, canceled_at: null });
    expect((await update({ cancel_at_period_end: true })).cancel_at_period_end).toBe(true);
    expect((await update({ cancel_at_period_end: false })).canceled_at).toBeNull();
    await shop.stripe.clock.advance(32 * DAY);
    expect((await retrieve(id)).status).toBe('active');
    const both = await refusalOf(update({ cancel_at: '', cancel_at_period_end: false }));
    expect(both.statusCode).toBe(400);
  });

  test('cancel_at ends it in the middle of a period', async () => {
    const { id } = await begin();
    const middle = Math.floor(shop.stripe.clock.now().getTime() / 1000) + 10 * 24 * 60 * 60;
    await shop.client.subscriptions.update(id, { cancel_at: middle });
    await shop.stripe.clock.advance(31 * DAY);
    expect((await retrieve(id)).ended_at).toBe(middle);
  });

  test('at once, it ends now; lists hide it unless asked for', async () => {
    const { id } = await begin();
    const canceled = await shop.client.subscriptions.cancel(id, { cancellation_details: { comment: 'too dear' } });
    expect(canceled).toMatchObject({ status: 'canceled', cancellation_details: { comment: 'too dear' } });
    expect((await shop.client.subscriptions.list({ customer: shop.customer.id })).data).toEqual([]);
    expect((await shop.client.subscriptions.list({ customer: shop.customer.id, status: 'all' })).data).toHaveLength(1);
    expect(await refusalOf(shop.client.subscriptions.cancel(id))).toMatchObject({
      statusCode: 404,
      code: 'resource_missing',
    });
  });

  test('at once with proration, what is left of the period becomes credit', async () => {
    const { id } = await begin();
    await shop.stripe.clock.advance(15.5 * DAY);
    await shop.client.subscriptions.cancel(id, { prorate: true, invoice_now: true });
    const customer = await shop.client.customers.retrieve(shop.customer.id);
    expect(customer).toMatchObject({ balance: -300 });
    expect(await latest(id)).toMatchObject({
      total: -300,
      status: 'paid',
      lines: { data: [{ amount: -300, parent: { subscription_item_details: { proration: true } } }] },
    });
  });

  test('in the hour of the draft, the draft is not collected any more', async () => {
    const { id } = await begin();
    await shop.stripe.clock.advance(31 * DAY);
    await shop.client.subscriptions.cancel(id);
    expect(await eventsOf(shop.stripe, () => shop.stripe.clock.advance(5 * DAY))).toEqual([]);
    expect((await latest(id)).status).toBe('draft');
  });
});

describe('a renewal that is not paid', () => {
  const PERIOD_AND_HOUR = 31 * DAY + HOUR;

  test('makes it past_due, is tried again after 3, 5 and 7 days, and then ends it', async () => {
    const { id } = await begin();
    shop.stripe.setCard(shop.customer.id, 'declined');
    const types = await eventsOf(shop.stripe, () => shop.stripe.clock.advance(PERIOD_AND_HOUR));
    expect(types.slice(-4)).toEqual([
      'charge.failed',
      'payment_intent.payment_failed',
      'invoice.payment_failed',
      'customer.subscription.updated',
    ]);
    expect((await retrieve(id)).status).toBe('past_due');
    const finalized = (await latest(id)).status_transitions.finalized_at;
    const tries: number[] = [];
    for (const days of [3, 5, 7]) {
      await shop.stripe.clock.advance(days * DAY);
      tries.push((await latest(id)).attempt_count);
    }
    expect(tries).toEqual([2, 3, 4]);
    expect((await latest(id)).status_transitions.finalized_at).toBe(finalized);
    expect(await retrieve(id)).toMatchObject({
      status: 'canceled',
      cancellation_details: { reason: 'payment_failed' },
    });
  });

  test('becomes active again when a later try succeeds', async () => {
    const { id } = await begin();
    shop.stripe.failNextPayments(shop.customer.id, 2);
    await shop.stripe.clock.advance(PERIOD_AND_HOUR + 3 * DAY);
    expect((await retrieve(id)).status).toBe('past_due');
    await shop.stripe.clock.advance(5 * DAY);
    expect((await retrieve(id)).status).toBe('active');
    expect(shop.stripe.events('customer.subscription.updated').at(-1)?.data.previous_attributes).toEqual({
      status: 'past_due',
    });
  });

  test('can be paid by hand at once', async () => {
    const { id } = await begin();
    shop.stripe.failNextPayments(shop.customer.id);
    await shop.stripe.clock.advance(PERIOD_AND_HOUR);
    expect(shop.stripe.retryInvoice(id).status).toBe('paid');
    expect((await retrieve(id)).status).toBe('active');
  });

  test('by the API a declined card is 402', async () => {
    const { id } = await begin();
    shop.stripe.setCard(shop.customer.id, 'declined');
    await shop.stripe.clock.advance(PERIOD_AND_HOUR);
    const refusal = await refusalOf(shop.client.invoices.pay((await latest(id)).id));
    expect(refusal).toMatchObject({ statusCode: 402, type: 'StripeCardError', code: 'card_declined' });
    expect(refusal.decline_code).toBe('generic_decline');
  });

  test('makes it unpaid where the account says so: later invoices stay drafts, and paying the open one makes it active', async () => {
    const { id } = await begin({ afterRetries: 'unpaid' });
    shop.stripe.setCard(shop.customer.id, 'declined');
    await shop.stripe.clock.advance(PERIOD_AND_HOUR + 15 * DAY);
    expect((await retrieve(id)).status).toBe('unpaid');
    await shop.stripe.clock.advance(20 * DAY);
    expect(await latest(id)).toMatchObject({ status: 'draft', auto_advance: false });
    shop.stripe.setCard(shop.customer.id, 'good');
    expect(shop.stripe.retryInvoice(id).status).toBe('paid');
    expect((await retrieve(id)).status).toBe('active');
  });

  test('that needs the person to confirm says so, with an address where they can', async () => {
    const { id } = await begin();
    shop.stripe.setCard(shop.customer.id, 'requires_action');
    const types = await eventsOf(shop.stripe, () => shop.stripe.clock.advance(PERIOD_AND_HOUR));
    expect(types.slice(-4)).toEqual([
      'payment_intent.requires_action',
      'invoice.payment_action_required',
      'invoice.payment_failed',
      'customer.subscription.updated',
    ]);
    expect((await latest(id)).hosted_invoice_url).toBe(`${shop.stripe.url}/invoice/${(await latest(id)).id}`);
  });
});

describe('pauses', () => {
  test('status paused: no period moves and nothing is billed, until it is resumed with a new period', async () => {
    const { id } = await begin();
    const paused = await shop.client.subscriptions.pause(id);
    expect(paused).toMatchObject({ status: 'paused', status_details: { paused: { type: 'subscription' } } });
    expect(await eventsOf(shop.stripe, () => shop.stripe.clock.advance(40 * DAY))).toEqual([]);
    const types = await eventsOf(shop.stripe, () => shop.client.subscriptions.resume(id));
    expect(types).toContain('customer.subscription.resumed');
    expect(types).toContain('invoice.paid');
    const { status, items } = await retrieve(id);
    expect(status).toBe('active');
    expect(items.data[0]?.current_period_start).toBe(shop.stripe.clock.now().getTime() / 1000);
  });

  test('resumed unchanged within its period, nothing is billed', async () => {
    const { id, periodEnd } = await begin();
    shop.stripe.pause(id);
    await shop.stripe.clock.advance(3 * DAY);
    const types = await eventsOf(shop.stripe, () => shop.stripe.resume(id, 'unchanged'));
    expect(types).toEqual(['customer.subscription.updated', 'customer.subscription.resumed']);
    expect((await retrieve(id)).items.data[0]?.current_period_end).toBe(periodEnd);
    await shop.stripe.clock.advance(31 * DAY);
    expect((await shop.client.invoices.list({ subscription: id })).data).toHaveLength(2);
  });

  test.each([
    ['keep_as_draft', 'draft'],
    ['mark_uncollectible', 'uncollectible'],
    ['void', 'void'],
  ] as const)('collection paused by %s: it stays active, and invoices become %s', async (behavior, status) => {
    const { id } = await begin();
    await shop.client.subscriptions.update(id, { pause_collection: { behavior } });
    await shop.stripe.clock.advance(32 * DAY);
    expect((await retrieve(id)).status).toBe('active');
    expect((await latest(id)).status).toBe(status);
    await shop.client.subscriptions.update(id, { pause_collection: '' });
    await shop.stripe.clock.advance(31 * DAY);
    expect((await latest(id)).status).toBe('paid');
  });

  test('collection resumes by itself at resumes_at', async () => {
    const { id } = await begin();
    const resumes_at = Math.floor(shop.stripe.clock.now().getTime() / 1000) + 60;
    await shop.client.subscriptions.update(id, { pause_collection: { behavior: 'void', resumes_at } });
    await shop.stripe.clock.advance(60_000);
    expect((await retrieve(id)).pause_collection).toBeNull();
  });
});
