import { refused } from '../errors.ts';
import { newId } from '../ids.ts';
import { buildInvoice, buildInvoicePayment, type NewInvoice } from '../objects/invoice.ts';
import type { CardState } from '../state.ts';
import type { Invoice, InvoicePayment, PaymentIntent } from '../wire.ts';
import { find, type World } from '../world.ts';
import { applyDiscounts } from './discounts.ts';
import { cancelPayment, nextOutcome, startPayment, tryPayment } from './payments.ts';
import { afterFailure, afterPayment, subscriptionOf } from './standing.ts';

const HOUR = 60 * 60;
const DAY = 24 * HOUR;

/** A draft, not yet announced: the caller emits invoice.created when what belongs to it is in place. */
export function draft(world: World, wanted: NewInvoice): Invoice {
  const invoice = buildInvoice(world, wanted);
  applyDiscounts(world, invoice);
  world.state.invoices[invoice.id] = invoice;
  return invoice;
}

/** Renewals stay drafts for about an hour, so that a webhook may still add to them. */
export function finalizeLater(world: World, invoice: Invoice): void {
  invoice.automatically_finalizes_at = world.now + HOUR;
  world.later(invoice.automatically_finalizes_at, 'invoice finalizes', invoice.id);
}

/** From draft to open, or to paid where nothing is due. Takes what credit balance the customer has. */
export function finalize(world: World, invoice: Invoice): void {
  if (invoice.status !== 'draft') throw refused("You can't finalize an invoice that isn't a draft.");
  const customer = find(world.state.customers, 'customer', invoice.customer ?? '');
  const before = customer.balance;
  const after = invoice.total < 0 ? before + invoice.total : Math.min(0, before + invoice.total);
  if (before <= 0 && after !== before) {
    world.change('customer.updated', customer, () => {
      customer.balance = after;
    });
  }
  invoice.starting_balance = before;
  invoice.ending_balance = customer.balance;
  invoice.amount_due = invoice.total < 0 ? 0 : invoice.total - (customer.balance - before);
  invoice.amount_remaining = invoice.amount_due;

  world.state.invoiceNumbers += 1;
  invoice.number = `SANDBOX-${String(world.state.invoiceNumbers).padStart(4, '0')}`;
  invoice.status = 'open';
  invoice.status_transitions.finalized_at = world.now;
  invoice.effective_at = world.now;
  invoice.automatically_finalizes_at = null;
  invoice.hosted_invoice_url = `${world.settings.publicUrl}/invoice/${invoice.id}`;
  invoice.invoice_pdf = `${invoice.hosted_invoice_url}?pdf`;
  world.emit('invoice.finalized', invoice);
  if (invoice.amount_due === 0) settle(world, invoice, null);
  else link(world, invoice, startInvoicePayment(world, invoice));
}

export function finalizeAndCollect(world: World, invoice: Invoice): void {
  finalize(world, invoice);
  if (invoice.amount_due > 0) collect(world, invoice);
}

/** Takes the money for an open invoice once, or finds that it does not come. */
export function collect(
  world: World,
  invoice: Invoice,
  outcome: CardState = nextOutcome(world, invoice.customer),
): boolean {
  if (invoice.status !== 'open') throw refused('Invoice is already paid or not open.');
  const { payment } = paymentOf(world, invoice);
  const isPaid = tryPayment(world, payment, outcome);
  invoice.attempted = true;
  invoice.attempt_count += 1;
  if (isPaid) {
    settle(world, invoice, payment);
    return true;
  }

  const gap = world.settings.retryDays[invoice.attempt_count - 1];
  const isRetried = gap !== undefined && invoice.billing_reason !== 'subscription_create' && invoice.auto_advance;
  invoice.next_payment_attempt = isRetried ? world.now + gap * DAY : null;
  if (invoice.next_payment_attempt !== null) {
    world.later(invoice.next_payment_attempt, 'invoice is tried again', invoice.id);
  }
  if (outcome === 'requires_action') world.emit('invoice.payment_action_required', invoice);
  world.emit('invoice.payment_failed', invoice);
  afterFailure(world, invoice, !isRetried);
  return false;
}

/** The invoice is paid: by this payment, or (null) because nothing was due. */
function settle(world: World, invoice: Invoice, payment: PaymentIntent | null): void {
  invoice.status = 'paid';
  invoice.status_transitions.paid_at = world.now;
  invoice.amount_paid = invoice.amount_due;
  invoice.amount_remaining = 0;
  invoice.attempted = true;
  invoice.auto_advance = false;
  invoice.next_payment_attempt = null;
  if (payment) {
    const paid = paymentOf(world, invoice).link;
    paid.status = 'paid';
    paid.amount_paid = invoice.amount_due;
    paid.status_transitions.paid_at = world.now;
    world.emit('invoice_payment.paid', paid);
  }
  afterPayment(world, invoice);
  world.emit('invoice.paid', invoice);
  world.emit('invoice.payment_succeeded', invoice);
}

/** Nobody owes it any more. */
export function voidInvoice(world: World, invoice: Invoice): void {
  if (invoice.status !== 'open' && invoice.status !== 'uncollectible') {
    throw refused('You can only pass in open invoices. This invoice isn’t open.');
  }
  for (const paid of linksOf(world, invoice)) {
    paid.status = 'canceled';
    paid.status_transitions.canceled_at = world.now;
    const payment = world.state.paymentIntents[paid.payment.payment_intent ?? ''];
    if (payment) cancelPayment(world, payment, 'void_invoice');
  }
  invoice.status = 'void';
  invoice.auto_advance = false;
  invoice.next_payment_attempt = null;
  invoice.status_transitions.voided_at = world.now;
  world.emit('invoice.voided', invoice);
}

/** The invoice of a payment that was made without one, as Checkout's invoice_creation makes it: for no subscription. */
export function settleWith(world: World, invoice: Invoice, payment: PaymentIntent): void {
  invoice.status = 'open';
  invoice.number = newId('SANDBOX', 8);
  invoice.status_transitions.finalized_at = world.now;
  invoice.hosted_invoice_url = `${world.settings.publicUrl}/invoice/${invoice.id}`;
  link(world, invoice, payment);
  world.emit('invoice.finalized', invoice);
  settle(world, invoice, payment);
}

export function linksOf(world: World, invoice: Invoice): InvoicePayment[] {
  return Object.values(world.state.invoicePayments).filter((payment) => payment.invoice === invoice.id);
}

function link(world: World, invoice: Invoice, payment: PaymentIntent): InvoicePayment {
  const made = buildInvoicePayment(world, invoice, payment.id);
  world.state.invoicePayments[made.id] = made;
  return made;
}

function startInvoicePayment(world: World, invoice: Invoice): PaymentIntent {
  const reason = invoice.billing_reason === 'subscription_create' ? 'Subscription creation' : 'Subscription update';
  return startPayment(world, {
    amount: invoice.amount_due,
    currency: invoice.currency,
    customer: invoice.customer,
    description: subscriptionOf(world, invoice) ? reason : null,
    setupFutureUsage: 'off_session',
  });
}

function paymentOf(world: World, invoice: Invoice): { link: InvoicePayment; payment: PaymentIntent } {
  const found = linksOf(world, invoice).find((link) => link.status !== 'canceled');
  const made = found ?? link(world, invoice, startInvoicePayment(world, invoice));
  const id = made.payment.payment_intent ?? '';
  return { link: made, payment: find(world.state.paymentIntents, 'payment_intent', id) };
}
