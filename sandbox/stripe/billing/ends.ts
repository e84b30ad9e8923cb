import type { Invoice, Subscription } from '../wire.ts';
import type { World } from '../world.ts';

type Reason = NonNullable<NonNullable<Subscription['cancellation_details']>['reason']>;

export const isOver = ({ status }: Subscription): boolean => status === 'canceled' || status === 'incomplete_expired';

/** Ends a subscription now. Its unpaid invoices stay, but nobody collects them any more. */
export function end(world: World, subscription: Subscription, reason: Reason): void {
  for (const invoice of invoicesOf(world, subscription.id)) stopCollecting(world, invoice);
  subscription.status = 'canceled';
  subscription.ended_at = world.now;
  subscription.canceled_at ??= world.now;
  subscription.pause_collection = null;
  subscription.cancellation_details = { ...noDetails, ...subscription.cancellation_details, reason };
  world.emit('customer.subscription.deleted', subscription);
}

/** The first payment was never made: 23 hours are over. */
export function expireIncomplete(world: World, subscription: Subscription): void {
  for (const invoice of invoicesOf(world, subscription.id)) {
    if (invoice.status !== 'open' && invoice.status !== 'draft') continue;
    invoice.status = 'void';
    invoice.auto_advance = false;
    invoice.status_transitions.voided_at = world.now;
    world.emit('invoice.voided', invoice);
  }
  world.change('customer.subscription.updated', subscription, () => {
    subscription.status = 'incomplete_expired';
    subscription.ended_at = world.now;
  });
}

/** As the portal does it in flexible billing mode: a date, and the boolean stays false. */
export function scheduleByDate(world: World, subscription: Subscription, at: number): void {
  world.change('customer.subscription.updated', subscription, () => {
    subscription.cancel_at = at;
    subscription.cancel_at_period_end = false;
    requested(world, subscription);
  });
  world.later(at, 'cancellation', subscription.id);
}

/** As the Dashboard and the API do it: the boolean, without a date. */
export function scheduleByPeriodEnd(world: World, subscription: Subscription): void {
  world.change('customer.subscription.updated', subscription, () => {
    subscription.cancel_at_period_end = true;
    subscription.cancel_at = null;
    requested(world, subscription);
  });
}

export function unschedule(world: World, subscription: Subscription): void {
  world.change('customer.subscription.updated', subscription, () => {
    subscription.cancel_at = null;
    subscription.cancel_at_period_end = false;
    notRequested(subscription);
  });
}

export function requested(world: World, subscription: Subscription): void {
  subscription.canceled_at ??= world.now;
  subscription.cancellation_details = {
    ...noDetails,
    ...subscription.cancellation_details,
    reason: 'cancellation_requested',
  };
}

export function notRequested(subscription: Subscription): void {
  subscription.canceled_at = null;
  subscription.cancellation_details = { ...noDetails };
}

const noDetails = { comment: null, feedback: null, feedback_option: null, reason: null };

/** Oldest first. */
export function invoicesOf(world: World, subscription: string): Invoice[] {
  return Object.values(world.state.invoices).filter(
    (invoice) => invoice.parent?.subscription_details?.subscription === subscription,
  );
}

function stopCollecting(world: World, invoice: Invoice): void {
  if (invoice.status !== 'open' && invoice.status !== 'draft') return;
  world.change('invoice.updated', invoice, () => {
    invoice.auto_advance = false;
    invoice.automatically_finalizes_at = null;
    invoice.next_payment_attempt = null;
  });
}
