import { z } from 'zod';
import { changeItems, creditUnused, pause, resume } from '../billing/changes.ts';
import { end, isOver, notRequested, requested } from '../billing/ends.ts';
import { currentPeriod } from '../billing/subscribe.ts';
import { beyond, missing, refused } from '../errors.ts';
import type { Subscription } from '../wire.ts';
import { find, type World } from '../world.ts';
import { listOf } from './lists.ts';
import {
  bool,
  changedMetadata,
  clearable,
  int,
  isWithin,
  page,
  range,
  seconds,
  text,
  withMetadata,
} from './parameters.ts';
import { route } from './route.ts';

const STATUSES = [
  'active',
  'canceled',
  'incomplete',
  'incomplete_expired',
  'past_due',
  'paused',
  'trialing',
  'unpaid',
] as const;

const cancellationDetails = z.strictObject({
  comment: clearable(text).optional(),
  feedback: clearable(
    z.enum([
      'customer_service',
      'low_quality',
      'missing_features',
      'other',
      'switched_service',
      'too_complex',
      'too_expensive',
      'unused',
    ]),
  ).optional(),
});
type Told = z.output<typeof cancellationDetails>;

const update = {
  cancel_at: clearable(z.union([z.enum(['min_period_end', 'max_period_end']), seconds])).optional(),
  cancel_at_period_end: bool.optional(),
  cancellation_details: cancellationDetails.optional(),
  default_payment_method: text.optional(),
  description: clearable(text.max(500)).optional(),
  items: z
    .array(
      z.strictObject({
        id: text.optional(),
        price: text.optional(),
        quantity: int.pipe(z.number().min(0)).optional(),
        deleted: bool.optional(),
      }),
    )
    .optional(),
  metadata: changedMetadata.optional(),
  off_session: bool.optional(),
  pause_collection: clearable(
    z.strictObject({
      behavior: z.enum(['keep_as_draft', 'mark_uncollectible', 'void']),
      resumes_at: seconds.optional(),
    }),
  ).optional(),
  payment_behavior: z.enum(['allow_incomplete', 'error_if_incomplete']).optional(),
  proration_behavior: z.enum(['always_invoice', 'create_prorations', 'none']).optional(),
};
type Update = z.output<z.ZodObject<typeof update, z.core.$strict>>;

export const subscriptionRoutes = [
  route('GET', '/v1/subscriptions/:id', {}, ({ state }, _wanted, id) => find(state.subscriptions, 'subscription', id)),
  route('POST', '/v1/subscriptions/:id', update, (world, wanted, id) => {
    const subscription = find(world.state.subscriptions, 'subscription', id);
    checkUpdate(subscription, wanted);
    world.change('customer.subscription.updated', subscription, () => change(world, subscription, wanted));
    return subscription;
  }),
  route(
    'DELETE',
    '/v1/subscriptions/:id',
    { cancellation_details: cancellationDetails.optional(), invoice_now: bool.optional(), prorate: bool.optional() },
    (world, wanted, id) => {
      const subscription = find(world.state.subscriptions, 'subscription', id);
      if (isOver(subscription)) throw missing('subscription', id); // as Stripe says it, though it can be retrieved
      if (wanted.prorate && !wanted.invoice_now) throw beyond('prorate without invoice_now');
      if (wanted.prorate && subscription.status === 'active') creditUnused(world, subscription);
      tell(subscription, wanted.cancellation_details);
      end(world, subscription, 'cancellation_requested');
      return subscription;
    },
  ),
  route(
    'POST',
    '/v1/subscriptions/:id/pause',
    {
      type: z.literal('subscription').optional(),
      invoicing_behavior: z.enum(['invoice', 'pending_invoice_item']).optional(),
    },
    (world, _wanted, id) => {
      const subscription = find(world.state.subscriptions, 'subscription', id);
      pause(world, subscription);
      return subscription;
    },
  ),
  route(
    'POST',
    '/v1/subscriptions/:id/resume',
    {
      billing_cycle_anchor: z.strictObject({ type: z.enum(['now', 'unchanged']) }).optional(),
      proration_behavior: z.enum(['none']).optional(),
    },
    (world, { billing_cycle_anchor: anchor }, id) => {
      const subscription = find(world.state.subscriptions, 'subscription', id);
      resume(world, subscription, anchor?.type ?? 'now');
      return subscription;
    },
  ),
  route(
    'GET',
    '/v1/subscriptions',
    {
      ...page,
      created: range.optional(),
      customer: text.optional(),
      price: text.optional(),
      status: z.enum([...STATUSES, 'all', 'ended']).optional(),
    },
    ({ state }, { created, customer, price, status, ...wanted }) => {
      const found = Object.values(state.subscriptions).filter(
        (made) =>
          hasStatus(made, status) &&
          (customer === undefined || made.customer === customer) &&
          (price === undefined || made.items.data.some((item) => item.price.id === price)) &&
          isWithin(made.created, created),
      );
      return listOf('/v1/subscriptions', found, wanted);
    },
  ),
];

/** Canceled ones are hidden unless asked for. */
function hasStatus(
  subscription: Subscription,
  wanted: (typeof STATUSES)[number] | 'all' | 'ended' | undefined,
): boolean {
  if (wanted === 'all') return true;
  if (wanted === 'ended') return isOver(subscription);
  return wanted === undefined ? subscription.status !== 'canceled' : subscription.status === wanted;
}

function checkUpdate(subscription: Subscription, wanted: Update): void {
  const { metadata: _metadata, cancellation_details: _details, ...others } = wanted;
  if (isOver(subscription) && Object.keys(others).length > 0) {
    const message = 'A canceled subscription can only update its cancellation_details and metadata.';
    throw refused(message, undefined, 'subscription_canceled');
  }
  if (wanted.cancel_at !== undefined && wanted.cancel_at_period_end !== undefined) {
    throw refused('You may only specify one of these parameters: cancel_at, cancel_at_period_end.', 'cancel_at');
  }
  if (wanted.items && wanted.proration_behavior !== 'none') throw beyond('items without proration_behavior=none');
}

function change(world: World, subscription: Subscription, wanted: Update): void {
  if (wanted.items) changeItems(world, subscription, wanted.items);
  if (wanted.description !== undefined) subscription.description = wanted.description;
  if (wanted.default_payment_method !== undefined) subscription.default_payment_method = wanted.default_payment_method;
  subscription.metadata = withMetadata(subscription.metadata, wanted.metadata);

  const { pause_collection: pausing } = wanted;
  if (pausing !== undefined) {
    subscription.pause_collection = pausing && { behavior: pausing.behavior, resumes_at: pausing.resumes_at ?? null };
    if (pausing?.resumes_at !== undefined) world.later(pausing.resumes_at, 'collection resumes', subscription.id);
  }
  changeEnd(world, subscription, wanted);
  tell(subscription, wanted.cancellation_details);
}

/**
 * `cancel_at_period_end` and `cancel_at` are two things in flexible billing mode: taking back one leaves the other.
 * Stripe does not say so in its documentation, nor the contrary: a client should take back the one that is set.
 */
function changeEnd(world: World, subscription: Subscription, wanted: Update): void {
  const { cancel_at: at, cancel_at_period_end: atPeriodEnd } = wanted;
  if (atPeriodEnd !== undefined) subscription.cancel_at_period_end = atPeriodEnd;
  if (at === null) subscription.cancel_at = null;
  if (at !== undefined && at !== null) {
    const { data } = subscription.items;
    const earliest = Math.min(...data.map((item) => item.current_period_end));
    subscription.cancel_at =
      at === 'min_period_end' ? earliest : at === 'max_period_end' ? currentPeriod(subscription).end : at;
    if (subscription.cancel_at <= world.now) throw refused('cancel_at must be in the future.', 'cancel_at');
    world.later(subscription.cancel_at, 'cancellation', subscription.id);
  }
  const isEnding = subscription.cancel_at !== null || subscription.cancel_at_period_end;
  if (isEnding && (at !== undefined || atPeriodEnd !== undefined)) requested(world, subscription);
  if (!isEnding && !isOver(subscription)) notRequested(subscription);
}

/** What the person said about why they leave. */
function tell(subscription: Subscription, told: Told | undefined): void {
  const { cancellation_details: details } = subscription;
  if (!told || !details) return;
  if (told.comment !== undefined) details.comment = told.comment;
  if (told.feedback !== undefined) details.feedback = told.feedback;
}
