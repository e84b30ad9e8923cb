import { next } from '../agenda.ts';
import type { Due } from '../state.ts';
import type { World } from '../world.ts';
import { expire } from './checkout.ts';
import { end, expireIncomplete, isOver } from './ends.ts';
import { collect, finalizeAndCollect } from './invoices.ts';
import { endPeriod } from './renewals.ts';

/**
 * Does the next thing that is due by then, at its own time: `at` sets the clock before anything happens.
 * Returns false when nothing is left. What was noted but no longer holds is passed over.
 */
export function doNext(world: World, bySeconds: number, at: (seconds: number) => void): boolean {
  const due = next(world.state.agenda, bySeconds);
  if (!due) return false;
  at(due.at);
  perform(world, due);
  return true;
}

function perform(world: World, { at, kind, id }: Due): void {
  const { sessions, subscriptions, invoices } = world.state;
  if (kind === 'session expires') {
    const session = sessions[id];
    if (session?.status === 'open') expire(world, session);
    return;
  }
  if (kind === 'invoice finalizes' || kind === 'invoice is tried again') {
    const invoice = invoices[id];
    if (!invoice) return;
    if (kind === 'invoice finalizes' && invoice.status === 'draft' && invoice.automatically_finalizes_at === at) {
      finalizeAndCollect(world, invoice);
    }
    if (kind === 'invoice is tried again' && invoice.status === 'open' && invoice.next_payment_attempt === at) {
      collect(world, invoice);
    }
    return;
  }

  const subscription = subscriptions[id];
  if (!subscription || isOver(subscription)) return;
  if (kind === 'period ends') endPeriod(world, subscription);
  if (kind === 'first payment missed' && subscription.status === 'incomplete') expireIncomplete(world, subscription);
  if (kind === 'cancellation' && subscription.cancel_at === at) end(world, subscription, 'cancellation_requested');
  if (kind === 'trial ends soon' && subscription.status === 'trialing') {
    world.emit('customer.subscription.trial_will_end', subscription);
  }
  if (kind === 'collection resumes' && subscription.pause_collection?.resumes_at === at) {
    world.change('customer.subscription.updated', subscription, () => {
      subscription.pause_collection = null;
    });
  }
}
