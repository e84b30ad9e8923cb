// The first purchase of somebody whose customer was begun, but whose server died before Stripe's answer was kept.
import { afterAll, expect, it } from 'vitest';
import { call, openHouse } from '../http/house.ts';
import { DAY, openShop } from '../stripe/shop.ts';

const shop = await openShop();
const house = await openHouse();
const { owner, app } = house.database;
const server = await house.another({
  STRIPE_SECRET_KEY: shop.stripe.secretKey,
  STRIPE_API_BASE: shop.stripe.url,
  ALLOWED_RETURN_ORIGINS: 'https://app.example',
});
afterAll(async () => {
  await house.close();
  await shop.stripe.stop();
});
const setClock = () =>
  owner`update settings set clock_offset_allowed = true, clock_offset = ${shop.stripe.clock.now().toISOString()}::timestamptz - now()`;

it('goes on days later, when Stripe has forgotten the key, with the customer that was made (spec 6.1)', async () => {
  await setClock();
  const { userId, token } = house.ada;
  const [begun] = await app`select write_id from api.begin_customer(${userId}, false)`;
  const made = await shop.client.customers.create(
    { metadata: { user_id: userId } },
    { idempotencyKey: begun?.write_id },
  );
  await shop.stripe.clock.advance(2 * DAY);
  await setClock();

  const body = { package: 'small', successUrl: 'https://app.example/done', cancelUrl: 'https://app.example/no' };
  const bought = await call(server.url, 'POST', '/api/v1/playground/credits/purchase', { token, body });
  expect([bought.status, bought.json]).toMatchObject([200, { credits: 100 }]);
  const [row] = await owner`select customer_id from stripe_customers where user_id = ${userId}`;
  expect(row?.customer_id).toBe(made.id);
  expect(
    (await shop.client.customers.list({ email: 'ada@example.com' })).data.filter(({ id }) => id !== shop.customer.id),
  ).toEqual([]);
});
