// The routes and names that clients of the reference implementation know (reference-surface.md), and every route by everybody.
import Stripe from 'stripe';
import { afterAll, describe, expect, it } from 'vitest';
import { openShop } from '../stripe/shop.ts';
import { type Answer, call, openHouse, type Person, until } from './house.ts';
import { openWalk, type Step } from './walk.ts';

const secret = 'whsec_surface';
const shop = await openShop({ now: new Date() });
const portal = await shop.client.billingPortal.configurations.create({
  features: { invoice_history: { enabled: true } },
});
const house = await openHouse();
afterAll(async () => {
  await house.close();
  await shop.stripe.stop();
});
const { url } = await house.another({
  STRIPE_SECRET_KEY: shop.stripe.secretKey,
  STRIPE_API_BASE: shop.stripe.url,
  STRIPE_PRPM_PLUS_PRICE_ID: shop.individual.id,
  STRIPE_PORTAL_CONFIGURATION_ID: portal.id,
  STRIPE_PLAYGROUND_WEBHOOK_SECRET: secret,
  ALLOWED_RETURN_ORIGINS: 'http://localhost:3000',
});
const { ada, database } = house;
await database.owner`update settings set purchases_per_minute = 100000`;
const { document, steps, token, tokenFor } = await openWalk({ ...house, url });
const cara: Person = await house.person('cara');
const asked = steps.filter(({ path }) => !/webhooks|openapi\.json|\/health$/.test(path) || path.includes('/admin/'));
const isOpen = ({ operation }: Step) => operation.security?.some((one) => Object.keys(one).length === 0) ?? false;
const send = ({ method, there }: Step, who: string | undefined, body?: unknown, query = ''): Promise<Answer> =>
  call(url, method, `${there}${query}`, {
    ...(who !== undefined && { token: who }),
    ...(body !== undefined && { body }),
  });

/** A paid subscription of ada's, so that it can be cancelled and resumed. */
async function subscribe(): Promise<void> {
  const { json } = await call(url, 'POST', '/api/v1/playground/subscribe', {
    ...{ token, body: { successUrl: 'http://localhost:3000/ok', cancelUrl: 'http://localhost:3000/no' } },
  });
  shop.stripe.pay(String(json.checkoutUrl).split('/').at(-1) ?? '');
  for (const { id } of shop.stripe.eventsAfter(0)) {
    const payload = JSON.stringify(shop.stripe.render(id));
    const signature = Stripe.webhooks.generateTestHeaderString({ payload, secret });
    for (const path of ['/playground/webhooks/stripe/credits', '/webhooks/stripe']) {
      const heard = await call(url, 'POST', `/api/v1${path}`, {
        ...{ body: payload, headers: { 'stripe-signature': signature } },
      });
      expect([heard.status, heard.json]).toEqual([200, { received: true }]);
    }
  }
  await until(async () => (await call(url, 'GET', '/api/v1/playground/subscription', { token })).json.isActive);
}

/**
 * What each route answers: names with dots and [] between them; a list must have an entry. What the product shows to nobody
 * (ids of other people's sessions, who shared them) is left out, and clientSecret, in whose place is checkoutUrl. Spec 10.2, 11.2.
 */
const surface: Record<string, string> = {
  'POST /playground/run':
    'session_id response credits_spent credits_remaining tokens_used duration_ms model conversation[].role conversation[].content',
  'POST /playground/anonymous-run': 'response tokens_used duration_ms model login_required message',
  'POST /playground/estimate': 'estimated_credits estimated_tokens model can_afford current_balance',
  'GET /playground/sessions': 'sessions[].id sessions[].package_name total pagination.limit pagination.offset',
  'GET /playground/sessions/:id':
    'id package_id package_name model conversation[].role credits_spent total_tokens created_at',
  'DELETE /playground/sessions/:id': 'message',
  'POST /playground/sessions/:id/share': 'share_token share_url',
  'GET /playground/shared/:id':
    'package_name package_version model conversation[].content view_count helpful_count not_helpful_count shared_at',
  'POST /playground/shared/:id/feedback': 'message',
  'GET /playground/packages/:id/top-results':
    'total results[].share_token results[].package_name results[].package_version results[].model results[].view_count ' +
    'results[].helpful_count results[].not_helpful_count results[].helpfulness_ratio results[].user_input ' +
    'results[].assistant_response results[].credits_spent results[].total_tokens results[].shared_at results[].created_at',
  'PATCH /playground/sessions/:id/feature': 'success is_featured',
  'GET /playground/packages/:id/featured':
    'total results[].share_token results[].package_name results[].feature_description results[].feature_display_order ' +
    'results[].user_input results[].assistant_response results[].credits_spent results[].total_tokens results[].featured_at',
  'POST /playground/feedback': 'success feedback_id',
  'POST /custom-prompt/run':
    'session_id response credits_spent credits_remaining tokens_used duration_ms model conversation[].role is_custom_prompt warnings',
  'GET /custom-prompt/info':
    'available requirements.verified_author requirements.github_linked requirements.description limits.max_prompt_length ' +
    'limits.max_tokens_output limits.max_conversation_turns limits.timeout_seconds pricing.credit_multiplier ' +
    'pricing.description pricing.example sandbox.tools_enabled tips[]',
  'GET /suggested-inputs/package/:id':
    'total suggested_inputs[].id suggested_inputs[].package_id suggested_inputs[].title suggested_inputs[].description ' +
    'suggested_inputs[].suggested_input suggested_inputs[].category suggested_inputs[].difficulty ' +
    'suggested_inputs[].estimated_credits suggested_inputs[].recommended_model suggested_inputs[].display_order ' +
    'suggested_inputs[].usage_count suggested_inputs[].created_at',
  'POST /suggested-inputs': 'id package_id title suggested_input difficulty estimated_credits display_order is_active',
  'PATCH /suggested-inputs/:id': 'id package_id title suggested_input',
  'DELETE /suggested-inputs/:id': 'message',
  'POST /suggested-inputs/record-usage': 'usage_id message',
  'POST /suggested-inputs/mark-complete': 'message',
  'GET /suggested-inputs/author/:id':
    'total suggested_inputs[].id suggested_inputs[].package_name suggested_inputs[].total_clicks suggested_inputs[].completed_tests',
  'GET /playground/credits':
    'balance monthly.allocated monthly.used monthly.remaining monthly.reset_at rollover.amount rollover.expires_at purchased ' +
    'breakdown.monthly breakdown.rollover breakdown.purchased',
  'GET /playground/credits/history':
    'total pagination.limit pagination.offset transactions[].id transactions[].user_id transactions[].amount ' +
    'transactions[].balance_after transactions[].type transactions[].description transactions[].metadata ' +
    'transactions[].session_id transactions[].purchase_id transactions[].created_at',
  'GET /playground/credits/packages':
    'packages[].id packages[].name packages[].credits packages[].price packages[].priceFormatted packages[].perCreditCost ' +
    'packages[].bonus packages[].description packages[].popular',
  'POST /playground/credits/purchase': 'checkoutUrl credits price purchaseId',
  'GET /playground/pricing': 'price currency interval credits isOrgMember orgName discount',
  'POST /playground/subscribe': 'checkoutUrl',
  'GET /playground/subscription': 'isActive status cancelAtPeriodEnd currentPeriodEnd',
  'POST /playground/subscription/cancel': 'message',
  'POST /playground/subscription/portal': 'portalUrl',
  'GET /admin/cost-analytics/summary':
    'totalMonthlyRevenue totalMonthlyCost overallMargin activeUsers throttledUsers highRiskUsers averageCostPerUser ' +
    'total_monthly_revenue',
  'GET /admin/cost-analytics/users':
    'users[].user_id users[].email users[].prpm_plus_status users[].current_month_api_cost users[].current_month_requests ' +
    'users[].avg_cost_per_request users[].lifetime_api_cost users[].total_requests users[].monthly_revenue ' +
    'users[].current_margin_percent users[].is_throttled users[].risk_level users[].userId',
  'GET /admin/cost-analytics/user/:id':
    'userId currentMonthCost costLimit percentUsed isThrottled throttledReason tier user_id',
  'POST /admin/cost-analytics/user/:id/unthrottle': 'success message',
  'POST /admin/cost-analytics/refresh': 'success message',
  'GET /analytics/author/summary':
    'total_packages total_playground_sessions total_unique_users total_credits_spent sessions_last_30_days ' +
    'total_suggested_inputs active_suggested_inputs total_shared_sessions total_featured_sessions total_share_views top_package_name',
  'GET /analytics/package/:id':
    'package_id package_name total_playground_sessions unique_users avg_credits_per_session sessions_last_7_days ' +
    'sessions_last_30_days suggested_inputs_count featured_sessions_count shared_sessions_count total_share_views',
  'GET /analytics/suggested-inputs/package/:id':
    'suggested_inputs[].suggested_input_id suggested_inputs[].title suggested_inputs[].category suggested_inputs[].difficulty ' +
    'suggested_inputs[].total_clicks suggested_inputs[].completed_tests suggested_inputs[].unique_users ' +
    'suggested_inputs[].conversion_rate suggested_inputs[].clicks_last_7_days suggested_inputs[].clicks_last_30_days ' +
    'suggested_inputs[].last_clicked_at suggested_inputs[].created_at summary.total_inputs summary.total_clicks ' +
    'summary.total_completions summary.avg_conversion_rate',
  'GET /analytics/time-series/playground/:id':
    'data[].date data[].sessions_count data[].unique_users data[].credits_spent data[].shared_count total_days',
  'GET /analytics/time-series/suggested-inputs/:id':
    'data[].date data[].clicks data[].completions data[].unique_users total_days',
};
const nameOf = ({ method, path }: Step) => `${method} ${path.replace('/api/v1', '').replace(/\{\w+\}/g, ':id')}`;

/** The path of a name that an answer lacks. */
function isThere(answer: unknown, name: string): boolean {
  let value = answer;
  for (const part of name.split('.')) {
    const [, key = '', list] = /^(\w+)(\[\])?$/.exec(part) ?? [];
    if (typeof value !== 'object' || value === null || !(key in value)) return false;
    value = Reflect.get(value, key);
    if (list !== undefined) value = Array.isArray(value) && value.length > 0 ? value[0] : undefined;
    if (list !== undefined && value === undefined) return false;
  }
  return true;
}

describe('without a token', () => {
  it.each(asked.filter((step) => !isOpen(step)).map((step) => [nameOf(step), step] as const))(
    '%s is 401 (spec 2.2)',
    async (_, step) => {
      const { status, json } = await send(step, undefined, step.body);
      expect([status, json.error]).toEqual([401, 'authentication_required']);
    },
  );
});

type Field = { name: string; in: 'body' | 'query' | 'path'; wrong: unknown };
type Kind = Record<string, unknown>;

/** Each field of an operation with a value that it must not take; what takes anything is left out. */
function fieldsOf({ operation }: Step): Field[] {
  const { properties = {} } = (operation.requestBody?.content['application/json']?.schema ?? {}) as {
    properties?: Record<string, Kind>;
  };
  const inBody = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'body' as const,
    wrong: wrongValue(schema),
  }));
  const others = (operation.parameters ?? [])
    .filter((one) => one.in === 'query' || one.in === 'path')
    .map(({ name, in: place, schema }) => ({ name, in: place as 'query' | 'path', wrong: wrongText(schema) }));
  return [...inBody, ...others].filter(({ wrong }) => wrong !== undefined);
}

const kindsOf = (schema: Kind): Kind[] =>
  Array.isArray(schema.anyOf) ? schema.anyOf.flatMap(kindsOf) : [schema].filter(({ type }) => type !== 'null');

function wrongValue(schema: Kind): unknown {
  const kinds = kindsOf(schema);
  const types = new Set(kinds.flatMap(({ type }) => (Array.isArray(type) ? type : [type])));
  if (types.has(undefined)) return kinds.some((kind) => Array.isArray(kind.enum)) ? 'nonsense' : undefined;
  const candidates: [string, unknown][] = [
    ['boolean', true],
    ['string', 'x'],
    ['number', 1.5],
    ['array', [1]],
    ['object', { x: 1 }],
  ];
  return candidates.find(([type]) => !types.has(type) && !(type === 'number' && types.has('integer')))?.[1];
}

/** A query and a path are texts, so only those can be wrong that are no number, of no list, of no form, or too long. */
function wrongText(schema: Kind): string | undefined {
  const kinds = kindsOf(schema);
  const isStrict = ({ type, enum: list, pattern, format }: Kind) =>
    type !== 'string' || [list, pattern, format].some((rule) => rule !== undefined);
  if (kinds.every((kind) => kind.type !== undefined && isStrict(kind))) return 'x';
  const [most] = kinds.map(({ maxLength }) => Number(maxLength)).filter((length) => length < 5_000);
  return most === undefined ? undefined : 'x'.repeat(most + 1);
}

const wrongs = asked.flatMap((step) => fieldsOf(step).map((field) => [nameOf(step), field.name, step, field] as const));
it('each field has a value that it must not take, but for those that take any text (spec 11.3)', () => {
  expect(wrongs.length).toBeGreaterThan(150);
});
describe('with a field that is wrong', () => {
  it.each(wrongs)('%s %s is 400 and names it (spec 11.3)', async (_, name, step, field) => {
    const { wrong } = field;
    const body = field.in === 'body' ? { ...Object(step.body), [name]: wrong } : step.body;
    const query = field.in === 'query' ? `?${name}=${encodeURIComponent(String(wrong))}` : '';
    const there =
      field.in === 'path' ? step.path.replace(`{${name}}`, String(wrong)).replace('{version}', '1.0.0') : step.there;
    const { status, json } = await send(
      { ...step, there: there.replace(/\{\w+\}/, 'x') },
      tokenFor(step.path),
      body,
      query,
    );
    expect([status, json.error], json.message).toEqual([400, 'validation_error']);
    const fields = json.errors.map(({ field: wrongField }: { field: string }) => wrongField.split('.')[0]);
    if (field.in === 'path') expect(fields).toHaveLength(1);
    else expect(fields).toContain(name);
  });
});

describe('with what is no JSON', () => {
  it.each(asked.filter(({ operation }) => operation.requestBody).map((step) => [nameOf(step), step] as const))(
    '%s is 400 (spec 11.3)',
    async (_, step) => {
      for (const body of ['{', '[]', '"text"', '{"input": NaN}']) {
        const { status, json } = await send(step, tokenFor(step.path), body);
        expect([status, /^(malformed_json|validation_error)$/.test(json.error)], body).toEqual([400, true]);
      }
    },
  );
});

describe("with a stranger's token", () => {
  const theirs = ({ path, body }: Step) => path.includes('{') || JSON.stringify(body ?? {}).includes('session_id');
  /** What is for everybody: nothing of it is ada's alone. A shared session is shown to whoever has its id. */
  const isShown = (step: Step) =>
    isOpen(step) || ['GET /playground/sessions/:id', 'POST /playground/shared/:id/fork'].includes(nameOf(step));
  it.each(asked.filter((step) => theirs(step) && !isShown(step)).map((step) => [nameOf(step), step] as const))(
    '%s is 403 or 404, or says that nothing was done (spec 11.2)',
    async (name, step) => {
      const { status, json, text } = await send(step, cara.token, step.body);
      if (name === 'DELETE /playground/sessions/:id/share' || name === 'DELETE /playground/compare/:id/share') {
        expect([status, json]).toEqual([200, { ended: false }]);
      } else if (name.endsWith('/estimate')) expect(json.refusal.code).toBe('session_not_found');
      else expect([403, 404], text).toContain(status);
      const told = JSON.stringify({ ...json, instance: '' });
      for (const secret of [ada.userId, 'ada@example.com']) expect(told).not.toContain(secret);
    },
  );

  it('leaves all as it was: ada’s session, package and inputs', async () => {
    expect(await house.audit()).toEqual([]);
    const there = asked.filter(
      ({ method, path }) => method === 'GET' && path.includes('{') && !path.endsWith('/stream'),
    );
    for (const step of there) expect((await send(step, token)).status, nameOf(step)).toBe(200);
  });
});

it('a good request is answered with every name that clients know (reference-surface.md)', async () => {
  await subscribe();
  await database.ops`select refresh_user_cost_analytics()`;
  const seen = new Set<string>();
  for (const step of asked.filter((one) => nameOf(one) in surface)) {
    const name = nameOf(step);
    const who = name === 'POST /playground/subscribe' ? cara.token : tokenFor(step.path);
    const { status, json, text } = await send(step, who, step.body);
    const created = name === 'POST /suggested-inputs' ? 201 : 200;
    expect(status, `${name} ${text}`).toBe(created);
    const lacking = (surface[name] ?? '').split(' ').filter((one) => !isThere(json, one));
    expect(lacking, name).toEqual([]);
    seen.add(name);
  }
  expect(Object.keys(surface).filter((name) => !seen.has(name))).toEqual([]);
  expect(await house.audit()).toEqual([]);
});

it('the document has a security for each operation, so that nothing is open by mistake (spec 11.2)', () => {
  const open = asked.filter(isOpen).map(nameOf).sort();
  expect(open).toMatchInlineSnapshot(`
    [
      "GET /custom-prompt/info",
      "GET /packages",
      "GET /packages/:id",
      "GET /playground/credits/packages",
      "GET /playground/models",
      "GET /playground/models/:id/price",
      "GET /playground/packages/:id/featured",
      "GET /playground/packages/:id/top-results",
      "GET /playground/pricing",
      "GET /playground/shared/:id",
      "GET /suggested-inputs/package/:id",
      "POST /playground/anonymous-run",
      "POST /playground/credits/cron/expire",
      "POST /playground/credits/cron/reset",
      "POST /playground/run",
      "POST /playground/shared/:id/feedback",
      "POST /suggested-inputs/record-usage",
    ]
  `);
  expect(document.components.securitySchemes.bearer.scheme).toBe('bearer');
});
