import { z } from 'zod';
import { productData, recurring } from './catalog.ts';
import { bool, currency, int, newMetadata, seconds, text, url } from './parameters.ts';

const lineItem = z.strictObject({
  price: text.optional(),
  price_data: z
    .strictObject({
      currency,
      unit_amount: int.pipe(z.number().min(0)),
      product: text.optional(),
      product_data: productData.optional(),
      recurring: recurring.optional(),
      tax_behavior: z.enum(['inclusive', 'exclusive', 'unspecified']).optional(),
    })
    .optional(),
  quantity: int.pipe(z.number().min(1)).optional(),
});

/** What POST /v1/checkout/sessions takes here: hosted pages for payments and subscriptions. */
export const sessionParameters = {
  mode: z.enum(['payment', 'subscription']),
  line_items: z.array(lineItem).min(1).max(100),
  success_url: url,
  cancel_url: url.optional(),
  customer: text.optional(),
  customer_email: text.max(800).optional(),
  customer_creation: z.enum(['always', 'if_required']).optional(),
  customer_update: z
    .strictObject({
      address: z.enum(['auto', 'never']).optional(),
      name: z.enum(['auto', 'never']).optional(),
      shipping: z.enum(['auto', 'never']).optional(),
    })
    .optional(),
  client_reference_id: text.max(200).optional(),
  metadata: newMetadata.optional(),
  expires_at: seconds.optional(),
  payment_intent_data: z
    .strictObject({
      metadata: newMetadata.optional(),
      description: text.max(1000).optional(),
      receipt_email: text.optional(),
      setup_future_usage: z.enum(['off_session', 'on_session']).optional(),
      statement_descriptor: text.max(22).optional(),
      statement_descriptor_suffix: text.max(22).optional(),
    })
    .optional(),
  subscription_data: z
    .strictObject({
      metadata: newMetadata.optional(),
      description: text.max(500).optional(),
      trial_end: seconds.optional(),
      trial_period_days: int.pipe(z.number().min(1)).optional(),
      billing_mode: z
        .strictObject({
          type: z.enum(['flexible']),
          flexible: z.strictObject({ proration_discounts: z.enum(['included', 'itemized']).optional() }).optional(),
        })
        .optional(),
      proration_behavior: z.enum(['none', 'create_prorations']).optional(),
      trial_settings: z
        .strictObject({
          end_behavior: z.strictObject({ missing_payment_method: z.enum(['create_invoice', 'cancel', 'pause']) }),
        })
        .optional(),
    })
    .optional(),
  allowed_payment_method_types: z.array(text).min(1).optional(),
  excluded_payment_method_types: z.array(text).optional(),
  allow_promotion_codes: bool.optional(),
  adaptive_pricing: z.strictObject({ enabled: bool.optional() }).optional(),
  automatic_tax: z.strictObject({ enabled: bool }).optional(),
  billing_address_collection: z.enum(['auto', 'required']).optional(),
  discounts: z
    .array(z.strictObject({ coupon: text }))
    .max(1)
    .optional(),
  invoice_creation: z
    .strictObject({ enabled: bool, invoice_data: z.strictObject({ metadata: newMetadata.optional() }).optional() })
    .optional(),
  locale: z.enum(['auto', 'en', 'en-GB', 'de', 'es', 'fr', 'it', 'ja', 'nl', 'pt', 'pt-BR']).optional(),
  origin_context: z.enum(['web', 'mobile_app']).optional(),
  payment_method_collection: z.enum(['always', 'if_required']).optional(),
  phone_number_collection: z.strictObject({ enabled: bool }).optional(),
  submit_type: z.enum(['auto', 'book', 'donate', 'pay', 'subscribe']).optional(),
  tax_id_collection: z.strictObject({ enabled: bool }).optional(),
  ui_mode: z.literal('hosted_page').optional(),
};

export type SessionParameters = z.output<z.ZodObject<typeof sessionParameters, z.core.$strict>>;
