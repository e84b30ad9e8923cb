import { z } from 'zod';
import { expire } from '../billing/checkout.ts';
import { amountOff } from '../billing/discounts.ts';
import { refused } from '../errors.ts';
import { buildLineItem, buildSession, SESSION_LIFE } from '../objects/session.ts';
import type { LineItem, Price, Session } from '../wire.ts';
import { find, type World } from '../world.ts';
import { createPrice, createProduct } from './catalog.ts';
import { findCustomer } from './customers.ts';
import { listOf } from './lists.ts';
import { changedMetadata, isWithin, page, range, text, withMetadata } from './parameters.ts';
import { route } from './route.ts';
import { type SessionParameters, sessionParameters } from './session-parameters.ts';

export const sessionRoutes = [
  route('POST', '/v1/checkout/sessions', sessionParameters, createSession),
  route('GET', '/v1/checkout/sessions/:id', {}, ({ state }, _wanted, id) => session(state, id)),
  route('POST', '/v1/checkout/sessions/:id', { metadata: changedMetadata.optional() }, ({ state }, wanted, id) => {
    const found = session(state, id);
    found.metadata = withMetadata(found.metadata ?? {}, wanted.metadata);
    return found;
  }),
  route('POST', '/v1/checkout/sessions/:id/expire', {}, (world, _wanted, id) => {
    const found = session(world.state, id);
    expire(world, found);
    return found;
  }),
  route('GET', '/v1/checkout/sessions/:id/line_items', page, ({ state }, wanted, id) => {
    session(state, id);
    return listOf(`/v1/checkout/sessions/${id}/line_items`, (state.orders[id]?.lines ?? []).toReversed(), wanted);
  }),
  route(
    'GET',
    '/v1/checkout/sessions',
    {
      ...page,
      created: range.optional(),
      customer: text.optional(),
      payment_intent: text.optional(),
      status: z.enum(['open', 'complete', 'expired']).optional(),
      subscription: text.optional(),
    },
    ({ state }, { created, customer, payment_intent: payment, status, subscription, ...wanted }) => {
      const found = Object.values(state.sessions).filter(
        (made) =>
          (customer === undefined || made.customer === customer) &&
          (payment === undefined || made.payment_intent === payment) &&
          (status === undefined || made.status === status) &&
          (subscription === undefined || made.subscription === subscription) &&
          isWithin(made.created, created),
      );
      return listOf('/v1/checkout/sessions', found, wanted);
    },
  ),
];

function session(state: World['state'], id: string): Session {
  return find(state.sessions, 'checkout.session', id, 'session');
}

function createSession(world: World, wanted: SessionParameters): Session {
  check(world, wanted);
  const { mode, customer } = wanted;
  const lines = wanted.line_items.map((line, i) => lineOf(world, line, mode, i));
  const subtotal = lines.reduce((sum, line) => sum + line.amount_subtotal, 0);
  const coupon = wanted.discounts?.[0]?.coupon;
  const off = coupon === undefined ? 0 : amountOff(find(world.state.coupons, 'coupon', coupon, 'discounts'), subtotal);

  const made = buildSession(world, {
    mode,
    lines,
    customer: customer ?? null,
    customerEmail: wanted.customer_email ?? null,
    customerCreation: mode === 'payment' && customer === undefined ? (wanted.customer_creation ?? 'if_required') : null,
    successUrl: wanted.success_url,
    cancelUrl: wanted.cancel_url ?? null,
    expiresAt: wanted.expires_at ?? world.now + SESSION_LIFE.usual,
    clientReferenceId: wanted.client_reference_id ?? null,
    metadata: wanted.metadata ?? {},
    allowedTypes: wanted.allowed_payment_method_types ?? null,
    allowPromotionCodes: wanted.allow_promotion_codes ?? null,
    adaptivePricing: wanted.adaptive_pricing?.enabled ?? true,
    automaticTax: wanted.automatic_tax?.enabled ?? false,
    invoiceCreation: wanted.invoice_creation?.enabled ?? false,
    discount: coupon === undefined ? null : { coupon, amount: off },
    locale: wanted.locale ?? null,
    submitType: wanted.submit_type ?? null,
    billingAddressCollection: wanted.billing_address_collection ?? null,
  });
  const data = wanted.subscription_data;
  if (data?.trial_end !== undefined || data?.trial_period_days !== undefined) {
    made.amount_total = 0;
    made.amount_subtotal = 0;
    made.payment_status = 'no_payment_required';
  }
  world.state.sessions[made.id] = made;
  world.state.orders[made.id] = {
    lines,
    paymentIntentData: wanted.payment_intent_data ?? {},
    subscriptionData: data ?? {},
    subscription: null,
    lastError: null,
  };
  world.later(made.expires_at, 'session expires', made.id);
  return made;
}

/** What Stripe refuses before it makes anything. */
function check(world: World, wanted: SessionParameters): void {
  const { mode, customer, expires_at: expiresAt } = wanted;
  const only = (allowed: typeof mode, name: 'payment_intent_data' | 'subscription_data' | 'invoice_creation') => {
    if (mode !== allowed && wanted[name] !== undefined) {
      throw refused(`You can not pass \`${name}\` in \`${mode}\` mode.`, name);
    }
  };
  only('payment', 'payment_intent_data');
  only('payment', 'invoice_creation');
  only('subscription', 'subscription_data');
  if (customer !== undefined) findCustomer(world, customer, 'customer');
  if (customer !== undefined && wanted.customer_email !== undefined) {
    throw refused('You may only specify one of these parameters: customer, customer_email.', 'customer_email');
  }
  if (customer === undefined && wanted.customer_update !== undefined) {
    throw refused('`customer_update` can only be used with `customer`.', 'customer_update');
  }
  if (customer !== undefined && wanted.automatic_tax?.enabled && wanted.customer_update?.address !== 'auto') {
    const message = 'Automatic tax calculation in Checkout requires a valid address on the Customer.';
    throw refused(`${message} Use customer_update[address]=auto.`, 'automatic_tax', 'customer_tax_location_invalid');
  }
  if (wanted.discounts && wanted.allow_promotion_codes) {
    throw refused('You may only specify one of these parameters: allow_promotion_codes, discounts.', 'discounts');
  }
  const { least, most } = SESSION_LIFE;
  if (expiresAt !== undefined && expiresAt < world.now + least) {
    throw refused(
      'The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.',
      'expires_at',
    );
  }
  if (expiresAt !== undefined && expiresAt > world.now + most) {
    throw refused(
      'The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.',
      'expires_at',
    );
  }
}

function lineOf(
  world: World,
  line: SessionParameters['line_items'][number],
  mode: SessionParameters['mode'],
  index: number,
): LineItem {
  const param = `line_items[${index}]`;
  const price = line.price === undefined ? inlinePrice(world, line.price_data, param) : known(world, line.price, param);
  if (mode === 'subscription' && price.type !== 'recurring') {
    throw refused('The sandbox takes only recurring prices in `subscription` mode.', `${param}[price]`);
  }
  if (mode === 'payment' && price.type === 'recurring') {
    const message =
      'You specified `payment` mode but passed a recurring price. Either switch to `subscription` mode or use only one-time prices.';
    throw refused(message, `${param}[price]`);
  }
  if (line.quantity === undefined)
    throw refused('Quantity is required. Add `quantity` to `line_items`.', `${param}[quantity]`);
  const product = find(world.state.products, 'product', price.product);
  return buildLineItem(price, line.quantity, product.name);
}

function known(world: World, id: string, param: string): Price {
  const price = find(world.state.prices, 'price', id, `${param}[price]`);
  if (!price.active) {
    throw refused(`The price specified is inactive. This field only accepts active prices.`, `${param}[price]`);
  }
  return price;
}

/** Prices given in line are made for this session only, and so are products: both inactive. */
function inlinePrice(world: World, data: SessionParameters['line_items'][number]['price_data'], param: string): Price {
  if (!data) throw refused(`Either \`price\` or \`price_data\` is required.`, param);
  if ((data.product === undefined) === (data.product_data === undefined)) {
    throw refused('You must specify either `product` or `product_data`.', `${param}[price_data]`);
  }
  const product =
    data.product_data === undefined
      ? (data.product ?? '')
      : createProduct(world, { ...data.product_data, active: false }).id;
  const { currency, unit_amount: unitAmount, recurring } = data;
  return createPrice(world, { currency, unitAmount, recurring, product, active: false });
}
