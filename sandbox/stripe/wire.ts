/*
 * Stripe's objects as they travel: what the package's types say, in JSON. tsc fails where a builder drifts from them.
 */
import type Stripe from 'stripe';

/**
 * T as JSON: a Decimal is a string, what could be expanded is its id, an enum has the members that the package names
 * (its types also allow any other string).
 */
type Wire<T> = T extends Stripe.Decimal
  ? string
  : T extends object
    ? { [K in keyof T]: Wire<Named<Collapsed<T[K]>>> }
    : T;

/** `string | Customer` is the string; in an array, too. */
type Collapsed<T> = string extends T ? Exclude<T, { id: string }> : CollapsedArray<T>;
type CollapsedArray<T> = T extends readonly (infer E)[] ? (string extends E ? Exclude<E, { id: string }>[] : T) : T;

/** Without the open end of an enum; text that is no enum stays. */
type Named<T> = [Literal<T>] extends [never] ? T : Exclude<T, string> | Literal<T>;
type Literal<T> = T extends string ? (string extends T ? never : T) : never;

export type Account = Wire<Stripe.Account>;
export type Product = Wire<Stripe.Product>;
export type Price = Wire<Stripe.Price>;
export type Plan = Wire<Stripe.Plan>;
export type Customer = Wire<Stripe.Customer>;
export type Session = Wire<Stripe.Checkout.Session>;
export type LineItem = Wire<Stripe.LineItem>;
export type Subscription = Wire<Stripe.Subscription>;
export type SubscriptionItem = Wire<Stripe.SubscriptionItem>;
export type Coupon = Wire<Stripe.Coupon>;
export type Discount = Wire<Stripe.Discount>;
export type Invoice = Wire<Stripe.Invoice>;
export type InvoiceLine = Wire<Stripe.InvoiceLineItem>;
export type InvoicePayment = Wire<Stripe.InvoicePayment>;
export type PaymentIntent = Wire<Stripe.PaymentIntent>;
export type Charge = Wire<Stripe.Charge>;
export type Refund = Wire<Stripe.Refund>;
export type Dispute = Wire<Stripe.Dispute>;
export type PortalSession = Wire<Stripe.BillingPortal.Session>;
export type PortalConfiguration = Wire<Stripe.BillingPortal.Configuration>;
export type WebhookEndpoint = Wire<Stripe.WebhookEndpoint>;

/** An event whatever its type: the package's union of all of them says no more about `data` than we need. */
export type EventType = Named<Stripe.Event['type']>;
export type StripeEvent = {
  id: string;
  object: 'event';
  account?: string;
  api_version: string;
  context?: string;
  created: number;
  data: { object: Json; previous_attributes?: Json };
  livemode: boolean;
  pending_webhooks: number;
  request: { id: string | null; idempotency_key: string | null } | null;
  type: EventType;
};

export type Json = { [key: string]: unknown };

export type List<T> = { object: 'list'; data: T[]; has_more: boolean; url: string };
