// Changes of limits, prices and settings as the replay of a past time takes them.
import type { Inputs } from '../trpc.ts';

export type Change = { kind: string; name: string; field: string; value: number | null };
export type Scenario = Inputs['analytics']['costs']['whatIf'];

/** Fields that the replay knows. */
const REPLAYED: Record<string, readonly string[]> = {
  limits: ['monthly_cost_limit', 'daily_cost_limit', 'hourly_request_limit'],
  plans: ['monthly_price'],
  packs: ['price'],
  models: ['credit_multiplier'],
  settings: ['tokens_per_credit', 'max_request_tokens'],
};

export const isReplayed = (kind: string, field: string) => REPLAYED[kind]?.includes(field) ?? false;

export function scenarioOf(changes: readonly Change[]): Scenario {
  const of = (kind: string) => changes.filter((change) => change.kind === kind && isReplayed(kind, change.field));
  const priced = (kind: string) => of(kind).flatMap(({ name, value }) => (value === null ? [] : [{ name, value }]));
  const setting = (field: string) => of('settings').find((change) => change.field === field)?.value ?? null;
  const tiers = [...new Set(of('limits').map(({ name }) => name))];
  return {
    planPrices: listed(priced('plans').map(({ name, value }) => ({ plan: name, price: value }))),
    packPrices: listed(priced('packs').map(({ name, value }) => ({ pack: name, price: value }))),
    multipliers: listed(priced('models').map(({ name, value }) => ({ model: name, multiplier: value }))),
    limits: listed(
      tiers.map((tier) => {
        const limit = (field: string) => of('limits').find((one) => one.name === tier && one.field === field)?.value;
        return {
          tier,
          monthlyCostLimit: limit('monthly_cost_limit'),
          dailyCostLimit: limit('daily_cost_limit'),
          hourlyRequestLimit: limit('hourly_request_limit'),
        };
      }),
    ),
    tokensPerCredit: setting('tokens_per_credit'),
    maxRequestTokens: setting('max_request_tokens'),
  };
}

const listed = <T>(list: T[]) => (list.length === 0 ? null : list);
