import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Stripe from 'stripe';
import { afterEach, expect, test, vi } from 'vitest';
import { type StripeStandIn, startStripe } from '../../sandbox/stripe/stripe.ts';
import {
  bought,
  clientOf,
  DAY,
  HOUR,
  openEndpoint,
  openShop,
  type Shop,
  START,
  sellPack,
  sellPlan,
  subscribed,
} from './shop.ts';

const open: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const one of open.splice(0)) await one.stop();
});

async function begin(options: Parameters<typeof openShop>[0] = {}): Promise<Shop> {
  const shop = await openShop(options);
  open.push(shop.stripe);
  return shop;
}

async function steer(
  stripe: StripeStandIn,
  name: string,
  wanted?: object,
): Promise<{ status: number; value: unknown }> {
  const init = wanted && { method: 'POST', body: JSON.stringify(wanted) };
  const response = await fetch(`${stripe.url}/sandbox/${name}`, init);
  return { status: response.status, value: await response.json() };
}

test('all of it can be steered by HTTP', async () => {
  const shop = await begin();
  const { stripe } = shop;
  const session = await sellPlan(shop);
  expect(await steer(stripe, 'decline', { id: session.id })).toMatchObject({ status: 200, value: { status: 'open' } });
  const { value: paid } = await steer(stripe, 'pay', { id: session.id });
  expect(paid).toMatchObject({ status: 'complete', subscription: expect.stringMatching(/^sub_/) });
  const { subscription: id } = paid as { subscription: string };
  expect(await steer(stripe, 'portal-cancel', { id })).toMatchObject({ value: { cancel_at_period_end: false } });
  expect(await steer(stripe, 'undo-cancel', { id })).toMatchObject({ value: { cancel_at: null } });
  expect(await steer(stripe, 'advance', { ms: 31 * DAY + HOUR })).toMatchObject({
    value: { now: '2027-02-10T13:00:00.000Z' },
  });
  expect(await steer(stripe, 'advance', { to: '2027-02-11T00:00:00Z' })).toMatchObject({
    value: { now: '2027-02-11T00:00:00.000Z' },
  });
  expect((await steer(stripe, 'events')).value).toEqual(JSON.parse(JSON.stringify(stripe.events())));
  expect((await steer(stripe, 'fail', { how: 500, path: '/v1/account' })).status).toBe(200);
  await expect(shop.client.accounts.retrieveCurrent()).rejects.toThrow();
  expect((await steer(stripe, 'clock')).value).toEqual({ now: '2027-02-11T00:00:00.000Z' });
});

test('what is wrong with a word to it is said', async () => {
  const { stripe } = await begin();
  expect(await steer(stripe, 'nonsense', {})).toMatchObject({
    status: 404,
    value: { actions: expect.arrayContaining(['pay']) },
  });
  expect(await steer(stripe, 'pay', { id: 'cs_test_x' })).toMatchObject({ status: 404 });
  expect(await steer(stripe, 'pay', { ID: 'cs_test_x' })).toMatchObject({ status: 400 });
  expect(await steer(stripe, 'advance', { to: '2020-01-01T00:00:00Z' })).toMatchObject({ status: 400 });
});

test('a snapshot carries everything over a restart: objects, what falls due, deliveries and keys', async () => {
  const shop = await begin();
  const { id } = await subscribed(shop);
  const keyed = await shop.client.customers.create({}, { idempotencyKey: 'kept' });
  const snapshot = shop.stripe.snapshot();
  await shop.stripe.stop();

  const again = await startStripe({ snapshot });
  open.push(again);
  const client = clientOf(again);
  expect(again.clock.now()).toEqual(shop.stripe.clock.now());
  expect(again.events()).toEqual(shop.stripe.events());
  expect((await client.customers.create({}, { idempotencyKey: 'kept' })).id).toBe(keyed.id);
  await again.clock.advance(32 * DAY);
  expect(await client.subscriptions.retrieve(id, { expand: ['latest_invoice'] })).toMatchObject({
    status: 'active',
    latest_invoice: { status: 'paid', billing_reason: 'subscription_cycle' },
  });
  const { events } = JSON.parse(again.snapshot());
  expect(Object.values<{ created: number }>(events).every(({ created }) => created > START.getTime() / 1000)).toBe(
    true,
  );
  again.restore(snapshot);
  expect(again.events()).toEqual(shop.stripe.events());
  expect(() => again.restore('{"format": 2}')).toThrow();
});

test('an endpoint that is set up from outside keeps its deliveries over a restart', async () => {
  const endpoint = await openEndpoint();
  open.push({ stop: endpoint.close });
  const webhooks = [{ url: endpoint.url, secret: 'whsec_a', events: ['*'] }];
  const shop = await begin({ webhooks });
  await bought(shop);
  const again = await startStripe({ snapshot: shop.stripe.snapshot(), webhooks });
  open.push(again);
  expect(again.endpoints()).toHaveLength(1);
  expect((await again.deliverAll()).map(({ status }) => status)).toEqual(again.events().map(() => 200));
});

test('in real time the clock goes with the wall clock, and what falls due is done by itself', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
  vi.setSystemTime('2027-01-10T12:00:00Z');
  const shop = await begin({ now: new Date('2027-01-10T12:00:00Z'), realTime: true });
  const session = await sellPack(shop);
  vi.advanceTimersByTime(5_000);
  expect(shop.stripe.clock.now()).toEqual(new Date('2027-01-10T12:00:05Z'));
  await shop.stripe.clock.advance(HOUR);
  expect(shop.stripe.clock.now()).toEqual(new Date('2027-01-10T13:00:05Z'));
  expect((await shop.client.checkout.sessions.retrieve(session.id)).status).toBe('open');
  vi.advanceTimersByTime(23 * HOUR);
  const [expired] = shop.stripe.events('checkout.session.expired');
  expect(expired?.created).toBe(session.expires_at);
});

test('what could not be delivered before a restart is delivered after it', async () => {
  const endpoint = await openEndpoint((count) => (count <= 1 ? 500 : 200));
  open.push({ stop: endpoint.close });
  const webhooks = [{ url: endpoint.url, secret: 'whsec_a', events: ['payment_intent.succeeded'] }];
  const shop = await begin({ webhooks, delivery: 'auto', deliveryGapsMs: [60_000] });
  await bought(shop);
  await shop.stripe.settled();
  expect(shop.stripe.deliveries()).toMatchObject([{ state: 'pending', tries: [{ status: 500 }] }]);
  const again = await startStripe({ snapshot: shop.stripe.snapshot(), webhooks, delivery: 'auto' });
  open.push(again);
  await again.settled();
  expect(again.deliveries()).toMatchObject([{ state: 'delivered', tries: [{ status: 500 }, { status: 200 }] }]);
});

test('as a process of its own it keeps its state in a file', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'stripe-'));
  const file = join(directory, 'state.json');
  const script = new URL('../../sandbox/stripe/start.ts', import.meta.url).pathname;
  const run = async (work: (url: string) => Promise<void>) => {
    const child = spawn(process.execPath, [script, '--port', '0', '--file', file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(child.stdout, 'data');
    await work(String(line).trim().replace('ready ', ''));
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  };
  const clientAt = (url: string) =>
    new Stripe('sk_test_sandbox', { host: '127.0.0.1', port: new URL(url).port, protocol: 'http' });
  await run(async (url) => {
    await clientAt(url).customers.create({ email: 'kept@example.com' });
  });
  await run(async (url) => {
    expect((await clientAt(url).customers.list()).data).toMatchObject([{ email: 'kept@example.com' }]);
  });
  rmSync(directory, { recursive: true });
});
