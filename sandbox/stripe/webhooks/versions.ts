import type { State } from '../state.ts';
import type { Json, StripeEvent } from '../wire.ts';

/** From here on subscriptions have no period of their own, and payments and charges do not name their invoice. */
const BASIL = '2025-03-31';

/** An event as an endpoint of that API version receives it. */
export function renderFor(state: State, event: StripeEvent, apiVersion: string): StripeEvent {
  if (apiVersion.slice(0, 10) >= BASIL) return { ...event, api_version: apiVersion };
  const { object, previous_attributes: previous } = structuredClone(event.data);
  return {
    ...event,
    api_version: apiVersion,
    data: { object: older(state, object), ...(previous && { previous_attributes: olderPrevious(previous) }) },
  };
}

function older(state: State, object: Json): Json {
  if (object.object === 'subscription') return { ...object, ...periodOf(object.items), plan: planOf(object.items) };
  if (object.object === 'payment_intent') return { ...object, invoice: invoiceOf(state, object.id) };
  if (object.object === 'charge') return { ...object, invoice: invoiceOf(state, object.payment_intent) };
  if (object.object === 'invoice') return { ...object, ...linksOf(state, object) };
  return object;
}

function olderPrevious(previous: Json): Json {
  return 'items' in previous ? { ...previous, ...periodOf(previous.items) } : previous;
}

type Item = { current_period_start: unknown; current_period_end: unknown; plan: unknown };

function firstItem(items: unknown): Item | undefined {
  // A list of subscription items, since the object is a subscription: its builder is typed, an event's data is not.
  return (items as { data?: Item[] } | undefined)?.data?.[0];
}

function periodOf(items: unknown): Json {
  const { current_period_start = null, current_period_end = null } = firstItem(items) ?? {};
  return { current_period_start, current_period_end };
}

function planOf(items: unknown): unknown {
  return firstItem(items)?.plan ?? null;
}

function invoiceOf(state: State, payment: unknown): string | null {
  const link = Object.values(state.invoicePayments).find((made) => made.payment.payment_intent === payment);
  return link?.invoice ?? null;
}

function linksOf(state: State, { id, status }: Json): Json {
  const invoice = typeof id === 'string' ? state.invoices[id] : undefined;
  const link = Object.values(state.invoicePayments).find((made) => made.invoice === id);
  const payment = link?.payment.payment_intent ?? null;
  return {
    subscription: invoice?.parent?.subscription_details?.subscription ?? null,
    payment_intent: payment,
    charge: payment === null ? null : (state.paymentIntents[payment]?.latest_charge ?? null),
    paid: status === 'paid',
  };
}
