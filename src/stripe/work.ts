import type Stripe from 'stripe';
import { z } from 'zod';
import type { Work } from '../calls/billing.ts';
import { stripeStatus } from '../errors/stripe.ts';

/** Asks Stripe, when it is its turn. Every call goes through this, so that there are not too many in a second. */
export type Ask = <T>(call: () => Promise<T>) => Promise<T>;

type Perform = (stripe: Stripe, work: Work, ask: Ask) => Promise<unknown>;

/** As many as Stripe gives at once. */
const PAGE = 100;

/** What the queue may ask for, each answered with what the database then applies. Writes go with the work's id as their key. */
const kinds: Record<string, Perform> = {
  fetch_subscription: (stripe, { key }, ask) =>
    orElse<unknown>(
      404,
      () => ask(() => stripe.subscriptions.retrieve(key, { expand: ['latest_invoice'] })),
      async () => ({ id: key, missing: true }),
    ),

  fetch_invoice: (stripe, { key }, ask) => ask(() => stripe.invoices.retrieve(key, { expand: ['payments'] })),

  fetch_payment: (stripe, { key }, ask) => ask(() => stripe.paymentIntents.retrieve(key)),

  async fetch_payment_invoice(stripe, { key }, ask) {
    const payment = { type: 'payment_intent', payment_intent: key } as const;
    const found = await ask(() => stripe.invoicePayments.list({ payment, expand: ['data.invoice'] }));
    return { invoice_payments: found.data };
  },

  async fetch_session_of_payment(stripe, { key }, ask) {
    return { sessions: (await ask(() => stripe.checkout.sessions.list({ payment_intent: key }))).data };
  },

  async fetch_refunds(stripe, { key }, ask) {
    return { refunds: await all(ask, (page) => stripe.refunds.list({ payment_intent: key, ...page })) };
  },

  async fetch_disputes(stripe, { key }, ask) {
    return { disputes: await all(ask, (page) => stripe.disputes.list({ payment_intent: key, ...page })) };
  },

  list_events: page((stripe, from) => stripe.events.list({ delivery_success: false, ...from })),
  list_subscriptions: page((stripe, from) => stripe.subscriptions.list({ status: 'all', ...from })),
  list_payments: page((stripe, from) => stripe.paymentIntents.list(from)),
  list_refunds: page((stripe, from) => stripe.refunds.list(from)),
  list_disputes: page((stripe, from) => stripe.disputes.list(from)),

  update_subscription: (stripe, { workId, key, parameters }, ask) =>
    ask(() => stripe.subscriptions.update(key, body(parameters), { idempotencyKey: workId })),

  /** One that has ended cannot be canceled again, and is what was wanted. */
  cancel_subscription: (stripe, { workId, key, parameters }, ask) =>
    orElse(
      404,
      () => ask(() => stripe.subscriptions.cancel(key, body(parameters), { idempotencyKey: workId })),
      () => ask(() => stripe.subscriptions.retrieve(key)),
    ),

  /** One that is gone already is what was wanted. */
  delete_customer: (stripe, { workId, key }, ask) =>
    orElse<unknown>(
      404,
      () => ask(() => stripe.customers.del(key, {}, { idempotencyKey: workId })),
      async () => ({ id: key, deleted: true }),
    ),

  refund_payment: (stripe, { workId, parameters }, ask) =>
    ask(() => stripe.refunds.create(body(parameters), { idempotencyKey: workId })),

  expire_session: (stripe, { workId, key }, ask) => expireSession(stripe, key, ask, workId),
};

/** Does one piece of work at Stripe. Throws Stripe's errors. */
export function perform(stripe: Stripe, work: Work, ask: Ask): Promise<unknown> {
  const kind = Object.hasOwn(kinds, work.kind) ? kinds[work.kind] : undefined;
  if (kind === undefined) throw new Error(`this server does not know how to do ${work.kind}`);
  return kind(stripe, work, ask);
}

/** Ends an open checkout. One that is not open any more is answered as it is. */
export function expireSession(
  stripe: Stripe,
  sessionId: string,
  ask: Ask = (call) => call(),
  idempotencyKey?: string,
): Promise<Stripe.Checkout.Session> {
  return orElse(
    400,
    () =>
      ask(() => stripe.checkout.sessions.expire(sessionId, {}, idempotencyKey === undefined ? {} : { idempotencyKey })),
    async (error) => {
      const session = await ask(() => stripe.checkout.sessions.retrieve(sessionId));
      if (session.status === 'open') throw error;
      return session;
    },
  );
}

async function orElse<T>(status: number, first: () => Promise<T>, other: (error: unknown) => Promise<T>): Promise<T> {
  try {
    return await first();
  } catch (error) {
    if (stripeStatus(error) !== status) throw error;
    return other(error);
  }
}

type Page = { limit: number; starting_after?: string };
type From = Page & { created?: { gte: number } };

/** Where a page begins; `created_after` is seconds since 1970, as Stripe counts them. */
const fromSchema = z.object({ created_after: z.int().optional(), starting_after: z.string().optional() });

/** One page of all that there is: the database asks for the next one, so that a list may be as long as it likes. */
function page(list: (stripe: Stripe, from: From) => Promise<{ data: unknown[]; has_more: boolean }>): Perform {
  return async (stripe, { parameters }, ask) => {
    const { created_after: gte, starting_after: after } = fromSchema.parse(parameters ?? {});
    const from: From = {
      limit: PAGE,
      ...(gte !== undefined && { created: { gte } }),
      ...(after !== undefined && { starting_after: after }),
    };
    const { data, has_more } = await ask(() => list(stripe, from));
    return { data, has_more };
  };
}

/** Every object of a list, page by page. */
async function all<T extends { id: string }>(
  ask: Ask,
  list: (page: Page) => Promise<{ data: T[]; has_more: boolean }>,
): Promise<T[]> {
  const found: T[] = [];
  for (;;) {
    const last = found.at(-1);
    const page = last === undefined ? { limit: PAGE } : { limit: PAGE, starting_after: last.id };
    const { data, has_more: isMore } = await ask(() => list(page));
    found.push(...data);
    if (!isMore || data.length === 0) return found;
  }
}

/** Parameters that the database has made for Stripe: what is in them is its word. */
function body(parameters: unknown): object {
  return z.record(z.string(), z.unknown()).parse(parameters ?? {});
}
