// What events say that is not so: what is granted comes from our own rows alone.
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { openBilling } from './world.ts';

const world = await openBilling();
const { stripe, client, person, buy, balance, database } = world;
afterAll(() => world.close());
afterEach(async () => {
  expect(await world.audit()).toEqual([]);
});

const statusOf = async (id: string) =>
  (await database.owner`select status, error from stripe_events where id = ${id}`)[0];

/** A pack that is paid at Stripe and of which nothing was told yet; its payment's event. */
async function paid(user: string): Promise<{ event: string; purchase: string; payment: string }> {
  const begun = await buy(user);
  if ('refused' in begun) throw new Error(begun.refused);
  await stripe.pay(begun.session);
  const event = world.fresh().findLast(({ type }) => type === 'payment_intent.succeeded');
  return {
    event: event?.id ?? '',
    purchase: begun.purchase,
    payment: String(Reflect.get(Object(event?.object), 'id')),
  };
}

/** Tells the event with its object changed, as if Stripe had signed that. */
async function tell(id: string, change: (object: Record<string, unknown>) => void): Promise<string> {
  const event = structuredClone(stripe.render(id, {}));
  change(event.data.object as unknown as Record<string, unknown>);
  const body = JSON.stringify(event);
  await database.app`select api.store_stripe_event(${id}, ${body}, false, '2026-10-28.endive')`;
  const [row] = await database.app`select api.apply_stripe_event(${id}) as status`;
  return row?.status;
}

describe('an event', () => {
  it('of the live mode is kept for review by a server in test mode (spec 6.5)', async () => {
    const user = await person();
    const { event } = await paid(user);
    expect(await world.deliver(event, { livemode: true })).toBe('needs_review');
    expect(await statusOf(event)).toMatchObject({ error: expect.stringContaining('live mode') });
    expect(await balance(user)).toBe(5);
  });

  it.each([
    ['account', { account: 'acct_other' }],
    ['context', { context: 'ctx_other' }],
  ])('of another %s is kept for review (spec 6.5)', async (what, overrides) => {
    const user = await person();
    const { event } = await paid(user);
    expect(await world.deliver(event, overrides)).toBe('needs_review');
    expect(await statusOf(event)).toMatchObject({ error: expect.stringContaining(`another ${what}`) });
    expect(await balance(user)).toBe(5);
  });

  it('of another version of the API is not read, but fetched (spec 6.4)', async () => {
    const user = await person();
    const { event } = await paid(user);
    expect(await world.deliver(event, { apiVersion: '2024-06-20' })).toBe('applied');
    expect(await balance(user)).toBe(5);
    await world.work();
    expect(await balance(user)).toBe(105);
  });

  it('of an unknown customer is ignored: the account sells other things too (spec 6.5)', async () => {
    const before = [...(await database.ops`select * from ops.stripe_review`)];
    const stranger = await client.customers.create({ email: 'stranger@example.com' });
    const session = await client.checkout.sessions.create({
      mode: 'payment',
      customer: stranger.id,
      line_items: [{ quantity: 1, price_data: { currency: 'usd', unit_amount: 500, product_data: { name: 'Hat' } } }],
      success_url: 'https://app.example/done',
    });
    await stripe.pay(session.id);
    const event = world.fresh().findLast(({ type }) => type === 'payment_intent.succeeded');
    expect(await world.deliver(event?.id ?? '')).toBe('ignored');
    expect(await statusOf(event?.id ?? '')).toMatchObject({ status: 'ignored' });
    expect(await database.ops`select * from ops.stripe_review`).toEqual(before);
  });

  it('of an unknown type is taken and changes nothing (spec 6.3)', async () => {
    const user = await person();
    const { event } = await paid(user);
    const body = JSON.stringify({ ...stripe.render(event, {}), id: 'evt_unknown', type: 'fish.caught' });
    await database.app`select api.store_stripe_event('evt_unknown', ${body}, false, '2026-10-28.endive')`;
    expect((await database.app`select api.apply_stripe_event('evt_unknown') as status`)[0]?.status).toBe('applied');
    expect(await balance(user)).toBe(5);
  });
});

describe('a payment', () => {
  it('whose metadata names more credits grants those of our own row (spec 6.5)', async () => {
    const user = await person();
    const { event, purchase } = await paid(user);
    await tell(event, (object) => {
      object.metadata = { purchase_id: purchase, credits: '100000' };
    });
    expect(await balance(user)).toBe(105);
  });

  it.each([
    ['another amount', { amount_received: 1 }, 'paid 0.01'],
    ['another currency', { currency: 'jpy' }, 'paid in jpy'],
  ])('of %s is kept for review and grants nothing (spec 6.5)', async (_, lie, why) => {
    const user = await person();
    const { event } = await paid(user);
    expect(await tell(event, (object) => Object.assign(object, lie))).toBe('needs_review');
    expect(await statusOf(event)).toMatchObject({ error: expect.stringContaining(why) });
    expect(await balance(user)).toBe(5);
    expect(await world.review()).toEqual(
      expect.arrayContaining([expect.objectContaining({ kind: 'event', what: 'payment_intent.succeeded' })]),
    );
  });

  it("that names somebody else's purchase is found by the session that it was paid in (spec 6.5)", async () => {
    const [user, other] = [await person(), await person()];
    const theirs = await buy(other);
    const { event } = await paid(user);
    await tell(event, (object) => {
      object.metadata = { purchase_id: 'purchase' in theirs ? theirs.purchase : '' };
    });
    await world.work();
    expect([await balance(user), await balance(other)]).toEqual([105, 5]);
  });

  it('of a customer of ours for nothing that we sell is kept for review (spec 6.5)', async () => {
    const user = await person();
    const session = await client.checkout.sessions.create({
      mode: 'payment',
      customer: world.customerOf(user),
      line_items: [{ quantity: 1, price_data: { currency: 'usd', unit_amount: 500, product_data: { name: 'Hat' } } }],
      success_url: 'https://app.example/done',
    });
    await stripe.pay(session.id);
    await world.settle();
    expect(await balance(user)).toBe(5);
    expect(await world.review()).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ kind: 'payment', why: expect.stringContaining('no purchase') }),
      ]),
    );
  });
});

it('an event that needed review is applied by hand once what stood in the way is mended (spec 6.5)', async () => {
  const user = await person();
  const { event } = await paid(user);
  await tell(event, (object) => Object.assign(object, { currency: 'jpy' }));
  await database.owner`update payments set kind = 'unknown', purchase_id = null, needs_review = null where user_id = ${user}`;
  await database.owner`update stripe_events set body = ${JSON.stringify(stripe.render(event, {}))} where id = ${event}`;
  const [replayed] = await database.ops`select * from ops.replay_stripe_event(${event}, 'currency was wrong')`;
  expect(replayed).toMatchObject({ status: 'applied', error: null });
  expect(await balance(user)).toBe(105);
});
