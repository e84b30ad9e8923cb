import type { Invoice, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { end, isOver } from './ends.ts';
import { draft, finalize, finalizeAndCollect, finalizeLater, voidInvoice } from './invoices.ts';
import { nextBoundary } from './periods.ts';
import { currentPeriod, line, spendOnce } from './subscribe.ts';

/** The period is over: the subscription ends, or its next period begins and is billed. */
export function endPeriod(world: World, subscription: Subscription): void {
  if (isOver(subscription) || subscription.status === 'incomplete' || subscription.status === 'paused') return;
  if (currentPeriod(subscription).end > world.now) return; // the period has moved since this was noted
  const isCanceled = subscription.cancel_at !== null && subscription.cancel_at <= world.now;
  if (isCanceled || subscription.cancel_at_period_end) end(world, subscription, 'cancellation_requested');
  else billRenewal(world, subscription);
}

function billRenewal(world: World, subscription: Subscription): void {
  const invoice = renew(world, subscription, 'subscription_cycle');
  const paused = subscription.pause_collection?.behavior;
  if (paused === 'keep_as_draft' || subscription.status === 'unpaid') invoice.auto_advance = false;
  else if (paused === undefined) finalizeLater(world, invoice);
  else writeOff(world, invoice, paused);
}

/** While collection is paused, invoices are made and then given up. */
function writeOff(world: World, invoice: Invoice, how: 'mark_uncollectible' | 'void'): void {
  finalize(world, invoice);
  if (invoice.amount_due === 0) return;
  if (how === 'void') {
    voidInvoice(world, invoice);
    return;
  }
  invoice.status = 'uncollectible';
  invoice.auto_advance = false;
  invoice.status_transitions.marked_uncollectible_at = world.now;
  world.emit('invoice.marked_uncollectible', invoice);
}

/** Moves the period to the one that begins now, and drafts its invoice. */
function renew(world: World, subscription: Subscription, reason: NonNullable<Invoice['billing_reason']>): Invoice {
  const previous = currentPeriod(subscription);
  const next = structuredClone(subscription.items.data);
  for (const item of next) {
    const { interval = 'month', interval_count: count = 1 } = item.price.recurring ?? {};
    item.current_period_start = Math.max(item.current_period_end, subscription.billing_cycle_anchor);
    const after = Math.max(item.current_period_start, world.now);
    item.current_period_end = nextBoundary(subscription.billing_cycle_anchor, interval, count, after);
  }
  const invoice = draft(world, {
    customer: subscription.customer,
    reason,
    subscription,
    lines: next.map((item) => line(world, item)),
    period: previous,
  });
  world.emit('invoice.created', invoice);
  world.change('customer.subscription.updated', subscription, () => {
    subscription.items.data = next;
    subscription.latest_invoice = invoice.id;
    if (subscription.status === 'trialing') subscription.status = 'active';
    spendOnce(world, subscription);
  });
  world.later(currentPeriod(subscription).end, 'period ends', subscription.id);
  return invoice;
}

/** Bills a period that begins at once, as after a pause. */
export function billNow(world: World, subscription: Subscription): void {
  const invoice = renew(world, subscription, 'subscription_update');
  finalizeAndCollect(world, invoice);
}
