import { newId } from '../ids.ts';
import type { Coupon, Discount, Invoice } from '../wire.ts';
import { find, type World } from '../world.ts';

export type NewCoupon = {
  id?: string | undefined;
  name?: string | undefined;
  percentOff?: number | undefined;
  amountOff?: number | undefined;
  currency?: string | undefined;
  duration: Coupon['duration'];
};

export function createCoupon(world: World, wanted: NewCoupon): Coupon {
  const coupon: Coupon = {
    id: wanted.id ?? newId('co', 8),
    object: 'coupon',
    amount_off: wanted.amountOff ?? null,
    created: world.now,
    currency: wanted.amountOff === undefined ? null : (wanted.currency ?? 'usd'),
    duration: wanted.duration,
    duration_in_months: null,
    livemode: world.settings.livemode,
    max_redemptions: null,
    metadata: {},
    name: wanted.name ?? null,
    percent_off: wanted.percentOff ?? null,
    redeem_by: null,
    times_redeemed: 0,
    valid: true,
  };
  world.state.coupons[coupon.id] = coupon;
  world.emit('coupon.created', coupon);
  return coupon;
}

/** Puts a coupon on a subscription. */
export function discount(world: World, coupon: Coupon, customer: string, subscription: string): Discount {
  const made: Discount = {
    id: newId('di'),
    object: 'discount',
    checkout_session: null,
    customer,
    customer_account: null,
    end: null,
    invoice: null,
    invoice_item: null,
    promotion_code: null,
    source: { coupon: coupon.id, type: 'coupon' },
    start: world.now,
    subscription,
    subscription_item: null,
  };
  coupon.times_redeemed += 1;
  world.state.discounts[made.id] = made;
  world.emit('customer.discount.created', made);
  return made;
}

export function amountOff(coupon: Coupon, subtotal: number): number {
  const wanted = coupon.amount_off ?? Math.round((subtotal * (coupon.percent_off ?? 0)) / 100);
  return Math.max(0, Math.min(wanted, subtotal));
}

/** Takes the discounts that the invoice names from its total. */
export function applyDiscounts(world: World, invoice: Invoice): void {
  let left = invoice.subtotal;
  for (const id of invoice.discounts) {
    const found = find(world.state.discounts, 'discount', id);
    const coupon = found.source.coupon === null ? undefined : world.state.coupons[found.source.coupon];
    if (!coupon || left <= 0) continue;
    const amount = amountOff(coupon, left);
    left -= amount;
    invoice.total_discount_amounts?.push({ amount, discount: id });
    for (const line of invoice.lines.data.slice(0, 1)) line.discount_amounts?.push({ amount, discount: id });
  }
  invoice.total = left;
  invoice.total_excluding_tax = left;
  invoice.amount_due = Math.max(left, 0);
  invoice.amount_remaining = invoice.amount_due;
}
