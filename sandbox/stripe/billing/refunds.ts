import { refused } from '../errors.ts';
import { buildRefund, type NewRefund } from '../objects/refund.ts';
import type { Charge, Refund } from '../wire.ts';
import { find, type World } from '../world.ts';

export function refundsOf(world: World, charge: string): Refund[] {
  return Object.values(world.state.refunds).filter((refund) => refund.charge === charge);
}

const isLost = ({ status }: Refund) => status === 'failed' || status === 'canceled';

/** What has not been refunded yet; refunds that failed do not count. */
export function refundable(world: World, charge: Charge): number {
  const refunded = refundsOf(world, charge.id).filter((refund) => !isLost(refund));
  return charge.amount_captured - refunded.reduce((sum, refund) => sum + refund.amount, 0);
}

export function refund(
  world: World,
  charge: Charge,
  wanted: Omit<NewRefund, 'amount'> & { amount: number | null },
): Refund {
  if (charge.status !== 'succeeded') throw refused(`Charge ${charge.id} was not successful and cannot be refunded.`);
  if (isDisputed(world, charge)) {
    throw refused(`Charge ${charge.id} has been charged back; cannot issue a refund.`, undefined, 'charge_disputed');
  }
  const left = refundable(world, charge);
  if (left <= 0) throw refused(`Charge ${charge.id} has already been refunded.`, undefined, 'charge_already_refunded');
  const amount = wanted.amount ?? left;
  if (amount > left) {
    throw refused(
      `Refund amount ($${dollars(amount)}) is greater than unrefunded amount on charge ($${dollars(left)})`,
      'amount',
    );
  }
  const made = buildRefund(world, charge, { ...wanted, amount });
  world.state.refunds[made.id] = made;
  charge.amount_refunded += amount;
  charge.refunded = charge.amount_refunded >= charge.amount_captured;
  world.emit('refund.created', made);
  world.emit('charge.refunded', charge);
  return made;
}

/**
 * A refund ends otherwise than it began. What the charge says to have been refunded stays as it was: whether Stripe
 * lowers it is not documented, so nobody should rely on it; `lowersCharge` does.
 */
export function endRefund(
  world: World,
  refund: Refund,
  status: 'succeeded' | 'failed' | 'canceled',
  lowersCharge = false,
): void {
  if (isLost(refund)) throw refused(`This refund is ${refund.status} already.`);
  world.change('refund.updated', refund, () => {
    refund.status = status;
    delete refund.pending_reason;
    if (status === 'failed') refund.failure_reason = 'lost_or_stolen_card';
  });
  if (status === 'failed') world.emit('refund.failed', refund);
  const charge = find(world.state.charges, 'charge', refund.charge ?? '');
  if (lowersCharge && status !== 'succeeded') {
    world.change('charge.updated', charge, () => {
      charge.amount_refunded -= refund.amount;
      charge.refunded = false;
    });
  }
}

/** An inquiry may still be refunded; a chargeback has taken the money already. */
function isDisputed(world: World, charge: Charge): boolean {
  return Object.values(world.state.disputes).some(
    (dispute) =>
      dispute.charge === charge.id &&
      !dispute.status.startsWith('warning_') &&
      dispute.status !== 'won' &&
      dispute.status !== 'prevented',
  );
}

const dollars = (cents: number) => (cents / 100).toFixed(2);
