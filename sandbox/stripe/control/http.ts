import { z } from 'zod';
import { ApiError } from '../errors.ts';
import type { StripeStandIn } from '../stripe.ts';

const text = z.string().min(1);
const cents = z.int().min(1);
const card = z.enum(['good', 'declined', 'requires_action']);
const overrides = {
  livemode: z.boolean().exactOptional(),
  account: text.exactOptional(),
  context: text.exactOptional(),
  apiVersion: text.exactOptional(),
};
const disputeStatus = z.enum([
  'needs_response',
  'under_review',
  'warning_needs_response',
  'warning_under_review',
  'appeal_needs_response',
  'appeal_under_review',
]);

type Action = (standIn: StripeStandIn, given: unknown) => unknown;

/** Takes exactly these fields. */
function action<S extends z.ZodRawShape>(
  shape: S,
  work: (standIn: StripeStandIn, wanted: z.output<z.ZodObject<S, z.core.$strict>>) => unknown,
): Action {
  const type = z.strictObject(shape);
  return (standIn, given) => work(standIn, type.parse(given));
}
const onId = (work: (standIn: StripeStandIn, id: string) => unknown) =>
  action({ id: text }, (standIn, wanted) => work(standIn, wanted.id));

/** POST /sandbox/<name> with these fields as JSON; what each does is said where StripeStandIn has it. */
const ACTIONS: { [name: string]: Action } = {
  pay: action({ id: text, card: card.optional() }, (s, w) => s.pay(w.id, w.card)),
  decline: onId((s, id) => s.decline(id)),
  abandon: onId((s, id) => s.abandon(id)),
  expire: onId((s, id) => s.expire(id)),
  'pay-delayed': onId((s, id) => s.payDelayed(id)),
  'end-delayed': action({ id: text, outcome: z.enum(['succeeded', 'failed']) }, (s, w) =>
    s.endDelayed(w.id, w.outcome),
  ),
  'set-card': action({ id: text, card }, (s, w) => s.setCard(w.id, w.card)),
  'fail-next-payments': action({ id: text, times: z.int().min(0).optional() }, (s, w) =>
    s.failNextPayments(w.id, w.times),
  ),
  'retry-invoice': onId((s, id) => s.retryInvoice(id)),
  refund: action({ id: text, amount: cents.optional(), status: z.enum(['succeeded', 'pending']).optional() }, (s, w) =>
    s.refund(w.id, w.amount, w.status),
  ),
  'fail-refund': action({ id: text, lowersCharge: z.boolean().optional() }, (s, w) =>
    s.failRefund(w.id, w.lowersCharge),
  ),
  'cancel-refund': onId((s, id) => s.cancelRefund(id)),
  'settle-refund': onId((s, id) => s.settleRefund(id)),
  'open-dispute': action(
    {
      id: text,
      amount: cents.exactOptional(),
      status: disputeStatus.exactOptional(),
      reason: text.exactOptional(),
      endsSubscription: z.boolean().exactOptional(),
    },
    (s, { id, ...options }) => s.openDispute(id, options),
  ),
  'move-dispute': action({ id: text, status: disputeStatus }, (s, w) => s.moveDispute(w.id, w.status)),
  'close-dispute': action({ id: text, ending: z.enum(['won', 'lost', 'warning_closed', 'prevented']) }, (s, w) =>
    s.closeDispute(w.id, w.ending),
  ),
  'appeal-dispute': onId((s, id) => s.appealDispute(id)),
  'portal-cancel': onId((s, id) => s.portalCancel(id)),
  'dashboard-cancel': onId((s, id) => s.dashboardCancel(id)),
  'undo-cancel': onId((s, id) => s.undoCancel(id)),
  'cancel-now': onId((s, id) => s.cancelNow(id)),
  pause: onId((s, id) => s.pause(id)),
  resume: action({ id: text, anchor: z.enum(['now', 'unchanged']).optional() }, (s, w) => s.resume(w.id, w.anchor)),
  'give-coupon': action(
    { id: text, percentOff: z.number().min(0).max(100).optional(), duration: z.enum(['once', 'forever']).optional() },
    (s, w) => s.giveCoupon(w.id, w.percentOff, w.duration),
  ),
  'give-credit': action({ id: text, cents }, (s, w) => s.giveCredit(w.id, w.cents)),

  advance: action({ ms: z.number().min(0).optional(), to: z.iso.datetime().optional() }, async (s, { ms = 0, to }) => {
    await s.clock.advance(to === undefined ? ms : new Date(to));
    return { now: s.clock.now() };
  }),
  deliver: action({ ids: z.array(text), ...overrides }, (s, { ids, ...others }) => s.deliver(ids, others)),
  'deliver-all': action(
    { shuffle: z.boolean().optional(), times: z.int().min(1).optional(), parallel: z.int().min(1).optional() },
    (s, { shuffle = false, times = 1, parallel = 1 }) =>
      s.deliverAll({ times, parallel, ...(shuffle && { shuffle: Math.random }) }),
  ),
  redeliver: action({ id: text, ...overrides }, (s, { id, ...others }) => s.redeliver(id, others)),
  render: action({ id: text, ...overrides }, (s, { id, ...others }) => s.render(id, others)),
  hold: action({}, (s) => s.hold()),
  release: action({}, (s) => s.release()),
  'roll-secret': onId((s, id) => s.rollSecret(id)),
  'drop-old-secrets': onId((s, id) => s.dropOldSecrets(id)),
  fail: action(
    {
      how: z.union([z.enum(['network', 'after']), z.literal([409, 429, 500, 503])]),
      times: z.int().min(1).exactOptional(),
      method: z.enum(['GET', 'POST', 'DELETE']).exactOptional(),
      path: text.exactOptional(),
      keep: z.boolean().exactOptional(),
    },
    (s, fault) => s.fail(fault),
  ),
  delay: action({ ms: z.number().min(0) }, (s, { ms }) => s.delay(ms)),
  limit: action({ perSecond: z.int().min(1).nullable() }, (s, { perSecond }) => s.limit(perSecond)),
  heal: action({}, (s) => s.heal()),
  restore: action({ snapshot: text }, (s, { snapshot }) => s.restore(snapshot)),
};

/** GET /sandbox/<name>. */
const VIEWS: { [name: string]: (standIn: StripeStandIn) => unknown } = {
  clock: (s) => ({ now: s.clock.now() }),
  events: (s) => s.events(),
  pending: (s) => s.pending(),
  deliveries: (s) => s.deliveries(),
  endpoints: (s) => s.endpoints(),
  calls: (s) => s.calls,
  snapshot: (s) => ({ snapshot: s.snapshot() }),
};

export async function answerControl(
  standIn: StripeStandIn,
  method: string,
  path: string,
  body: string,
): Promise<{ status: number; value: unknown }> {
  const name = path.slice('/sandbox/'.length);
  const view = method === 'GET' && Object.hasOwn(VIEWS, name) ? VIEWS[name] : undefined;
  if (view) return { status: 200, value: view(standIn) };
  const act = method === 'POST' && Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (!act) return { status: 404, value: { error: `There is no ${method} ${path}.`, actions: Object.keys(ACTIONS) } };
  try {
    const given: unknown = body === '' ? {} : JSON.parse(body);
    return { status: 200, value: (await act(standIn, given)) ?? {} };
  } catch (error) {
    if (error instanceof z.ZodError) return { status: 400, value: { error: z.prettifyError(error) } };
    if (error instanceof ApiError) return { status: error.status, value: { error: error.message } };
    if (error instanceof SyntaxError || error instanceof RangeError)
      return { status: 400, value: { error: error.message } };
    throw error;
  }
}
