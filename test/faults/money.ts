// What people have: resets, rollover, the ledger. Faults 1 to 11.
import { expect } from 'vitest';
import { migrate } from '../../src/database/migrate.ts';
import type { Person } from '../http/house.ts';
import { DAY, HOUR } from '../stripe/shop.ts';
import { type Place, type Room, sum } from './place.ts';

/** Somebody with a rollover of what a month left over: `left` of 100 credits. */
async function rolledOver(place: Place, left: number): Promise<Person> {
  const who = await place.newcomer();
  await place.subscribe(who);
  await place.spend(who, 100 - left);
  await place.passPeriod(who);
  await place.settle();
  return who;
}

export const money: Room = {
  name: 'Money',
  faults: [
    {
      number: 1,
      there: 'The monthly reset adds more than it allots, breaks a CHECK of its own, and resets nobody',
      async ours(place) {
        const who = await rolledOver(place, 40);
        const [first, second] = [await place.cron('reset'), await place.cron('reset')];
        const { balance, monthly, rollover, breakdown } = await place.credits(who);
        expect([monthly.allocated, monthly.used, rollover.amount]).toEqual([100, 0, 40]);
        expect(balance).toBe(sum(Object.values<number>(breakdown)));
        expect(new Date(monthly.reset_at).getTime()).toBeGreaterThan(place.stripe.clock.now().getTime());
        return `after a month with 60 used, and the job twice (${first.affected} and ${second.affected} touched): ${monthly.allocated} allotted, ${monthly.used} used, ${rollover.amount} rolled over, balance ${balance}, next reset ${monthly.reset_at.slice(0, 10)}`;
      },
    },
    {
      number: 2,
      there: 'Grants by an operator go into no bucket, so that the balance’s CHECK refuses them',
      async ours(place) {
        const who = await place.newcomer();
        const before = await place.credits(who);
        await place.ops`select from ops.grant_credits(${who.userId}, 10, 'a fault')`;
        const after = await place.credits(who);
        const raised = Object.keys(after.breakdown).filter((kind) => after.breakdown[kind] !== before.breakdown[kind]);
        expect(after.balance - before.balance).toBe(10);
        expect(raised.map((kind) => after.breakdown[kind] - before.breakdown[kind])).toEqual([10]);
        return `10 granted: balance ${before.balance} → ${after.balance}, and so is one kind alone, ${raised[0]}`;
      },
    },
    {
      number: 3,
      there:
        'The ledger does not add up to the balance: two events of a subscription are +200 in one, +100 in the other',
      async ours(place) {
        const who = await place.newcomer();
        const subscription = await place.subscribe(who);
        place.stripe.dashboardCancel(subscription);
        place.stripe.undoCancel(subscription);
        await place.settle();
        const moved = await place.movements(who);
        const { balance } = await place.credits(who);
        expect([sum(moved.map(({ amount }) => amount)), moved.at(-1)?.balance_after]).toEqual([balance, balance]);
        const everybody = await place.owner`
          select u.id from users u
          join lateral (
            select sum(case 'lot' when t.credit then t.amount when t.debit then -t.amount end) as moved,
              (array_agg(t.balance_after order by t.id desc))[1] as last
            from credit_transactions t where t.user_id = u.id
          ) t on true
          where (t.moved, t.last) is distinct from (u.included_credits + u.purchased_credits, u.included_credits + u.purchased_credits)`;
        const [all] = await place.owner`select count(*)::int as n from users`;
        expect(everybody).toHaveLength(0);
        return `after three events that say active: sum of the ledger ${sum(moved.map(({ amount }) => amount))}, its last line ${moved.at(-1)?.balance_after}, balance ${balance}; of ${all?.n} people ${everybody.length} differ`;
      },
    },
    {
      number: 4,
      there: 'Rollover that expires is written down as 0 credits',
      async ours(place) {
        const who = await rolledOver(place, 30);
        await place.spend(who, 100);
        const before = (await place.credits(who)).balance;
        await place.passPeriod(who, HOUR / 2);
        await place.cron('expire');
        const [once, between] = [await place.movements(who), (await place.credits(who)).balance];
        await place.cron('expire');
        const twice = await place.movements(who);
        const expired = twice.filter(({ type }) => type === 'expire').map(({ amount }) => amount);
        expect([expired, between - before, twice.length - once.length]).toEqual([[-30], -30, 0]);
        return `30 expire: ledger ${expired.join(', ')}, balance ${before} → ${between}; the job once more writes ${twice.length - once.length} lines`;
      },
    },
    {
      number: 5,
      there: 'What a reset discards and a cancellation takes leaves no line in the ledger',
      async ours(place) {
        const who = await rolledOver(place, 40);
        await place.passPeriod(who);
        await place.settle();
        const discarded = (await place.movements(who)).filter(({ type }) => type === 'expire');
        const [row] = await place.owner`select id from subscriptions where user_id = ${who.userId}`;
        place.stripe.portalCancel(row?.id);
        await place.passPeriod(who);
        await place.settle();
        await place.cron('expire');
        const moved = await place.movements(who);
        const expired = moved.filter(({ type }) => type === 'expire').map(({ amount }) => amount);
        const { balance } = await place.credits(who);
        expect(discarded.map(({ amount }) => amount)).toEqual([-40]);
        expect(sum(expired)).toBe(-240);
        expect(sum(moved.map(({ amount }) => amount))).toBe(balance);
        return `old rollover of 40, then a cancellation: lines of expiry ${expired.join(', ')}; ledger and balance both ${balance}`;
      },
    },
    {
      number: 6,
      there: 'The event of a renewal sets used to 0 and moves the date, so that nothing is ever rolled over',
      async ours(place) {
        const who = await place.newcomer();
        await place.subscribe(who);
        await place.spend(who, 60);
        await place.passPeriod(who);
        await place.settle(); // and no job
        const { monthly, rollover } = await place.credits(who);
        expect([rollover.amount, monthly.remaining]).toEqual([40, 100]);
        return `60 of 100 used, then the renewal’s events alone: ${rollover.amount} rolled over and ${monthly.remaining} monthly`;
      },
    },
    {
      number: 7,
      there: 'The reset locks outside a transaction: a spend in between is lost, and two schedulers both grant',
      async ours(place) {
        const who = await place.newcomer();
        await place.subscribe(who);
        await place.spend(who, 10);
        const server = await place.another();
        await place.passPeriod(who);
        const events = place.news().map(({ id }) => id);
        const work = [
          ...events.flatMap((id) => [place.send(place.bytes(id)), place.send(place.bytes(id))]),
          ...[place.cron('reset'), place.cron('reset')],
          ...[place.ops`select ops.reset_credits()`, place.ops`select ops.reset_credits()`],
          ...Array.from({ length: 5 }, () => place.spend(who, 1)),
        ];
        await Promise.all(work);
        await Promise.all([place.stripeIdle(), server.stripeIdle()]);
        await server.close();
        await place.settle();
        const moved = await place.movements(who);
        const grants = moved.filter(({ type }) => type === 'monthly').length;
        const spent = sum(moved.filter(({ type }) => type === 'spend').map(({ amount }) => amount));
        const { balance } = await place.credits(who);
        expect([grants, spent, sum(moved.map(({ amount }) => amount))]).toEqual([2, -15, balance]);
        return `four resets, each event twice and 5 runs at once: ${grants} grants in 2 periods, ${-spent} spent, ledger and balance both ${balance}`;
      },
    },
    {
      number: 8,
      there: 'The calendar alone grants a month: who does not pay, or whose end was missed, gets 100 for ever',
      async ours(place) {
        const [late, gone] = [await place.newcomer(), await place.newcomer()];
        await place.subscribe(late);
        place.stripe.setCard(await place.customerOf(late), 'declined');
        await place.passPeriod(late);
        await place.settle();
        await place.cron('reset');
        const [status] = await place.owner`select status from subscriptions where user_id = ${late.userId}`;

        const ended = await place.subscribe(gone);
        place.stripe.portalCancel(ended);
        await place.settle();
        await place.passPeriod(gone);
        await place.advance(4 * DAY);
        place.news(); // and nobody is told
        await place.cron('reset');
        await place.cron('expire');
        const left = (await place.credits(gone)).balance;
        const grants = async (who: Person) =>
          (await place.movements(who)).filter(({ type }) => type === 'monthly').length;
        const [toLate, toGone] = [await grants(late), await grants(gone)];
        expect([status?.status, toLate, toGone, left]).toEqual(['past_due', 1, 1, 5]);
        return `${status?.status} at the next month: ${toLate} grant in 2 months; ended with the event lost: ${toGone} grant, and ${left} credits are left of 105`;
      },
    },
    {
      number: 9,
      there: 'Sign-up credits count as bought, so that a refund can eat them, and so do bonuses',
      async ours(place) {
        const who = await place.newcomer();
        await place.ops`select from ops.grant_credits(${who.userId}, 3, 'a bonus')`;
        const { breakdown, purchased } = await place.credits(who);
        const [row] = await place.owner`
          select purchased_credits::int as bought, (select count(*)::int from purchases where user_id = u.id) as purchases
          from users u where id = ${who.userId}`;
        expect([purchased, row?.bought, row?.purchases, breakdown.signup, breakdown.bonus]).toEqual([0, 0, 0, 5, 3]);
        const { payment } = await place.buy(who);
        const before = await place.credits(who);
        place.stripe.refund(payment);
        await place.settle();
        const after = await place.credits(who);
        expect([before.balance, after.balance, after.breakdown.signup]).toEqual([108, 8, 5]);
        return `a new person: ${breakdown.signup} sign-up, ${breakdown.bonus} bonus, ${purchased} purchased in ${row?.purchases} purchases; with a pack ${before.balance}, and when that is refunded ${after.balance}`;
      },
    },
    {
      number: 10,
      there:
        'Credits exist only once their page was opened: a first run, purchase or subscription before fails or loses 5',
      async ours(place) {
        const [runner, buyer, subscriber] = [await place.newcomer(), await place.newcomer(), await place.newcomer()];
        const ran = await place.run(runner, 'at once', { model: 'sonnet' });
        await place.buy(buyer);
        await place.subscribe(subscriber);
        const [bought, subscribed] = [await place.credits(buyer), await place.credits(subscriber)];
        expect([ran.status, ran.json.credits_remaining, bought.balance, subscribed.balance]).toEqual([
          200, 4, 105, 105,
        ]);
        return `as the first thing ever: a run ${ran.status} with ${ran.json.credits_remaining} left, a pack leaves ${bought.balance}, a subscription ${subscribed.balance}`;
      },
    },
    {
      number: 11,
      there: 'The migration that halved the monthly credits fails on live data',
      async ours(place) {
        const who = await place.newcomer();
        await place.subscribe(who);
        await place.spend(who, 100);
        const books = () => place.owner`
          select count(*)::int as n, sum(included_credits + purchased_credits)::int as credits, sum(lifetime_api_cost) as cost from users`;
        const [before] = await books();
        const runs = [];
        for (const _ of [1, 2]) runs.push(await migrate(place.database.superuserUrl, { current: true }));
        const [after] = await books();
        expect(after).toEqual(before);
        expect(runs.flatMap(({ applied }) => applied)).toEqual([]);
        await place.ops`update plans set monthly_credits = 50 where plan = 'prpm_plus_individual'`;
        await place.passPeriod(who);
        await place.settle();
        await place.ops`update plans set monthly_credits = 100 where plan = 'prpm_plus_individual'`;
        const { monthly } = await place.credits(who);
        expect(monthly.allocated).toBe(50);
        return `migrated twice more over ${after?.n} people with ${after?.credits} credits: all as before; the plan halved while 100 were used: ${monthly.allocated} at the next period`;
      },
    },
  ],
};
