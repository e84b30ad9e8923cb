import type { Call } from '../../../sandbox/stripe/api/server.ts';
import { declared, differences } from './check.ts';

type Named = readonly [file: string, name: string];

/** For each endpoint that the stand-in has, what the package declares: what it takes, and what it answers. */
const ENDPOINTS: readonly (readonly [endpoint: string, takes: Named | null, answers: Named, isList?: 'list'])[] = [
  ['GET /v1/account', null, ['Accounts', 'Account']],

  ['POST /v1/products', ['Products', 'ProductCreateParams'], ['Products', 'Product']],
  ['GET /v1/products', ['Products', 'ProductListParams'], ['Products', 'Product'], 'list'],
  ['GET /v1/products/:id', ['Products', 'ProductRetrieveParams'], ['Products', 'Product']],
  ['POST /v1/products/:id', ['Products', 'ProductUpdateParams'], ['Products', 'Product']],
  ['POST /v1/prices', ['Prices', 'PriceCreateParams'], ['Prices', 'Price']],
  ['GET /v1/prices', ['Prices', 'PriceListParams'], ['Prices', 'Price'], 'list'],
  ['GET /v1/prices/:id', ['Prices', 'PriceRetrieveParams'], ['Prices', 'Price']],
  ['POST /v1/prices/:id', ['Prices', 'PriceUpdateParams'], ['Prices', 'Price']],

  ['POST /v1/customers', ['Customers', 'CustomerCreateParams'], ['Customers', 'Customer']],
  ['GET /v1/customers', ['Customers', 'CustomerListParams'], ['Customers', 'Customer'], 'list'],
  ['GET /v1/customers/:id', ['Customers', 'CustomerRetrieveParams'], ['Customers', 'Customer']],
  ['POST /v1/customers/:id', ['Customers', 'CustomerUpdateParams'], ['Customers', 'Customer']],
  ['DELETE /v1/customers/:id', ['Customers', 'CustomerDeleteParams'], ['Customers', 'DeletedCustomer']],

  [
    'POST /v1/checkout/sessions',
    ['Checkout/Sessions', 'Checkout.SessionCreateParams'],
    ['Checkout/Sessions', 'Session'],
  ],
  [
    'GET /v1/checkout/sessions',
    ['Checkout/Sessions', 'Checkout.SessionListParams'],
    ['Checkout/Sessions', 'Session'],
    'list',
  ],
  [
    'GET /v1/checkout/sessions/:id',
    ['Checkout/Sessions', 'Checkout.SessionRetrieveParams'],
    ['Checkout/Sessions', 'Session'],
  ],
  [
    'POST /v1/checkout/sessions/:id',
    ['Checkout/Sessions', 'Checkout.SessionUpdateParams'],
    ['Checkout/Sessions', 'Session'],
  ],
  [
    'POST /v1/checkout/sessions/:id/expire',
    ['Checkout/Sessions', 'Checkout.SessionExpireParams'],
    ['Checkout/Sessions', 'Session'],
  ],
  [
    'GET /v1/checkout/sessions/:id/line_items',
    ['Checkout/Sessions', 'Checkout.SessionListLineItemsParams'],
    ['LineItems', 'LineItem'],
    'list',
  ],

  ['GET /v1/subscriptions', ['Subscriptions', 'SubscriptionListParams'], ['Subscriptions', 'Subscription'], 'list'],
  ['GET /v1/subscriptions/:id', ['Subscriptions', 'SubscriptionRetrieveParams'], ['Subscriptions', 'Subscription']],
  ['POST /v1/subscriptions/:id', ['Subscriptions', 'SubscriptionUpdateParams'], ['Subscriptions', 'Subscription']],
  ['DELETE /v1/subscriptions/:id', ['Subscriptions', 'SubscriptionCancelParams'], ['Subscriptions', 'Subscription']],
  ['POST /v1/subscriptions/:id/pause', ['Subscriptions', 'SubscriptionPauseParams'], ['Subscriptions', 'Subscription']],
  [
    'POST /v1/subscriptions/:id/resume',
    ['Subscriptions', 'SubscriptionResumeParams'],
    ['Subscriptions', 'Subscription'],
  ],

  ['GET /v1/invoices', ['Invoices', 'InvoiceListParams'], ['Invoices', 'Invoice'], 'list'],
  ['GET /v1/invoices/:id', ['Invoices', 'InvoiceRetrieveParams'], ['Invoices', 'Invoice']],
  [
    'GET /v1/invoices/:id/lines',
    ['Invoices', 'InvoiceListLineItemsParams'],
    ['InvoiceLineItems', 'InvoiceLineItem'],
    'list',
  ],
  ['POST /v1/invoices/:id/finalize', ['Invoices', 'InvoiceFinalizeInvoiceParams'], ['Invoices', 'Invoice']],
  ['POST /v1/invoices/:id/pay', ['Invoices', 'InvoicePayParams'], ['Invoices', 'Invoice']],
  ['POST /v1/invoices/:id/void', ['Invoices', 'InvoiceVoidInvoiceParams'], ['Invoices', 'Invoice']],
  [
    'GET /v1/invoice_payments',
    ['InvoicePayments', 'InvoicePaymentListParams'],
    ['InvoicePayments', 'InvoicePayment'],
    'list',
  ],
  [
    'GET /v1/invoice_payments/:id',
    ['InvoicePayments', 'InvoicePaymentRetrieveParams'],
    ['InvoicePayments', 'InvoicePayment'],
  ],

  [
    'GET /v1/payment_intents',
    ['PaymentIntents', 'PaymentIntentListParams'],
    ['PaymentIntents', 'PaymentIntent'],
    'list',
  ],
  [
    'GET /v1/payment_intents/:id',
    ['PaymentIntents', 'PaymentIntentRetrieveParams'],
    ['PaymentIntents', 'PaymentIntent'],
  ],
  ['GET /v1/charges', ['Charges', 'ChargeListParams'], ['Charges', 'Charge'], 'list'],
  ['GET /v1/charges/:id', ['Charges', 'ChargeRetrieveParams'], ['Charges', 'Charge']],
  ['POST /v1/refunds', ['Refunds', 'RefundCreateParams'], ['Refunds', 'Refund']],
  ['GET /v1/refunds', ['Refunds', 'RefundListParams'], ['Refunds', 'Refund'], 'list'],
  ['GET /v1/refunds/:id', ['Refunds', 'RefundRetrieveParams'], ['Refunds', 'Refund']],
  ['POST /v1/refunds/:id', ['Refunds', 'RefundUpdateParams'], ['Refunds', 'Refund']],
  ['GET /v1/disputes', ['Disputes', 'DisputeListParams'], ['Disputes', 'Dispute'], 'list'],
  ['GET /v1/disputes/:id', ['Disputes', 'DisputeRetrieveParams'], ['Disputes', 'Dispute']],

  [
    'POST /v1/billing_portal/configurations',
    ['BillingPortal/Configurations', 'BillingPortal.ConfigurationCreateParams'],
    ['BillingPortal/Configurations', 'Configuration'],
  ],
  [
    'GET /v1/billing_portal/configurations',
    ['BillingPortal/Configurations', 'BillingPortal.ConfigurationListParams'],
    ['BillingPortal/Configurations', 'Configuration'],
    'list',
  ],
  [
    'GET /v1/billing_portal/configurations/:id',
    ['BillingPortal/Configurations', 'BillingPortal.ConfigurationRetrieveParams'],
    ['BillingPortal/Configurations', 'Configuration'],
  ],
  [
    'POST /v1/billing_portal/configurations/:id',
    ['BillingPortal/Configurations', 'BillingPortal.ConfigurationUpdateParams'],
    ['BillingPortal/Configurations', 'Configuration'],
  ],
  [
    'POST /v1/billing_portal/sessions',
    ['BillingPortal/Sessions', 'BillingPortal.SessionCreateParams'],
    ['BillingPortal/Sessions', 'Session'],
  ],

  [
    'POST /v1/webhook_endpoints',
    ['WebhookEndpoints', 'WebhookEndpointCreateParams'],
    ['WebhookEndpoints', 'WebhookEndpoint'],
  ],
  [
    'GET /v1/webhook_endpoints',
    ['WebhookEndpoints', 'WebhookEndpointListParams'],
    ['WebhookEndpoints', 'WebhookEndpoint'],
    'list',
  ],
  [
    'GET /v1/webhook_endpoints/:id',
    ['WebhookEndpoints', 'WebhookEndpointRetrieveParams'],
    ['WebhookEndpoints', 'WebhookEndpoint'],
  ],
  [
    'POST /v1/webhook_endpoints/:id',
    ['WebhookEndpoints', 'WebhookEndpointUpdateParams'],
    ['WebhookEndpoints', 'WebhookEndpoint'],
  ],
  [
    'DELETE /v1/webhook_endpoints/:id',
    ['WebhookEndpoints', 'WebhookEndpointDeleteParams'],
    ['WebhookEndpoints', 'DeletedWebhookEndpoint'],
  ],
  ['GET /v1/events', ['Events', 'EventListParams'], ['Events', 'Event'], 'list'],
  ['GET /v1/events/:id', ['Events', 'EventRetrieveParams'], ['Events', 'Event']],
];

export type Endpoint = {
  endpoint: string;
  takes: ReturnType<typeof declared> | null;
  answers: ReturnType<typeof declared>;
};

export const endpoints: readonly Endpoint[] = ENDPOINTS.map(([endpoint, takes, answers, isList]) => {
  const one = declared(...answers);
  return {
    endpoint,
    takes: takes && declared(...takes),
    answers: isList ? { type: { is: 'name', path: ['ApiList'], of: [one.type] }, scope: one.scope } : one,
  };
});

/** The endpoint of a call, by its method and path. */
export function endpointOf(method: string, path: string): Endpoint | undefined {
  return endpoints.find(({ endpoint }) => {
    const [wanted, pattern = ''] = endpoint.split(' ');
    return wanted === method && new RegExp(`^${pattern.replace(':id', '[^/]+')}$`).test(path);
  });
}

/** What a client sent that the package does not declare for that endpoint. */
export function requestDifferences({ method, path, parameters }: Call): string[] {
  const endpoint = endpointOf(method, path);
  if (!endpoint) return [`${method} ${path} is no endpoint`];
  if (!endpoint.takes) return Object.keys(parameters).map((name) => `${endpoint.endpoint} takes no ${name}`);
  return differences(parameters, endpoint.takes, 'form', endpoint.endpoint);
}
