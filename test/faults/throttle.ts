// What somebody may cost: windows, throttles, warnings, risk. Faults 46 to 52.
import { expect } from 'vitest';
import { check, collect, forgiveJobs, haveChannels, openAlerts } from '../alerts/people.ts';
import type { Person } from '../http/house.ts';
import { DAY } from '../stripe/shop.ts';
import { good, type Place, type Room, said, tally } from './place.ts';

/** Somebody of the free tier with credits enough, whose runs cost so many dollars. */
async function spender(place: Place, dollars: number, tier: string | null = null): Promise<Person> {
  const who = await place.somebody(2_000, tier);
  await cost(place, who, dollars);
  return who;
}
/** A run of gpt-4o-mini that the provider reports so: 0.15 dollars for a million tokens. */
async function cost(place: Place, who: Person, dollars: number): Promise<void> {
  const input = Math.round((dollars / 0.15) * 1e6);
  good(await place.run(who, `[[sandbox: usage=input:${input},cached:0,cache_write:0,output:1]]`));
}
const standing = async (place: Place, { userId }: Person) => {
  const [row] = await place.owner`
    select is_throttled, throttled_by, throttled_reason, trim_scale(round(current_month_api_cost, 6))::text as cost,
      trim_scale(current_day_limited_cost)::float8 as day from users where id = ${userId}`;
  return row ?? expect.fail('there is no such user');
};
const free = (change: string) => `update cost_limits_config set ${change} where tier_name = 'free'`;
const usual = free(
  'monthly_cost_limit = 0.50, daily_cost_limit = 0.10, hourly_request_limit = 10, throttle_on_exceed = true',
);

export const throttle: Room = {
  name: 'Throttle',
  faults: [
    {
      number: 46,
      there: 'The monthly reset clears the cost and leaves the throttle: locked out for ever',
      async ours(place) {
        const who = await spender(place, 0.51);
        const before = await standing(place, who);
        const refused = await place.run(who, 'more');
        expect([before.is_throttled, refused.status]).toEqual([true, 429]);
        await place.advance(20 * DAY);
        await place.ops`SELECT reset_monthly_api_costs()`;
        const after = await standing(place, who);
        const again = await place.run(who, 'more');
        expect([after.is_throttled, after.throttled_reason, after.cost, again.status]).toEqual([false, null, '0', 200]);
        return `“${before.throttled_reason}”: ${said(refused)}; after the reset of the next month throttled ${after.is_throttled}, reason ${after.throttled_reason}, cost ${after.cost}, a run ${said(again)}`;
      },
    },
    {
      number: 47,
      there: 'One request that is too dear locks the account, though nothing was spent',
      async ours(place) {
        const who = await spender(place, 0.098);
        const refused = await place.run(who, 'Answer at length.', { model: 'opus' });
        const between = await standing(place, who);
        const small = await place.run(who, 'Answer in a word.');
        const broke = await place.newcomer();
        await place.ops`select from ops.revoke_credits(${broke.userId}, 5, 'a fault')`;
        const poor = await place.run(broke, 'hello', { model: 'opus' });
        expect([refused.status, between.is_throttled, small.status, poor.status]).toEqual([429, false, 200, 402]);
        return `opus at ${between.day} of 0.10 dollars today: ${said(refused)}, throttled ${between.is_throttled}; a smaller run next: ${said(small)}; without credits it is ${said(poor)}`;
      },
    },
    {
      number: 48,
      there: 'Neither an upgrade nor a raised limit lifts a throttle, and an administrator’s release does nothing',
      async ours(place) {
        const root = await place.administrator();
        const over = () => spender(place, 0.11);
        const [upgraded, raised, released] = [await over(), await over(), await over()];
        const stopped = await Promise.all([upgraded, raised, released].map((who) => place.run(who, 'more')));
        expect(stopped.map(({ status }) => status)).toEqual([429, 429, 429]);
        await forgiveJobs(place.database);
        await check(place.database);
        const alerts = await openAlerts(place.database);
        await place.subscribe(upgraded);
        const afterUpgrade = await place.run(upgraded, 'more');
        const afterRaise = await place.under(free('daily_cost_limit = 0.30'), usual, () => place.run(raised, 'more'));
        const path = `/admin/cost-analytics/user/${released.userId}/unthrottle`;
        const answer = good(await place.ask('POST', path, root, { reason: 'a fault' }));
        const tomorrow = new Date(place.stripe.clock.now().getTime() + DAY);
        await place.ops`select from ops.waive_limits(${released.userId}, ${tomorrow}, 'a fault')`;
        const afterWaiver = await place.run(released, 'more');
        expect([afterUpgrade.status, afterRaise.status, afterWaiver.status]).toEqual([200, 200, 200]);
        await check(place.database);
        const left = await openAlerts(place.database);
        const named = (list: string[]) => list.filter((name) => name === `user_over_limit ${upgraded.userId}`).length;
        expect([named(alerts), named(left)]).toEqual([1, 0]);
        return `stopped: ${tally(stopped)}; subscribed ${said(afterUpgrade)}, limit raised ${said(afterRaise)}, waived ${said(afterWaiver)}; an unthrottling alone says: “${answer.message}”; alerts about who upgraded ${named(alerts)} → ${named(left)}`;
      },
    },
    {
      number: 49,
      there: 'Daily limit, requests an hour, throttle_on_exceed and is_active are columns that nothing reads',
      async ours(place) {
        const who = await place.somebody(1000, null);
        const daily = await place.under(free('daily_cost_limit = 0'), usual, () => place.run(who, 'x'));
        await place.ops`update users set is_throttled = false where id = ${who.userId}`;
        const hour = [];
        for (let n = 0; n < 11; n += 1) hour.push(await place.run(who, `${n}`));
        const over = await spender(place, 0.11);
        const stopped = await place.run(over, 'x');
        const freed = await place.under(free('throttle_on_exceed = false'), usual, () => place.run(over, 'x'));
        const member = await place.somebody(10, 'prpm_plus_org');
        const tier = async () => (await place.get('/playground/limits', member)).tier;
        const [was, is] = [
          await tier(),
          await place.under(
            "update cost_limits_config set is_active = false where tier_name = 'prpm_plus_org'",
            "update cost_limits_config set is_active = true where tier_name = 'prpm_plus_org'",
            tier,
          ),
        ];
        expect([daily.json.error, tally(hour)]).toEqual([
          ...['daily_cost_limit', '10× 200, 1× 429 hourly_request_limit'],
        ]);
        expect([stopped.status, freed.status, was, is]).toEqual([429, 200, 'prpm_plus_org', 'free']);
        return `daily_cost_limit 0: ${said(daily)}; 11 runs in an hour: ${tally(hour)}; throttle_on_exceed false: ${said(stopped)} → ${said(freed)}; is_active false: tier ${was} → ${is}`;
      },
    },
    {
      number: 50,
      there:
        'Parallel runs overshoot the limit; warnings come a run late, three at once, to nobody; a limit of 0 is 0.50',
      async ours(place) {
        const who = await place.somebody(1000, null);
        const answers = await place.under(free('hourly_request_limit = null'), usual, async () => {
          const all = [];
          for (let isLeft = true; isLeft; ) {
            const input = 'x [[sandbox: tokens=900 pace=0]]';
            const some = await Promise.all(Array.from({ length: 8 }, () => place.run(who, input, { model: 'gpt-4o' })));
            isLeft = some.some(({ status }) => status === 200);
            all.push(...some);
          }
          return all;
        });
        const { day } = await standing(place, who);
        expect(day).toBeLessThanOrEqual(0.1);
        expect(day).toBeGreaterThan(0.08);

        await haveChannels(place.database);
        await forgiveJobs(place.database);
        const eager = free("alert_at_percent = '{50,75,90}', daily_cost_limit = null");
        const warnings = await place.under(eager, `${usual}; ${free("alert_at_percent = '{80}'")}`, async () => {
          const jumper = await spender(place, 0.2);
          await check(place.database);
          await collect(place.database);
          await cost(place, jumper, 0.275);
          await check(place.database);
          return (await collect(place.database)).filter(
            ({ userId, kind }) => userId === jumper.userId && kind === 'limit_warning',
          );
        });
        expect(warnings).toHaveLength(1);
        const none = await place.under(free('daily_cost_limit = 0'), usual, async () =>
          place.run(await place.somebody(10, null), 'x'),
        );
        expect([none.json.error, none.json.limit]).toEqual(['daily_cost_limit', 0]);
        return `8 at once, again and again, ${answers.filter(({ status }) => status === 200).length} let in: ${day} of 0.10 dollars; from 40 to 95 %: ${warnings.length} mail, “${warnings[0]?.subject}”; limit 0: ${said(none)}, limit ${none.json.limit}`;
      },
    },
    {
      number: 51,
      there: 'Risk is judged by dollars alone, so that 98 % of a small limit is safe; and the canceled count as active',
      async ours(place) {
        const root = await place.administrator();
        const who = await place.under(free('daily_cost_limit = null'), usual, () => spender(place, 0.49));
        const leaver = await place.newcomer();
        await place.ops`select refresh_user_cost_analytics()`;
        const { users } = await place.get('/admin/cost-analytics/users?limit=100', root);
        const shown = users.find(({ user_id }: { user_id: string }) => user_id === who.userId);
        const [risky] = await place.ops`
          select percent_of_limit::float8 as percent from ops.users_at_risk where user_id = ${who.userId}`;
        const active = async () => (await place.get('/admin/cost-analytics/summary', root)).activeUsers;
        const before = await active();
        const subscription = await place.subscribe(leaver);
        const during = await active();
        const [payment] = await place.owner`select id from payments where user_id = ${leaver.userId}`;
        place.stripe.refund(payment?.id);
        place.stripe.cancelNow(subscription);
        await place.settle();
        const after = await active();
        expect([shown.risk_level, Math.round(shown.percent_of_limit), risky?.percent]).toEqual(['safe', 98, 98]);
        expect([during - before, after - before]).toEqual([1, 0]);
        return `${shown.current_month_api_cost} dollars of the free tier: ${shown.risk_level} by the guide’s dollars, ${shown.percent_of_limit} % of the limit beside it, and ops.users_at_risk has it at ${risky?.percent} %; active people ${before}, with a subscriber ${during}, canceled and paid back ${after}`;
      },
    },
    {
      number: 52,
      there: 'An unknown user is a 500, releasing one is a success, and anybody signed in may do both',
      async ours(place) {
        const [root, who] = [await place.administrator(), await place.newcomer()];
        const both = (by: Person, userId: string) =>
          Promise.all([
            place.ask('GET', `/admin/cost-analytics/user/${userId}`, by),
            place.ask('POST', `/admin/cost-analytics/user/${userId}/unthrottle`, by, { reason: 'a fault' }),
          ]);
        const unknown = await both(root, crypto.randomUUID());
        const [known, forbidden] = [await both(root, who.userId), await both(who, who.userId)];
        expect([unknown, known, forbidden].map((pair) => pair.map(({ status }) => status))).toEqual([
          ...[
            [404, 404],
            [200, 200],
            [403, 403],
          ],
        ]);
        return `unknown: ${unknown.map(said).join(' and ')}; known: ${known.map(said).join(' and ')}; by who is no administrator: ${forbidden.map(said).join(' and ')}`;
      },
    },
  ],
};
