import { isOver } from '../billing/ends.ts';
import { linksOf } from '../billing/invoices.ts';
import { refundsOf } from '../billing/refunds.ts';
import { ApiError } from '../errors.ts';
import type { Json } from '../wire.ts';
import type { World } from '../world.ts';
import { wholeList } from './lists.ts';

type Target =
  | 'charges'
  | 'coupons'
  | 'customers'
  | 'discounts'
  | 'invoices'
  | 'paymentIntents'
  | 'portalConfigurations'
  | 'prices'
  | 'products'
  | 'subscriptions';

/** For each type of object, its fields that hold an id (or null), and the table in which that is found. */
const LINKS: { [object: string]: { [field: string]: Target | null } } = {
  price: { product: 'products' },
  product: { default_price: 'prices', tax_code: null },
  'checkout.session': {
    customer: 'customers',
    invoice: 'invoices',
    payment_intent: 'paymentIntents',
    payment_link: null,
    setup_intent: null,
    subscription: 'subscriptions',
  },
  subscription: {
    customer: 'customers',
    default_payment_method: null,
    default_source: null,
    discounts: 'discounts',
    latest_invoice: 'invoices',
    pending_setup_intent: null,
    schedule: null,
    test_clock: null,
  },
  subscription_item: { discounts: 'discounts' },
  discount: { customer: 'customers' },
  invoice: {
    customer: 'customers',
    default_payment_method: null,
    default_source: null,
    discounts: 'discounts',
    latest_revision: null,
    test_clock: null,
  },
  line_item: { subscription: 'subscriptions' },
  invoice_payment: { invoice: 'invoices' },
  payment_intent: { customer: 'customers', latest_charge: 'charges', payment_method: null, review: null },
  charge: { balance_transaction: null, customer: 'customers', payment_intent: 'paymentIntents', review: null },
  refund: { balance_transaction: null, charge: 'charges', customer: 'customers', payment_intent: 'paymentIntents' },
  dispute: { charge: 'charges', payment_intent: 'paymentIntents' },
  'billing_portal.session': { configuration: 'portalConfigurations' },
  customer: { default_source: null, test_clock: null },
};

/** The same for objects inside of an object, which have no type of their own. */
const INNER_LINKS: { [path: string]: Target } = {
  'invoice.parent.subscription_details.subscription': 'subscriptions',
  'invoice_payment.payment.payment_intent': 'paymentIntents',
  'invoice_payment.payment.charge': 'charges',
  'discount.source.coupon': 'coupons',
  'line_item.pricing.price_details.price': 'prices',
};

/** Lists that an object carries only when asked for. */
const HIDDEN: { [path: string]: (world: World, id: string) => Json } = {
  'checkout.session.line_items': ({ state }, id) =>
    wholeList(`/v1/checkout/sessions/${id}/line_items`, state.orders[id]?.lines ?? []),
  'invoice.payments': (world, id) => {
    const invoice = world.state.invoices[id];
    return wholeList('/v1/invoice_payments', invoice ? linksOf(world, invoice).toReversed() : []);
  },
  'charge.refunds': (world, id) => wholeList(`/v1/charges/${id}/refunds`, refundsOf(world, id).toReversed()),
  'customer.subscriptions': ({ state }, id) => {
    const own = Object.values(state.subscriptions).filter((made) => made.customer === id && !isOver(made));
    return wholeList(`/v1/customers/${id}/subscriptions`, own.toReversed());
  },
};

/** The `data` of a list counts as one. */
const MOST_LEVELS = 4;

/** A copy of the object in which each path, such as `data.latest_invoice.payments`, is the object and not its id. */
export function expand(world: World, object: Json, paths: readonly string[]): Json {
  const copy = structuredClone(object);
  for (const path of paths) {
    const keys = path.split('.');
    if (keys.length > MOST_LEVELS)
      throw cannot(path, `You cannot expand more than ${MOST_LEVELS} levels of a property.`);
    step(world, copy, keys, path, typeof copy.object === 'string' ? copy.object : '');
  }
  return copy;
}

/** `at` names what we stand in: the type of an object, or a path inside of one. */
function step(world: World, object: Json, [key = '', ...rest]: readonly string[], path: string, at: string): void {
  if (key === '') return;
  const within = `${at}.${key}`;
  const hidden = HIDDEN[within];
  if (hidden && typeof object.id === 'string') object[key] ??= structuredClone(hidden(world, object.id));

  const table = LINKS[at]?.[key] ?? INNER_LINKS[within];
  const isLink = table !== undefined || (LINKS[at] !== undefined && key in LINKS[at]);
  const value = object[key];
  if (!isLink && !hidden && !isStructure(value)) throw cannot(path);
  if (table) object[key] = Array.isArray(value) ? value.map((id) => look(world, table, id)) : look(world, table, value);
  descend(world, object[key], rest, path, within);
}

function descend(world: World, value: unknown, rest: readonly string[], path: string, within: string): void {
  if (rest.length === 0) return;
  if (Array.isArray(value)) {
    for (const inner of value) descend(world, inner, rest, path, within);
  } else if (isJson(value)) {
    const [next = ''] = rest;
    const type = typeof value.object === 'string' ? value.object : within;
    if (value.object === 'list' && next === 'data') descend(world, value.data, rest.slice(1), path, within);
    else step(world, value, rest, path, type);
  }
}

function look(world: World, table: Target, id: unknown): unknown {
  if (typeof id !== 'string') return id;
  if (table === 'customers' && world.state.deletedCustomers[id]) return { id, object: 'customer', deleted: true };
  const rows: { [id: string]: Json } = world.state[table];
  const found = rows[id];
  return found === undefined ? id : structuredClone(found);
}

function isStructure(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function cannot(path: string, message = `This property cannot be expanded (${path}).`): ApiError {
  return new ApiError(400, message, { param: 'expand', began: false });
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
