// What nobody told us: the guide's five events alone, and events that were lost. Reconciliation asks Stripe, and finds the rest.
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { DAY, HOUR, openBilling } from './world.ts';

const world = await openBilling();
const { stripe, person, subscribe, buy, advance, standing, balance } = world;
const { app, ops, owner } = world.database;
afterAll(() => world.close());
beforeEach(async () => {
  await world.forget();
  await owner`delete from stripe_drift`;
});
afterEach(async () => {
  expect(await world.audit()).toEqual([]);
  expect(await reconcile(), 'a second reconciliation finds nothing').toEqual([]);
});

const FIVE = [
  ...['customer.subscription.created', 'customer.subscription.updated', 'customer.subscription.deleted'],
  ...['payment_intent.succeeded', 'charge.refunded'],
];

/** Delivers what the guide's endpoint listens to, but what is lost, and does the work. */
async function tell(isLost: (type: string) => boolean = () => false): Promise<void> {
  for (const { id, type } of world.fresh()) if (FIVE.includes(type) && !isLost(type)) await world.deliver(id);
  await world.work();
}

/** What a reconciliation finds, oldest first. */
async function reconcile(): Promise<Record<string, unknown>[]> {
  const [before] = await owner`select coalesce(max(id), 0)::int as id from stripe_drift`;
  await advance(HOUR); // no event is on its way any more
  await ops`select * from ops.reconcile_stripe()`;
  await world.work();
  const found =
    await owner`select user_id, kind, object, ours, theirs from stripe_drift where id > ${before?.id} order by id`;
  return [...found];
}

async function paid(begun: { session: string } | { refused: string }): Promise<string> {
  if ('refused' in begun) throw new Error(begun.refused);
  await stripe.pay(begun.session);
  return begun.session;
}

async function paymentOf(user: string): Promise<string> {
  const { data } = await world.client.paymentIntents.list({ customer: world.customerOf(user), limit: 1 });
  return data[0]?.id ?? expect.fail('nothing was paid');
}

it('a refund that failed, which none of the five events tells, is found and gives its credits back (spec 6.6)', async () => {
  const user = await person();
  await paid(await buy(user));
  await tell();
  const refund = stripe.refund(await paymentOf(user), 250);
  await tell();
  expect(await balance(user)).toBe(55);
  await advance(20 * DAY);
  stripe.failRefund(refund.id);
  await tell();
  expect(await balance(user)).toBe(55);
  expect(await reconcile()).toEqual([
    { user_id: user, kind: 'refund', object: refund.id, ours: 'succeeded 2.50', theirs: 'failed 2.50' },
  ]);
  expect(await balance(user)).toBe(105);
});

it('a refund whose event was lost is found and takes its credits (spec 6.6)', async () => {
  const user = await person();
  await paid(await buy(user));
  await tell();
  const refund = stripe.refund(await paymentOf(user));
  await tell((type) => type === 'charge.refunded');
  expect(await balance(user)).toBe(105);
  expect(await reconcile()).toMatchObject([
    { user_id: user, kind: 'refund', object: refund.id, ours: null, theirs: 'succeeded 5.00' },
  ]);
  expect(await standing(user)).toMatchObject({ purchases: [{ status: 'refunded', credits_taken_back: '100' }] });
});

it('a dispute, which none of the five events tells, is found when opened and when lost, a year later too (spec 6.6)', async () => {
  const user = await person();
  await paid(await buy(user));
  await tell();
  const dispute = stripe.openDispute(await paymentOf(user), {});
  await tell();
  expect(await balance(user)).toBe(105);
  expect(await reconcile()).toMatchObject([
    { kind: 'dispute', object: dispute.id, ours: null, theirs: 'needs_response 5.00' },
  ]);
  expect(await balance(user)).toBe(5);
  await advance(365 * DAY);
  stripe.closeDispute(dispute.id, 'won');
  expect(await reconcile()).toMatchObject([
    { kind: 'dispute', object: dispute.id, ours: 'needs_response 5.00', theirs: 'won 5.00' },
  ]);
  expect(await balance(user)).toBe(105);
});

it('a payment whose event was lost is found with what was refunded of it, and grants once (spec 6.6)', async () => {
  const user = await person();
  await paid(await buy(user, 'medium'));
  const payment = await paymentOf(user);
  stripe.refund(payment, 400);
  await tell(() => true);
  expect(await balance(user)).toBe(5);
  expect(await reconcile()).toMatchObject([
    { user_id: user, kind: 'payment', object: payment, ours: null, theirs: 'paid 10.00 usd' },
  ]);
  expect(await balance(user)).toBe(155);
  expect(await standing(user)).toMatchObject({ purchases: [{ pack: 'medium', refunded_amount: '4.00' }] });
});

it('a renewal of zero, of which no payment tells, is found after 70 minutes without anybody asking (spec 6.6)', async () => {
  const user = await person();
  await paid(await subscribe(user));
  await tell();
  const [row] = await owner`select id from subscriptions where user_id = ${user}`;
  stripe.giveCoupon(row?.id, 100, 'once');
  await tell();
  await world.passPeriod(user, HOUR / 2);
  await tell();
  await advance(HOUR / 2);
  await tell();
  expect(await standing(user)).toMatchObject({ periods: [{ state: 'paid' }, { state: 'due' }] });
  await advance(HOUR);
  await tell();
  expect(await standing(user)).toMatchObject({
    periods: [{ state: 'paid' }, { state: 'paid', paid_amount: '0.00', credits: '100' }],
  });
  expect(await ops`select kind, theirs from ops.stripe_drift`).toEqual([{ kind: 'period', theirs: 'paid 0.00' }]);
});

it('a period that is due is asked for each hour, should its fetch be gone (spec 6.6)', async () => {
  const user = await person();
  await paid(await subscribe(user));
  await tell();
  await world.passPeriod(user, HOUR / 2);
  await tell((type) => type === 'payment_intent.succeeded');
  await owner`delete from stripe_work where user_id = ${user}`;
  await advance(2 * HOUR);
  expect(await ops`select * from ops.reconcile_stripe(whole => false)`).toEqual([
    { kind: 'due periods', wanted: '1' },
    { kind: 'list_events', wanted: '1' },
  ]);
  await world.work();
  expect(await standing(user)).toMatchObject({ periods: [{ state: 'paid' }, { state: 'paid', paid_amount: '6.00' }] });
  expect((await reconcile()).map(({ kind }) => kind)).toEqual(['payment']); // that a payment paid it is news too
  expect(
    await owner`select payment_id is not null as linked from subscription_periods where user_id = ${user}`,
  ).toEqual([{ linked: true }, { linked: true }]);
});

it('a subscription that was canceled, paused or given another price without our hearing is found (spec 6.6)', async () => {
  const user = await person();
  await paid(await subscribe(user));
  await tell();
  const [row] = await owner`select id, item_id from subscriptions where user_id = ${user}`;
  const changes = [
    () => stripe.portalCancel(row?.id),
    () => stripe.undoCancel(row?.id),
    () => world.client.subscriptions.update(row?.id, { pause_collection: { behavior: 'void' } }),
    () =>
      world.client.subscriptions.update(row?.id, {
        items: [{ id: row?.item_id, price: world.member.id }],
        proration_behavior: 'none',
      }),
    () => stripe.cancelNow(row?.id),
  ];
  for (const change of changes) {
    await change();
    await tell(() => true);
    expect(await reconcile()).toMatchObject([{ user_id: user, kind: 'subscription', object: row?.id }]);
    expect(await world.told(user)).toEqual(await world.truth(user));
  }
});

it('a subscription that Stripe does not know is left as it is, and shown to a person (spec 6.5, 6.6)', async () => {
  const user = await person();
  await paid(await subscribe(user));
  await tell();
  const [row] = await owner`select id from subscriptions where user_id = ${user}`;
  const [begun] = await app`select work_id from api.begin_subscription_change(${user}, 'cancel')`;
  await app`select * from api.claim_stripe_work(1, ${begun?.work_id})`;
  const snapshot = JSON.parse(stripe.snapshot());
  delete snapshot.subscriptions[row?.id];
  stripe.restore(JSON.stringify(snapshot));
  await app`select api.fail_stripe_work(${begun?.work_id}, 'No such subscription', true)`;
  await world.work();
  expect(await ops`select kind, object, theirs from ops.stripe_drift`).toEqual([
    { kind: 'subscription', object: row?.id, theirs: null },
  ]);
  expect(await world.review()).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ what: 'fetch_subscription', why: expect.stringContaining('STRIPE_SECRET_KEY') }),
      expect.objectContaining({ what: 'update_subscription', why: 'No such subscription' }),
    ]),
  );
  expect(await standing(user)).toMatchObject({ subscriptions: [{ status: 'active' }] });
  await owner`delete from stripe_work`;
});

it('a payment, refund or subscription whose event may still be on its way is no difference; one older than the days is not asked for (spec 6.6)', async () => {
  const user = await person();
  await paid(await buy(user));
  const subscriber = await person();
  await paid(await subscribe(subscriber));
  // A subscription is incomplete before it is active, and the second event of the two comes later.
  const events = world.fresh();
  const created = events.find(
    ({ user: whose, type }) => whose === subscriber && type === 'customer.subscription.created',
  );
  await world.deliver(created?.id ?? '');
  await ops`select * from ops.reconcile_stripe()`;
  await world.work();
  expect(await ops`select * from ops.stripe_drift`).toEqual([]);
  for (const { id, user: whose } of events) if (whose === subscriber) await world.deliver(id);
  await world.work();
  await advance(41 * DAY);
  await tell();
  expect(await reconcile()).toEqual([]);
  await ops`select * from ops.reconcile_stripe(days => 60)`;
  await world.work();
  expect(await balance(user)).toBe(105);
  await expect(ops`select * from ops.reconcile_stripe(days => 0)`).rejects.toMatchObject({
    code: 'PR400',
    detail: 'days',
  });
});

it('lists are asked for a page at a time, each a piece of work of its own, however many there are (spec 6.4, 6.6)', async () => {
  const user = await person();
  await paid(await buy(user, 'large'));
  await tell();
  const payment = await paymentOf(user);
  for (let cents = 0; cents < 205; cents += 1) stripe.refund(payment, 1);
  world.fresh();
  await advance(HOUR);
  await ops`select * from ops.reconcile_stripe()`;
  const before = stripe.calls.filter(({ path }) => path === '/v1/refunds').length;
  await world.work();
  const asked = stripe.calls.filter(({ path }) => path === '/v1/refunds').slice(before);
  expect(asked.filter(({ parameters }) => !('payment_intent' in parameters))).toHaveLength(3);
  // What the first page shows has the rest of that payment's fetched, maybe before the other pages are compared.
  const [found] = await owner`select count(*)::int as n from stripe_drift where kind = 'refund'`;
  expect(found?.n).toBeGreaterThanOrEqual(100);
  expect(await standing(user)).toMatchObject({ purchases: [{ refunded_amount: '2.05' }] });
});
