import { z } from 'zod';
import type {
  Account,
  Charge,
  Coupon,
  Customer,
  Discount,
  Dispute,
  Invoice,
  InvoicePayment,
  LineItem,
  PaymentIntent,
  PortalConfiguration,
  PortalSession,
  Price,
  Product,
  Refund,
  Session,
  StripeEvent,
  Subscription,
  WebhookEndpoint,
} from './wire.ts';

/** Oldest first: ids are no array indexes, so an object keeps them in the order in which they came. */
export type Table<T> = { [id: string]: T };

/** What Stripe knows but shows in no object. */
export type Wallet = { card: CardState; failNext: number };
export type CardState = 'good' | 'declined' | 'requires_action';
export type Order = {
  lines: LineItem[];
  paymentIntentData: PaymentIntentData;
  subscriptionData: SubscriptionData;
  /** Made by a first try to pay that failed. */
  subscription: string | null;
  lastError: string | null;
};
type PaymentIntentData = {
  metadata?: Record<string, string> | undefined;
  description?: string | undefined;
  receipt_email?: string | undefined;
  setup_future_usage?: 'off_session' | 'on_session' | undefined;
};
type SubscriptionData = {
  metadata?: Record<string, string> | undefined;
  description?: string | undefined;
  trial_end?: number | undefined;
  trial_period_days?: number | undefined;
};

export type Due = {
  /** Seconds. */
  at: number;
  kind:
    | 'session expires'
    | 'first payment missed'
    | 'trial ends soon'
    | 'period ends'
    | 'cancellation'
    | 'collection resumes'
    | 'invoice finalizes'
    | 'invoice is tried again';
  id: string;
};

/** One event on its way to one endpoint. */
export type Delivery = {
  event: string;
  endpoint: string;
  state: 'pending' | 'delivered' | 'failed';
  /** One for each try: when (wall clock, ms), and the status answered, 0 if nobody did. */
  tries: { at: number; status: number }[];
};

export type KeptAnswer = { fingerprint: string; status: number; body: string; requestId: string; at: number };

export type State = {
  format: 1;
  /** The clock: ms since the epoch, or ms that it is ahead of the wall clock. */
  now: number;
  account: Account;
  products: Table<Product>;
  prices: Table<Price>;
  customers: Table<Customer>;
  deletedCustomers: Table<true>;
  sessions: Table<Session>;
  subscriptions: Table<Subscription>;
  coupons: Table<Coupon>;
  discounts: Table<Discount>;
  invoices: Table<Invoice>;
  invoicePayments: Table<InvoicePayment>;
  paymentIntents: Table<PaymentIntent>;
  charges: Table<Charge>;
  refunds: Table<Refund>;
  disputes: Table<Dispute>;
  portalSessions: Table<PortalSession>;
  portalConfigurations: Table<PortalConfiguration>;
  endpoints: Table<WebhookEndpoint>;
  events: Table<StripeEvent>;
  wallets: Table<Wallet>;
  orders: Table<Order>;
  /** All secrets that sign for an endpoint: two while one is rolled. */
  secrets: Table<string[]>;
  agenda: Due[];
  deliveries: Delivery[];
  keys: Table<KeptAnswer>;
  invoiceNumbers: number;
};

export function emptyState(account: Account, now: number): State {
  return {
    format: 1,
    now,
    account,
    products: {},
    prices: {},
    customers: {},
    deletedCustomers: {},
    sessions: {},
    subscriptions: {},
    coupons: {},
    discounts: {},
    invoices: {},
    invoicePayments: {},
    paymentIntents: {},
    charges: {},
    refunds: {},
    disputes: {},
    portalSessions: {},
    portalConfigurations: {},
    endpoints: {},
    events: {},
    wallets: {},
    orders: {},
    secrets: {},
    agenda: [],
    deliveries: [],
    keys: {},
    invoiceNumbers: 0,
  };
}

const MONTH = 30 * 24 * 60 * 60;

/** All of it, but for events that nobody can ask for any more, 30 days after they were made, and that have arrived. */
export function writeSnapshot(state: State, now: number): string {
  const waiting = new Set(state.deliveries.filter(({ state }) => state === 'pending').map(({ event }) => event));
  const kept = Object.entries(state.events).filter(([id, { created }]) => created > now - MONTH || waiting.has(id));
  const events = Object.fromEntries(kept);
  const deliveries = state.deliveries.filter(({ event }) => Object.hasOwn(events, event));
  return JSON.stringify({ ...state, events, deliveries });
}

/** A snapshot is one of our own, of this format; nothing more is looked at. */
const Snapshot = z.looseObject({ format: z.literal(1), agenda: z.array(z.unknown()) });

export function readSnapshot(snapshot: string): State {
  const state: unknown = JSON.parse(snapshot);
  Snapshot.parse(state);
  return state as State; // written by snapshot(): describing every object a second time would prove nothing
}
