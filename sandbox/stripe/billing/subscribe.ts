import { refused } from '../errors.ts';
import type { NewLine } from '../objects/invoice.ts';
import { buildSubscription } from '../objects/subscription.ts';
import type { Coupon, Invoice, Price, Subscription, SubscriptionItem } from '../wire.ts';
import { find, type World } from '../world.ts';
import { discount } from './discounts.ts';
import { draft, finalize } from './invoices.ts';
import { nextBoundary } from './periods.ts';

const HOUR = 60 * 60;
const DAY = 24 * HOUR;

export type Wanted = {
  customer: string;
  items: readonly { price: Price; quantity: number }[];
  metadata?: Record<string, string> | undefined;
  description?: string | undefined;
  trialEnd?: number | undefined;
  coupon?: Coupon | undefined;
};

/** Makes a subscription and its first invoice. It is `incomplete` until that invoice is paid, or nothing is due. */
export function subscribe(world: World, wanted: Wanted): { subscription: Subscription; invoice: Invoice } {
  const [first] = wanted.items;
  const recurring = first?.price.recurring;
  if (!recurring) throw refused('A subscription needs a recurring price.', 'line_items');
  const trialEnd = wanted.trialEnd ?? null;
  const end = trialEnd ?? nextBoundary(world.now, recurring.interval, recurring.interval_count, world.now);
  const period = { start: world.now, end };
  const subscription = buildSubscription(world, { ...wanted, period, trialEnd });
  world.state.subscriptions[subscription.id] = subscription;
  if (wanted.coupon) {
    subscription.discounts = [discount(world, wanted.coupon, wanted.customer, subscription.id).id];
  }

  const invoice = draft(world, {
    customer: wanted.customer,
    reason: 'subscription_create',
    subscription,
    lines: subscription.items.data.map((item) => line(world, item, trialEnd !== null)),
    period: { start: world.now, end: world.now },
  });
  subscription.latest_invoice = invoice.id;
  if (trialEnd === null && invoice.total === 0) subscription.status = 'active';
  spendOnce(world, subscription);
  schedule(world, subscription);

  world.emit('customer.subscription.created', subscription);
  world.emit('invoice.created', invoice);
  finalize(world, invoice);
  return { subscription, invoice };
}

function schedule(world: World, subscription: Subscription): void {
  const { id, status, trial_end: trialEnd } = subscription;
  if (status === 'incomplete') world.later(world.now + 23 * HOUR, 'first payment missed', id);
  if (trialEnd !== null) world.later(Math.max(world.now, trialEnd - 3 * DAY), 'trial ends soon', id);
  world.later(currentPeriod(subscription).end, 'period ends', id);
}

/** What the current period of an item costs. */
export function line(world: World, item: SubscriptionItem, isTrial = false): NewLine {
  const { price } = item;
  const quantity = item.quantity ?? 1;
  const product = find(world.state.products, 'product', price.product);
  return {
    price,
    quantity,
    amount: isTrial ? 0 : (price.unit_amount ?? 0) * quantity,
    description: isTrial ? `Trial period for ${product.name}` : `${quantity} × ${product.name} (at ${rate(price)})`,
    period: { start: item.current_period_start, end: item.current_period_end },
    item,
  };
}

export function rate(price: Price): string {
  const amount = `$${((price.unit_amount ?? 0) / 100).toFixed(2)}`;
  const { interval, interval_count: count = 1 } = price.recurring ?? {};
  if (interval === undefined) return amount;
  return `${amount} / ${count === 1 ? interval : `${count} ${interval}s`}`;
}

export function currentPeriod(subscription: Subscription): { start: number; end: number } {
  const items = subscription.items.data;
  return {
    start: Math.min(...items.map((item) => item.current_period_start)),
    end: Math.max(...items.map((item) => item.current_period_end)),
  };
}

/** A coupon that holds once goes when an invoice has taken it. */
export function spendOnce(world: World, subscription: Subscription): void {
  subscription.discounts = subscription.discounts.filter((id) => {
    const coupon = world.state.discounts[id]?.source.coupon;
    return coupon && world.state.coupons[coupon]?.duration !== 'once';
  });
}
