import type { Invoice, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { end, invoicesOf, isOver } from './ends.ts';

export function subscriptionOf(world: World, invoice: Invoice): Subscription | undefined {
  const id = invoice.parent?.subscription_details?.subscription;
  return id === undefined ? undefined : world.state.subscriptions[id];
}

/** An invoice is paid: a subscription that waited for it becomes active. */
export function afterPayment(world: World, invoice: Invoice): void {
  const subscription = subscriptionOf(world, invoice);
  if (!subscription || isOver(subscription)) return;
  const isBehind = subscription.status === 'past_due' || subscription.status === 'unpaid';
  if (isBehind && invoice !== latestFinalized(world, subscription)) return;
  if (!isBehind && subscription.status !== 'incomplete') return;
  world.change('customer.subscription.updated', subscription, () => {
    subscription.status = 'active';
    subscription.default_payment_method ??= cardOf(world, invoice);
  });
}

/** A payment of a subscription's invoice failed; `wasLast`: nobody tries again. */
export function afterFailure(world: World, invoice: Invoice, wasLast: boolean): void {
  const subscription = subscriptionOf(world, invoice);
  if (!subscription || isOver(subscription) || subscription.status === 'incomplete') return;
  const { afterRetries } = world.settings;
  if (wasLast && afterRetries === 'cancel') {
    end(world, subscription, 'payment_failed');
    return;
  }
  world.change('customer.subscription.updated', subscription, () => {
    subscription.status = wasLast && afterRetries === 'unpaid' ? 'unpaid' : 'past_due';
  });
}

function latestFinalized(world: World, subscription: Subscription): Invoice | undefined {
  return invoicesOf(world, subscription.id).findLast((invoice) => invoice.status_transitions.finalized_at !== null);
}

function cardOf(world: World, invoice: Invoice): string | null {
  const link = Object.values(world.state.invoicePayments).find((payment) => payment.invoice === invoice.id);
  const id = link?.payment.payment_intent;
  return (id === undefined ? undefined : world.state.paymentIntents[id]?.payment_method) ?? null;
}
