// The server may die, or the database refuse, between any two writes of the webhook's way: Stripe and the queue come again.

import postgres from 'postgres';
import { afterAll, expect, it, vi } from 'vitest';
import { differsOnCluster } from '../harness/tools.ts';
import { HOUR, openBilling } from './world.ts';

const world = await openBilling();
const { stripe, database } = world;
const superuser = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
afterAll(async () => {
  await superuser.end();
  await world.close();
});

// Where there are several nodes only the first one's own tables have triggers that can count; what is written elsewhere goes back with them.
const isSpread = differsOnCluster('the counter of writes is on one node');
const watched = [
  ...['stripe_events', 'stripe_work', 'stripe_payments'],
  ...(isSpread
    ? []
    : [
        ...['credit_lots', 'credit_transactions', 'users', 'subscriptions', 'subscription_periods', 'purchases'],
        ...['payments', 'reversals', 'checkouts', 'stripe_effects'],
      ]),
];
vi.setConfig({ testTimeout: isSpread ? 1_200_000 : 300_000 });

/** The n-th write from now on fails, once. A sequence does not roll back, so it counts what really was tried. */
async function crashAt(n: number): Promise<void> {
  await superuser.unsafe(`alter sequence crash_counter restart with 1; update crash_point set n = ${n}`);
}
const writes = async () => Number((await superuser`select last_value from crash_counter`)[0]?.last_value);

await superuser.unsafe(`
  create sequence crash_counter;
  create table crash_point (n bigint not null);
  insert into crash_point values (0);
  create function crash() returns trigger language plpgsql security definer set search_path = public as $$
  begin
    if nextval('crash_counter') = (select n from crash_point) then
      raise exception 'crash' using errcode = 'XX001';
    end if;
    return coalesce(new, old);
  end $$;
  ${watched.map((table) => `create trigger crash before insert or update or delete on ${table} for each row execute function crash();`).join('\n')}
`);

/** Delivers what is new and does the work, again and again, as Stripe and the queue do, until nothing fails. */
async function insist(): Promise<number> {
  const events = world.fresh().map(({ id }) => id);
  let failures = 0;
  const tried = async (step: () => Promise<unknown>) => {
    for (;;) {
      try {
        return await step();
      } catch (error) {
        failures += 1;
        if (!String(error).includes('crash') || failures > 5) throw error;
      }
    }
  };
  for (const id of events) await tried(() => world.deliver(id));
  for (let round = 0; round < 3; round += 1) {
    await tried(() => world.work());
    // What was claimed by a server that died is free again after two minutes.
    await world.advance(3 * 60_000);
  }
  return failures;
}

/** One person's whole life as a customer. */
async function live(): Promise<{ user: string; failures: number }> {
  const user = await world.person();
  let failures = 0;
  const subscribed = await world.subscribe(user);
  if ('session' in subscribed) await stripe.pay(subscribed.session);
  failures += await insist();
  const bought = await world.buy(user);
  if ('session' in bought) await stripe.pay(bought.session);
  failures += await insist();
  const [purchase] = await database.owner`select stripe_payment_intent_id as id from purchases where user_id = ${user}`;
  stripe.refund(purchase?.id, 250);
  failures += await insist();
  await world.passPeriod(user, 2 * HOUR);
  failures += await insist();
  const [subscription] = await database.owner`select id from subscriptions where user_id = ${user}`;
  stripe.cancelNow(subscription?.id);
  failures += await insist();
  return { user, failures };
}

it('a crash at any write of the webhook path leaves what no crash leaves (spec 6.4)', async () => {
  await crashAt(0);
  await world.forget();
  const { user } = await live();
  const expected = await world.standing(user);
  const most = await writes();
  expect(most).toBeGreaterThan(isSpread ? 25 : 60);
  let crashed = 0;
  for (let n = 1; n <= most; n += 1) {
    await world.forget();
    await crashAt(n);
    try {
      const again = await live();
      crashed += again.failures;
      expect(await world.standing(again.user)).toEqual(expected);
    } catch (error) {
      // Before there is anything to lose: the person's own request failed, and is made again.
      if (!String(error).includes('crash')) throw error;
    }
  }
  expect(crashed).toBeGreaterThan(most / 2);
  await crashAt(0);
  expect(await world.audit()).toEqual([]);
});
