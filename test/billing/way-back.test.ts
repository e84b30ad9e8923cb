// What whoever comes back from Stripe is told: what Stripe has told us, never what the address says.
import { afterAll, afterEach, expect, it } from 'vitest';
import { HOUR, openBilling } from './world.ts';

const world = await openBilling();
const { stripe, client, person, buy, subscribe, database } = world;
afterAll(() => world.close());
afterEach(async () => {
  expect(await world.audit()).toEqual([]);
});

async function checkout(user: string, session: string | null = null) {
  const [row] = await database.app`select api.read_checkout(${user}, ${session}) as checkout`;
  return row?.checkout;
}
async function begun(beginning: ReturnType<typeof buy | typeof subscribe>): Promise<string> {
  const answer = await beginning;
  if ('refused' in answer) throw new Error(answer.refused);
  return answer.session;
}
async function tellAll(): Promise<void> {
  for (const { id } of world.fresh()) await world.deliver(id);
  await world.work();
}

it('a pack is waited for until the payment is told, and then is done (spec 6.2)', async () => {
  const user = await person();
  const session = await begun(buy(user));
  expect(await checkout(user, session)).toEqual({
    ...{ kind: 'pack', name: 'small', credits: 100, price: '5.00', state: 'waiting' },
  });
  await stripe.pay(session);
  expect(await checkout(user, session)).toMatchObject({ state: 'waiting' });
  await tellAll();
  expect(await checkout(user, session)).toMatchObject({ state: 'done' });
});

it('a checkout that ran out was not paid (spec 6.2)', async () => {
  const user = await person();
  const session = await begun(buy(user));
  await client.checkout.sessions.expire(session);
  await tellAll();
  expect(await checkout(user, session)).toMatchObject({ state: 'expired' });
});

it('a subscription is done when it entitles (spec 2.5, 6.1)', async () => {
  const user = await person();
  const session = await begun(subscribe(user));
  expect(await checkout(user, session)).toMatchObject({
    ...{ kind: 'subscription', name: 'prpm_plus_individual', credits: 100, price: '6.00', state: 'waiting' },
  });
  await stripe.pay(session);
  expect(await checkout(user, session)).toMatchObject({ state: 'waiting' });
  await tellAll();
  expect(await checkout(user, session)).toMatchObject({ state: 'done' });
});

it('without a session it is the newest; somebody else’s and unknown ones are none', async () => {
  const user = await person();
  expect(await checkout(user)).toBeNull();
  const first = await begun(buy(user, 'small'));
  await world.advance(HOUR);
  await begun(buy(user, 'large'));
  expect(await checkout(user)).toMatchObject({ name: 'large' });
  expect(await checkout(await person(), first)).toBeNull();
  expect(await checkout(user, 'cs_unknown')).toBeNull();
});
