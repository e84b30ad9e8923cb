import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type StripeStandIn, startStripe } from '../../sandbox/stripe/stripe.ts';
import { readEnvironment } from '../../src/config/environment.ts';
import { type LoadedStripe, openAccount } from '../../src/stripe/client.ts';
import { setUpStripe } from '../../src/stripe/setup.ts';

let stripe: StripeStandIn;
let loaded: LoadedStripe;
beforeEach(async () => {
  stripe = await startStripe();
  loaded = await openAccount({ key: stripe.secretKey, base: stripe.url }).load();
});
afterEach(() => stripe.stop());

const webhookUrl = 'https://example.com/api/v1/playground/webhooks/stripe/credits';
const writes = () => stripe.calls.filter(({ method }) => method === 'POST').length;

describe('stripe:setup', () => {
  it("makes the guide's five products, the portal and the webhook, and what the environment is to say", async () => {
    const { lines, environment } = await setUpStripe(loaded, { webhookUrl });
    expect(lines.every((line) => line.startsWith('made'))).toBe(true);
    const { data: prices } = await loaded.stripe.prices.list({ expand: ['data.product'] });
    const sold = prices.map(({ id, unit_amount: cents, recurring, currency, product }) => [
      ...[id, typeof product === 'object' && !product.deleted ? product.name : '', cents, currency],
      recurring?.interval ?? null,
    ]);
    expect(sold).toEqual(
      expect.arrayContaining([
        [environment.STRIPE_PRPM_PLUS_PRICE_ID, 'PRPM+ Individual', 600, 'usd', 'month'],
        [environment.STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID, 'PRPM+ Org Member', 300, 'usd', 'month'],
        [environment.STRIPE_SMALL_PACK_PRICE_ID, 'Small Pack', 500, 'usd', null],
        [environment.STRIPE_MEDIUM_PACK_PRICE_ID, 'Medium Pack', 1000, 'usd', null],
        [environment.STRIPE_LARGE_PACK_PRICE_ID, 'Large Pack', 2000, 'usd', null],
      ]),
    );
    const portal = await loaded.stripe.billingPortal.configurations.retrieve(
      environment.STRIPE_PORTAL_CONFIGURATION_ID ?? '',
    );
    expect(portal.features).toMatchObject({
      invoice_history: { enabled: true },
      payment_method_update: { enabled: true },
      customer_update: { enabled: true },
      subscription_cancel: { enabled: true, mode: 'at_period_end' },
      subscription_update: { enabled: false },
      subscription_pause: { enabled: false },
    });
    const [endpoint] = stripe.endpoints();
    expect(endpoint).toMatchObject({ url: webhookUrl, api_version: loaded.apiVersion, status: 'enabled' });
    expect(endpoint?.enabled_events).toHaveLength(22);
    const variables = { APP_DATABASE_URL: 'postgres://x@y/z', STRIPE_SECRET_KEY: stripe.secretKey, ...environment };
    expect(readEnvironment(variables).STRIPE_PLAYGROUND_WEBHOOK_SECRET).toEqual([expect.stringMatching(/^whsec_/)]);
  });

  it('run again changes nothing, and knows no secret any more', async () => {
    const first = await setUpStripe(loaded, { webhookUrl });
    const made = writes();
    const again = await setUpStripe(loaded, { webhookUrl });
    expect(writes()).toBe(made);
    expect(again.lines.every((line) => line.startsWith('there'))).toBe(true);
    const { STRIPE_PLAYGROUND_WEBHOOK_SECRET: secret, ...rest } = first.environment;
    expect(secret).toBeDefined();
    expect(again.environment).toEqual(rest);
  });

  it('goes on where it was cut off: a product without a price gets one', async () => {
    await loaded.stripe.products.create({ name: 'Small Pack', metadata: { prpm_playground: 'small' } });
    await setUpStripe(loaded);
    expect((await loaded.stripe.products.list({ limit: 100 })).data).toHaveLength(5);
  });

  it('in a dry run says what it would do, and does nothing', async () => {
    const { lines, environment } = await setUpStripe(loaded, { dryRun: true, webhookUrl });
    expect(writes()).toBe(0);
    expect(lines).toHaveLength(7);
    expect(lines.every((line) => line.startsWith('would make'))).toBe(true);
    expect(environment).toEqual({});
  });

  it('tells what differs, and leaves it: a price, an endpoint of another version', async () => {
    const product = await loaded.stripe.products.create({ name: 'Another' });
    const price = await loaded.stripe.prices.create({
      ...{ product: product.id, currency: 'usd', unit_amount: 700, recurring: { interval: 'month' } },
      lookup_key: 'prpm_plus_individual',
    });
    await loaded.stripe.webhookEndpoints.create({
      ...{ url: webhookUrl, enabled_events: ['charge.refunded'], api_version: '2024-06-20' },
    });
    const { lines, environment } = await setUpStripe(loaded, { webhookUrl });
    expect(environment.STRIPE_PRPM_PLUS_PRICE_ID).toBe(price.id);
    const different = lines.filter((line) => line.startsWith('DIFFERS'));
    expect(different).toEqual([
      expect.stringMatching(/PRPM\+ Individual.*7\.00 usd.*not \$6\.00 a month/),
      expect.stringMatching(/webhook.*2024-06-20.*left as it is/),
    ]);
    expect(stripe.endpoints()[0]?.enabled_events).toEqual(['charge.refunded']);
    expect(environment.STRIPE_PLAYGROUND_WEBHOOK_SECRET).toBeUndefined();
  });

  it('adds events to an endpoint of ours that has too few, and sets a portal that offers something else', async () => {
    await setUpStripe(loaded, { webhookUrl });
    const [endpoint] = stripe.endpoints();
    await loaded.stripe.webhookEndpoints.update(endpoint?.id ?? '', {
      enabled_events: ['charge.refunded', 'charge.expired'],
    });
    const [portal] = (await loaded.stripe.billingPortal.configurations.list()).data;
    await loaded.stripe.billingPortal.configurations.update(portal?.id ?? '', {
      features: { subscription_pause: { enabled: true } },
    });
    const { lines } = await setUpStripe(loaded, { webhookUrl });
    expect(lines.filter((line) => line.startsWith('set'))).toHaveLength(2);
    expect(stripe.endpoints()[0]?.enabled_events).toHaveLength(23);
    const set = await loaded.stripe.billingPortal.configurations.retrieve(portal?.id ?? '');
    expect(set.features.subscription_pause.enabled).toBe(false);
  });
});

describe('as a program', () => {
  const script = resolve(import.meta.dirname, '../../src/stripe/setup.ts');
  const run = (args: string[], env: Record<string, string>) =>
    spawnSync(process.execPath, [script, ...args], {
      cwd: tmpdir(),
      env: { PATH: process.env.PATH, ...env },
      encoding: 'utf8',
    });

  it.each([
    [[], {}, 'STRIPE_SECRET_KEY is missing: set it to the secret key of the Stripe account.\n'],
    [[], { STRIPE_SECRET_KEY: 'pk_1' }, /^STRIPE_SECRET_KEY does not look like such a key.*\n$/],
    [['--webhook-url', 'example.com'], { STRIPE_SECRET_KEY: 'sk_test_1' }, /^--webhook-url takes a URL.*\n$/],
  ])('%j with %j ends with 1 and one clear line', (args, env, message) => {
    const { status, stderr, stdout } = run(args, env);
    expect([status, stdout]).toEqual([1, '']);
    if (typeof message === 'string') expect(stderr).toBe(message);
    else expect(stderr).toMatch(message);
  });
});
