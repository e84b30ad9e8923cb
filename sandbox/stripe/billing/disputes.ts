import { refused } from '../errors.ts';
import { buildDispute, type NewDispute } from '../objects/dispute.ts';
import type { Charge, Dispute, Subscription } from '../wire.ts';
import type { World } from '../world.ts';
import { end, isOver } from './ends.ts';
import { subscriptionOf } from './standing.ts';

export type Ending = 'won' | 'lost' | 'warning_closed' | 'prevented';

const isInquiry = ({ status }: Dispute) => status.startsWith('warning_');

/** The bank takes the money at once, unless it only inquires. */
export function openDispute(world: World, charge: Charge, wanted: NewDispute): Dispute {
  if (charge.status !== 'succeeded') throw refused(`Charge ${charge.id} was not successful.`);
  const dispute = buildDispute(world, charge, wanted);
  world.state.disputes[dispute.id] = dispute;
  charge.disputed = true;
  world.emit('charge.dispute.created', dispute);
  if (!isInquiry(dispute)) world.emit('charge.dispute.funds_withdrawn', dispute);
  return dispute;
}

export function moveDispute(world: World, dispute: Dispute, status: Dispute['status']): void {
  world.change('charge.dispute.updated', dispute, () => {
    dispute.status = status;
  });
}

export function closeDispute(world: World, dispute: Dispute, ending: Ending): void {
  if (isClosed(dispute)) throw refused(`This dispute is ${dispute.status} already.`);
  if ((ending === 'warning_closed') !== isInquiry(dispute)) {
    throw refused(`A dispute that is ${dispute.status} does not end ${ending}.`);
  }
  dispute.status = ending;
  dispute.is_charge_refundable = ending !== 'lost';
  world.emit('charge.dispute.closed', dispute);
  if (ending === 'won' || ending === 'prevented') world.emit('charge.dispute.funds_reinstated', dispute);
}

/** A lost dispute may be taken further; it ends once more by closeDispute. */
export function appealDispute(world: World, dispute: Dispute): void {
  if (dispute.status !== 'lost') throw refused('Only a lost dispute can be appealed.');
  moveDispute(world, dispute, 'appeal_under_review');
}

function isClosed({ status }: Dispute): boolean {
  return status === 'won' || status === 'lost' || status === 'warning_closed' || status === 'prevented';
}

/** What an account may have set: a dispute ends the subscription that the payment was for. */
export function endDisputed(world: World, charge: Charge): Subscription | null {
  const link = Object.values(world.state.invoicePayments).find(
    ({ payment }) => payment.payment_intent !== undefined && payment.payment_intent === charge.payment_intent,
  );
  const invoice = link ? world.state.invoices[link.invoice] : undefined;
  const subscription = invoice ? subscriptionOf(world, invoice) : undefined;
  if (!subscription || isOver(subscription)) return null;
  end(world, subscription, 'payment_disputed');
  return subscription;
}
