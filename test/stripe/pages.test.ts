import type Stripe from 'stripe';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DAY, HOUR, openShop, type Shop, sellPack, sellPlan, subscribed } from './shop.ts';

let shop: Shop;
beforeAll(async () => {
  shop = await openShop();
});
afterAll(() => shop.stripe.stop());

/** What a person sees: the page's words, without its marks. */
async function see(url: string): Promise<string> {
  const response = await fetch(url);
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
  const markup = (await response.text()).replace(/<style>.*?<\/style>/s, '');
  return markup
    .replace(/<[^>]+>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Presses the button that says so, as the page has it. Returns where that leads. */
async function press(url: string, words: string): Promise<string> {
  const markup = await (await fetch(url)).text();
  const button = [...markup.matchAll(/<button[^>]*value="([^"]+)"[^>]*>([^<]*)<\/button>/g)].find(
    ([, , text]) => text === words,
  );
  expect(button, `a button «${words}»`).toBeDefined();
  const body = new URLSearchParams({ action: button?.[1] ?? '' });
  const response = await fetch(url, { method: 'POST', body, redirect: 'manual' });
  expect(response.status).toBe(303);
  return new URL(response.headers.get('location') ?? '', url).href;
}

const urlOf = ({ url }: { url: string | null }) => url ?? '';

describe('the page to pay', () => {
  test('shows what is bought, and leads on when it is paid', async () => {
    const session = await sellPack(shop);
    expect(await see(urlOf(session))).toMatch(/Pay Small pack \$5\.00 To pay now \$5\.00 Pay \$5\.00 with card 4242/);
    expect(await press(urlOf(session), 'Pay $5.00 with card 4242')).toBe(
      `https://shop.example/done?session=${session.id}`,
    );
    expect((await shop.client.checkout.sessions.retrieve(session.id)).payment_status).toBe('paid');
    expect(await see(urlOf(session))).toContain('This is done The payment came through. Go on');
  });

  test('says what a subscription costs in each period', async () => {
    const session = await sellPlan(shop);
    expect(await see(urlOf(session))).toContain('Subscribe PRPM+ $6.00 / month To pay now $6.00');
    await press(urlOf(session), 'Pay $6.00 with card 4242');
    expect(await see(urlOf(session))).toContain('The current period runs until 10 February 2027');
  });

  test('a trial can be begun without paying', async () => {
    const session = await sellPlan(shop, { subscription_data: { trial_period_days: 14 } });
    await press(urlOf(session), 'Start without paying');
    expect(await shop.client.checkout.sessions.retrieve(session.id, { expand: ['subscription'] })).toMatchObject({
      payment_status: 'no_payment_required',
      subscription: { status: 'trialing' },
    });
  });

  test.each([
    ['Card is declined', 'Your card was declined. Nothing was paid.'],
    ['Bank asks for a confirmation, and does not get it', 'it was not confirmed. Nothing was paid.'],
  ])('%s: it stays open and says why', async (words, why) => {
    const session = await sellPack(shop);
    expect(await press(urlOf(session), words)).toBe(urlOf(session));
    const markup = await (await fetch(urlOf(session))).text();
    expect(markup).toContain('role="alert"');
    expect(await see(urlOf(session))).toContain(why);
    await press(urlOf(session), 'Pay $5.00 with card 4242');
    expect((await shop.client.checkout.sessions.retrieve(session.id)).status).toBe('complete');
  });

  test('giving up leads back, and the page can be used later', async () => {
    const session = await sellPack(shop);
    expect(await press(urlOf(session), 'Give up')).toBe('https://shop.example/no');
    expect(await see(urlOf(session))).toContain('Pay $5.00');
  });

  test('an expired session says so, and nothing can be paid', async () => {
    const session = await sellPack(shop);
    await shop.client.checkout.sessions.expire(session.id);
    expect(await see(urlOf(session))).toContain('This page has expired Nothing was paid');
    const body = new URLSearchParams({ action: 'pay' });
    await fetch(urlOf(session), { method: 'POST', body, redirect: 'manual' });
    expect((await shop.client.checkout.sessions.retrieve(session.id)).status).toBe('expired');
  });

  test('what people wrote is shown as text', async () => {
    const session = await sellPack(shop, {
      line_items: [
        {
          price_data: { currency: 'usd', unit_amount: 100, product_data: { name: '<script>alert(1)</script>' } },
          quantity: 1,
        },
      ],
    });
    const response = await fetch(urlOf(session));
    expect(await response.text()).not.toContain('<script>');
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  test('there is none for a session that does not exist', async () => {
    expect((await fetch(`${shop.stripe.url}/pay/cs_test_unknown`)).status).toBe(404);
  });

  test('it is a document with a language, a title, one heading, and room on a narrow screen', async () => {
    const markup = await (await fetch(urlOf(await sellPack(shop)))).text();
    expect(markup).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(markup).toMatch(/<meta name="viewport" content="width=device-width, initial-scale=1">/);
    expect(markup.match(/<h1>/g)).toHaveLength(1);
    expect(markup).toContain('<title>Pay</title>');
    expect(markup).toContain('prefers-color-scheme: dark');
    expect(markup).not.toMatch(/<script|https?:\/\/(?!shop)/);
  });
});

describe('the portal', () => {
  async function portal(features: Stripe.BillingPortal.ConfigurationCreateParams.Features): Promise<string> {
    const configuration = await shop.client.billingPortal.configurations.create({ features });
    const { url } = await shop.client.billingPortal.sessions.create({
      customer: shop.customer.id,
      configuration: configuration.id,
      return_url: 'https://shop.example/account',
    });
    return url;
  }
  const usual = {
    invoice_history: { enabled: true },
    payment_method_update: { enabled: true },
    subscription_cancel: { enabled: true, mode: 'at_period_end', proration_behavior: 'none' },
  } as const;

  test('shows subscriptions and invoices, cancels by a date, and takes that back', async () => {
    const { id, items } = await subscribed(shop);
    const url = await portal(usual);
    expect(await see(url)).toMatch(
      /PRPM\+ \$6\.00 \/ month Active\. Renews on 10 February 2027\. Cancel at the end of the period/,
    );
    expect(await see(url)).toMatch(/Invoices Date Status Amount 10 January 2027 paid \$6\.00/);
    await press(url, 'Cancel at the end of the period');
    expect(await shop.client.subscriptions.retrieve(id)).toMatchObject({
      cancel_at: items.data[0]?.current_period_end,
      cancel_at_period_end: false,
    });
    expect(await see(url)).toContain('Ends on 10 February 2027');
    await press(url, 'Keep the subscription');
    expect((await shop.client.subscriptions.retrieve(id)).cancel_at).toBeNull();
    expect(await (await fetch(url)).text()).toContain('<a href="https://shop.example/account">Go back</a>');
  });

  test('offers only what its configuration allows', async () => {
    await subscribed(shop);
    const seen = await see(await portal({ subscription_cancel: { enabled: false } }));
    expect(seen).not.toMatch(/Cancel|Invoices|Card/);
    expect(seen).toContain('Renews on');
  });

  test('where cancelling is immediate, it ends now', async () => {
    const customer = await shop.client.customers.create({ email: 'now@example.com' });
    const { id } = await subscribed({ ...shop, customer });
    const now = { enabled: true, mode: 'immediately' } as const;
    const configuration = await shop.client.billingPortal.configurations.create({
      features: { subscription_cancel: now },
    });
    const wanted = { customer: customer.id, configuration: configuration.id };
    const { url } = await shop.client.billingPortal.sessions.create(wanted);
    await press(url, 'Cancel now');
    expect((await shop.client.subscriptions.retrieve(id)).status).toBe('canceled');
    expect(await see(url)).toContain('You have no subscription.');
  });

  test('a renewal that failed is paid on its invoice’s page', async () => {
    const customer = await shop.client.customers.create({ email: 'late@example.com' });
    const { id } = await subscribed({ ...shop, customer });
    shop.stripe.setCard(customer.id, 'declined');
    await shop.stripe.clock.advance(31 * DAY + HOUR);
    const { data } = await shop.client.invoices.list({ subscription: id, limit: 1 });
    const url = data[0]?.hosted_invoice_url ?? '';
    expect(await see(url)).toContain('Pay $6.00 with card 4242');
    await press(url, 'Card is declined');
    expect((await shop.client.subscriptions.retrieve(id)).status).toBe('past_due');
    await press(url, 'Pay $6.00 with card 4242');
    expect((await shop.client.subscriptions.retrieve(id)).status).toBe('active');
    expect(await see(url)).toContain('Nothing is due.');
  });

  test('a configuration is listed, changed, and cannot prorate an end of period', async () => {
    const { configurations } = shop.client.billingPortal;
    const made = await configurations.create({ features: usual, metadata: { made_by: 'setup' }, name: 'ours' });
    const changed = await configurations.update(made.id, {
      features: { invoice_history: { enabled: false } },
      active: false,
    });
    expect(changed).toMatchObject({
      active: false,
      features: { invoice_history: { enabled: false }, subscription_cancel: { enabled: true } },
    });
    expect((await configurations.list({ active: false })).data.map(({ id }) => id)).toEqual([made.id]);
    const subscription_cancel = { ...usual.subscription_cancel, proration_behavior: 'create_prorations' } as const;
    await expect(configurations.create({ features: { subscription_cancel } })).rejects.toThrow('proration_behavior');
    const session = { customer: shop.customer.id, configuration: made.id };
    await expect(shop.client.billingPortal.sessions.create(session)).rejects.toThrow('not active');
  });

  test('without any default configuration a session must name one', async () => {
    const wanted = { customer: shop.customer.id };
    await expect(shop.client.billingPortal.sessions.create(wanted)).rejects.toThrow('default configuration');
  });
});
