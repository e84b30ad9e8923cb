import { newId } from '../ids.ts';
import type { Plan, Price, Product } from '../wire.ts';
import type { World } from '../world.ts';

export type NewProduct = {
  id?: string | undefined;
  name: string;
  description?: string | undefined;
  active?: boolean | undefined;
  metadata?: Record<string, string> | undefined;
};

export function buildProduct(world: World, wanted: NewProduct): Product {
  return {
    id: wanted.id ?? newId('prod', 14),
    object: 'product',
    active: wanted.active ?? true,
    created: world.now,
    default_price: null,
    description: wanted.description ?? null,
    images: [],
    livemode: world.settings.livemode,
    marketing_features: [],
    metadata: wanted.metadata ?? {},
    name: wanted.name,
    package_dimensions: null,
    shippable: null,
    statement_descriptor: null,
    tax_code: null,
    tax_details: null,
    type: 'service',
    unit_label: null,
    updated: world.now,
    url: null,
  };
}

export type NewPrice = {
  product: string;
  currency: string;
  unitAmount: number;
  recurring?: { interval: Plan['interval']; interval_count?: number | undefined } | undefined;
  active?: boolean | undefined;
  lookupKey?: string | undefined;
  nickname?: string | undefined;
  metadata?: Record<string, string> | undefined;
};

export function buildPrice(world: World, wanted: NewPrice): Price {
  const { recurring } = wanted;
  return {
    id: newId('price'),
    object: 'price',
    active: wanted.active ?? true,
    billing_scheme: 'per_unit',
    created: world.now,
    currency: wanted.currency.toLowerCase(),
    custom_unit_amount: null,
    livemode: world.settings.livemode,
    lookup_key: wanted.lookupKey ?? null,
    metadata: wanted.metadata ?? {},
    nickname: wanted.nickname ?? null,
    product: wanted.product,
    recurring: recurring
      ? {
          interval: recurring.interval,
          interval_count: recurring.interval_count ?? 1,
          meter: null,
          trial_period_days: null,
          usage_type: 'licensed',
        }
      : null,
    tax_behavior: 'unspecified',
    tiers_mode: null,
    transform_quantity: null,
    type: recurring ? 'recurring' : 'one_time',
    unit_amount: wanted.unitAmount,
    unit_amount_decimal: String(wanted.unitAmount),
  };
}

/** The older form of a recurring price, which subscription items still carry. */
export function planOf(price: Price): Plan {
  return {
    id: price.id,
    object: 'plan',
    active: price.active,
    amount: price.unit_amount,
    amount_decimal: price.unit_amount_decimal,
    billing_scheme: price.billing_scheme,
    created: price.created,
    currency: price.currency,
    interval: price.recurring?.interval ?? 'month',
    interval_count: price.recurring?.interval_count ?? 1,
    livemode: price.livemode,
    metadata: price.metadata,
    meter: null,
    nickname: price.nickname,
    product: price.product,
    tiers_mode: null,
    transform_usage: null,
    trial_period_days: null,
    usage_type: 'licensed',
  };
}
