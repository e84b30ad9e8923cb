import { chargeOf } from '../api/payments.ts';
import { pause, resume } from '../billing/changes.ts';
import { endDelayed, expire, pay } from '../billing/checkout.ts';
import { createCoupon, discount } from '../billing/discounts.ts';
import {
  appealDispute,
  closeDispute,
  type Ending,
  endDisputed,
  moveDispute,
  openDispute,
} from '../billing/disputes.ts';
import { end, invoicesOf, scheduleByDate, scheduleByPeriodEnd, unschedule } from '../billing/ends.ts';
import { collect } from '../billing/invoices.ts';
import { endRefund, refund, refundable } from '../billing/refunds.ts';
import { currentPeriod } from '../billing/subscribe.ts';
import { refused } from '../errors.ts';
import type { CardState } from '../state.ts';
import type { Charge, Customer, Dispute, Invoice, Refund, Session, Subscription } from '../wire.ts';
import { find, type World } from '../world.ts';

/** What people, banks and the Dashboard do; each returns a copy of the object as it is then. */
export type Control = ReturnType<typeof createControl>;

export function createControl(world: World, catchUp: () => void) {
  const tables = () => {
    catchUp();
    return world.state;
  };
  const session = (id: string): Session => find(tables().sessions, 'checkout.session', id);
  const subscription = (id: string): Subscription => find(tables().subscriptions, 'subscription', id);
  const customer = (id: string): Customer => find(tables().customers, 'customer', id);
  const dispute = (id: string): Dispute => find(tables().disputes, 'dispute', id);
  const someRefund = (id: string): Refund => find(tables().refunds, 'refund', id);
  /** Of a charge's or a payment's id. */
  const charge = (id: string): Charge => {
    tables();
    return id.startsWith('ch_') ? chargeOf(world, undefined, id) : chargeOf(world, id, undefined);
  };
  const after = <T>(object: T, work: (object: T) => unknown): T => {
    work(object);
    return structuredClone(object);
  };

  return {
    /** The person pays with a good card, or with what is said of their card. */
    pay: (id: string, card: CardState | 'wallet' = 'wallet') => after(session(id), (made) => pay(world, made, card)),
    decline: (id: string) => after(session(id), (made) => pay(world, made, 'declined')),
    /** The person leaves; the session stays open. Returns where they land. */
    abandon: (id: string): string | null => session(id).cancel_url,
    expire: (id: string) => after(session(id), (made) => expire(world, made)),
    /** Pays by a bank debit or its like, which is known to be good or bad later, by endDelayed. */
    payDelayed: (id: string) => after(session(id), (made) => pay(world, made, 'delayed')),
    endDelayed: (id: string, outcome: 'succeeded' | 'failed') =>
      after(session(id), (made) => endDelayed(world, made, outcome === 'succeeded')),

    /** What the customer's card does from now on. */
    setCard(id: string, card: CardState): void {
      world.wallet(customer(id).id).card = card;
    },
    failNextPayments(id: string, times = 1): void {
      world.wallet(customer(id).id).failNext = times;
    },
    /** Tries an open invoice once more: its id, or a subscription's for the newest open one. */
    retryInvoice(id: string): Invoice {
      const { invoices } = tables();
      const invoice = id.startsWith('sub_')
        ? invoicesOf(world, id).findLast(({ status }) => status === 'open')
        : find(invoices, 'invoice', id);
      if (!invoice) throw refused(`${id} has no open invoice.`);
      return after(invoice, () => collect(world, invoice));
    },

    /** Of a payment or a charge: the whole rest, or an amount in cents. */
    refund: (id: string, amount: number | null = null, status: 'succeeded' | 'pending' = 'succeeded') =>
      structuredClone(refund(world, charge(id), { amount, reason: null, metadata: {}, status })),
    refundable: (id: string): number => refundable(world, charge(id)),
    failRefund: (id: string, lowersCharge = false) =>
      after(someRefund(id), (made) => endRefund(world, made, 'failed', lowersCharge)),
    cancelRefund: (id: string) => after(someRefund(id), (made) => endRefund(world, made, 'canceled')),
    /** A pending refund has come through. */
    settleRefund: (id: string) => after(someRefund(id), (made) => endRefund(world, made, 'succeeded')),

    /** Of a payment or a charge; `endsSubscription` as accounts may have it set. */
    openDispute(
      id: string,
      { amount, status = 'needs_response', reason = 'fraudulent', endsSubscription = false }: DisputeOptions = {},
    ): Dispute {
      const disputed = charge(id);
      const made = openDispute(world, disputed, { amount: amount ?? disputed.amount, status, reason });
      if (endsSubscription) endDisputed(world, disputed);
      return structuredClone(made);
    },
    moveDispute: (id: string, status: Dispute['status']) =>
      after(dispute(id), (made) => moveDispute(world, made, status)),
    closeDispute: (id: string, ending: Ending) => after(dispute(id), (made) => closeDispute(world, made, ending)),
    appealDispute: (id: string) => after(dispute(id), (made) => appealDispute(world, made)),

    /** In the portal: sets `cancel_at`, and the boolean stays false. */
    portalCancel: (id: string) =>
      after(subscription(id), (made) => scheduleByDate(world, made, currentPeriod(made).end)),
    /** In the Dashboard: sets `cancel_at_period_end`. */
    dashboardCancel: (id: string) => after(subscription(id), (made) => scheduleByPeriodEnd(world, made)),
    undoCancel: (id: string) => after(subscription(id), (made) => unschedule(world, made)),
    cancelNow: (id: string) => after(subscription(id), (made) => end(world, made, 'cancellation_requested')),
    pause: (id: string) => after(subscription(id), (made) => pause(world, made)),
    resume: (id: string, anchor: 'now' | 'unchanged' = 'now') =>
      after(subscription(id), (made) => resume(world, made, anchor)),

    /** A coupon on a subscription, for its next invoice or for all. 100 percent makes it $0: no payment is made then. */
    giveCoupon(id: string, percentOff = 100, duration: 'once' | 'forever' = 'once'): Subscription {
      const given = subscription(id);
      const coupon = createCoupon(world, { percentOff, duration });
      return after(given, () => {
        const { id: made } = discount(world, coupon, given.customer, id);
        world.change('customer.subscription.updated', given, () => {
          given.discounts = [...given.discounts, made];
        });
      });
    },
    /** Cents on the customer's credit balance, which the next invoices take first. */
    giveCredit: (id: string, cents: number) =>
      after(customer(id), (made) =>
        world.change('customer.updated', made, () => {
          made.balance -= cents;
        }),
      ),
  };
}

export type DisputeOptions = {
  amount?: number;
  status?: Dispute['status'];
  reason?: string;
  endsSubscription?: boolean;
};
