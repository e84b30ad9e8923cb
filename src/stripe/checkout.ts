import type Stripe from 'stripe';
import {
  beginCustomer,
  beginPurchase,
  beginSubscribe,
  endCheckout,
  forgetCustomer,
  keepCheckout,
  keepCustomer,
  type ReturnUrls,
  renewCustomer,
} from '../calls/billing.ts';
import type { Sql } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import { refusalFailure } from '../errors/refusal.ts';
import { isCustomerGone } from '../errors/stripe.ts';
import type { StripeAccount } from './client.ts';
import { expireSession } from './work.ts';

/** How often a checkout that stands in the way is ended before somebody is told to try again. */
const MOST_TRIES = 3;
/** By how much Stripe's clock and the database's may differ. */
const CLOCKS_DIFFER_S = 300;

export type Till = { sql: Sql; account: StripeAccount };

/** Where a user pays for PRPM+: at the checkout that is open already, or at a new one. */
export async function subscribe({ sql, account }: Till, userId: string, urls: ReturnUrls): Promise<string> {
  const { livemode } = account;
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const begun = await beginSubscribe(sql, userId, urls, livemode);
    if (begun.outcome === 'refused') throw refusalFailure(begun.refusal);
    if (begun.outcome === 'open') return begun.url;
    if (begun.outcome === 'create') {
      const url = await openCheckout({ sql, account }, userId, begun.checkoutId, begun.parameters);
      if (url !== undefined) return url;
      continue;
    }

    const { stripe } = await account.load();
    const { status } = await expireSession(stripe, begun.sessionId);
    if (status === 'complete') {
      throw new Failure(
        'already_subscribed',
        'The checkout that was open has been completed. It is yours in a moment.',
      );
    }
    await endCheckout(sql, userId, begun.sessionId, 'expired');
  }
  throw new Failure('billing_unavailable', 'Another checkout of yours is being opened.', { retryAfter: 2 });
}

export type Purchase = { checkoutUrl: string; purchaseId: string; credits: number; price: number };

/** Where a user pays for a pack, and what it is: `price` in cents. */
export async function purchase(till: Till, userId: string, pack: string, urls: ReturnUrls): Promise<Purchase> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const begun = await beginPurchase(till.sql, userId, pack, urls, till.account.livemode);
    if (begun.outcome === 'refused') throw refusalFailure(begun.refusal);
    const { purchaseId, credits, cents: price, parameters } = begun;
    const checkoutUrl = await openCheckout(till, userId, purchaseId, parameters);
    if (checkoutUrl !== undefined) return { checkoutUrl, purchaseId, credits, price };
  }
  throw new Failure('billing_unavailable', 'Stripe does not know the customer that it has just made.', {
    retryAfter: 2,
  });
}

/**
 * Makes a session for a checkout that the database has begun, and keeps it there. The same checkout gives the same session.
 * undefined: the customer was deleted at Stripe, which is noted; to be begun again.
 */
async function openCheckout(
  { sql, account }: Till,
  userId: string,
  checkoutId: string,
  parameters: Stripe.Checkout.SessionCreateParams,
): Promise<string | undefined> {
  const { stripe } = await account.load();
  const customer = await customerOf({ sql, account }, userId);
  const session = await stripe.checkout.sessions
    .create({ ...parameters, customer }, { idempotencyKey: checkoutId })
    .catch((error: unknown) => {
      if (!isCustomerGone(error)) throw error;
    });
  if (session === undefined) {
    await forgetCustomer(sql, userId, customer);
    return undefined;
  }
  if (session.url === null) throw new Error(`the session ${session.id} has no url`);
  const expiresAt = new Date(session.expires_at * 1_000).toISOString();
  await keepCheckout(sql, userId, { checkoutId, sessionId: session.id, url: session.url, expiresAt });
  return session.url;
}

/** The user's customer at Stripe: one, also where two ask at the same time, or again after days. */
async function customerOf({ sql, account }: Till, userId: string): Promise<string> {
  const { livemode } = account;
  const { customerId, writeId, lookSince, email, username } = await beginCustomer(sql, userId, livemode);
  if (customerId !== null) return customerId;
  if (writeId === null) throw new Error('a customer is to be made without a key');
  const { stripe } = await account.load();
  const made = lookSince === null ? undefined : await findCustomer(stripe, userId, lookSince);
  if (made !== undefined) return keepCustomer(sql, userId, made, livemode);
  const key = lookSince === null ? writeId : await renewCustomer(sql, userId, livemode, writeId);
  const { id } = await stripe.customers.create(
    { metadata: { user_id: userId }, ...(email !== null && { email }), ...(username !== null && { name: username }) },
    { idempotencyKey: key },
  );
  return keepCustomer(sql, userId, id, livemode);
}

/** A customer that was made for this user and whose answer was lost. By list: Stripe's search lags behind by minutes. */
async function findCustomer(stripe: Stripe, userId: string, since: string): Promise<string | undefined> {
  const gte = Math.floor(Date.parse(since) / 1_000) - CLOCKS_DIFFER_S;
  for await (const { id, metadata } of stripe.customers.list({ created: { gte }, limit: 100 })) {
    if (metadata.user_id === userId) return id;
  }
  return undefined;
}
