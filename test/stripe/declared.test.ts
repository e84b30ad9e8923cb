/*
 * The stand-in against the declarations of the installed package, read as data: whatever it answers has every field that
 * is declared, none that is not, and no enum member that is not named; whatever it takes is declared, too.
 */
import Stripe from 'stripe';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { routes } from '../../sandbox/stripe/api/routes.ts';
import { declared, differences, fieldPlaces } from './declared/check.ts';
import { useEverything } from './declared/everything.ts';
import { endpointOf, endpoints, requestDifferences } from './declared/routes.ts';
import { openEndpoint, openShop, type Shop } from './shop.ts';

type Answer = { method: string; path: string; body: unknown };

let shop: Shop;
let hook: Awaited<ReturnType<typeof openEndpoint>>;
const answers: Answer[] = [];

beforeAll(async () => {
  hook = await openEndpoint();
  shop = await openShop({ webhooks: [{ url: hook.url, secret: 'whsec_test', events: ['*'] }] });
  const keeping: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const { pathname } = new URL(String(input));
    if (response.ok)
      answers.push({ method: init?.method ?? 'GET', path: pathname, body: await response.clone().json() });
    return response;
  };
  const httpClient = Stripe.createFetchHttpClient(keeping);
  const client = new Stripe(shop.stripe.secretKey, { ...shop.stripe.clientOptions, httpClient, telemetry: false });
  shop = { ...shop, client };
  await useEverything(shop, hook.url);
});
afterAll(async () => {
  await shop.stripe.stop();
  await hook.close();
});

describe('the declarations', () => {
  test('they are of the version in which the stand-in makes its events', () => {
    expect(new Set(shop.stripe.events().map(({ api_version: version }) => version))).toEqual(
      new Set([Stripe.API_VERSION]),
    );
  });

  test('every endpoint of the stand-in is one of the package', () => {
    const own = routes.map(({ method, path }) => `${method} ${path}`);
    expect(own.toSorted()).toEqual(endpoints.map(({ endpoint }) => endpoint).toSorted());
  });
});

describe('answers', () => {
  test('every endpoint has been asked', () => {
    const asked = new Set(answers.map(({ method, path }) => endpointOf(method, path)?.endpoint));
    expect(endpoints.filter(({ endpoint }) => !asked.has(endpoint)).map(({ endpoint }) => endpoint)).toEqual([]);
  });

  test('each has every field that is declared, and nothing else', () => {
    const found = answers.flatMap(({ method, path, body }) => {
      const endpoint = endpointOf(method, path);
      if (!endpoint) return [`${method} ${path} is no endpoint`];
      const isDeleted = typeof body === 'object' && body !== null && 'deleted' in body && method === 'GET';
      return isDeleted ? [] : differences(body, endpoint.answers, 'json', endpoint.endpoint);
    });
    expect([...new Set(found.map((one) => one.replace(/\[\d+\]/g, '[]')))]).toEqual([]);
  });

  test('events of every type that was made are as declared for that type', () => {
    const event = declared('Events', 'Event');
    const made = shop.stripe.events();
    expect(new Set(made.map(({ type }) => type)).size).toBeGreaterThan(40);
    const found = made.flatMap((one) => differences(one, event, 'json', one.type));
    expect([...new Set(found)]).toEqual([]);
  });

  test('what is delivered is what is declared', async () => {
    await shop.stripe.deliverAll({ parallel: 4 });
    const event = declared('Events', 'Event');
    expect(hook.received.length).toBe(shop.stripe.events().length);
    expect(hook.received.flatMap(({ body }) => differences(JSON.parse(body), event, 'json'))).toEqual([]);
  });
});

describe('requests', () => {
  test('what the package sends is what it declares', () => {
    expect(shop.stripe.calls.length).toBeGreaterThan(80);
    expect(shop.stripe.calls.flatMap(requestDifferences)).toEqual([]);
  });

  test('the stand-in takes no parameter that is not declared', () => {
    const found = routes.flatMap((route) => {
      const endpoint = endpointOf(route.method, route.path.replace(':id', 'x'));
      const schema = z.toJSONSchema(route.parameters, { io: 'input', unrepresentable: 'any' });
      return unknownParameters(schema, endpoint?.takes ?? null, `${route.method} ${route.path}`);
    });
    expect(found).toEqual([]);
  });
});

type Place = ReturnType<typeof declared>;

function unknownParameters(schema: z.core.JSONSchema.BaseSchema, place: Place | null, at: string): string[] {
  const alternatives = [...(schema.anyOf ?? []), ...(schema.items ? [schema.items] : [])].flat();
  const deeper = alternatives.flatMap((one) => (typeof one === 'object' ? unknownParameters(one, place, at) : []));
  const properties = Object.entries(schema.properties ?? {});
  if (properties.length === 0) return deeper;
  const fields = place && fieldPlaces(place);
  const own = properties.flatMap(([name, inner]) => {
    const field = fields?.get(name);
    if (!field) return [`${at} ${name}`];
    return typeof inner === 'object' ? unknownParameters(inner, field, `${at} ${name}`) : [];
  });
  return [...own, ...deeper];
}

describe('the judge is judged', () => {
  const subscription = () => {
    const found = shop.stripe.events('customer.subscription.updated').at(-1)?.data.object;
    return structuredClone(found) as Record<string, unknown> & { items: { data: Record<string, unknown>[] } };
  };
  const judge = (value: unknown) => differences(value, declared('Subscriptions', 'Subscription'), 'json', 'it');

  test.each<[string, (it: ReturnType<typeof subscription>) => void, string]>([
    ['a missing field', (it) => delete it.cancel_at, 'it.cancel_at is missing'],
    ['a missing field of an item', (it) => delete it.items.data[0]?.plan, 'it.items.data[0].plan is missing'],
    ['a field of old', (it) => Object.assign(it, { current_period_end: 1 }), 'it.current_period_end is not declared'],
    ['a wrong type', (it) => Object.assign(it, { created: '1' }), 'it.created is "1", not number'],
    ['an unknown status', (it) => Object.assign(it, { status: 'sleeping' }), 'it.status is "sleeping", none of'],
    ['null where none may be', (it) => Object.assign(it, { customer: null }), 'it.customer is null, none of'],
    [
      'a number for a decimal',
      (it) => Object.assign(it.items.data[0]?.price ?? {}, { unit_amount_decimal: 6 }),
      'unit_amount_decimal is 6',
    ],
  ])('it finds %s', (_what, alter, expected) => {
    const it = subscription();
    expect(judge(it)).toEqual([]);
    alter(it);
    expect(judge(it)).toEqual([expect.stringContaining(expected)]);
  });

  test('it finds what an event’s object has too much, and a type that there is not', () => {
    const event = declared('Events', 'Event');
    const [made] = shop.stripe.events('payment_intent.succeeded');
    const judgeEvent = (more: object) => differences({ ...structuredClone(made), ...more }, event, 'json');
    expect(judgeEvent({})).toEqual([]);
    expect(judgeEvent({ data: { object: { ...made?.data.object, invoice: 'in_x' } } })).toEqual([
      '.data.object.invoice is not declared',
    ]);
    expect(judgeEvent({ type: 'payment_intent.exploded' })).not.toEqual([]);
  });

  test('it finds an undeclared parameter, a wrong one and a missing one', () => {
    const judgeCall = (parameters: Record<string, unknown>) => {
      const call = {
        method: 'POST',
        path: '/v1/webhook_endpoints',
        parameters,
        key: null,
        version: null,
        status: 200,
        replayed: false,
      };
      return requestDifferences(call);
    };
    const good = { url: 'https://x', enabled_events: ['*'] };
    expect(judgeCall(good)).toEqual([]);
    expect(judgeCall({ ...good, colour: 'red' })).toEqual(['POST /v1/webhook_endpoints.colour is not declared']);
    expect(judgeCall({ ...good, enabled_events: ['charge.exploded'] })).toEqual([
      expect.stringContaining('enabled_events[0]'),
    ]);
    expect(judgeCall({ url: 'https://x' })).toEqual(['POST /v1/webhook_endpoints.enabled_events is missing']);
  });
});
