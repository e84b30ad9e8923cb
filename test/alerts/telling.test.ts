// What is told to whom, and how often. Spec 9.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/database/client.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, buy, converse, publishPackage, signUp, subscribe, wait } from '../sessions/people.ts';
import { check, collect, forgiveJobs, haveChannels, openAlerts } from './people.ts';

let database: TestDatabase;
let people = 0;
const newcomer = () => {
  people += 1;
  return signUp(database, `person${people}`);
};

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  const { ops } = database;
  await ops`update cost_limits_config set hourly_request_limit = null, minute_request_limit = null, daily_cost_limit = null`;
  await ops`update settings set margin_alert_percent = null, throttled_alert_percent = null, free_tier_daily_budget = null, purchased_cost_per_credit_limit = null`;
});
afterAll(async () => {
  expect(await audit(database.ops)).toEqual([]);
  await database.drop();
});
beforeEach(async () => {
  await forgiveJobs(database);
  await haveChannels(database);
  await check(database);
  await collect(database);
});

/** A run that costs so many dollars, all of it on the tier's limit. */
async function spend(user: string, dollars: number): Promise<void> {
  await database.ops`select from ops.grant_credits(${user}, 100, 'test')`;
  for (let left = Math.round(dollars * 10_000); left > 0; left -= 400)
    await converse(database, user, { model: 'gpt-4o', usage: { input: 0, output: Math.min(left, 400) * 10 } });
}
const mailsTo = async (user: string) => {
  await haveChannels(database);
  await check(database);
  const all = await collect(database);
  return all.filter(({ userId }) => userId === user).map(({ kind, subject }) => `${kind}: ${subject}`);
};

describe('a user is told', () => {
  it('of each threshold once in a month, with both sides of it (spec 3.1)', async () => {
    await database.ops`update cost_limits_config set alert_at_percent = '{75,90}' where tier_name = 'free'`;
    const user = await newcomer();
    await spend(user, 0.3);
    expect(await mailsTo(user)).toEqual([]);
    await spend(user, 0.08);
    expect(await mailsTo(user)).toEqual(['limit_warning: 76 % used: 0.38 of 0.50 dollars']);
    await spend(user, 0.01);
    expect(await mailsTo(user)).toEqual([]);
    await spend(user, 0.06);
    expect(await mailsTo(user)).toEqual(['limit_warning: 90 % used: 0.45 of 0.50 dollars']);
    await wait(database, '1 month');
    expect(await mailsTo(user)).toEqual([]);
    await spend(user, 0.4);
    expect(await mailsTo(user)).toEqual(['limit_warning: 80 % used: 0.40 of 0.50 dollars']);
  });

  it('of the highest only where a jump passes two thresholds, and of no lower one later', async () => {
    const user = await newcomer();
    await spend(user, 0.46);
    expect(await mailsTo(user)).toEqual(['limit_warning: 92 % used: 0.46 of 0.50 dollars']);
    await database.ops`update cost_limits_config set monthly_cost_limit = 0.60 where tier_name = 'free'`;
    expect(await mailsTo(user)).toEqual([]);
    await database.ops`update cost_limits_config set monthly_cost_limit = 0.50 where tier_name = 'free'`;
  });

  it('that runs are stopped and until when, and then of no threshold', async () => {
    const user = await newcomer();
    await spend(user, 0.5);
    expect(await mailsTo(user)).toEqual([
      expect.stringMatching(
        /^throttled: No more runs until \d{4}-\d\d-01 00:00 UTC: 0\.5 of 0\.50 dollars used this month$/,
      ),
    ]);
    await wait(database, '2 days');
    expect(await mailsTo(user)).toEqual([]);
  });

  it('nothing of what purchased credits pay for (spec 3.3)', async () => {
    const user = await newcomer();
    await database.ops`select from ops.revoke_credits(${user}, 5, 'test')`;
    await buy(database, user, 'large');
    for (let run = 0; run < 12; run += 1)
      await converse(database, user, { model: 'gpt-4o', usage: { input: 0, output: 4000 } });
    expect(await mailsTo(user)).toEqual([]);
  });

  it('that few credits are left, if they have paid, once for each pack', async () => {
    const user = await newcomer();
    expect(await mailsTo(user)).toEqual([]);
    await buy(database, user);
    await database.ops`select from ops.revoke_credits(${user}, 98, 'test')`;
    await converse(database, user);
    expect(await mailsTo(user)).toEqual(['credits_low: 6 credits left, fewer than 10']);
    await converse(database, user);
    await wait(database, '5 days');
    expect(await mailsTo(user)).toEqual([]);
    await buy(database, user);
    await database.ops`select from ops.revoke_credits(${user}, 100, 'test')`;
    await converse(database, user);
    expect(await mailsTo(user)).toEqual(['credits_low: 4 credits left, fewer than 10']);
  });

  it('that credits left over expire, a week before and once (spec 4.3)', async () => {
    const user = await newcomer();
    await subscribe(database, user);
    await database.owner`
      select core.grant_period(${user}, 'sub_1', 'prpm_plus_individual', core.now() + interval '30 days', core.now() + interval '60 days', 6,
        core.now() + interval '30 days')`;
    await wait(database, '45 days');
    expect(await mailsTo(user)).toEqual([]);
    await wait(database, '10 days');
    expect(await mailsTo(user)).toEqual([
      expect.stringMatching(/^rollover_expiring: 100 credits expire on \w+ \d+, \d{4}$/),
    ]);
    await wait(database, '1 day');
    expect(await mailsTo(user)).toEqual([]);
  });

  it('of a payment that failed, with the page to pay on, once for each period', async () => {
    const user = await newcomer();
    await subscribe(database, user);
    await database.owner`
      update subscriptions set status = 'past_due', unpaid_since = core.now(), hosted_invoice_url = 'https://stripe.example/pay'
      where user_id = ${user}`;
    await check(database);
    const [mail] = await collect(database, ['user_email']);
    expect(mail).toMatchObject({
      kind: 'payment_failed',
      userId: user,
      subject: 'The payment for your subscription failed',
    });
    expect(mail?.body).toContain('https://stripe.example/pay');
    const [failed] = await database.owner`
      select (unpaid_since - interval '1 day')::text as earlier from subscriptions where user_id = ${user}`;
    await database.owner`update subscriptions set unpaid_since = ${failed?.earlier} where user_id = ${user}`;
    expect(await mailsTo(user)).toEqual([]);
  });

  it('of a higher price before it is paid, when they have left the organization that made it lower (spec 2.4)', async () => {
    const user = await newcomer();
    await database.app`select from api.set_stripe_prices(${database.app.json({
      plans: { prpm_plus_individual: 'price_1', prpm_plus_org_member: 'price_2' },
    })})`;
    const [organization] = await database.ops`select id from ops.create_organization('team')`;
    await database.ops`select from ops.verify_organization(${organization?.id}, true, 'test')`;
    await database.ops`select from ops.add_member(${organization?.id}, ${user}, 'member')`;
    await subscribe(database, user);
    await database.owner`
      update subscriptions set plan = 'prpm_plus_org_member', price_id = 'price_2', item_id = 'si_1', monthly_amount = 3
      where user_id = ${user}`;
    await database.owner`
      insert into subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, paid_amount, created_at)
      values (${user}, 'sub_1', core.now(), core.now() + interval '30 days', 'prpm_plus_org_member', 'paid', 3, core.now())`;
    expect(await mailsTo(user)).toEqual([]);
    await database.app`select from api.leave_organization(${user}, ${organization?.id})`;
    const told = [
      expect.stringMatching(/^price_raise: PRPM\+ costs \$6\.00 a month from \w+ \d+, \d{4} on; until now \$3\.00$/),
    ];
    expect(await mailsTo(user)).toEqual(told);
    await database.owner`update subscriptions set plan = 'prpm_plus_individual', price_id = 'price_1' where user_id = ${user}`;
    expect(await mailsTo(user)).toEqual([]);
    await database.owner`delete from subscription_periods where user_id = ${user}`;
  });

  it('that texts go, at least 14 days before, once for each week (spec 7.1)', async () => {
    const user = await newcomer();
    await converse(database, user);
    await wait(database, '68 days');
    expect(await mailsTo(user)).toEqual([]);
    await wait(database, '2 days');
    expect(await mailsTo(user)).toEqual([
      expect.stringMatching(/^texts_going: Texts of 1 of your sessions are dropped from /),
    ]);
    await wait(database, '2 days');
    expect(await mailsTo(user)).toEqual([]);
  });

  it('nothing that they have declined, nothing once their account is closed, nothing without an e-mail', async () => {
    const [declined, closed, nameless] = [await newcomer(), await newcomer(), await newcomer()];
    await database.owner`insert into email_preferences (user_id, limits, updated_at) values (${declined}, false, core.now())`;
    for (const user of [declined, closed, nameless]) await spend(user, 0.45);
    await database.ops`select from ops.close_user(${closed}, 'test')`;
    await database.owner`update users set email = null where id = ${nameless}`;
    await haveChannels(database);
    await check(database);
    const told = new Set((await collect(database)).map(({ userId }) => userId));
    for (const user of [declined, closed, nameless]) expect(told.has(user)).toBe(false);
    await database.owner`update users u set email = e.email from user_emails e where e.user_id = u.id and u.id = ${nameless}`;
  });
});

describe('no more than one mail goes to a user for each kind and period', () => {
  it('over a month of every day, with checks twice in a row and three at once', async () => {
    const users = await Promise.all([1, 2, 3, 4].map(() => newcomer()));
    await buy(database, users[0] ?? '');
    await subscribe(database, users[1] ?? '');
    const seen = new Map<string, number>();
    for (let day = 0; day < 31; day += 1) {
      for (const [place, user] of users.entries()) if (day % (place + 2) === 0) await spend(user, 0.12).catch(() => {}); // refused where throttled
      await haveChannels(database);
      await Promise.all([check(database), check(database), check(database)]);
      await check(database);
      const [clock] = await database.owner`select to_char(core.now() at time zone 'UTC', 'YYYY-MM') as month`;
      for (const { userId, kind, subject } of await collect(database)) {
        if (userId === null || !users.includes(userId)) continue;
        const level = kind === 'limit_warning' ? (Number(/^\d+/.exec(subject)) >= 90 ? ' 90' : ' 75') : '';
        const name = `${userId} ${kind}${level} ${clock?.month}`;
        seen.set(name, (seen.get(name) ?? 0) + 1);
      }
      await wait(database, '1 day');
    }
    expect(seen.size).toBeGreaterThan(4);
    expect([...seen].filter(([, count]) => count > 1)).toEqual([]);
  }, 300_000);

  it('whoever is killed half-way', async () => {
    const user = await newcomer();
    await spend(user, 0.45);
    await haveChannels(database);
    const dying = await openDatabase({ url: database.opsUrl, pool: 1, production: false });
    await expect(
      dying.sql`select ops.check_alerts() > 0 and pg_terminate_backend(pg_backend_pid()) as killed`,
    ).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' });
    await dying.close();
    expect(await mailsTo(user)).toHaveLength(1);
    expect(await mailsTo(user)).toEqual([]);
  });
});

describe('operators are told', () => {
  const stripesAlerts = async () => (await openAlerts(database)).filter((name) => name.startsWith('stripe_review'));

  it('anew when it gets worse, with what the guide advises, and once where two thresholds are passed at once', async () => {
    await database.ops`update settings set throttled_alert_percent = 0, throttled_critical_percent = 99`;
    await database.ops`select from ops.throttle_user('person1', null, 'test')`;
    const told = async () => {
      await haveChannels(database);
      await check(database);
      return (await collect(database)).filter(
        ({ channel, kind }) => channel === 'webhook' && kind === 'throttled_users',
      );
    };
    const [warning] = await told();
    expect(warning?.body).not.toContain('Limits higher by 20 %');
    expect(await told()).toEqual([]);
    await database.ops`update settings set throttled_critical_percent = 0`;
    const [critical, ...more] = await told();
    expect(critical?.body).toContain('Limits higher by 20 %');
    expect(more).toEqual([]);
    await database.ops`update settings set throttled_critical_percent = 99`;
    expect(await told()).toEqual([]); // better, but not over
    await database.ops`update settings set throttled_alert_percent = null, throttled_critical_percent = default`;
    expect(await told()).toMatchObject([{ subject: expect.stringMatching(/^Resolved: /) }]);
    await database.ops`update settings set throttled_alert_percent = 0, throttled_critical_percent = 0`;
    expect(await told()).toHaveLength(1);
    await database.ops`update settings set throttled_alert_percent = null, throttled_critical_percent = default`;
    await told();
  });

  it('of many alerts of a kind in one message', async () => {
    const events = (status: string) => database.owner`
      insert into stripe_events (id, type, created, livemode, status, same_version, error, received_at)
      select 'evt_many_' || n, 'charge.refunded', 1, false, ${status}, true, 'who is that?', core.now() from generate_series(1, 30) n`;
    await events('needs_review');
    await check(database);
    const [one, ...more] = (await collect(database)).filter(({ channel }) => channel === 'operator_email');
    expect(more).toEqual([]);
    expect(one?.subject).toBe('30 alerts stripe_review');
    expect(one?.body.split('\n')).toHaveLength(22);
    expect(await stripesAlerts()).toHaveLength(30);
    await database.owner`delete from stripe_events`;
    await check(database);
    expect((await collect(database)).filter(({ channel }) => channel === 'webhook')).toMatchObject([
      { subject: 'Resolved: 30 alerts stripe_review' },
    ]);
  });

  it('later, where no server has a channel yet', async () => {
    await database.owner`delete from alert_channels`;
    await database.owner`
      insert into stripe_events (id, type, created, livemode, status, same_version, received_at)
      values ('evt_early', 'charge.refunded', 1, false, 'needs_review', true, core.now())`;
    await check(database);
    expect(await stripesAlerts()).toHaveLength(1);
    await haveChannels(database, ['webhook']);
    expect(await collect(database, ['webhook'])).toEqual([]);
    await check(database);
    expect((await collect(database, ['webhook'])).filter(({ kind }) => kind === 'stripe_review')).toHaveLength(1);
    await database.owner`delete from stripe_events`;
    await check(database);
  });

  it('by a test on every channel that there is, and which there is not', async () => {
    await database.owner`delete from alert_channels`;
    await haveChannels(database, ['webhook']);
    const tried = await database.ops`select channel, what from ops.test_alert('trial')`;
    expect(tried).toMatchObject([
      { channel: 'operator_email', what: 'no server has it: set SMTP_URL, EMAIL_FROM and ALERT_EMAIL_TO' },
      { channel: 'webhook', what: expect.stringMatching(/^queued: /) },
    ]);
    expect(await collect(database)).toMatchObject([{ subject: 'A test of the alerts of PRPM Playground: trial' }]);
    await database.ops`select from ops.test_alert(dry_run => true)`;
    expect(await collect(database)).toEqual([]);
  });

  it('who is at it, once somebody has said so', async () => {
    const user = await newcomer();
    const run = await begin(database, user);
    await database.owner`update cost_limits_config set paused_until = core.now() + interval '1 hour' where tier_name = 'free'`;
    await check(database);
    const [alert] = await database.ops`select id from ops.alerts_now where kind = 'tier_paused'`;
    const acknowledge = (reason: string, dryRun = false) =>
      database.ops`select acknowledged_by from ops.acknowledge_alert(${alert?.id}, ${reason}, ${dryRun})`;
    await expect(acknowledge(' ')).rejects.toMatchObject({ code: 'PR400' });
    await acknowledge('trying', true);
    expect(await database.ops`select acknowledged_by from ops.alerts_now where id = ${alert?.id}`).toEqual([
      { acknowledged_by: null },
    ]);
    await acknowledge('looking');
    expect(await database.ops`select acknowledged_by from ops.alerts_now where id = ${alert?.id}`).toEqual([
      { acknowledged_by: 'prpm_ops' },
    ]);
    await database.owner`update cost_limits_config set paused_until = null`;
    await check(database);
    await expect(acknowledge('too late')).rejects.toMatchObject({ code: 'PR404' });
    await database.app`
      select from api.release_run(${user}, ${run}, false, null, null, null, null, 'q', 'provider_unavailable', null, 5)`;
  });
});
