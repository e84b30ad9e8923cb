import { beyond, refused } from '../errors.ts';
import { buildCustomer } from '../objects/customer.ts';
import { DECLINED } from '../objects/payment.ts';
import type { CardState, Order } from '../state.ts';
import type { Invoice, PaymentIntent, Session, Subscription } from '../wire.ts';
import { find, type World } from '../world.ts';
import { isOver } from './ends.ts';
import { collect, draft, settleWith } from './invoices.ts';
import {
  cancelPayment,
  endDelayedPayment,
  nextOutcome,
  startDelayedPayment,
  startPayment,
  tryPayment,
} from './payments.ts';
import { currentPeriod, subscribe } from './subscribe.ts';

const DAY = 24 * 60 * 60;
const WORDS = {
  declined: DECLINED,
  requires_action: 'Your bank asks you to confirm this payment, and it was not confirmed.',
};

/** The person presses Pay. Returns whether the session is complete; if not it stays open and says why. */
export function pay(world: World, session: Session, outcome: CardState | 'wallet' | 'delayed'): boolean {
  checkOpen(session);
  const order = find(world.state.orders, 'checkout.session', session.id);
  const customer = customerOf(world, session);
  if (outcome === 'delayed') {
    if (session.mode !== 'payment') throw beyond('delayed payment methods for subscriptions');
    const payment = paymentOf(world, session, order);
    startDelayedPayment(world, payment);
    complete(world, session, 'unpaid');
    return true;
  }
  const card = outcome === 'wallet' ? nextOutcome(world, customer) : outcome;
  const isPaid =
    session.mode === 'subscription'
      ? paySubscription(world, session, order, card)
      : payOnce(world, session, order, card);
  order.lastError = card === 'good' ? null : WORDS[card];
  return isPaid;
}

function payOnce(world: World, session: Session, order: Order, card: CardState): boolean {
  if (session.payment_status === 'no_payment_required') {
    complete(world, session, 'no_payment_required');
    return true;
  }
  const payment = paymentOf(world, session, order);
  if (!tryPayment(world, payment, card)) return false;
  if (session.invoice_creation?.enabled) bill(world, session, order, payment);
  complete(world, session, 'paid');
  return true;
}

function paySubscription(world: World, session: Session, order: Order, card: CardState): boolean {
  const waiting = order.subscription === null ? undefined : world.state.subscriptions[order.subscription];
  const { subscription, invoice } =
    waiting && !isOver(waiting)
      ? { subscription: waiting, invoice: firstInvoice(world, waiting) }
      : begin(world, session, order);
  order.subscription = subscription.id;
  const isFree = invoice.status === 'paid' && invoice.amount_due === 0;
  if (invoice.status === 'open' && !collect(world, invoice, card)) return false;
  session.subscription = subscription.id;
  session.invoice = invoice.id;
  complete(world, session, isFree ? 'no_payment_required' : 'paid');
  return true;
}

function begin(world: World, session: Session, order: Order): { subscription: Subscription; invoice: Invoice } {
  const { metadata, description, trial_end: trialEnd, trial_period_days: days } = order.subscriptionData;
  const coupon = session.discounts?.[0]?.coupon;
  return subscribe(world, {
    customer: customerOf(world, session) ?? '',
    items: order.lines.flatMap((line) => (line.price ? [{ price: line.price, quantity: line.quantity ?? 1 }] : [])),
    metadata,
    description,
    trialEnd: trialEnd ?? (days === undefined ? undefined : world.now + days * DAY),
    coupon: coupon ? find(world.state.coupons, 'coupon', coupon) : undefined,
  });
}

function firstInvoice(world: World, subscription: Subscription): Invoice {
  return find(world.state.invoices, 'invoice', subscription.latest_invoice ?? '');
}

/** A delayed payment's end: the money came, or it never will. */
export function endDelayed(world: World, session: Session, isGood: boolean): void {
  const payment = session.payment_intent === null ? undefined : world.state.paymentIntents[session.payment_intent];
  if (session.status !== 'complete' || payment?.status !== 'processing') {
    throw refused('This session has no payment under way.');
  }
  endDelayedPayment(world, payment, isGood);
  if (isGood) session.payment_status = 'paid';
  world.emit(`checkout.session.async_payment_${isGood ? 'succeeded' : 'failed'}`, session);
}

export function expire(world: World, session: Session): void {
  checkOpen(session);
  const payment = session.payment_intent === null ? undefined : world.state.paymentIntents[session.payment_intent];
  session.status = 'expired';
  session.url = null;
  if (payment) cancelPayment(world, payment, 'abandoned');
  world.emit('checkout.session.expired', session);
}

function checkOpen(session: Session): void {
  if (session.status === 'open') return;
  const message = `Only Checkout Sessions with a status in ["open"] can be expired or paid. This one is ${session.status}.`;
  throw refused(message, 'session');
}

function complete(world: World, session: Session, paymentStatus: Session['payment_status']): void {
  const customer = session.customer === null ? undefined : world.state.customers[session.customer];
  const email = customer?.email ?? session.customer_email ?? 'guest@sandbox.example';
  session.status = 'complete';
  session.payment_status = paymentStatus;
  session.url = null;
  session.customer_details = {
    address: { city: null, country: 'US', line1: null, line2: null, postal_code: '42424', state: null },
    business_name: null,
    email,
    individual_name: null,
    name: customer?.name ?? null,
    phone: null,
    tax_exempt: 'none',
    tax_ids: [],
  };
  world.emit('checkout.session.completed', session);
}

/** Subscriptions always have a customer; payments where one was given or asked for. */
function customerOf(world: World, session: Session): string | null {
  if (session.customer !== null) return session.customer;
  if (session.mode !== 'subscription' && session.customer_creation !== 'always') return null;
  const customer = buildCustomer(world, { email: session.customer_email ?? 'guest@sandbox.example' });
  world.state.customers[customer.id] = customer;
  session.customer = customer.id;
  world.emit('customer.created', customer);
  return customer.id;
}

/** Made when the person pays for the first time, never before. */
function paymentOf(world: World, session: Session, order: Order): PaymentIntent {
  const present = session.payment_intent === null ? undefined : world.state.paymentIntents[session.payment_intent];
  if (present) return present;
  const { metadata, description, receipt_email: receiptEmail, setup_future_usage: setup } = order.paymentIntentData;
  const payment = startPayment(world, {
    amount: session.amount_total ?? 0,
    currency: session.currency ?? 'usd',
    customer: session.customer,
    metadata,
    description,
    receiptEmail,
    setupFutureUsage: setup,
  });
  session.payment_intent = payment.id;
  return payment;
}

/** Checkout's invoice_creation: an invoice of a payment, which belongs to no subscription. */
function bill(world: World, session: Session, order: Order, payment: PaymentIntent): void {
  const invoice = draft(world, {
    customer: session.customer ?? '',
    reason: 'manual',
    subscription: null,
    lines: order.lines.flatMap(({ price, quantity, amount_subtotal: amount, description }) =>
      price
        ? [
            {
              price,
              quantity: quantity ?? 1,
              amount,
              description: description ?? '',
              period: at(world.now),
              item: null,
            },
          ]
        : [],
    ),
    period: at(world.now),
  });
  world.emit('invoice.created', invoice);
  settleWith(world, invoice, payment);
  session.invoice = invoice.id;
}

const at = (now: number) => ({ start: now, end: now });

/** What a person who comes back to this session has bought, for the page. */
export function boughtUntil(world: World, session: Session): number | null {
  const subscription = session.subscription === null ? undefined : world.state.subscriptions[session.subscription];
  return subscription ? currentPeriod(subscription).end : null;
}
