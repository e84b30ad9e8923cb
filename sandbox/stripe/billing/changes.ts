import { beyond, refused } from '../errors.ts';
import { planOf } from '../objects/catalog.ts';
import { buildItem } from '../objects/subscription.ts';
import type { Price, Subscription } from '../wire.ts';
import { find, type World } from '../world.ts';
import { isOver } from './ends.ts';
import { draft, finalize } from './invoices.ts';
import { billNow } from './renewals.ts';
import { currentPeriod, line } from './subscribe.ts';

export type ItemChange = {
  id?: string | undefined;
  price?: string | undefined;
  quantity?: number | undefined;
  deleted?: boolean | undefined;
};

/** Without an item's id an item is added, as Stripe does it. Nothing is prorated: the next invoice has the new price. */
export function changeItems(world: World, subscription: Subscription, wanted: readonly ItemChange[]): void {
  const { data } = subscription.items;
  for (const change of wanted) {
    const price = change.price === undefined ? undefined : find(world.state.prices, 'price', change.price);
    if (price) checkInterval(price, subscription);
    const item = change.id === undefined ? undefined : data.find(({ id }) => id === change.id);
    if (change.id !== undefined && !item) throw refused(`No such subscription item: '${change.id}'`, 'items[0][id]');
    if (item && change.deleted) {
      if (data.length === 1) throw refused('A subscription must have at least one active plan.', 'items');
      data.splice(data.indexOf(item), 1);
    } else if (item) {
      if (price) Object.assign(item, { price: structuredClone(price), plan: planOf(price) });
      if (change.quantity !== undefined) item.quantity = change.quantity;
    } else if (price) {
      if (data.some((other) => other.price.id === price.id)) {
        throw refused(`An existing Subscription Item is already using the price ${price.id}.`, 'items[0][price]');
      }
      data.push(buildItem(world, subscription.id, price, change.quantity ?? 1, currentPeriod(subscription)));
    }
  }
}

function checkInterval(price: Price, subscription: Subscription): void {
  const present = subscription.items.data[0]?.price.recurring;
  if (!price.recurring) throw refused('The price specified is not recurring.', 'items[0][price]');
  if (price.recurring.interval !== present?.interval || price.recurring.interval_count !== present.interval_count) {
    throw beyond('a price with another interval');
  }
}

/** Status `paused`: unlike pause_collection, nothing is billed and no period moves. */
export function pause(world: World, subscription: Subscription): void {
  if (subscription.status !== 'active' && subscription.status !== 'trialing') {
    throw refused(`A subscription that is ${subscription.status} cannot be paused.`);
  }
  world.change('customer.subscription.updated', subscription, () => {
    subscription.status = 'paused';
    subscription.status_details = {
      paused: { subscription: { type: 'pause_requested' }, transitioned_at: world.now, type: 'subscription' },
    };
  });
  world.emit('customer.subscription.paused', subscription);
}

/** `now` begins a new period, which is billed; `unchanged` goes on with the old one, and bills only if it is over. */
export function resume(world: World, subscription: Subscription, anchor: 'now' | 'unchanged'): void {
  if (subscription.status !== 'paused') throw refused('Only a paused subscription can be resumed.');
  const isRunning = currentPeriod(subscription).end > world.now;
  world.change('customer.subscription.updated', subscription, () => {
    subscription.status = 'active';
    delete subscription.status_details;
    if (anchor === 'now') subscription.billing_cycle_anchor = world.now;
    if (anchor === 'now') for (const item of subscription.items.data) item.current_period_end = world.now;
  });
  world.emit('customer.subscription.resumed', subscription);
  if (anchor === 'now' || !isRunning) billNow(world, subscription);
}

/** On ending with `prorate` and `invoice_now`: what is left of the period goes to the customer's credit balance. */
export function creditUnused(world: World, subscription: Subscription): void {
  if (isOver(subscription)) return;
  const invoice = draft(world, {
    customer: subscription.customer,
    reason: 'subscription_update',
    subscription,
    lines: subscription.items.data.map((item) => {
      const { current_period_start: start, current_period_end: end } = item;
      const full = line(world, item);
      const left = Math.max(0, end - world.now) / (end - start);
      return {
        ...full,
        amount: -Math.round(full.amount * left),
        description: `Unused time on ${full.description}`,
        period: { start: world.now, end },
        proration: true,
      };
    }),
    period: { start: world.now, end: world.now },
  });
  subscription.latest_invoice = invoice.id;
  world.emit('invoice.created', invoice);
  finalize(world, invoice);
}
