// ops.help: the words that an operator types, and what each must find near the top.
import { afterAll, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';

const database = await createDatabase();
afterAll(() => database.drop());

/** How far down a hurried operator reads. */
const looksAt = 5;

const words: [word: string, finds: string][] = [
  ['throttle', 'ops.throttle_user'],
  ['unthrottle', 'ops.release_throttle'],
  ['throttled', 'ops.throttled_now'],
  ['risk', 'ops.users_at_risk'],
  ['limit', 'ops.waive_limits'],
  ['refused', 'ops.explain_refusal'],
  ['refund', 'ops.refund_run'],
  ['grant', 'ops.grant_credits'],
  ['revoke', 'ops.revoke_credits'],
  ['balance', 'ops.explain_balance'],
  ['charged', 'ops.explain_charge'],
  ['price', 'ops.publish_prices'],
  ['margin', 'ops.margin_by_day'],
  ['loss', 'ops.loss_makers'],
  ['projection', 'ops.project_margin'],
  ['invoice', 'ops.record_provider_invoice'],
  ['audit', 'ops.audit_books'],
  ['wrong', 'ops.checks'],
  ['stuck', 'ops.expire_holds'],
  ['hold', 'ops.open_holds'],
  ['webhook', 'ops.replay_stripe_event'],
  ['stripe drift', 'ops.stripe_drift'],
  ['cron', 'ops.jobs'],
  ['job', 'ops.run_job'],
  ['alert', 'ops.alerts_now'],
  ['token', 'ops.create_token'],
  ['admin', 'ops.set_user'],
  ['organization', 'ops.create_organization'],
  ['budget', 'settings.free_tier_daily_budget'],
];

it.each(words)('help finds for %j the thing to use: %s (spec 12)', async (word, finds) => {
  const found = await database.ops<{ name: string; does: string; call: string }[]>`
    select name, does, call from ops.help(${word})`;
  const names = found.map(({ name }) => name);
  expect(names.slice(0, looksAt)).toContain(finds);
  const { does, call } = found[names.indexOf(finds)] ?? {};
  expect(does).toMatch(/spec \d/i);
  const [, short = ''] = finds.split('.');
  expect(call).toContain(short);
});
