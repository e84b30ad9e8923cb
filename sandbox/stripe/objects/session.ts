import { newId } from '../ids.ts';
import type { LineItem, Price, Session } from '../wire.ts';
import type { World } from '../world.ts';

export type NewSession = {
  mode: 'payment' | 'subscription';
  lines: readonly LineItem[];
  customer: string | null;
  customerEmail: string | null;
  successUrl: string | null;
  cancelUrl: string | null;
  expiresAt: number;
  clientReferenceId: string | null;
  metadata: Record<string, string>;
  allowedTypes: string[] | null;
  allowPromotionCodes: boolean | null;
  adaptivePricing: boolean;
  automaticTax: boolean;
  customerCreation: Session['customer_creation'];
  invoiceCreation: boolean;
  discount: { coupon: string; amount: number } | null;
  locale: Session['locale'];
  submitType: Session['submit_type'];
  billingAddressCollection: Session['billing_address_collection'];
};

const DAY = 24 * 60 * 60;
export const SESSION_LIFE = { usual: DAY, least: 30 * 60, most: DAY };

export function buildSession(world: World, wanted: NewSession): Session {
  const { livemode, publicUrl } = world.settings;
  const id = newId(livemode ? 'cs_live' : 'cs_test', 58);
  const subtotal = wanted.lines.reduce((sum, line) => sum + line.amount_subtotal, 0);
  const discount = Math.min(wanted.discount?.amount ?? 0, subtotal);
  const isPayment = wanted.mode === 'payment';
  return {
    id,
    object: 'checkout.session',
    adaptive_pricing: { enabled: wanted.adaptivePricing },
    after_expiration: null,
    allow_promotion_codes: wanted.allowPromotionCodes,
    allowed_payment_method_types: wanted.allowedTypes,
    amount_subtotal: subtotal,
    amount_total: subtotal - discount,
    automatic_tax: { enabled: wanted.automaticTax, liability: null, provider: null, status: null },
    billing_address_collection: wanted.billingAddressCollection,
    cancel_url: wanted.cancelUrl,
    client_reference_id: wanted.clientReferenceId,
    client_secret: null,
    collected_information: null,
    consent: null,
    consent_collection: null,
    created: world.now,
    currency: wanted.lines[0]?.currency ?? 'usd',
    currency_conversion: null,
    custom_fields: [],
    custom_text: { after_submit: null, shipping_address: null, submit: null, terms_of_service_acceptance: null },
    customer: wanted.customer,
    customer_account: null,
    customer_creation: wanted.customerCreation,
    customer_details: null,
    customer_email: wanted.customerEmail,
    discounts: wanted.discount ? [{ coupon: wanted.discount.coupon, promotion_code: null }] : [],
    expires_at: wanted.expiresAt,
    integration_identifier: null,
    invoice: null,
    invoice_creation: isPayment
      ? {
          enabled: wanted.invoiceCreation,
          invoice_data: {
            account_tax_ids: null,
            custom_fields: null,
            description: null,
            footer: null,
            issuer: null,
            metadata: {},
            rendering_options: null,
          },
        }
      : null,
    livemode,
    locale: wanted.locale,
    managed_payments: { enabled: false },
    metadata: wanted.metadata,
    mode: wanted.mode,
    origin_context: null,
    payment_intent: null,
    payment_link: null,
    payment_method_collection: isPayment ? 'if_required' : 'always',
    payment_method_configuration_details: null,
    payment_method_options: { card: { request_three_d_secure: 'automatic' } },
    payment_method_types: wanted.allowedTypes ?? ['card', 'link'],
    payment_status: subtotal - discount > 0 ? 'unpaid' : 'no_payment_required',
    permissions: null,
    phone_number_collection: { enabled: false },
    recovered_from: null,
    saved_payment_method_options: null,
    setup_intent: null,
    shipping_address_collection: null,
    shipping_cost: null,
    shipping_options: [],
    status: 'open',
    submit_type: wanted.submitType,
    subscription: null,
    success_url: wanted.successUrl,
    total_details: { amount_discount: discount, amount_shipping: 0, amount_tax: 0 },
    ui_mode: 'hosted_page',
    url: `${publicUrl}/pay/${id}`,
    wallet_options: null,
  };
}

export function buildLineItem(price: Price, quantity: number, description: string): LineItem {
  const amount = (price.unit_amount ?? 0) * quantity;
  return {
    id: newId('li'),
    object: 'item',
    adjustable_quantity: null,
    amount_discount: 0,
    amount_subtotal: amount,
    amount_tax: 0,
    amount_total: amount,
    currency: price.currency,
    description,
    metadata: {},
    price: structuredClone(price),
    quantity,
  };
}
