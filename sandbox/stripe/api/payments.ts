import { z } from 'zod';
import { refund } from '../billing/refunds.ts';
import { missing, refused } from '../errors.ts';
import type { Charge } from '../wire.ts';
import { find, type World } from '../world.ts';
import { listOf } from './lists.ts';
import { changedMetadata, int, isWithin, newMetadata, page, range, text, withMetadata } from './parameters.ts';
import { route } from './route.ts';

/** The charge that paid, of a charge's or a payment's id. */
export function chargeOf(world: World, payment: string | undefined, charge: string | undefined): Charge {
  const { charges, paymentIntents } = world.state;
  if (charge !== undefined) return find(charges, 'charge', charge, 'charge');
  if (payment === undefined)
    throw refused('One of the following params should be provided: `charge` or `payment_intent`.');
  const found = find(paymentIntents, 'payment_intent', payment, 'payment_intent');
  if (found.latest_charge === null) {
    throw refused(`This PaymentIntent (${payment}) does not have a successful charge to refund.`, 'payment_intent');
  }
  return find(charges, 'charge', found.latest_charge);
}

const of = { charge: text.optional(), payment_intent: text.optional(), created: range.optional() };

function belongs(
  made: { created: number; payment_intent: string | null; charge?: string | null },
  { charge, payment_intent: payment, created }: z.output<z.ZodObject<typeof of>>,
): boolean {
  return (
    (charge === undefined || made.charge === charge) &&
    (payment === undefined || made.payment_intent === payment) &&
    isWithin(made.created, created)
  );
}

export const paymentRoutes = [
  route('GET', '/v1/payment_intents/:id', {}, ({ state }, _wanted, id) =>
    find(state.paymentIntents, 'payment_intent', id, 'intent'),
  ),
  route(
    'GET',
    '/v1/payment_intents',
    { ...page, created: range.optional(), customer: text.optional() },
    ({ state }, { created, customer, ...wanted }) => {
      const found = Object.values(state.paymentIntents).filter(
        (made) => (customer === undefined || made.customer === customer) && isWithin(made.created, created),
      );
      return listOf('/v1/payment_intents', found, wanted);
    },
  ),

  route('GET', '/v1/charges/:id', {}, ({ state }, _wanted, id) => find(state.charges, 'charge', id)),
  route(
    'GET',
    '/v1/charges',
    { ...page, created: range.optional(), customer: text.optional(), payment_intent: text.optional() },
    ({ state }, { created, customer, payment_intent: payment, ...wanted }) => {
      const found = Object.values(state.charges).filter(
        (made) =>
          (customer === undefined || made.customer === customer) &&
          (payment === undefined || made.payment_intent === payment) &&
          isWithin(made.created, created),
      );
      return listOf('/v1/charges', found, wanted);
    },
  ),

  route(
    'POST',
    '/v1/refunds',
    {
      charge: text.optional(),
      payment_intent: text.optional(),
      amount: int.pipe(z.number().min(1)).optional(),
      reason: z.enum(['duplicate', 'fraudulent', 'requested_by_customer']).optional(),
      metadata: newMetadata.optional(),
    },
    (world, { charge, payment_intent: payment, amount, reason, metadata }) =>
      refund(world, chargeOf(world, payment, charge), {
        amount: amount ?? null,
        reason: reason ?? null,
        metadata: metadata ?? {},
        status: 'succeeded',
      }),
  ),
  route('GET', '/v1/refunds/:id', {}, ({ state }, _wanted, id) => find(state.refunds, 'refund', id)),
  route('POST', '/v1/refunds/:id', { metadata: changedMetadata.optional() }, (world, { metadata }, id) => {
    const found = find(world.state.refunds, 'refund', id);
    world.change('refund.updated', found, () => {
      found.metadata = withMetadata(found.metadata ?? {}, metadata);
    });
    return found;
  }),
  route('GET', '/v1/refunds', { ...page, ...of }, ({ state }, { charge, payment_intent, created, ...wanted }) => {
    if (charge !== undefined && !state.charges[charge]) throw missing('charge', charge, 'charge');
    const found = Object.values(state.refunds).filter((made) => belongs(made, { charge, payment_intent, created }));
    return listOf('/v1/refunds', found, wanted);
  }),

  route('GET', '/v1/disputes/:id', {}, ({ state }, _wanted, id) => find(state.disputes, 'dispute', id)),
  route('GET', '/v1/disputes', { ...page, ...of }, ({ state }, { charge, payment_intent, created, ...wanted }) => {
    const found = Object.values(state.disputes).filter((made) => belongs(made, { charge, payment_intent, created }));
    return listOf('/v1/disputes', found, wanted);
  }),
];
