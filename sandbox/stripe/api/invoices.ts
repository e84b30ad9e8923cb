import { z } from 'zod';
import { collect, finalize, voidInvoice } from '../billing/invoices.ts';
import { ApiError } from '../errors.ts';
import { DECLINED } from '../objects/payment.ts';
import type { Invoice } from '../wire.ts';
import { find, type World } from '../world.ts';
import { listOf } from './lists.ts';
import { bool, isWithin, page, range, text } from './parameters.ts';
import { route } from './route.ts';

function invoice({ state }: World, id: string): Invoice {
  return find(state.invoices, 'invoice', id, 'invoice');
}

export const invoiceRoutes = [
  route('GET', '/v1/invoices/:id', {}, (world, _wanted, id) => invoice(world, id)),
  route('GET', '/v1/invoices/:id/lines', page, (world, wanted, id) =>
    listOf(`/v1/invoices/${id}/lines`, invoice(world, id).lines.data.toReversed(), wanted),
  ),
  route('POST', '/v1/invoices/:id/finalize', { auto_advance: bool.optional() }, (world, _wanted, id) => {
    const found = invoice(world, id);
    finalize(world, found);
    return found;
  }),
  route('POST', '/v1/invoices/:id/pay', { off_session: bool.optional() }, (world, _wanted, id) => {
    const found = invoice(world, id);
    if (found.status === 'draft') finalize(world, found);
    const { status } = invoice(world, id);
    if (status === 'open' && !collect(world, found)) {
      throw new ApiError(402, DECLINED, {
        type: 'card_error',
        code: 'card_declined',
        more: { decline_code: 'generic_decline' },
      });
    }
    return found;
  }),
  route('POST', '/v1/invoices/:id/void', {}, (world, _wanted, id) => {
    const found = invoice(world, id);
    voidInvoice(world, found);
    return found;
  }),
  route(
    'GET',
    '/v1/invoices',
    {
      ...page,
      created: range.optional(),
      customer: text.optional(),
      status: z.enum(['draft', 'open', 'paid', 'uncollectible', 'void']).optional(),
      subscription: text.optional(),
    },
    ({ state }, { created, customer, status, subscription, ...wanted }) => {
      const found = Object.values(state.invoices).filter(
        (made) =>
          (customer === undefined || made.customer === customer) &&
          (status === undefined || made.status === status) &&
          (subscription === undefined || made.parent?.subscription_details?.subscription === subscription) &&
          isWithin(made.created, created),
      );
      return listOf('/v1/invoices', found, wanted);
    },
  ),

  route('GET', '/v1/invoice_payments/:id', {}, ({ state }, _wanted, id) =>
    find(state.invoicePayments, 'invoice_payment', id),
  ),
  route(
    'GET',
    '/v1/invoice_payments',
    {
      ...page,
      created: range.optional(),
      invoice: text.optional(),
      payment: z.strictObject({ type: z.literal('payment_intent'), payment_intent: text }).optional(),
      status: z.enum(['canceled', 'open', 'paid']).optional(),
    },
    ({ state }, { created, invoice: ofInvoice, payment, status, ...wanted }) => {
      const found = Object.values(state.invoicePayments).filter(
        (made) =>
          (ofInvoice === undefined || made.invoice === ofInvoice) &&
          (payment === undefined || made.payment.payment_intent === payment.payment_intent) &&
          (status === undefined || made.status === status) &&
          isWithin(made.created, created),
      );
      return listOf('/v1/invoice_payments', found, wanted);
    },
  ),
];
