import Stripe from 'stripe';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { clientOf, DAY, openShop, refusalOf, type Shop, sellPack, subscribed } from './shop.ts';

let shop: Shop;
let client: Stripe;
beforeAll(async () => {
  shop = await openShop();
  client = shop.client;
});
afterEach(() => shop.stripe.heal());
afterAll(() => shop.stripe.stop());

const raw = (path: string, init: RequestInit = {}) =>
  fetch(shop.stripe.url + path, { headers: { authorization: `Bearer ${shop.stripe.secretKey}` }, ...init });

describe('who may ask', () => {
  test('a wrong key is 401', async () => {
    const stranger = new Stripe('sk_test_wrong', shop.stripe.clientOptions);
    const refusal = await refusalOf(stranger.customers.list());
    expect(refusal).toBeInstanceOf(Stripe.errors.StripeAuthenticationError);
    expect(refusal.message).not.toContain('sk_test_wrong');
  });

  test('no key is 401, and the key may come by Basic', async () => {
    expect((await raw('/v1/customers', { headers: {} })).status).toBe(401);
    const authorization = `Basic ${btoa(`${shop.stripe.secretKey}:`)}`;
    expect((await raw('/v1/customers', { headers: { authorization } })).status).toBe(200);
  });

  test('above the limit of calls in a second the answer is 429', async () => {
    shop.stripe.limit(3);
    const answers = await Promise.all(Array.from({ length: 12 }, () => raw('/v1/account')));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
    expect(statuses).toContain(200);
  });
});

describe('what is asked', () => {
  test('an unknown address is 404', async () => {
    const answer = await raw('/v1/nonsense');
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
  });

  test('an unknown object is 404 and names the parameter', async () => {
    const refusal = await refusalOf(client.subscriptions.retrieve('sub_unknown'));
    expect(refusal).toMatchObject({ statusCode: 404, code: 'resource_missing', param: 'id' });
    expect(refusal.message).toBe("No such subscription: 'sub_unknown'");
  });

  test.each<[string, () => Promise<unknown>, Partial<Stripe.errors.StripeError>]>([
    [
      'unknown',
      () => client.customers.create({ nickname: 'x' } as never),
      { code: 'parameter_unknown', param: 'nickname' },
    ],
    [
      'unknown inside of another',
      () => sellPack(shop, { payment_intent_data: { colour: 'red' } as never }),
      { code: 'parameter_unknown', param: 'payment_intent_data[colour]' },
    ],
    ['missing', () => client.prices.create({} as never), { code: 'parameter_missing', param: 'currency' }],
    [
      'no number',
      () => client.refunds.create({ payment_intent: 'pi_x', amount: 'much' as never }),
      { code: 'parameter_invalid_integer', param: 'amount' },
    ],
    ['none of the possible ones', () => client.subscriptions.list({ status: 'odd' as never }), { param: 'status' }],
    ['no address', () => sellPack(shop, { success_url: 'nowhere' }), { code: 'url_invalid', param: 'success_url' }],
    ['empty', () => client.products.update('prod_x', { name: '' }), { code: 'parameter_invalid_empty', param: 'name' }],
  ])('a parameter that is %s is 400 and named', async (_what, call, expected) => {
    expect(await refusalOf(call())).toMatchObject({ statusCode: 400, type: 'StripeInvalidRequestError', ...expected });
  });

  test('a refused change has changed nothing', async () => {
    const subscription = await subscribed(shop);
    const [item] = subscription.items.data;
    const items = [
      { id: item?.id ?? '', price: shop.member.id },
      { id: 'si_unknown', price: shop.member.id },
    ];
    const before = shop.stripe.events().length;
    await refusalOf(client.subscriptions.update(subscription.id, { items, proration_behavior: 'none' }));
    expect((await client.subscriptions.retrieve(subscription.id)).items).toEqual(subscription.items);
    expect(shop.stripe.events()).toHaveLength(before);
  });

  test('an answer carries its request’s id and version', async () => {
    const { lastResponse } = await client.customers.retrieve(shop.customer.id);
    expect(lastResponse.requestId).toMatch(/^req_/);
    expect(lastResponse.apiVersion).toBe(Stripe.API_VERSION);
  });
});

describe('lists', () => {
  test('newest first, ten unless said otherwise, and has_more tells of further ones', async () => {
    const made: string[] = [];
    for (let i = 0; i < 12; i += 1) made.unshift((await client.customers.create({ email: 'many@example.com' })).id);
    const list = (page: Stripe.PaginationParams) => client.customers.list({ email: 'many@example.com', ...page });
    const ids = ({ data }: Stripe.ApiList<Stripe.Customer>) => data.map(({ id }) => id);

    const first = await list({});
    expect([ids(first), first.has_more]).toEqual([made.slice(0, 10), true]);
    const second = await list({ starting_after: made[9] ?? '' });
    expect([ids(second), second.has_more]).toEqual([made.slice(10), false]);
    const back = await list({ ending_before: made[9] ?? '', limit: 3 });
    expect([ids(back), back.has_more]).toEqual([made.slice(6, 9), true]);
    const all: string[] = [];
    for await (const customer of list({ limit: 5 })) all.push(customer.id);
    expect(all).toEqual(made);
  });

  test.each([0, 101])('a page of %d is refused', async (limit) => {
    expect(await refusalOf(client.customers.list({ limit }))).toMatchObject({ statusCode: 400, param: 'limit' });
  });

  test('created can be bounded', async () => {
    const { created } = await client.customers.create();
    await shop.stripe.clock.advance(1000);
    const { id } = await client.customers.create();
    expect((await client.customers.list({ created: { gt: created } })).data.map((made) => made.id)).toEqual([id]);
    expect((await client.customers.list({ created: created + 1 })).data).toHaveLength(1);
    expect((await client.customers.list({ created: { gte: created + 2 } })).data).toEqual([]);
  });
});

describe('idempotency keys', () => {
  test('the same key and parameters get the same answer, and nothing is done twice', async () => {
    const once = () => client.customers.create({ email: 'once@example.com' }, { idempotencyKey: 'k1' });
    const [first, second] = [await once(), await once()];
    expect(second.id).toBe(first.id);
    expect(first.lastResponse.headers).not.toHaveProperty('idempotent-replayed');
    expect(second.lastResponse.headers).toMatchObject({ 'idempotent-replayed': 'true', 'idempotency-key': 'k1' });
    expect(second.lastResponse.headers['original-request']).toBe(first.lastResponse.requestId);
    expect((await client.customers.list({ email: 'once@example.com' })).data).toHaveLength(1);
    const [event] = shop.stripe.events('customer.created').slice(-1);
    expect(event?.request).toEqual({ id: first.lastResponse.requestId, idempotency_key: 'k1' });
  });

  test('the same key with other parameters is refused', async () => {
    await client.customers.create({ email: 'one@example.com' }, { idempotencyKey: 'k2' });
    const refusal = await refusalOf(client.customers.create({ email: 'two@example.com' }, { idempotencyKey: 'k2' }));
    expect(refusal).toBeInstanceOf(Stripe.errors.StripeIdempotencyError);
    expect(refusal.statusCode).toBe(400);
  });

  test('a key that is in use is 409', async () => {
    shop.stripe.delay(1_000);
    const once = () => client.customers.create({}, { idempotencyKey: 'k3' });
    const [first, second] = await Promise.allSettled([once(), once()]);
    expect([first.status, second.status].sort()).toEqual(['fulfilled', 'rejected']);
    const [refusal] = [first, second].flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    expect(refusal).toMatchObject({ statusCode: 409 });
  });

  test('a refusal that came of the work is kept, one of the parameters is not', async () => {
    const refund = (amount: number) =>
      client.refunds.create({ payment_intent: 'pi_unknown', amount }, { idempotencyKey: 'k4' });
    expect((await refusalOf(refund(1))).headers).not.toHaveProperty('idempotent-replayed');
    expect((await refusalOf(refund(1))).headers).toMatchObject({ 'idempotent-replayed': 'true' });
    const create = (wanted: object) => client.customers.create(wanted, { idempotencyKey: 'k5' });
    await refusalOf(create({ odd: 'x' }));
    expect((await create({ name: 'x' })).name).toBe('x');
  });

  test('a key is forgotten after a day', async () => {
    const once = () => client.customers.create({}, { idempotencyKey: 'k6' });
    const first = await once();
    await shop.stripe.clock.advance(DAY);
    expect((await once()).id).not.toBe(first.id);
  });
});

describe('faults', () => {
  test('a broken connection does nothing, and the package’s own retry succeeds', async () => {
    shop.stripe.fail({ how: 'network' });
    const retrying = clientOf(shop.stripe, { maxNetworkRetries: 1 });
    const { id } = await retrying.customers.create({ email: 'network@example.com' });
    const { data } = await client.customers.list({ email: 'network@example.com' });
    expect(data.map((made) => made.id)).toEqual([id]);
  });

  test('an answer that is lost after the work is done comes again with the same key', async () => {
    shop.stripe.fail({ how: 'after', method: 'POST', path: '/v1/customers' });
    const retrying = clientOf(shop.stripe, { maxNetworkRetries: 1 });
    const made = await retrying.customers.create({ email: 'after@example.com' });
    expect(made.lastResponse.headers['idempotent-replayed']).toBe('true');
    expect((await client.customers.list({ email: 'after@example.com' })).data).toHaveLength(1);
  });

  test.each([409, 429, 500, 503] as const)('the answer %d can be had, for so many calls of one path', async (how) => {
    shop.stripe.fail({ how, times: 2, path: '/v1/customers/*' });
    const retrieve = () => client.customers.retrieve(shop.customer.id);
    expect((await refusalOf(retrieve())).statusCode).toBe(how);
    expect((await client.accounts.retrieveCurrent()).object).toBe('account');
    expect((await refusalOf(retrieve())).statusCode).toBe(how);
    expect((await retrieve()).id).toBe(shop.customer.id);
  });

  test('an error that happened when the work had begun is kept with its key', async () => {
    shop.stripe.fail({ how: 500, keep: true });
    const once = () => client.customers.create({}, { idempotencyKey: 'k7' });
    expect((await refusalOf(once())).statusCode).toBe(500);
    expect((await refusalOf(once())).headers).toMatchObject({ 'idempotent-replayed': 'true' });
  });

  test('every call is on record, as it came and as it was answered', async () => {
    shop.stripe.fail({ how: 'after', times: 2 }); // the package tries a broken connection once more, whatever it is told
    await refusalOf(client.customers.create({ metadata: { a: 'b' } }, { idempotencyKey: 'k8' }));
    expect(shop.stripe.calls.at(-1)).toEqual({
      method: 'POST',
      path: '/v1/customers',
      parameters: { metadata: { a: 'b' } },
      key: 'k8',
      version: Stripe.API_VERSION,
      status: 0,
      replayed: false,
    });
  });
});
