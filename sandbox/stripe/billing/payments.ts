import { newId } from '../ids.ts';
import { buildCharge, buildPaymentIntent, DECLINED, type NewPayment } from '../objects/payment.ts';
import type { CardState } from '../state.ts';
import type { PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';

export function startPayment(world: World, wanted: NewPayment): PaymentIntent {
  const payment = buildPaymentIntent(world, wanted);
  world.state.paymentIntents[payment.id] = payment;
  world.emit('payment_intent.created', payment);
  return payment;
}

/** What the customer's bank says to the next charge. */
export function nextOutcome(world: World, customer: string | null): CardState {
  const wallet = world.wallet(customer);
  if (wallet.failNext === 0) return wallet.card;
  wallet.failNext -= 1;
  return 'declined';
}

/** Charges the card once. Returns whether the money came. */
export function tryPayment(world: World, payment: PaymentIntent, outcome: CardState): boolean {
  const card = payment.payment_method ?? newId('pm');
  payment.last_payment_error = null;
  payment.next_action = null;

  if (outcome === 'requires_action') {
    payment.payment_method = card;
    payment.status = 'requires_action';
    payment.next_action = { type: 'use_stripe_sdk', use_stripe_sdk: {} };
    world.emit('payment_intent.requires_action', payment);
    return false;
  }

  const charge = buildCharge(world, payment, card, outcome === 'good' ? 'succeeded' : 'failed');
  world.state.charges[charge.id] = charge;
  payment.latest_charge = charge.id;
  if (outcome === 'good') {
    payment.payment_method = card;
    payment.status = 'succeeded';
    payment.amount_received = payment.amount;
    world.emit('charge.succeeded', charge);
    world.emit('payment_intent.succeeded', payment);
    return true;
  }
  payment.payment_method = null;
  payment.status = 'requires_payment_method';
  payment.last_payment_error = {
    charge: charge.id,
    code: 'card_declined',
    decline_code: 'generic_decline',
    doc_url: 'https://stripe.com/docs/error-codes/card-declined',
    message: DECLINED,
    type: 'card_error',
  };
  world.emit('charge.failed', charge);
  world.emit('payment_intent.payment_failed', payment);
  return false;
}

/** A bank debit and its like: accepted now, known to be good or bad later. */
export function startDelayedPayment(world: World, payment: PaymentIntent): void {
  const charge = buildCharge(world, payment, newId('pm'), 'pending');
  world.state.charges[charge.id] = charge;
  payment.latest_charge = charge.id;
  payment.payment_method = charge.payment_method;
  payment.status = 'processing';
  world.emit('charge.pending', charge);
  world.emit('payment_intent.processing', payment);
}

export function endDelayedPayment(world: World, payment: PaymentIntent, isGood: boolean): void {
  const charge = payment.latest_charge === null ? undefined : world.state.charges[payment.latest_charge];
  if (charge) {
    charge.status = isGood ? 'succeeded' : 'failed';
    charge.paid = isGood;
    charge.captured = isGood;
    charge.amount_captured = isGood ? charge.amount : 0;
    charge.balance_transaction = isGood ? newId('txn') : null;
    world.emit(isGood ? 'charge.succeeded' : 'charge.failed', charge);
  }
  payment.status = isGood ? 'succeeded' : 'requires_payment_method';
  payment.amount_received = isGood ? payment.amount : 0;
  if (!isGood) payment.payment_method = null;
  world.emit(isGood ? 'payment_intent.succeeded' : 'payment_intent.payment_failed', payment);
}

export function cancelPayment(
  world: World,
  payment: PaymentIntent,
  reason: PaymentIntent['cancellation_reason'],
): void {
  if (payment.status === 'succeeded' || payment.status === 'canceled') return;
  payment.status = 'canceled';
  payment.canceled_at = world.now;
  payment.cancellation_reason = reason;
  payment.next_action = null;
  world.emit('payment_intent.canceled', payment);
}
