import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { type AccountOptions, openAccount } from '../../src/stripe/client.ts';
import { createWorker, type StripeWorker } from '../../src/stripe/worker.ts';
import { bought, openShop, sellPack, subscribed } from '../stripe/shop.ts';
import { type Answers, type FakeSql, fakeSql, silent } from './fake.ts';

const shop = await openShop();
const { stripe, client } = shop;
const account: AccountOptions = { key: stripe.secretKey, base: stripe.url };
afterAll(() => stripe.stop());
beforeEach(() => stripe.heal());

type Job = { workId: string; kind: string; key: string; parameters: string | null; ticket: number };
let jobs = 0;
function job(kind: string, key: string, parameters: object | null = null): Job {
  jobs += 1;
  return { workId: `work_${jobs}`, kind, key, parameters: parameters && JSON.stringify(parameters), ticket: jobs };
}

/** A worker whose queue is this, and what it has handed back, by work. */
function employ(queue: Job[], more: Answers = {}) {
  const finished = new Map<string, unknown>();
  const failed = new Map<string, { error: string; isFinal: boolean }>();
  const sql: FakeSql = fakeSql({
    claim_stripe_work: (most, only) => {
      const due = queue.filter(({ workId }) => only === null || workId === only).slice(0, Number(most));
      for (const one of due) queue.splice(queue.indexOf(one), 1);
      return due;
    },
    finish_stripe_work: (workId, _ticket, result) => {
      finished.set(String(workId), result === null ? null : JSON.parse(String(result)));
      return [];
    },
    fail_stripe_work: (workId, error, isFinal) => {
      failed.set(String(workId), { error: String(error), isFinal: isFinal === true });
      return [];
    },
    ...more,
  });
  const worker: StripeWorker = createWorker({ sql, account: openAccount(account), log: silent });
  return { sql, worker, finished, failed };
}

/** What one piece of work was answered with. */
async function answerOf(work: Job): Promise<unknown> {
  const { worker, finished, failed } = employ([work]);
  await worker.idle();
  await worker.stop();
  expect(failed).toEqual(new Map());
  return finished.get(work.workId);
}
const lastWrite = () => stripe.calls.findLast(({ method }) => method === 'POST');

describe('each kind of work', () => {
  it('fetches a subscription with its latest invoice', async () => {
    const { id } = await subscribed(shop);
    expect(await answerOf(job('fetch_subscription', id))).toMatchObject({ id, latest_invoice: { status: 'paid' } });
  });

  it('finds the invoice of a payment, and the payments of an invoice', async () => {
    const subscription = await client.subscriptions.retrieve((await subscribed(shop)).id, {
      expand: ['latest_invoice.payments'],
    });
    const invoice = subscription.latest_invoice;
    if (invoice === null || typeof invoice === 'string') throw new Error('no invoice');
    const payment = String(invoice.payments?.data[0]?.payment.payment_intent);
    expect(await answerOf(job('fetch_payment_invoice', payment))).toMatchObject({
      invoice_payments: [{ invoice: { id: invoice.id, parent: { type: 'subscription_details' } } }],
    });
    expect(await answerOf(job('fetch_invoice', invoice.id))).toMatchObject({
      id: invoice.id,
      payments: { data: [{ payment: { payment_intent: payment } }] },
    });
  });

  it('fetches a payment, its session, all its refunds and its disputes', async () => {
    const { id } = await bought(shop);
    for (let cents = 1; cents <= 103; cents += 1) stripe.refund(id, 1);
    const dispute = stripe.openDispute(id, { amount: 100 });
    expect(await answerOf(job('fetch_payment', id))).toMatchObject({ id, amount_received: 500 });
    expect(await answerOf(job('fetch_session_of_payment', id))).toMatchObject({ sessions: [{ payment_intent: id }] });
    const { refunds } = (await answerOf(job('fetch_refunds', id))) as { refunds: { id: string }[] };
    expect(new Set(refunds.map((refund) => refund.id)).size).toBe(103);
    expect(await answerOf(job('fetch_disputes', id))).toMatchObject({ disputes: [{ id: dispute.id }] });
  });

  it('changes and ends a subscription; one that has ended counts as ended', async () => {
    const { id } = await subscribed(shop);
    const update = job('update_subscription', id, { cancel_at_period_end: true });
    expect(await answerOf(update)).toMatchObject({ cancel_at_period_end: true });
    expect(lastWrite()).toMatchObject({ key: update.workId });
    const undo = job('update_subscription', id, { cancel_at_period_end: false });
    expect(await answerOf(undo)).toMatchObject({ cancel_at_period_end: false });
    expect(await answerOf(job('cancel_subscription', id, { prorate: false }))).toMatchObject({ status: 'canceled' });
    expect(await answerOf(job('cancel_subscription', id))).toMatchObject({ id, status: 'canceled' });
  });

  it('gives money back once, however often it is tried', async () => {
    const { id } = await bought(shop);
    const work = job('refund_payment', id, { payment_intent: id, amount: 200 });
    const [one, two] = [await answerOf(work), await answerOf(work)];
    expect(one).toMatchObject({ amount: 200, status: 'succeeded' });
    expect(two).toEqual(one);
    expect((await client.refunds.list({ payment_intent: id })).data).toHaveLength(1);
  });

  it('ends an open checkout; one that is not open is answered as it is', async () => {
    const [left, paid] = [await sellPack(shop), await sellPack(shop)];
    stripe.pay(paid.id);
    expect(await answerOf(job('expire_session', left.id))).toMatchObject({ status: 'expired' });
    expect(await answerOf(job('expire_session', left.id))).toMatchObject({ status: 'expired' });
    expect(await answerOf(job('expire_session', paid.id))).toMatchObject({ status: 'complete' });
  });

  it('lists a page of subscriptions of any status, of payments, refunds, disputes, and of events that did not arrive', async () => {
    const { id } = await subscribed(shop);
    stripe.cancelNow(id);
    const { id: payment } = await bought(shop);
    const refunds = Array.from({ length: 101 }, () => stripe.refund(payment, 1).id).toReversed();
    const dispute = stripe.openDispute(payment, { amount: 100 });
    type Listed = { data: { id: string }[]; has_more: boolean };
    const list = async (kind: string, parameters = {}) => (await answerOf(job(kind, 'all', parameters))) as Listed;
    const idsOf = ({ data }: Listed) => data.map((one) => one.id);

    expect(idsOf(await list('list_subscriptions'))).toContain(id);
    expect(idsOf(await list('list_payments'))).toContain(payment);
    expect(idsOf(await list('list_disputes'))).toContain(dispute.id);
    const first = await list('list_refunds');
    expect(first.has_more).toBe(true);
    expect(idsOf(first)).toEqual(refunds.slice(0, 100));
    const second = await list('list_refunds', { starting_after: refunds[99] });
    expect(idsOf(second)[0]).toBe(refunds[100]);

    const later = { created_after: Math.floor(stripe.clock.now().getTime() / 1000) + 1 };
    for (const kind of ['list_subscriptions', 'list_payments', 'list_refunds', 'list_disputes', 'list_events'])
      expect(await list(kind, later)).toEqual({ data: [], has_more: false });
  });

  it('applies an event that waits, without Stripe; one that fails waits again', async () => {
    const asked = stripe.calls.length;
    const works = [job('apply_event', 'evt_1'), job('apply_event', 'evt_2')];
    const { worker, finished, sql } = employ([...works], {
      apply_stripe_event: (id) => {
        if (id === 'evt_2') throw new Error('no');
        return [{ outcome: 'applied' }];
      },
      fail_stripe_event: () => [],
    });
    await worker.idle();
    await worker.stop();
    expect([...finished]).toEqual(works.map(({ workId }) => [workId, null]));
    expect(sql.named('fail_stripe_event')).toEqual([['evt_2', 'Error: no']]);
    expect(stripe.calls).toHaveLength(asked);
  });
});

describe('what goes wrong', () => {
  it('is tried again where Stripe may answer otherwise later, and is final where it will not', async () => {
    for (const [how, isFinal] of [
      ['network', false],
      [409, false],
      [429, false],
      [500, false],
      [503, false],
    ] as const) {
      const work = job('fetch_payment', 'pi_1');
      stripe.fail({ how, times: 3 });
      const { worker, failed } = employ([work]);
      await worker.idle();
      await worker.stop();
      stripe.heal();
      expect(failed.get(work.workId)?.isFinal, String(how)).toBe(isFinal);
    }
    const works = [job('fetch_payment', 'pi_gone'), job('cancel_subscription', 'sub_gone'), job('unheard_of', 'x')];
    const { worker, failed } = employ([...works]);
    await worker.idle();
    await worker.stop();
    expect(works.map(({ workId }) => failed.get(workId)?.isFinal)).toEqual([true, true, false]);
    expect(failed.get(works[0]?.workId ?? '')?.error).toMatch(
      /^StripeInvalidRequestError 404 resource_missing: No such/,
    );
  });

  it('is not final where our key is refused: the work waits for a good one', async () => {
    const work = job('fetch_payment', 'pi_1');
    const { sql, failed } = employ([work]);
    const worker = createWorker({ sql, account: openAccount({ ...account, key: 'sk_test_wrong' }), log: silent });
    await worker.idle();
    await worker.stop();
    expect(failed.get(work.workId)).toMatchObject({
      isFinal: false,
      error: expect.not.stringContaining('sk_test_wrong'),
    });
  });

  it('in the books is booked as failed, and the rest goes on', async () => {
    const { id } = await bought(shop);
    const works = [job('fetch_payment', id), job('fetch_payment', id)];
    const { worker, failed, finished } = employ([...works], {
      finish_stripe_work: (workId) => {
        if (workId === works[0]?.workId) throw new Error('it does not fit');
        finished.set(String(workId), true);
        return [];
      },
    });
    await worker.idle();
    await worker.stop();
    expect([...failed]).toEqual([[works[0]?.workId, { error: 'Error: it does not fit', isFinal: false }]]);
    expect([...finished.keys()]).toEqual([works[1]?.workId]);
  });

  it('is survived while the database is away', async () => {
    const { worker } = employ([], {
      claim_stripe_work: () => {
        throw Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' });
      },
    });
    await worker.idle();
    await worker.stop();
  });
});

describe('the pace', () => {
  it('is at most so many calls a second, and four at a time', async () => {
    const { id } = await bought(shop);
    const queue = Array.from({ length: 21 }, () => job('fetch_payment', id));
    const { worker, finished } = employ(queue, { stripe_limits: () => [{ maxRps: 50 }] });
    const began = performance.now();
    await worker.idle();
    await worker.stop();
    expect(finished.size).toBe(21);
    expect(performance.now() - began).toBeGreaterThan(20 * 20 - 5);
  });

  it('lets a person pass, and does nothing twice', async () => {
    const { id } = await bought(shop);
    const queue = [job('fetch_payment', id), job('fetch_payment', id)];
    const [first, second] = queue.map(({ workId }) => workId);
    const { worker, finished, sql } = employ(queue);
    expect(await worker.perform(second ?? '')).toEqual({ done: true });
    expect([...finished.keys()]).toEqual([second]);
    await worker.idle();
    expect([...finished.keys()]).toEqual([second, first]);
    // Done here a moment ago: the outcome is known, though nothing is left to claim.
    expect(await worker.perform(first ?? '')).toEqual({ done: true });
    expect(await worker.perform('of another server')).toBeUndefined();
    expect(sql.named('finish_stripe_work')).toHaveLength(2);
    await worker.stop();
  });

  it('ends within seconds when the server stops, whatever Stripe does', async () => {
    const { id } = await bought(shop);
    stripe.delay(1_000);
    const before = stripe.calls.length;
    const queue = Array.from({ length: 10 }, () => job('fetch_payment', id));
    const { worker, finished, failed } = employ(queue);
    worker.nudge();
    await expect.poll(() => stripe.calls.length - before).toBe(4);
    await worker.stop();
    stripe.heal();
    expect(finished.size).toBe(4);
    expect(failed.size).toBe(0);
    worker.nudge();
    await worker.idle();
    expect(finished.size).toBe(4);
  });
});
