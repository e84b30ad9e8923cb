import type Stripe from 'stripe';
import { compareStripePrices, type PriceIds, setStripePrices } from '../calls/billing.ts';
import type { Environment } from '../config/environment.ts';
import type { Sql } from '../database/client.ts';
import { stripeStatus } from '../errors/stripe.ts';
import type { StripeAccount } from './client.ts';

/** The variables that name a price, and whose price it is. */
export const PRICE_VARIABLES = [
  { variable: 'STRIPE_PRPM_PLUS_PRICE_ID', kind: 'plans', name: 'prpm_plus_individual' },
  { variable: 'STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID', kind: 'plans', name: 'prpm_plus_org_member' },
  { variable: 'STRIPE_SMALL_PACK_PRICE_ID', kind: 'packs', name: 'small' },
  { variable: 'STRIPE_MEDIUM_PACK_PRICE_ID', kind: 'packs', name: 'medium' },
  { variable: 'STRIPE_LARGE_PACK_PRICE_ID', kind: 'packs', name: 'large' },
] as const satisfies readonly { variable: keyof Environment; kind: keyof PriceIds; name: string }[];

/** A start does not wait long for Stripe: what it could not see is looked at again. */
const FIRST_LOOK = { timeout: 5_000, maxNetworkRetries: 1 };

/** The ids that the environment gives. */
export function priceIds(environment: Environment): PriceIds {
  const ids: PriceIds = { plans: {}, packs: {} };
  for (const { variable, kind, name } of PRICE_VARIABLES) {
    const id = environment[variable];
    if (id !== undefined) ids[kind][name] = id;
  }
  return ids;
}

/**
 * Tells the database the ids of prices and compares what Stripe asks for each with what plans and packs say. Returns the
 * complaints, each naming both sides; throws Stripe's error where it cannot be asked. Spec 6.1, 6.2.
 */
export async function checkPrices(sql: Sql, account: StripeAccount, ids: PriceIds): Promise<string[]> {
  const offers = await setStripePrices(sql, ids);
  if (offers.length === 0) return [];
  const { stripe } = await account.load();
  const prices = await Promise.all(offers.map(({ priceId }) => lookUp(stripe, priceId)));
  return compareStripePrices(sql, prices, account.livemode);
}

async function lookUp(stripe: Stripe, id: string): Promise<Stripe.Price | { id: string; missing: true }> {
  try {
    return await stripe.prices.retrieve(id, {}, FIRST_LOOK);
  } catch (error) {
    if (stripeStatus(error) !== 404) throw error;
    return { id, missing: true };
  }
}
