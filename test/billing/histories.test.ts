// Named histories: what Stripe really does to a shop, told to the database, and what a person then has.
import type Stripe from 'stripe';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { signUp } from '../sessions/people.ts';
import { DAY, HOUR, openBilling } from './world.ts';

const world = await openBilling();
const { passPeriod, stripe, person, subscribe, buy, advance, settle, standing, balance, run, jobs } = world;
afterAll(() => world.close());
afterEach(async () => {
  expect(await world.audit()).toEqual([]);
});

async function subscribed(): Promise<{ user: string; subscription: string }> {
  const user = await person();
  const begun = await subscribe(user);
  if (!('session' in begun)) throw new Error(begun.refused);
  await stripe.pay(begun.session);
  await settle();
  const [row] = await world.database.owner`select id from subscriptions where user_id = ${user}`;
  return { user, subscription: row?.id };
}

async function bought(user: string, pack = 'small'): Promise<{ payment: string; purchase: string }> {
  const begun = await buy(user, pack);
  if (!('session' in begun)) throw new Error(begun.refused);
  await stripe.pay(begun.session);
  await settle();
  const [row] = await world.database
    .owner`select stripe_payment_intent_id as id from purchases where id = ${begun.purchase}`;
  return { payment: row?.id, purchase: begun.purchase };
}

it('a subscription grants 100 credits and its tier once its first invoice is paid (spec 2.5, 4.3)', async () => {
  const { user } = await subscribed();
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'active', plan_tier: 'prpm_plus_individual' },
    subscriptions: [{ status: 'active' }],
    periods: [{ state: 'paid', credits: '100', paid_amount: '6.00' }],
  });
  expect(await balance(user)).toBe(105);
});

it('a renewal grants nothing in the hour before its money, then the month and what is left of the last (spec 4.3)', async () => {
  const { user } = await subscribed();
  await run(user, 300); // 60 begun five thousands at half a credit
  const left = await balance(user);
  await passPeriod(user, HOUR / 2);
  await settle();
  await jobs();
  expect(await balance(user)).toBe(left);
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'active' },
    periods: [{ state: 'paid' }, { state: 'due' }],
  });
  await advance(HOUR);
  await settle();
  expect(await standing(user)).toMatchObject({ periods: [{ state: 'paid' }, { state: 'paid', credits: '100' }] });
  expect(await balance(user)).toBe(left + 100);
});

it('a renewal whose payment fails entitles for three days of grace, and recovers (spec 2.5, 4.3)', async () => {
  const { user, subscription } = await subscribed();
  stripe.setCard(world.customerOf(user), 'declined');
  await passPeriod(user, 2 * HOUR);
  await settle();
  await jobs();
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'active' },
    subscriptions: [{ status: 'past_due' }],
  });
  await advance(3 * DAY + 3 * HOUR);
  await settle();
  await jobs();
  expect(await standing(user)).toMatchObject({ who: { prpm_plus_status: 'past_due', plan_tier: null } });
  expect(await balance(user)).toBe(5);
  stripe.setCard(world.customerOf(user), 'good');
  await stripe.retryInvoice(subscription);
  await settle();
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'active' },
    subscriptions: [{ status: 'active' }],
  });
  expect(await balance(user)).toBe(105);
});

it('a renewal of zero by a coupon grants too, found without any payment (spec 4.3, 6.6)', async () => {
  const { user, subscription } = await subscribed();
  stripe.giveCoupon(subscription, 100, 'once');
  await passPeriod(user, 2 * HOUR);
  // Only what the guide's five events tell.
  for (const { id, type } of world.fresh())
    if (/^customer\.subscription|^payment_intent\.succeeded|^charge\.refunded/.test(type)) await world.deliver(id);
  await world.work();
  await advance(2 * HOUR);
  await world.work();
  expect(await standing(user)).toMatchObject({
    periods: [{ state: 'paid' }, { state: 'paid', paid_amount: '0.00', credits: '100' }],
  });
});

it('who cancels keeps tier and credits to the end of the paid period, then loses the monthly ones (spec 4.4)', async () => {
  const { user, subscription } = await subscribed();
  await bought(user);
  stripe.portalCancel(subscription);
  await settle();
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'active' },
    subscriptions: [{ cancel_at: expect.any(Date) }],
  });
  const [until] = await world.database.owner`
    select u.entitled_until, s.paid_until from users u join subscriptions s on s.user_id = u.id where u.id = ${user}`;
  expect(until?.entitled_until).toEqual(until?.paid_until); // without the days of grace, whenever its end is told
  await passPeriod(user, 2 * HOUR);
  await settle();
  await jobs();
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'canceled', plan_tier: null },
    subscriptions: [{ status: 'canceled' }],
  });
  expect(await balance(user)).toBe(105);
});

it('cancel, resume and cancel within a day each reach Stripe (spec 6.1)', async () => {
  const { user } = await subscribed();
  for (const [action, expected] of [
    ['cancel', true],
    ['resume', false],
    ['cancel', true],
  ] as const) {
    const [row] = await world.database.app`select outcome from api.begin_subscription_change(${user}, ${action})`;
    expect(row?.outcome).toBe('queued');
    await world.work();
    const [state] = await world.database.app`select api.read_subscription(${user}) as s`;
    expect(state?.s.cancel_at_period_end).toBe(expected);
  }
  await settle();
});

describe('a pack', () => {
  it('is granted once its payment succeeded, by our own row (spec 6.5)', async () => {
    const user = await person();
    await bought(user);
    expect(await balance(user)).toBe(105);
  });

  it('gives half of its credits back for half a refund, and the rest for the rest (spec 4.6)', async () => {
    const user = await person();
    const { payment } = await bought(user);
    stripe.refund(payment, 250);
    await settle();
    expect(await standing(user)).toMatchObject({
      purchases: [{ status: 'partly_refunded', credits_taken_back: '50' }],
    });
    stripe.refund(payment);
    await settle();
    expect(await standing(user)).toMatchObject({ purchases: [{ status: 'refunded', credits_taken_back: '100' }] });
    expect(await balance(user)).toBe(5);
  });

  it('whose refund fails later gets its credits back (spec 4.6)', async () => {
    const user = await person();
    const { payment } = await bought(user);
    const refund = stripe.refund(payment, 250);
    await settle();
    expect(await balance(user)).toBe(55);
    stripe.failRefund(refund.id);
    await settle();
    expect(await balance(user)).toBe(105);
    expect(await standing(user)).toMatchObject({ purchases: [{ status: 'paid', credits_taken_back: '0' }] });
  });

  it('that is disputed is held, freed when won, taken when lost; and a shortfall ends further sales (spec 4.6)', async () => {
    const user = await person();
    const won = await bought(user);
    const dispute = stripe.openDispute(won.payment, {});
    await settle();
    expect(await balance(user)).toBe(5);
    stripe.closeDispute(dispute.id, 'won');
    await settle();
    expect(await balance(user)).toBe(105);
    await run(user, 200); // 20 of five sign-up and hundred bought ones
    const lost = stripe.openDispute(won.payment, {});
    stripe.closeDispute(lost.id, 'lost');
    await settle();
    expect(await standing(user)).toMatchObject({ purchases: [{ credits_taken_back: '85', shortfall: '15' }] });
    expect(await buy(user)).toEqual({ refused: 'payment_disputed' });
  });
});

it('a refund of a subscription payment takes that month back, spent ones are a shortfall (spec 4.6)', async () => {
  const { user } = await subscribed();
  await run(user, 100); // 10 credits
  const [row] = await world.database.owner`select id from payments where user_id = ${user}`;
  stripe.refund(row?.id);
  await settle();
  expect(await standing(user)).toMatchObject({
    periods: [{ credits_taken_back: '90', shortfall: '10', refunded_amount: '6.00' }],
  });
  expect(await balance(user)).toBe(5);
});

it('a subscription payment whose dispute is lost leaves a shortfall, which ends further sales, too (spec 4.6)', async () => {
  const { user } = await subscribed();
  await run(user, 100); // 10 credits
  const [row] = await world.database.owner`select id from payments where user_id = ${user}`;
  const dispute = stripe.openDispute(row?.id, {});
  stripe.closeDispute(dispute.id, 'lost');
  await settle();
  expect(await standing(user)).toMatchObject({ periods: [{ credits_taken_back: '90', shortfall: '10' }] });
  expect(await buy(user)).toEqual({ refused: 'payment_disputed' });
});

it('a part of a subscription payment takes floor(credits × refunded / paid) back, in one refund or two (spec 4.6)', async () => {
  const { user } = await subscribed();
  const [row] = await world.database.owner`select id from payments where user_id = ${user}`;
  for (const [cents, refunded, takenBack] of [
    [199, '1.99', 33],
    [2, '2.01', 33],
    [200, '4.01', 66],
  ] as const) {
    stripe.refund(row?.id, cents);
    await settle();
    expect(await standing(user)).toMatchObject({
      periods: [{ refunded_amount: refunded, credits_taken_back: String(takenBack), shortfall: '0' }],
    });
    expect(await balance(user)).toBe(105 - takenBack);
  }
});

it('two checkouts both paid leave one subscription; the later is canceled, refunded and grants nothing (spec 6.1)', async () => {
  const user = await person();
  const first = await subscribe(user);
  if (!('session' in first)) throw new Error(first.refused);
  const second = await world.client.checkout.sessions.create({
    mode: 'subscription',
    customer: world.customerOf(user),
    line_items: [{ price: world.individual.id, quantity: 1 }],
    success_url: 'https://app.example/done',
  });
  await stripe.pay(first.session);
  await advance(5_000);
  await stripe.pay(second.id);
  await settle();
  await settle();
  await settle();
  expect(await standing(user)).toMatchObject({
    subscriptions: [{ status: 'active', superseded: false }, { superseded: true }],
    who: { prpm_plus_status: 'active' },
  });
  expect(await balance(user)).toBe(105);
  expect(await subscribe(user)).toEqual({ refused: 'already_subscribed' });
});

it('the same event fifty times at once has one effect (spec 6.4)', async () => {
  const user = await person();
  const begun = await buy(user);
  if (!('session' in begun)) throw new Error(begun.refused);
  await stripe.pay(begun.session);
  const paid = world.fresh().find(({ type }) => type === 'payment_intent.succeeded');
  await Promise.all(Array.from({ length: 50 }, () => world.deliver(paid?.id ?? '')));
  expect(await balance(user)).toBe(105);
});

it('what Stripe could not deliver, and subscriptions that differ, are found and repaired (spec 6.6)', async () => {
  const { user } = await subscribed();
  await passPeriod(user, 2 * HOUR);
  world.fresh(); // nobody tells us
  await world.database.ops`select * from ops.reconcile_stripe()`;
  await world.work();
  await world.work();
  expect(await standing(user)).toMatchObject({ periods: [{ state: 'paid' }, { state: 'paid', credits: '100' }] });
  const drift = await world.database.ops`select kind from ops.stripe_drift where email is not null or kind = 'event'`;
  expect(drift.map(({ kind }) => kind)).toContain('subscription');
});

it('who joins a verified organization pays its price from the next invoice on, and has its tier from then (spec 2.4)', async () => {
  const { user } = await subscribed();
  const { ops } = world.database;
  const [team] = await ops`select id from ops.create_organization(${`Team of ${user}`})`;
  await ops`select from ops.verify_organization(${team?.id}, true, 'test')`;
  await ops`select from ops.add_member(${team?.id}, ${user}, 'member')`;
  await ops`select ops.align_prices()`;
  await world.work();
  await settle();
  expect(await standing(user)).toMatchObject({
    who: { plan_tier: 'prpm_plus_individual' },
    subscriptions: [{ plan: 'prpm_plus_org_member' }],
  });
  await passPeriod(user, 2 * HOUR);
  await settle();
  expect(await standing(user)).toMatchObject({
    who: { plan_tier: 'prpm_plus_org' },
    periods: [{ paid_amount: '6.00' }, { paid_amount: '3.00', plan: 'prpm_plus_org_member', credits: '100' }],
  });
  await ops`select from ops.remove_member(${team?.id}, ${user})`;
  await ops`select ops.align_prices()`;
  await world.work();
  await settle();
  await passPeriod(user, 2 * HOUR);
  await settle();
  expect(await standing(user)).toMatchObject({ who: { plan_tier: 'prpm_plus_individual' } });
});

it('who has subscribed goes on paying what they agreed to when a plan gets dearer; who comes then pays the new price (spec 2.4)', async () => {
  const { ops, app } = world.database;
  const setPrice = async (price: Stripe.Price) => {
    await ops`update plans set monthly_price = ${(price.unit_amount ?? 0) / 100} where plan = 'prpm_plus_individual'`;
    await app`select from api.set_stripe_prices(${app.json({ plans: { prpm_plus_individual: price.id } })})`;
    const prices = await Promise.all([price, world.member].map(({ id }) => world.client.prices.retrieve(id)));
    expect(
      await app`select complaint from api.compare_stripe_prices(${JSON.stringify(prices)}::text::jsonb, false)`,
    ).toEqual([]);
  };
  const priceOf = async (who: string) => {
    const [row] = await app`select api.read_subscription(${who}) ->> 'price' as price`;
    return row?.price;
  };
  await setPrice(world.individual);
  const { user } = await subscribed();
  const late = await person();
  const begun = await subscribe(late);
  const dearer = await world.client.prices.create({
    ...{
      currency: 'usd',
      product: String(world.individual.product),
      recurring: { interval: 'month' },
      unit_amount: 700,
    },
  });
  await setPrice(dearer);
  // Began to pay before, and ends after.
  await stripe.pay('session' in begun ? begun.session : '');
  await settle();
  const { user: newcomer } = await subscribed();

  expect(await ops`select ops.align_prices() as moved`).toEqual([{ moved: '0' }]);
  await passPeriod(user, 2 * HOUR);
  await settle();
  await jobs();
  expect(
    await world.database
      .owner`select * from core.price_raises(core.now()) where user_id = any (${[user, late, newcomer]}::uuid[])`,
  ).toEqual([]);
  for (const [who, paid] of [
    [user, '6.00'],
    [late, '6.00'],
    [newcomer, '7.00'],
  ] as const) {
    expect(await standing(who)).toMatchObject({
      who: { plan_tier: 'prpm_plus_individual' },
      periods: [
        { paid_amount: paid, credits: '100' },
        { state: 'paid', paid_amount: paid, credits: '100' },
      ],
    });
    expect(await priceOf(who)).toBe(paid);
  }
  expect(await priceOf(await person())).toBe('7.00');

  // Another plan is another agreement: who comes back from it pays what it costs by then, and is told.
  const [team] = await ops`select id from ops.create_organization('Short')`;
  await ops`select from ops.verify_organization(${team?.id}, true, 'test')`;
  const alignAll = async () => {
    expect(await ops`select ops.align_prices() as moved`).toEqual([{ moved: '1' }]);
    await world.work();
    await settle();
  };
  await ops`select from ops.add_member(${team?.id}, ${user}, 'member')`;
  await alignAll();
  await passPeriod(user, 2 * HOUR);
  await settle();
  expect(await priceOf(user)).toBe('3.00');
  await ops`select from ops.remove_member(${team?.id}, ${user})`;
  await alignAll();
  expect(await priceOf(user)).toBe('7.00');
  expect(
    await world.database
      .owner`select paid_price, next_price from core.price_raises(core.now()) where user_id = ${user}`,
  ).toEqual([{ paid_price: '3.00', next_price: '7.00' }]);
  expect(await world.review()).toEqual([]);
  await setPrice(world.individual);
});

it('who cancels at once and gets the rest of the money back keeps neither tier nor monthly credits (spec 2.5, 4.4)', async () => {
  const { user, subscription } = await subscribed();
  await advance(5 * DAY);
  await world.client.subscriptions.cancel(subscription, { prorate: true, invoice_now: true });
  await settle();
  await jobs();
  expect(await standing(user)).toMatchObject({ who: { prpm_plus_status: 'canceled', plan_tier: null } });
  expect(await balance(user)).toBe(5);
});

it.each(['before', 'after'])(
  'who cancels at once and is refunded the whole month %s that keeps neither tier nor credits, until the refund fails (spec 2.5, 4.4)',
  async (when) => {
    const { user, subscription } = await subscribed();
    await advance(5 * DAY);
    const [payment] = await world.database.owner`select id from payments where user_id = ${user}`;
    if (when === 'after') stripe.cancelNow(subscription);
    const refund = stripe.refund(payment?.id);
    if (when === 'before') stripe.cancelNow(subscription);
    await settle();
    expect(await standing(user)).toMatchObject({ who: { prpm_plus_status: 'canceled', plan_tier: null } });
    expect(await balance(user)).toBe(5);
    stripe.failRefund(refund.id);
    await settle();
    expect(await standing(user)).toMatchObject({
      who: { prpm_plus_status: 'active', plan_tier: 'prpm_plus_individual' },
    });
    expect(await balance(user)).toBe(105);
  },
);

it('of cancel and resume asked while Stripe is away, only the last is done (spec 6.1)', async () => {
  const { user } = await subscribed();
  const ask = async (action: string) =>
    (await world.database.app`select outcome from api.begin_subscription_change(${user}, ${action})`)[0]?.outcome;
  expect(await ask('cancel')).toBe('queued');
  expect(await ask('resume')).toBe('queued');
  await world.work();
  await settle();
  expect(await standing(user)).toMatchObject({ subscriptions: [{ cancel_at: null }] });
  expect(await ask('resume')).toBe('ready');
  expect(await ask('cancel')).toBe('queued');
  await world.work();
  expect(await standing(user)).toMatchObject({ subscriptions: [{ cancel_at: expect.any(Date) }] });
});

it('of two writes to one subscription the later waits for the earlier, whoever asks; one given up stands in no way (spec 6.1)', async () => {
  const { app, owner } = world.database;
  const [one, other] = [await subscribed(), await subscribed()];
  const ask = async (user: string, action: string): Promise<string> =>
    (await app`select work_id from api.begin_subscription_change(${user}, ${action})`)[0]?.work_id;
  const claim = async (only: string | null = null): Promise<string[]> =>
    (await app`select work_id from api.claim_stripe_work(20, ${only})`).map(({ work_id: id }) => id);

  const cancel = await ask(one.user, 'cancel');
  expect(await claim()).toEqual([cancel]);
  const resume = await ask(one.user, 'resume');
  const elsewhere = await ask(other.user, 'cancel');
  expect(await claim(resume)).toEqual([]);
  expect(await claim()).toEqual([elsewhere]);

  await app`select api.fail_stripe_work(${cancel}, 'Stripe is away', false)`;
  expect(await claim(resume), 'it is tried again, and comes first').toEqual([]);
  await app`select api.fail_stripe_work(${cancel}, 'Stripe does not take it', true)`;
  expect(await claim(resume)).toEqual([resume]);
  await owner`delete from stripe_work`;
});

it('a trial grants as many credits as settings.trial_credits says, and the month once it is paid (spec 4.3)', async () => {
  const { owner } = world.database;
  await owner`update settings set trial_credits = 7`;
  const user = await person();
  const session = await world.client.checkout.sessions.create({
    mode: 'subscription',
    customer: world.customerOf(user),
    line_items: [{ price: world.individual.id, quantity: 1 }],
    subscription_data: { trial_period_days: 7 },
    success_url: 'https://app.example/done',
  });
  await stripe.pay(session.id);
  await settle();
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'active', plan_tier: 'prpm_plus_individual' },
    subscriptions: [{ status: 'trialing' }],
  });
  expect(await balance(user)).toBe(12);
  await advance(7 * DAY + 2 * HOUR);
  await settle();
  expect(await balance(user)).toBe(5 + 7 + 100);
  await owner`update settings set trial_credits = 0`;
});

it('a customer that was begun 24 hours ago is looked for, and made by another key, the same for all who ask (spec 6.1)', async () => {
  const { app } = world.database;
  const user = await signUp(world.database, 'latecomer');
  const begin = async () => (await app`select * from api.begin_customer(${user}, false)`)[0];
  const first = await begin();
  expect(first).toMatchObject({ customer_id: null, look_since: null });
  await advance(DAY);
  const late = await begin();
  expect(late).toMatchObject({ customer_id: null, write_id: first?.write_id, look_since: expect.any(Date) });
  const renew = () => app`select api.renew_customer(${user}, false, ${first?.write_id}) as key`;
  const [[one], [two]] = await Promise.all([renew(), renew()]);
  expect(one?.key).toBe(two?.key);
  expect(one?.key).not.toBe(first?.write_id);
  expect(await begin()).toMatchObject({ write_id: one?.key, look_since: null });
});

it('of two events of one second, told at once and crossing a fetch that comes late, what Stripe says now is left (spec 6.4)', async () => {
  const { app } = world.database;
  const { user, subscription } = await subscribed();
  await advance(HOUR);
  stripe.portalCancel(subscription);
  stripe.undoCancel(subscription);
  const updates = world.fresh().map(({ id }) => id);
  expect(updates).toHaveLength(2);
  await Promise.all(updates.toReversed().map((id) => world.deliver(id)));
  const [fetch] = await app`select * from api.claim_stripe_work(1)`;
  expect(fetch).toMatchObject({ kind: 'fetch_subscription', key: subscription });
  const late = await world.client.subscriptions.retrieve(subscription, { expand: ['latest_invoice'] });

  await advance(10_000);
  stripe.dashboardCancel(subscription);
  for (const { id } of world.fresh()) await world.deliver(id);
  await app`select api.finish_stripe_work(${fetch?.work_id}, ${fetch?.ticket}, ${JSON.stringify(late)}::text::jsonb)`;
  await world.work();
  expect(await world.told(user)).toEqual(await world.truth(user));
  expect(await standing(user)).toMatchObject({ subscriptions: [{ cancel_at: expect.any(Date) }] });
});

it('a dispute of a part holds its share of the pack, and takes no more when lost (spec 4.6)', async () => {
  const user = await person();
  const { payment } = await bought(user);
  const dispute = stripe.openDispute(payment, { amount: 125 });
  await settle();
  expect(await balance(user)).toBe(80);
  stripe.closeDispute(dispute.id, 'lost');
  await settle();
  expect(await balance(user)).toBe(80);
  expect(await standing(user)).toMatchObject({
    purchases: [{ disputed_amount: '1.25', credits_taken_back: '25', shortfall: '0' }],
  });
});

it('a renewal that is never paid ends the subscription, and grants nothing (spec 2.5, 4.3)', async () => {
  const { user } = await subscribed();
  stripe.setCard(world.customerOf(user), 'declined');
  await passPeriod(user, 2 * HOUR);
  await settle();
  await advance(20 * DAY);
  await settle();
  await jobs();
  expect(await standing(user)).toMatchObject({
    who: { prpm_plus_status: 'canceled', plan_tier: null },
    subscriptions: [{ status: 'canceled' }],
    periods: [{ state: 'paid' }],
  });
  expect(await balance(user)).toBe(5);
});

it.each([
  ['in time', true],
  ['only afterwards', false],
])(
  'who cancels at once for credit and subscribes again on that balance has one month of credits, if we hear of the credit %s (spec 4.3, 4.4)',
  async (_, isInTime) => {
    const { user, subscription } = await subscribed();
    await advance(5 * DAY);
    await world.client.subscriptions.cancel(subscription, { prorate: true, invoice_now: true });
    for (const { id } of world.fresh()) await world.deliver(id);
    if (isInTime) await world.work();
    const again = await subscribe(user);
    if (!('session' in again)) throw new Error(again.refused);
    await stripe.pay(again.session);
    if (!isInTime) {
      const first = await world.database
        .owner`update stripe_work set due_at = core.now() + interval '1 hour' where user_id = ${user} returning id`;
      expect(first.length).toBeGreaterThan(0);
    }
    await settle();
    if (!isInTime) {
      expect(await balance(user)).toBe(205); // the first month has rolled over, for all that we know
      await advance(2 * HOUR);
      await settle();
    }
    const { periods } = (await standing(user)) as { periods: { paid_amount: string }[] };
    const paid = periods.map(({ paid_amount: amount }) => Number(amount));
    expect(paid).toEqual([6, expect.any(Number)]);
    expect(paid[1]).toBeLessThan(6);
    expect(await balance(user)).toBe(105);
  },
);

it('while collection is paused periods pass unpaid: no credits, and no tier once what is paid is over (spec 2.5)', async () => {
  const { user, subscription } = await subscribed();
  await world.client.subscriptions.update(subscription, { pause_collection: { behavior: 'void' } });
  await settle();
  expect(await standing(user)).toMatchObject({ who: { prpm_plus_status: 'active' } });
  await passPeriod(user, 4 * DAY);
  await settle();
  await jobs();
  expect(await standing(user)).toMatchObject({
    who: { plan_tier: null },
    periods: [{ state: 'paid' }, { state: 'due' }],
  });
  expect(await balance(user)).toBe(5);
  await world.client.subscriptions.update(subscription, { pause_collection: '' });
  await passPeriod(user, 2 * HOUR);
  await settle();
  expect(await standing(user)).toMatchObject({ who: { prpm_plus_status: 'active' } });
  expect(await balance(user)).toBe(105);
});

it('a paused subscription entitles to nothing; what is paid when it goes on is shown to a person (spec 2.5, 6.5)', async () => {
  const { user, subscription } = await subscribed();
  await advance(DAY);
  stripe.pause(subscription);
  await settle();
  await jobs();
  expect(await standing(user)).toMatchObject({ who: { prpm_plus_status: 'paused', plan_tier: null } });
  await advance(DAY);
  stripe.resume(subscription);
  await settle();
  expect(await standing(user)).toMatchObject({ subscriptions: [{ status: 'active' }] });
  expect(await world.review()).toEqual([
    { kind: 'payment', what: 'unknown', why: expect.stringMatching(/opened no period \(subscription_update\)/) },
  ]);
});

it('whose customer was deleted at Stripe has what was bought, is still known by it, and gets another one (spec 6.1, 6.3)', async () => {
  const { app } = world.database;
  const { user } = await subscribed();
  const { payment } = await bought(user);
  const old = world.customerOf(user);
  await world.client.customers.del(old);
  await settle();
  expect(await standing(user)).toMatchObject({
    subscriptions: [{ status: 'canceled' }],
    purchases: [{ status: 'paid' }],
  });
  expect(await balance(user)).toBe(205);
  const [begun] = await app`select customer_id, look_since from api.begin_customer(${user}, false)`;
  expect(begun).toEqual({ customer_id: null, look_since: null });
  stripe.refund(payment);
  await settle();
  expect(await balance(user)).toBe(105);
  const other = await person();
  await app`select api.forget_customer(${other}, ${old})`;
  const [kept] = await app`select customer_id from api.begin_customer(${other}, false)`;
  expect(kept?.customer_id).toBe(world.customerOf(other));
});

it('a refund that fails after two more periods have begun gives back credits that have expired since, in whatever order it was told (spec 4.3, 4.6)', async () => {
  const { user, subscription } = await subscribed();
  const { data } = await world.client.paymentIntents.list({ customer: world.customerOf(user), limit: 1 });
  const refund = stripe.refund(data[0]?.id ?? '');
  await settle();
  await passPeriod(user, 4 * HOUR);
  await settle();
  stripe.cancelNow(subscription);
  await settle();
  await advance(10 * HOUR);
  const again = await subscribe(user);
  if (!('session' in again)) throw new Error(again.refused);
  await stripe.pay(again.session);
  await settle();
  expect(await balance(user)).toBe(5 + 100 + 100);
  stripe.failRefund(refund.id);
  await settle();
  await jobs();
  expect(await balance(user)).toBe(5 + 100 + 100);
  expect(await standing(user)).toMatchObject({ who: { included_credits: '205' } });
});
