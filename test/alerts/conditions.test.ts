// Each thing that operators are told about: one disturbance raises exactly that alert, and its end resolves it. Spec 9.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, buy, converse, publishPackage, signUp, subscribe, wait } from '../sessions/people.ts';
import { check, collect, forgiveJobs, haveChannels, openAlerts } from './people.ts';

let database: TestDatabase;
let ada: string;
let buyer: string;
let subscriber: string;
let purchase: string;

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  await database.ops`update cost_limits_config set hourly_request_limit = null, minute_request_limit = null, daily_cost_limit = null`;
  ada = await signUp(database, 'ada');
  buyer = await signUp(database, 'buyer');
  subscriber = await signUp(database, 'subscriber');
  purchase = await buy(database, buyer);
  await subscribe(database, subscriber);
  await converse(database, ada, { model: 'gpt-4o', usage: { input: 1000, output: 4000 } });
  for (let run = 0; run < 6; run += 1) {
    await converse(database, buyer, { model: 'sonnet', usage: { input: 1000, output: 10 } });
  }
  await forgiveJobs(database);
  await haveChannels(database);
  await check(database);
  await collect(database);
});
afterAll(() => database.drop());

/** The next check looks at everything, as the first of an hour does. */
const endRest = () => database.owner`update alert_intervals set checked_at = null`;
const owner = (statement: string) => () => database.owner.unsafe(statement);
const failed = async (error: string, reason: string) => {
  const id = await begin(database, subscriber, { model: 'sonnet' });
  await database.app`
    select from api.release_run(${subscriber}, ${id}, true, 10, 0, 0, 0, 'question', ${error}, ${reason}, 5)`;
};

type Case = {
  name: string;
  disturb: () => Promise<unknown>;
  undo: () => Promise<unknown>;
  alert: () => string;
  subject: RegExp;
};
const cases: Case[] = [
  {
    name: 'an overall margin below settings.margin_alert_percent',
    disturb: owner('update settings set margin_alert_percent = 100'),
    undo: owner('update settings set margin_alert_percent = default'),
    alert: () => 'margin',
    subject: /^Margin \d\d\.\d+ %, below 100: 0\.\d+ dollars of cost against 6\.\d+ earned this month$/,
  },
  {
    name: 'more than 5 % throttled',
    disturb: () => database.ops`select from ops.throttle_user('ada', null, 'test')`,
    undo: () => database.ops`select from ops.release_throttle('ada', reason => 'test')`,
    alert: () => 'throttled_users',
    subject: /^33\.3 % throttled: 1 of 3 active users$/,
  },
  {
    name: 'a user above the limit of their tier',
    disturb: owner("update cost_limits_config set monthly_cost_limit = 0.04 where tier_name = 'free'"),
    undo: owner("update cost_limits_config set monthly_cost_limit = 0.50 where tier_name = 'free'"),
    alert: () => `user_over_limit ${ada}`,
    subject: /^106\.2 % used: 0\.0425 of 0\.04 dollars this month, above the limit of tier free$/,
  },
  {
    name: 'purchased credits that cost more than settings.purchased_cost_per_credit_limit (spec 3.3)',
    disturb: owner('update settings set purchased_cost_per_credit_limit = 0.001'),
    undo: owner('update settings set purchased_cost_per_credit_limit = default'),
    alert: () => `purchased_credit_cost ${buyer}`,
    subject: /^A purchased credit costs 0\.\d+ dollars, above 0\.001: 1 credits cost 0\.\d+ dollars$/,
  },
  {
    name: 'a model, a package or a pack that loses money (spec 8.4)',
    disturb: owner(`
      update credit_lots set cost = cost + 100 where kind = 'purchased';
      update settings set purchased_cost_per_credit_limit = null`),
    undo: owner(`
      update credit_lots set cost = cost - 100 where kind = 'purchased';
      update settings set purchased_cost_per_credit_limit = default`),
    alert: () => 'loss_making pack small',
    subject: /^Pack small loses money: its paid credits cost 100\.\d+ dollars and brought 0\.05$/,
  },
  {
    name: "a provider's invoice that is not what our books say (spec 7.1)",
    disturb: () => database.ops`
      select from settings s cross join lateral ops.record_provider_invoice(
        'anthropic', to_char(now() + s.clock_offset - interval '1 month', 'YYYY-MM'), 'sonnet', 1000000, 0, 0, 1000000, 50, 'test')`,
    undo: owner('delete from provider_usage'),
    alert: () => 'provider_drift anthropic',
    subject: /^anthropic asks for 50\.00 dollars of \d{4}-\d\d, and our books say 0\.00$/,
  },
  {
    name: 'a run that cost more credits than there were (spec 4.2)',
    disturb: () => database.owner`update runs set shortfall = 3 where user_id = ${ada}`,
    undo: () => database.owner`update runs set shortfall = 0 where user_id = ${ada}`,
    alert: () => `shortfall runs ${ada}`,
    subject: /^3 credits short: runs of the last 24 hours cost 5 credits, and 2 could be charged$/,
  },
  {
    name: 'a refund of a pack that is spent (spec 4.6)',
    disturb: () => database.owner`update purchases set shortfall = 7`,
    undo: () => database.owner`update purchases set shortfall = 0`,
    alert: () => `shortfall purchase ${purchase}`,
    subject: /^7 credits short: 0\.00 dollars of a pack went back, and 0 of 7 credits could be taken back$/,
  },
  {
    name: 'a refund of a month that is spent (spec 4.6)',
    disturb: () => database.owner`
      insert into subscription_periods
        (user_id, subscription_id, period_start, period_end, plan, state, shortfall, refunded_amount, created_at)
      values (${subscriber}, 'sub_1', core.now(), core.now(), 'prpm_plus_individual', 'paid', 9, 6, core.now())`,
    undo: () => database.owner`delete from subscription_periods`,
    alert: () => 'shortfall period sub_1',
    subject: /^9 credits short: 6\.00 dollars of a subscription went back, and 0 of 9 credits could be taken back$/,
  },
  {
    name: 'more spent within an hour than settings.hourly_spend_alert (spec 3.6)',
    disturb: owner('update settings set hourly_spend_alert = 0.01'),
    undo: owner('update settings set hourly_spend_alert = default'),
    alert: () => 'hourly_spend',
    subject: /^0\.\d+ dollars spent within an hour, by 7 runs: more than 0\.01$/,
  },
  {
    name: 'a free tier whose budget of the day is used up (spec 3.6)',
    disturb: owner('update settings set free_tier_daily_budget = 0.01; select ops.watch_budgets()'),
    undo: owner('update settings set free_tier_daily_budget = default; select ops.watch_budgets()'),
    alert: () => 'tier_paused free',
    subject:
      /^Runs of tier free are paused until \d{4}-\d\d-11 00:00 UTC: its budget of 0\.01 dollars for today is used up$/,
  },
  {
    name: "many of a provider's runs failing",
    disturb: async () => {
      for (let run = 0; run < 3; run += 1) await failed('provider_unavailable', 'It is out of order (500).');
    },
    undo: () => wait(database, '16 minutes'),
    alert: () => 'provider_errors anthropic',
    subject: /^33 % of runs with anthropic failed within 15 minutes: 3 of 9$/,
  },
  {
    name: 'a provider that refuses our key (spec 5.4)',
    disturb: () => failed('provider_not_configured', 'The provider refused our credentials (401).'),
    undo: () => converse(database, subscriber, { model: 'sonnet' }),
    alert: () => 'provider_not_configured anthropic',
    subject: /^Runs with anthropic fail: The provider refused our credentials \(401\)\.$/,
  },
  {
    name: 'an event of Stripe that needs a person (spec 6.5)',
    disturb: owner(`
      insert into stripe_events (id, type, created, livemode, status, same_version, error, received_at)
      values ('evt_1', 'payment_intent.succeeded', 1, false, 'needs_review', true, 'the amount differs', core.now())`),
    undo: owner("delete from stripe_events where id = 'evt_1'"),
    alert: () => 'stripe_review event payment_intent.succeeded evt_1',
    subject: /^Stripe: payment_intent\.succeeded evt_1 needs a person: the amount differs$/,
  },
  {
    name: 'events of Stripe that nobody applies',
    disturb: owner(`
      insert into stripe_events (id, type, created, livemode, status, same_version, received_at)
      values ('evt_2', 'charge.refunded', 1, false, 'received', true, core.now() - interval '20 minutes')`),
    undo: owner("delete from stripe_events where id = 'evt_2'"),
    alert: () => 'stripe_waiting',
    subject: /^1 events of Stripe wait since .* UTC: longer than 15 minutes$/,
  },
  {
    name: 'work at Stripe that no server claims (spec 7.1)',
    disturb: owner(`
      insert into stripe_work (dedupe, kind, key, due_at, created_at)
      values ('x', 'fetch_invoice', 'in_1', core.now() - interval '20 minutes', core.now() - interval '20 minutes')`),
    undo: owner("delete from stripe_work where dedupe = 'x'"),
    alert: () => 'stripe_unclaimed',
    subject: /^1 pieces of work at Stripe are claimed by no server since .* UTC$/,
  },
  {
    name: 'work at Stripe that fails again and again',
    disturb: owner(`
      insert into stripe_work (dedupe, kind, key, due_at, created_at, attempts, error)
      values ('x', 'fetch_invoice', 'in_1', core.now() + interval '1 hour', core.now(), 5, 'StripeAPIError 500')`),
    undo: owner("delete from stripe_work where dedupe = 'x'"),
    alert: () => 'stripe_failing',
    subject: /^1 pieces of work at Stripe failed 5 times or more: StripeAPIError 500$/,
  },
  {
    name: 'work at Stripe that was given up',
    disturb: owner(`
      insert into stripe_work (dedupe, kind, key, due_at, created_at, is_failed, error)
      values ('x', 'refund_payment', 'pi_1', core.now(), core.now(), true, 'charge_already_refunded')`),
    undo: owner("delete from stripe_work where dedupe = 'x'"),
    alert: () => 'stripe_review work refund_payment pi_1',
    subject: /^Stripe: refund_payment pi_1 needs a person: charge_already_refunded$/,
  },
  {
    name: 'a difference between Stripe and us (spec 6.6)',
    disturb: owner(`
      insert into stripe_drift (kind, object, ours, theirs, found_at) values ('event', 'evt_9', null, 'charge.refunded', core.now())`),
    undo: owner("delete from stripe_drift where object = 'evt_9'"),
    alert: () => 'stripe_drift event',
    subject: /^1 differences between Stripe and us found and repaired within 24 hours: event$/,
  },
  {
    name: 'a second subscription of one person (spec 6.1)',
    disturb: () => database.owner`
      insert into subscriptions (user_id, id, plan, status, superseded, created_at, updated_at)
      values (${subscriber}, 'sub_2', 'prpm_plus_individual', 'canceled', true, core.now(), core.now())`,
    undo: () => database.owner`delete from subscriptions where id = 'sub_2'`,
    alert: () => 'second_subscription sub_2',
    subject: /^Subscription sub_2 was a second one of the same person: it is canceled and its payment refunded$/,
  },
  {
    name: 'a job that failed (spec 7.2)',
    disturb: owner(`
      insert into job_runs (job, slot, started_at, finished_at, error)
      values ('forget-keys', core.now(), core.now(), core.now(), 'division by zero')`),
    undo: owner("delete from job_runs where job = 'forget-keys'"),
    alert: () => 'job_failed forget-keys',
    subject: /^Job forget-keys failed: division by zero$/,
  },
  {
    name: 'a job that is late (spec 7.2)',
    disturb: owner("update jobs set added_at = core.now() - interval '3 hours' where job = 'forget-keys'"),
    undo: owner("update jobs set added_at = core.now() where job = 'forget-keys'"),
    alert: () => 'job_late forget-keys',
    subject: /^Job forget-keys is late: due at .* UTC, and \d+ minutes ago$/,
  },
  {
    name: 'messages that do not arrive',
    disturb: owner(`
      insert into messages (dedupe, channel, kind, subject, body, created_at, due_at, given_up_at, error)
      values ('x', 'webhook', 'test', 'x', 'x', core.now(), core.now(), core.now(), 'HTTP 410')`),
    undo: owner("delete from messages where dedupe = 'x'"),
    alert: () => 'message_undelivered webhook',
    subject: /^1 messages by webhook are not delivered, since .* UTC$/,
  },
  {
    name: 'a check that cannot be made',
    disturb: owner('alter function core.limit_conditions(timestamptz) rename to gone'),
    undo: owner('alter function core.gone(timestamptz) rename to limit_conditions'),
    alert: () => 'check_failed',
    subject: /^Alerts could not be checked: function core\.limit_conditions\(.*\) does not exist$/,
  },
];

describe('operators are told once, and once of the end, about', () => {
  it.each(cases)('$name', async ({ disturb, undo, alert, subject }) => {
    expect(await openAlerts(database)).toEqual([]);
    await disturb();
    await endRest();
    for (const _ of [1, 2, 3]) await check(database);
    const [name] = await openAlerts(database);
    expect(await openAlerts(database)).toEqual([name]);
    expect(name?.startsWith(alert())).toBe(true);
    const raised = (await collect(database)).filter(({ userId }) => userId === null);
    expect(raised.map(({ channel }) => channel).sort()).toEqual(['operator_email', 'webhook']);
    for (const message of raised) expect(message.subject).toMatch(subject);

    await undo();
    await forgiveJobs(database);
    await endRest();
    for (const _ of [1, 2, 3]) await check(database);
    expect(await openAlerts(database)).toEqual([]);
    const resolved = (await collect(database)).filter(({ userId }) => userId === null);
    expect(resolved.map(({ channel }) => channel).sort()).toEqual(['operator_email', 'webhook']);
    for (const message of resolved) expect(message.subject).toMatch(/^Resolved: /);
  });

  it('what costs a look at everybody each alert_intervals.every alone: between them it is neither raised nor resolved', async () => {
    const loss = cases.find(({ name }) => name.startsWith('a model, a package or a pack'));
    const margin = cases.find(({ name }) => name.startsWith('an overall margin'));
    const openAfterCheck = async () => {
      await check(database);
      return openAlerts(database);
    };
    const anHourLater = async () => {
      await collect(database);
      await wait(database, '1 hour');
      await forgiveJobs(database);
    };
    await endRest();
    expect(await openAfterCheck()).toEqual([]);
    await loss?.disturb();
    expect(await openAfterCheck()).toEqual([]);
    await anHourLater();
    expect(await openAfterCheck()).toEqual(['loss_making pack small']);
    await loss?.undo();
    await margin?.disturb();
    expect(await openAfterCheck()).toEqual(['loss_making pack small', 'margin']);
    await margin?.undo();
    expect(await openAfterCheck()).toEqual(['loss_making pack small']);
    await anHourLater();
    expect(await openAfterCheck()).toEqual([]);
    await collect(database);
  });

  it('and the books are as before', async () => {
    expect(await audit(database.ops)).toEqual([]);
  });
});
