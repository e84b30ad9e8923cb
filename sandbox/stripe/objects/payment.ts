import { newId } from '../ids.ts';
import type { Charge, PaymentIntent } from '../wire.ts';
import type { World } from '../world.ts';

export type NewPayment = {
  amount: number;
  currency: string;
  customer: string | null;
  metadata?: Record<string, string> | undefined;
  description?: string | null | undefined;
  receiptEmail?: string | null | undefined;
  setupFutureUsage?: PaymentIntent['setup_future_usage'] | undefined;
};

export function buildPaymentIntent(world: World, wanted: NewPayment): PaymentIntent {
  const id = newId('pi');
  return {
    id,
    object: 'payment_intent',
    allowed_payment_method_types: null,
    amount: wanted.amount,
    amount_capturable: 0,
    amount_details: { tip: {} },
    amount_received: 0,
    application: null,
    application_fee_amount: null,
    automatic_payment_methods: null,
    canceled_at: null,
    cancellation_reason: null,
    capture_method: 'automatic',
    client_secret: newId(`${id}_secret`, 25),
    confirmation_method: 'automatic',
    created: world.now,
    currency: wanted.currency,
    customer: wanted.customer,
    customer_account: null,
    description: wanted.description ?? null,
    excluded_payment_method_types: null,
    last_payment_error: null,
    latest_charge: null,
    livemode: world.settings.livemode,
    managed_payments: null,
    metadata: { ...wanted.metadata },
    next_action: null,
    on_behalf_of: null,
    payment_method: null,
    payment_method_configuration_details: null,
    payment_method_options: null,
    payment_method_types: ['card', 'link'],
    payment_record: null,
    processing: null,
    receipt_email: wanted.receiptEmail ?? null,
    review: null,
    setup_future_usage: wanted.setupFutureUsage ?? null,
    shipping: null,
    source: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status: 'requires_payment_method',
    transfer_data: null,
    transfer_group: null,
  };
}

/** A charge of a card, which went through or did not; its metadata is a copy of the payment's. */
export function buildCharge(world: World, payment: PaymentIntent, card: string, status: Charge['status']): Charge {
  const isGood = status === 'succeeded';
  const isFailed = status === 'failed';
  return {
    id: newId('ch'),
    object: 'charge',
    amount: payment.amount,
    amount_captured: isGood ? payment.amount : 0,
    amount_refunded: 0,
    application: null,
    application_fee: null,
    application_fee_amount: null,
    balance_transaction: isGood ? newId('txn') : null,
    billing_details: { address: null, email: null, name: null, phone: null, tax_id: null },
    calculated_statement_descriptor: 'SANDBOX',
    captured: isGood,
    created: world.now,
    currency: payment.currency,
    customer: payment.customer,
    description: payment.description,
    disputed: false,
    failure_balance_transaction: null,
    failure_code: isFailed ? 'card_declined' : null,
    failure_message: isFailed ? DECLINED : null,
    fraud_details: {},
    livemode: payment.livemode,
    metadata: { ...payment.metadata },
    on_behalf_of: null,
    outcome: {
      advice_code: null,
      network_advice_code: null,
      network_decline_code: null,
      network_status: isFailed ? 'declined_by_network' : 'approved_by_network',
      reason: isFailed ? 'generic_decline' : null,
      risk_level: 'normal',
      risk_score: 12,
      seller_message: isFailed ? 'The bank did not return any further details.' : 'Payment complete.',
      type: isFailed ? 'issuer_declined' : 'authorized',
    },
    paid: !isFailed,
    payment_intent: payment.id,
    payment_method: card,
    payment_method_details: { card: cardDetails(world.now, payment.amount), type: 'card' },
    receipt_email: payment.receipt_email,
    receipt_number: null,
    receipt_url: null,
    refunded: false,
    review: null,
    shipping: null,
    source: null,
    source_transfer: null,
    statement_descriptor: null,
    statement_descriptor_suffix: null,
    status,
    transfer_data: null,
    transfer_group: null,
  };
}

export const DECLINED = 'Your card was declined.';

function cardDetails(now: number, amount: number): NonNullable<Charge['payment_method_details']>['card'] & {} {
  return {
    amount_authorized: amount,
    authorization_code: null,
    brand: 'visa',
    checks: { address_line1_check: null, address_postal_code_check: null, cvc_check: 'pass' },
    country: 'US',
    electronic_commerce_indicator: null,
    exp_month: 12,
    exp_year: new Date(now * 1000).getUTCFullYear() + 3,
    fingerprint: 'sandbox4242',
    funding: 'credit',
    installments: null,
    last4: '4242',
    mandate: null,
    network: 'visa',
    network_token: { used: false },
    network_transaction_id: '100000000000001',
    regulated_status: 'unregulated',
    three_d_secure: null,
    transaction_link_id: null,
    wallet: null,
  };
}
