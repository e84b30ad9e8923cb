import { useQuery } from '@tanstack/react-query';
import { type Outputs, trpc } from '../trpc.ts';

export type Model = Outputs['catalog']['models']['models'][number];

const KEEP_MS = 5 * 60_000;

export function useModels(): Model[] {
  const { data } = useQuery(trpc.catalog.models.queryOptions(undefined, { staleTime: KEEP_MS }));
  return data?.models ?? [];
}

/** "sonnet · 1 credit per 5,000 tokens" is what multipliers mean; the price is what it costs at the provider. */
export function describeModel({ creditMultiplier, priced, inputPrice, outputPrice }: Model): string {
  if (!priced) return 'has no price now: cannot be run';
  return `×${creditMultiplier} credits · $${inputPrice} in, $${outputPrice} out per million tokens`;
}
