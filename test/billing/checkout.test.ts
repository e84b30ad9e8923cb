import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { openApi } from '../../src/http/openapi.ts';
import { call } from '../http/house.ts';
import { clientOf, DAY, openShop, sellPlan } from '../stripe/shop.ts';
import { type Answers, openHouse, USER } from './fake.ts';

const shop = await openShop();
const { stripe, individual, pack } = shop;
let answers: Answers = {};
/** Answers are those of the test that runs. */
const usual: Answers = new Proxy<Answers>({}, { get: (_, name) => answers[String(name)] });
const variables = { STRIPE_SECRET_KEY: stripe.secretKey, STRIPE_API_BASE: stripe.url };
const house = await openHouse(usual, variables);
const { url, sql } = house;
afterAll(async () => {
  await house.close();
  await stripe.stop();
});

const WRITE = '0197a000-0000-7000-8000-0000000000aa';
const CHECKOUT = '0197a000-0000-7000-8000-0000000000bb';
const urls = { successUrl: 'https://app.example/done?s={CHECKOUT_SESSION_ID}', cancelUrl: 'http://localhost:5173/' };
const post = (path: string, body: unknown = {}) => call(url, 'POST', `/api/v1/playground${path}`, { token: 'x', body });
const refusal = { code: 'already_subscribed', status: 409, message: 'You have a subscription.' };

const planParameters = JSON.stringify({
  mode: 'subscription',
  line_items: [{ price: individual.id, quantity: 1 }],
  success_url: urls.successUrl,
  cancel_url: urls.cancelUrl,
  subscription_data: { metadata: { user_id: USER }, billing_mode: { type: 'flexible' } },
  metadata: { checkout_id: CHECKOUT },
});
const customerless: Answers = {
  begin_customer: () => [
    { customerId: null, writeId: WRITE, lookSince: null, email: 'ada@example.com', username: 'ada' },
  ],
  keep_customer: (_user, customer) => [{ kept: customer }],
  keep_checkout: () => [],
  end_checkout: () => [],
};

beforeEach(() => {
  answers = {};
  sql.calls.length = 0;
  stripe.heal();
});

describe('subscribe', () => {
  const create = { outcome: 'create', checkoutId: CHECKOUT, parameters: planParameters };

  it('makes one customer and one session, by keys of ours, however often it is asked', async () => {
    answers = { ...customerless, begin_subscribe: () => [create] };
    const [one, two] = [await post('/subscribe', urls), await post('/subscribe', urls)];
    expect(one.status).toBe(200);
    expect(one.json).toEqual({ checkoutUrl: expect.stringContaining('/pay/cs_test_') });
    expect(two.json).toEqual(one.json);
    expect(sql.named('begin_subscribe')[0]).toEqual([USER, urls.successUrl, urls.cancelUrl, false]);

    const made = stripe.calls.filter(({ method, path }) => method === 'POST' && path === '/v1/checkout/sessions');
    expect(made.map(({ key, replayed }) => [key, replayed])).toEqual([
      [CHECKOUT, false],
      [CHECKOUT, true],
    ]);
    expect(stripe.calls.findLast(({ path }) => path === '/v1/customers')).toMatchObject({
      key: WRITE,
      parameters: { email: 'ada@example.com', name: 'ada', metadata: { user_id: USER } },
    });
    const [kept] = sql.named('keep_checkout');
    const session = await clientOf(stripe).checkout.sessions.retrieve(String(kept?.[2]));
    expect(session).toMatchObject({
      customer: sql.named('keep_customer')[0]?.[1],
      metadata: { checkout_id: CHECKOUT },
    });
    expect(kept).toEqual([USER, CHECKOUT, session.id, session.url, new Date(session.expires_at * 1000).toISOString()]);
  });

  it('looks for a customer that was begun long ago among those made since, before it makes another (spec 6.1)', async () => {
    await stripe.clock.advance(DAY);
    const lookSince = stripe.clock.now().toISOString();
    for (let other = 0; other < 120; other += 1)
      await shop.client.customers.create({ email: `other${other}@example.com` });
    const begun = { customerId: null, writeId: WRITE, lookSince, email: 'ada@example.com', username: 'ada' };
    const renewed = crypto.randomUUID();
    answers = {
      ...customerless,
      begin_customer: () => [begun],
      renew_customer: () => [{ key: renewed }],
    };
    const makings = () => stripe.calls.filter(({ method, path }) => method === 'POST' && path === '/v1/customers');
    const before = makings().length;
    answers.begin_subscribe = () => [{ ...create, checkoutId: crypto.randomUUID() }];
    expect((await post('/subscribe', urls)).status).toBe(200);
    expect(
      makings()
        .slice(before)
        .map(({ key }) => key),
    ).toEqual([renewed]);
    expect(sql.named('renew_customer')).toEqual([[USER, false, WRITE]]);
    expect((await post('/subscribe', urls)).status).toBe(200);
    expect(makings()).toHaveLength(before + 1);
    const [first, second] = sql.named('keep_customer').map(([, customer]) => customer);
    expect(second).toBe(first);
  });

  it('makes another customer where Stripe has deleted the one that was kept (spec 6.1)', async () => {
    const { id: gone } = await shop.client.customers.create({ email: 'gone@example.com' });
    await shop.client.customers.del(gone);
    let kept: string | null = gone;
    answers = {
      ...customerless,
      begin_customer: () => [
        { customerId: kept, writeId: crypto.randomUUID(), lookSince: null, email: null, username: null },
      ],
      forget_customer: () => {
        kept = null;
        return [];
      },
      begin_subscribe: () => [{ ...create, checkoutId: crypto.randomUUID() }],
    };
    const answer = await post('/subscribe', urls);
    expect(answer.json).toEqual({ checkoutUrl: expect.stringContaining('/pay/cs_test_') });
    expect(sql.named('forget_customer')).toEqual([[USER, gone]]);
    answers = {
      begin_portal: () => [{ outcome: 'ready', refusal: null, customerId: gone }],
      forget_customer: () => [],
    };
    const portal = await post('/subscription/portal', { returnUrl: urls.cancelUrl });
    expect(portal.json).toMatchObject({ status: 404, error: 'no_customer' });
  });

  it('takes the customer that was kept first, not the one that it made', async () => {
    answers = {
      ...customerless,
      begin_customer: () => [
        { customerId: null, writeId: crypto.randomUUID(), lookSince: null, email: null, username: null },
      ],
      keep_customer: () => [{ kept: shop.customer.id }],
      begin_subscribe: () => [{ ...create, checkoutId: crypto.randomUUID() }],
    };
    expect((await post('/subscribe', urls)).status).toBe(200);
    const session = await clientOf(stripe).checkout.sessions.retrieve(String(sql.named('keep_checkout')[0]?.[2]));
    expect(session.customer).toBe(shop.customer.id);
  });

  it('answers the checkout that is open, and refusals as they are', async () => {
    answers = { begin_subscribe: () => [{ outcome: 'open', url: 'https://checkout.example/cs_1' }] };
    expect((await post('/subscribe', urls)).json).toEqual({ checkoutUrl: 'https://checkout.example/cs_1' });
    answers = { begin_subscribe: () => [{ outcome: 'refused', refusal }] };
    const refused = await post('/subscribe', urls);
    expect(refused.status).toBe(409);
    expect(refused.json).toMatchObject({ error: 'already_subscribed', message: 'You have a subscription.' });
  });

  it('ends a checkout that stands in the way, also one that ended by itself, and asks again', async () => {
    const old = await sellPlan(shop);
    for (const _ of ['open', 'expired']) {
      let asked = 0;
      answers = {
        ...customerless,
        begin_subscribe: () => {
          asked += 1;
          return [
            asked === 1 ? { outcome: 'expire', sessionId: old.id } : { ...create, checkoutId: crypto.randomUUID() },
          ];
        },
      };
      expect((await post('/subscribe', urls)).status).toBe(200);
      expect(sql.named('end_checkout').at(-1)).toEqual([USER, old.id, 'expired']);
    }
    expect((await shop.client.checkout.sessions.retrieve(old.id)).status).toBe('expired');
  });

  it('does not sell twice: a checkout that has just been paid is not taken for one that expired', async () => {
    const paid = stripe.pay((await sellPlan(shop)).id);
    answers = { ...customerless, begin_subscribe: () => [{ outcome: 'expire', sessionId: paid.id }] };
    expect((await post('/subscribe', urls)).json.error).toBe('already_subscribed');
    expect(sql.named('end_checkout')).toEqual([]);
  });

  it('gives up after three checkouts in the way', async () => {
    answers = {
      ...customerless,
      begin_subscribe: async () => [{ outcome: 'expire', sessionId: (await sellPlan(shop)).id }],
    };
    expect((await post('/subscribe', urls)).json).toMatchObject({ error: 'billing_unavailable', retry_after: 2 });
    expect(sql.named('end_checkout')).toHaveLength(3);
  });
});

describe('purchase', () => {
  const parameters = JSON.stringify({
    mode: 'payment',
    line_items: [{ price: pack.id, quantity: 1 }],
    success_url: urls.successUrl,
    cancel_url: urls.cancelUrl,
    payment_intent_data: { metadata: { purchase_id: CHECKOUT } },
  });

  it('answers where to pay, and what for: in cents and camelCase', async () => {
    const purchaseId = crypto.randomUUID();
    answers = {
      ...customerless,
      begin_customer: () => [
        { customerId: shop.customer.id, writeId: null, lookSince: null, email: null, username: null },
      ],
      begin_purchase: () => [{ outcome: 'create', purchaseId, credits: 100, cents: 500, parameters }],
    };
    const bought = await post('/credits/purchase', { package: 'small', ...urls });
    expect(bought.json).toEqual({
      ...{ purchaseId, credits: 100, price: 500 },
      checkoutUrl: expect.stringContaining('/pay/'),
    });
    expect(sql.named('begin_purchase')).toEqual([[USER, 'small', urls.successUrl, urls.cancelUrl, false]]);
    expect(sql.named('keep_checkout')[0]?.[1]).toBe(purchaseId);
  });

  it('says when Stripe is away, when to try again, and nothing that Stripe said', async () => {
    answers = {
      ...customerless,
      begin_purchase: () => [
        { outcome: 'create', purchaseId: crypto.randomUUID(), credits: 100, cents: 500, parameters },
      ],
    };
    for (const how of ['network', 429, 500, 503] as const) {
      stripe.fail({ how, times: 3, path: '/v1/checkout/sessions' });
      const answer = await post('/credits/purchase', { package: 'small', ...urls });
      expect([answer.status, answer.json.error, answer.headers['retry-after']], String(how)).toEqual([
        ...[503, 'billing_unavailable'],
        '5',
      ]);
      stripe.heal();
    }
  });

  it('keeps to itself what Stripe says of our mistakes', async () => {
    const wrong = JSON.stringify({ ...JSON.parse(parameters), line_items: [{ price: 'price_gone', quantity: 1 }] });
    answers = {
      ...customerless,
      begin_purchase: () => [
        { outcome: 'create', purchaseId: crypto.randomUUID(), credits: 100, cents: 500, parameters: wrong },
      ],
    };
    const answer = await post('/credits/purchase', { package: 'small', ...urls });
    expect([answer.status, answer.json.error]).toEqual([500, 'internal_error']);
    expect(answer.text).not.toContain('price_gone');
  });
});

describe('the portal', () => {
  it('says what is missing where the account has no configuration of it', async () => {
    answers = { begin_portal: () => [{ outcome: 'ready', refusal: null, customerId: shop.customer.id }] };
    const { json } = await post('/subscription/portal', { returnUrl: urls.cancelUrl });
    expect(json).toMatchObject({ status: 503, error: 'billing_not_configured' });
    expect(json.message).toMatch(/npm run stripe:setup/);
  });

  it('opens for a customer, and is refused without one', async () => {
    await shop.client.billingPortal.configurations.create({ features: { invoice_history: { enabled: true } } });
    const configuration = await shop.client.billingPortal.configurations.create({
      features: { invoice_history: { enabled: true } },
    });
    const named = await openHouse(usual, { ...variables, STRIPE_PORTAL_CONFIGURATION_ID: configuration.id });
    answers = { begin_portal: () => [{ outcome: 'ready', customerId: shop.customer.id }] };
    const body = { returnUrl: 'https://app.example/account' };
    const opened = await call(named.url, 'POST', '/api/v1/playground/subscription/portal', { token: 'x', body });
    await named.close();
    expect(opened.json).toEqual({ portalUrl: expect.stringContaining('/portal/') });
    expect(stripe.calls.at(-1)?.parameters).toEqual({
      customer: shop.customer.id,
      configuration: configuration.id,
      return_url: body.returnUrl,
    });

    answers = {
      begin_portal: () => [{ outcome: 'refused', refusal: { code: 'no_customer', status: 404, message: 'No.' } }],
    };
    expect((await post('/subscription/portal', body)).json).toMatchObject({ status: 404, error: 'no_customer' });
  });
});

describe('return URLs', () => {
  it.each([
    ['https://evil.example/', /allowed origin: https:\/\/app\.example, http:\/\/localhost:5173/],
    ['https://app.example.evil.example/', /allowed origin/],
    ['https://app.example@evil.example/', /allowed origin/],
    ['http://app.example/', /allowed origin/],
    ['https://app.example:444/', /allowed origin/],
    ['javascript:alert(1)', /must be a URL/],
    ['/done', /must be a URL/],
    ['https://app.example\\@evil.example', /must be a URL/],
    ['https://app.example/a b', /must be a URL/],
  ])('%s is refused, by the name that the caller gave the field', async (bad, message) => {
    const answer = await post('/subscribe', { successUrl: urls.successUrl, cancelUrl: bad });
    expect([answer.status, answer.json.error]).toEqual([400, 'validation_error']);
    expect(answer.json.errors).toEqual([{ field: 'cancelUrl', message: expect.stringMatching(message) }]);
    expect(answer.json.message).toMatch(/^cancelUrl/);
    expect(sql.named('begin_subscribe')).toEqual([]);
  });

  it('are taken in snake_case too, and are needed', async () => {
    answers = { begin_subscribe: () => [{ outcome: 'open', url: 'https://checkout.example/1' }] };
    const body = { success_url: urls.successUrl, cancel_url: urls.cancelUrl };
    expect((await post('/subscribe', body)).status).toBe(200);
    const answer = await post('/credits/purchase', { package: 'small' });
    expect(answer.json.errors.map(({ field }: { field: string }) => field)).toEqual(['successUrl', 'cancelUrl']);
  });
});

describe('who may', () => {
  it('needs a token with the scope billing to pay, read to look, and nothing is asked of the database before', async () => {
    const reader = await openHouse(usual, variables, { scopes: ['read'] });
    const ask = (method: string, path: string, token?: string) =>
      call(reader.url, method, `/api/v1/playground${path}`, { token });
    answers = { list_packs: () => [{ packs: [] }] };
    expect((await ask('GET', '/credits/packages', 'x')).json).toEqual({ packages: [] });
    expect((await ask('GET', '/subscription')).json.error).toBe('authentication_required');
    for (const path of [
      '/subscribe',
      '/credits/purchase',
      '/subscription/cancel',
      '/subscription/resume',
      '/subscription/portal',
    ]) {
      expect((await ask('POST', path, 'x')).json.error, path).toBe('insufficient_scope');
      expect((await ask('POST', path)).json.error, path).toBe('authentication_required');
    }
    await reader.close();
    expect(reader.sql.calls.map(({ name }) => name)).toEqual(['set_stripe_prices', 'admit_read', 'list_packs']);
  });

  it('may be anybody, to see what is sold and for how much (spec 6.1, 6.2)', async () => {
    answers = {
      list_packs: () => [{ packs: [] }],
      read_pricing: () => [
        {
          pricing: {
            ...{ plan: 'prpm_plus_individual', price: 6, currency: 'USD', interval: 'month', credits: 100 },
            ...{ isOrgMember: false, orgName: null, discount: 0 },
          },
        },
      ],
    };
    for (const path of ['/credits/packages', '/pricing'])
      expect((await call(url, 'GET', `/api/v1/playground${path}`)).status, path).toBe(200);
    expect([...sql.named('list_packs'), ...sql.named('read_pricing')]).toEqual([[null], [null]]);
  });

  it('is told that billing is not configured, where it is not', async () => {
    const bare = await openHouse(usual);
    for (const [method, path] of [
      ['GET', '/subscription'],
      ['GET', '/pricing'],
      ['GET', '/credits/packages'],
      ['POST', '/subscribe'],
      ['POST', '/credits/purchase'],
      ['POST', '/subscription/cancel'],
    ] as const) {
      const answer = await call(bare.url, method, `/api/v1/playground${path}`, { token: 'x' });
      expect([answer.status, answer.json.error], path).toEqual([503, 'billing_not_configured']);
    }
    await bare.close();
  });
});

describe('cancel and resume', () => {
  let work: string;
  beforeEach(() => {
    work = crypto.randomUUID();
  });
  const subscription = {
    ...{
      isActive: true,
      isOpen: true,
      status: 'active',
      plan: 'prpm_plus_individual',
      tier: 'prpm_plus_individual',
      price: '6.00',
    },
    ...{ currency: 'USD', interval: 'month', credits: 100, cancelAtPeriodEnd: true, cancelAt: '2027-02-10T12:00:00Z' },
    ...{ currentPeriodEnd: '2027-02-10T12:00:00Z', paidUntil: '2027-02-10T12:00:00Z', entitledUntil: null },
    ...{ paymentProblem: null, collectionPaused: false, told: 'It ends on February 10, 2027.' },
  };
  const begun: Answers = {
    begin_subscription_change: () => [{ outcome: 'queued', workId: work }],
    read_subscription: () => [{ subscription }],
    finish_stripe_work: () => [],
    fail_stripe_work: () => [],
  };
  const claimed = (key: string) => (_most: unknown, only: unknown) =>
    only === work
      ? [{ workId: work, kind: 'update_subscription', key, parameters: '{"cancel_at_period_end": true}', ticket: 1 }]
      : [];

  it('are done at Stripe before they are answered, with the row as the key', async () => {
    const session = stripe.pay((await sellPlan(shop)).id);
    answers = { ...begun, claim_stripe_work: claimed(session.subscription ?? '') };
    const answer = await post('/subscription/cancel');
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({ message: subscription.told, ...subscription });
    expect(stripe.calls.findLast(({ method }) => method === 'POST')).toMatchObject({
      path: `/v1/subscriptions/${session.subscription}`,
      key: work,
      parameters: { cancel_at_period_end: 'true' },
    });
    const [finished] = sql.named('finish_stripe_work');
    expect(JSON.parse(String(finished?.[2]))).toMatchObject({ id: session.subscription, cancel_at_period_end: true });
  });

  it('stay queued while Stripe is away, and the caller is told', async () => {
    const session = stripe.pay((await sellPlan(shop)).id);
    answers = { ...begun, claim_stripe_work: claimed(session.subscription ?? '') };
    stripe.fail({ how: 503, times: 3 });
    const answer = await post('/subscription/cancel');
    expect(answer.json).toMatchObject({ status: 503, error: 'billing_unavailable', retry_after: 5 });
    expect(sql.named('fail_stripe_work')).toEqual([[work, expect.stringContaining('503'), false]]);
  });

  it('that Stripe does not take, for it knows no such subscription or one that has ended, are answered so (spec 11.3)', async () => {
    const ended = stripe.pay((await sellPlan(shop)).id).subscription ?? '';
    stripe.cancelNow(ended);
    for (const key of ['sub_unknown', ended]) {
      sql.calls.length = 0;
      work = crypto.randomUUID();
      answers = { ...begun, claim_stripe_work: claimed(key) };
      const answer = await post('/subscription/cancel');
      expect(answer.json).toMatchObject({ status: 409, error: 'subscription_differs' });
      expect(answer.json.message).toMatch(/Stripe did not take the change/);
      expect(sql.named('fail_stripe_work')).toEqual([[work, expect.stringMatching(/No such|canceled/i), true]]);
    }
  });

  it('ask Stripe nothing where it is so already, or there is no subscription', async () => {
    const asked = stripe.calls.length;
    answers = { ...begun, begin_subscription_change: () => [{ outcome: 'ready' }] };
    expect((await post('/subscription/resume')).json.message).toBe(subscription.told);
    const none = { code: 'no_subscription', status: 404, message: 'No active subscription found' };
    answers = { ...begun, begin_subscription_change: () => [{ outcome: 'refused', refusal: none }] };
    expect((await post('/subscription/cancel')).json).toMatchObject({ status: 404, error: 'no_subscription' });
    expect(stripe.calls).toHaveLength(asked);
  });

  it('that another server is doing are not done twice', async () => {
    answers = { ...begun, claim_stripe_work: () => [] };
    expect((await post('/subscription/cancel')).json.error).toBe('billing_unavailable');
  });
});

it('OpenAPI names the fields of billing as billing does: in camelCase', () => {
  const { paths } = JSON.parse(JSON.stringify(openApi('1')));
  const operation = (method: string, path: string) => paths[`/api/v1/playground${path}`][method];
  const subscribe = operation('post', '/subscribe');
  expect(subscribe.requestBody.content['application/json'].schema.required).toEqual(['successUrl', 'cancelUrl']);
  const answer = (method: string, path: string) =>
    Object.keys(operation(method, path).responses[200].content['application/json'].schema.properties);
  expect(answer('post', '/subscribe')).toEqual(['checkoutUrl']);
  expect(answer('post', '/credits/purchase')).toEqual(['checkoutUrl', 'purchaseId', 'credits', 'price']);
  expect(answer('get', '/subscription')).toEqual(
    expect.arrayContaining(['isActive', 'cancelAtPeriodEnd', 'paidUntil']),
  );
  expect(answer('get', '/pricing')).toEqual(expect.arrayContaining(['isOrgMember', 'orgName', 'discount']));
});
