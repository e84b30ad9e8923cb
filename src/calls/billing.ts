import type Stripe from 'stripe';
import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow, parseRows } from '../database/rows.ts';
import { refusalSchema } from '../errors/refusal.ts';

/*
 * What goes to Stripe is read as text, for the keys of JSON arrive in camelCase; what comes from Stripe is sent as text, for
 * it is JSON already. `livemode` is the mode of the server's own key, everywhere.
 */
const json = z.string().transform((text): unknown => JSON.parse(text));
const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);
const refused = z.object({ outcome: z.literal('refused'), refusal: refusalSchema });

/** Ids of prices at Stripe, by plan and by pack. */
export type PriceIds = { plans: Record<string, string>; packs: Record<string, string> };

const offerSchema = z.object({ kind: z.string(), name: z.string(), priceId: z.string() });

/** Stores the ids that are given, and answers every plan and pack that has one. */
export async function setStripePrices(sql: Sql, prices: PriceIds): Promise<z.output<typeof offerSchema>[]> {
  return parseRows(
    offerSchema,
    await sql`select kind, name, price_id from api.set_stripe_prices(${JSON.stringify(prices)}::text::jsonb)`,
  );
}

/** A complaint for each of these prices that is not what plans and packs say. One that is not there is `{id, missing}`. */
export async function compareStripePrices(
  sql: Sql,
  prices: (Stripe.Price | { id: string; missing: true })[],
  livemode: boolean,
): Promise<string[]> {
  const rows = await sql`
    select complaint from api.compare_stripe_prices(${JSON.stringify(prices)}::text::jsonb, ${livemode})`;
  return parseRows(z.object({ complaint: z.string() }), rows).map(({ complaint }) => complaint);
}

const beginCustomerSchema = z.object({
  customerId: z.string().nullable(),
  writeId: z.string().nullable(),
  lookSince: z.iso.datetime().nullable(),
  email: z.string().nullable(),
  username: z.string().nullable(),
});

/**
 * A user's customer at Stripe. Where `customerId` is null it is to be made, with `writeId` as its key; where there is a
 * `lookSince`, Stripe may have forgotten that key, and the customer is first to be looked for among those made since.
 */
export async function beginCustomer(
  sql: Sql,
  userId: string,
  livemode: boolean,
): Promise<z.output<typeof beginCustomerSchema>> {
  const rows = await sql`
    select customer_id, write_id, look_since, email, username from api.begin_customer(${userId}, ${livemode})`;
  return parseRow(beginCustomerSchema, rows);
}

/** Another key for making a user's customer, in place of one that Stripe may have forgotten. */
export async function renewCustomer(sql: Sql, userId: string, livemode: boolean, writeId: string): Promise<string> {
  const rows = await sql`select api.renew_customer(${userId}, ${livemode}, ${writeId}) as key`;
  return parseRow(z.object({ key: z.string() }), rows).key;
}

/** The customer that the user has from now on: the first that was kept. */
export async function keepCustomer(sql: Sql, userId: string, customerId: string, livemode: boolean): Promise<string> {
  const rows = await sql`select api.keep_customer(${userId}, ${customerId}, ${livemode}) as kept`;
  return parseRow(z.object({ kept: z.string() }), rows).kept;
}

/** Stripe does not know this customer any more: the next purchase makes another. */
export async function forgetCustomer(sql: Sql, userId: string, customerId: string): Promise<void> {
  await sql`select from api.forget_customer(${userId}, ${customerId})`;
}

/** Where a person comes back to. */
export type ReturnUrls = { successUrl: string; cancelUrl: string };

/** The body of a checkout session, but for its customer. */
const sessionParameters = json.pipe(z.custom<Stripe.Checkout.SessionCreateParams>(isObject));

const beginSubscribeSchema = z.discriminatedUnion('outcome', [
  refused,
  z.object({ outcome: z.literal('open'), url: z.string() }),
  z.object({ outcome: z.literal('expire'), sessionId: z.string() }),
  z.object({ outcome: z.literal('create'), checkoutId: z.string(), parameters: sessionParameters }),
]);

/** What is to be done so that this user can subscribe. `checkoutId` is the key of the session to make. */
export async function beginSubscribe(
  sql: Sql,
  userId: string,
  { successUrl, cancelUrl }: ReturnUrls,
  livemode: boolean,
): Promise<z.output<typeof beginSubscribeSchema>> {
  const rows = await sql`
    select outcome, refusal, checkout_id, session_id, url, parameters::text as parameters
    from api.begin_subscribe(${userId}, ${successUrl}, ${cancelUrl}, ${livemode})`;
  return parseRow(beginSubscribeSchema, rows);
}

const beginPurchaseSchema = z.discriminatedUnion('outcome', [
  refused,
  z.object({
    outcome: z.literal('create'),
    purchaseId: z.string(),
    credits: z.number(),
    cents: z.number(),
    parameters: sessionParameters,
  }),
]);

/** A new purchase of a pack. `purchaseId` is the key of the session to make. */
export async function beginPurchase(
  sql: Sql,
  userId: string,
  pack: string,
  { successUrl, cancelUrl }: ReturnUrls,
  livemode: boolean,
): Promise<z.output<typeof beginPurchaseSchema>> {
  const rows = await sql`
    select outcome, refusal, purchase_id, credits, (price * 100)::integer as cents, parameters::text as parameters
    from api.begin_purchase(${userId}, ${pack}, ${successUrl}, ${cancelUrl}, ${livemode})`;
  return parseRow(beginPurchaseSchema, rows);
}

/** `checkoutId` is that of a subscription's checkout or of a purchase; `expiresAt` is ISO 8601. */
export type Checkout = { checkoutId: string; sessionId: string; url: string; expiresAt: string };

export async function keepCheckout(sql: Sql, userId: string, checkout: Checkout): Promise<void> {
  const { checkoutId, sessionId, url, expiresAt } = checkout;
  await sql`select from api.keep_checkout(${userId}, ${checkoutId}, ${sessionId}, ${url}, ${expiresAt})`;
}

export async function endCheckout(sql: Sql, userId: string, sessionId: string, how: 'expired'): Promise<void> {
  await sql`select from api.end_checkout(${userId}, ${sessionId}, ${how})`;
}

/** Of a user, `price` in dollars a month as text. `told` is a sentence for the person. */
export const subscriptionSchema = z.object({
  isActive: z.boolean(),
  /** Another cannot be begun. */
  isOpen: z.boolean(),
  status: z.string().nullable(),
  plan: z.string().nullable(),
  tier: z.string().nullable(),
  price: z.string().nullable(),
  currency: z.string().nullable(),
  interval: z.string().nullable(),
  credits: z.number().nullable(),
  cancelAtPeriodEnd: z.boolean(),
  cancelAt: z.string().nullable(),
  currentPeriodEnd: z.string().nullable(),
  paidUntil: z.string().nullable(),
  entitledUntil: z.string().nullable(),
  paymentProblem: z.object({ since: z.string().nullable(), hostedInvoiceUrl: z.string().nullable() }).nullable(),
  collectionPaused: z.boolean(),
  told: z.string(),
});

export async function readSubscription(sql: Sql, userId: string): Promise<z.output<typeof subscriptionSchema>> {
  const rows = await sql`select subscription from api.read_subscription(${userId}) as subscription`;
  return parseRow(z.object({ subscription: subscriptionSchema }), rows).subscription;
}

/** What PRPM+ would cost this user: dollars a month, and how many percent less than others pay. */
export const pricingSchema = z.object({
  plan: z.string(),
  price: z.number(),
  currency: z.string(),
  interval: z.string(),
  credits: z.number(),
  isOrgMember: z.boolean(),
  orgName: z.string().nullable(),
  discount: z.number(),
});

/** Of nobody in particular where `userId` is null. */
export async function readPricing(sql: Sql, userId: string | null): Promise<z.output<typeof pricingSchema>> {
  const rows = await sql`select pricing from api.read_pricing(${userId}) as pricing`;
  return parseRow(z.object({ pricing: pricingSchema }), rows).pricing;
}

/** A pack on sale: `price` in cents, `perCreditCost` in dollars, `bonus` in percent. */
export const packSchema = z.object({
  id: z.string(),
  name: z.string(),
  credits: z.number(),
  price: z.number(),
  priceFormatted: z.string(),
  perCreditCost: z.number(),
  bonus: z.number(),
  description: z.string().nullable(),
  popular: z.boolean(),
});

export async function listPacks(sql: Sql, userId: string | null): Promise<z.output<typeof packSchema>[]> {
  const rows = await sql`select packs from api.list_packs(${userId}) as packs`;
  return parseRow(z.object({ packs: z.array(packSchema) }), rows).packs;
}

/** What became of a checkout at Stripe; `price` in dollars as text. `waiting`: Stripe has not told of the payment yet. */
export const checkoutSchema = z.object({
  kind: z.enum(['pack', 'subscription']),
  name: z.string(),
  credits: z.number(),
  price: z.string(),
  state: z.enum(['waiting', 'done', 'in_review', 'failed', 'expired']),
});

/** The newest where no session is named. Undefined where the user began no such checkout. */
export async function readCheckout(
  sql: Sql,
  userId: string,
  sessionId: string | null,
): Promise<z.output<typeof checkoutSchema> | undefined> {
  const rows = await sql`select checkout from api.read_checkout(${userId}, ${sessionId}) as checkout`;
  return parseRow(z.object({ checkout: checkoutSchema.nullable() }), rows).checkout ?? undefined;
}

const changeSchema = z.discriminatedUnion('outcome', [
  refused,
  z.object({ outcome: z.literal('ready') }),
  z.object({ outcome: z.literal('queued'), workId: z.string() }),
]);

/** Queues what cancels a subscription at the end of its period, or takes that back. `ready`: it is so already. */
export async function beginSubscriptionChange(
  sql: Sql,
  userId: string,
  action: 'cancel' | 'resume',
): Promise<z.output<typeof changeSchema>> {
  const rows = await sql`
    select outcome, refusal, work_id from api.begin_subscription_change(${userId}, ${action})`;
  return parseRow(changeSchema, rows);
}

const portalSchema = z.discriminatedUnion('outcome', [
  refused,
  z.object({ outcome: z.literal('ready'), customerId: z.string() }),
]);

export async function beginPortal(sql: Sql, userId: string, livemode: boolean): Promise<z.output<typeof portalSchema>> {
  const rows = await sql`select outcome, refusal, customer_id from api.begin_portal(${userId}, ${livemode})`;
  return parseRow(portalSchema, rows);
}

const storedSchema = z.object({ outcome: z.enum(['stored', 'repeated', 'pending']) });

/** An event whose signature was good: `body` is the text that was signed, the version is that of our own client. */
export type SignedEvent = { id: string; body: string; livemode: boolean; apiVersion: string };

/** Puts an event into the inbox. `repeated`: it is done with; `pending`: known, and not applied yet. */
export async function storeStripeEvent(
  sql: Sql,
  { id, body, livemode, apiVersion }: SignedEvent,
): Promise<z.output<typeof storedSchema>['outcome']> {
  const rows = await sql`select api.store_stripe_event(${id}, ${body}, ${livemode}, ${apiVersion}) as outcome`;
  return parseRow(storedSchema, rows).outcome;
}

const appliedSchema = z.object({ outcome: z.enum(['applied', 'ignored', 'needs_review', 'pending']) });

/** Applies a stored event, once. Raises what went wrong, which is then for failStripeEvent. */
export async function applyStripeEvent(sql: Sql, id: string): Promise<z.output<typeof appliedSchema>['outcome']> {
  return parseRow(appliedSchema, await sql`select api.apply_stripe_event(${id}) as outcome`).outcome;
}

/** The event is tried again later. */
export async function failStripeEvent(sql: Sql, id: string, error: string): Promise<void> {
  await sql`select from api.fail_stripe_event(${id}, ${error})`;
}

/** One thing to do at Stripe. `key` is the id of what it is about; `workId` is the idempotency key of a write. */
const workSchema = z.object({
  workId: z.string(),
  kind: z.string(),
  key: z.string(),
  parameters: json.nullable(),
  ticket: z.number().nullable(),
});
export type Work = z.output<typeof workSchema>;

/** Takes what is due, or only the one, for two minutes. */
export async function claimStripeWork(sql: Sql, most: number, only: string | null): Promise<Work[]> {
  const rows = await sql`
    select work_id, kind, key, parameters::text as parameters, ticket
    from api.claim_stripe_work(${most}, ${only})`;
  return parseRows(workSchema, rows);
}

/** Applies what Stripe answered; null where it was not asked. */
export async function finishStripeWork(sql: Sql, { workId, ticket }: Work, result: unknown): Promise<void> {
  const answered = result === null ? null : JSON.stringify(result);
  await sql`select from api.finish_stripe_work(${workId}, ${ticket}, ${answered}::text::jsonb)`;
}

/** Work that is final is not tried again. */
export async function failStripeWork(sql: Sql, workId: string, error: string, isFinal: boolean): Promise<void> {
  await sql`select from api.fail_stripe_work(${workId}, ${error}, ${isFinal})`;
}

/** How many calls a second the worker may make. */
export async function stripeLimits(sql: Sql): Promise<{ maxRps: number }> {
  return parseRow(z.object({ maxRps: z.number().positive() }), await sql`select max_rps from api.stripe_limits()`);
}

export const stripeEventsSchema = z.object({
  events: z.array(
    z.object({
      id: z.string(),
      type: z.string(),
      status: z.string(),
      userId: z.string().nullable(),
      username: z.string().nullable(),
      attempts: z.number(),
      error: z.string().nullable(),
      receivedAt: z.string(),
      appliedAt: z.string().nullable(),
      hasBody: z.boolean(),
    }),
  ),
  nextCursor: z.string().nullable(),
  waiting: z.number(),
  inReview: z.number(),
});

export type StripeEventsAsked = { status: string | null; search: string | null; limit: number; cursor: string | null };

/** The inbox, newest first, for an administrator. Spec 6.4. */
export async function listStripeEvents(
  sql: Sql,
  userId: string,
  { status, search, limit, cursor }: StripeEventsAsked,
): Promise<z.output<typeof stripeEventsSchema>> {
  const rows = await sql`
    select events, next_cursor, waiting, in_review
    from api.list_stripe_events(${userId}, ${status}, ${search}, ${limit}, ${cursor})`;
  return parseRow(stripeEventsSchema, rows);
}

export const replayedSchema = z.object({ id: z.string(), status: z.string(), error: z.string().nullable() });

/** Applies a stored event once more, for an administrator. Spec 6.5. */
export async function replayStripeEvent(
  sql: Sql,
  userId: string,
  eventId: string,
  reason: string,
): Promise<z.output<typeof replayedSchema>> {
  const rows = await sql`select id, status, error from api.replay_stripe_event(${userId}, ${eventId}, ${reason})`;
  return parseRow(replayedSchema, rows);
}
