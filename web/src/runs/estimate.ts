import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useSettled } from '../shell/settled.ts';

const TYPING_MS = 400;
/** What was told is told again now and then: limits lift, credits come. */
const AGAIN_MS = 30_000;

/** What something would cost as it stands, asked for a moment after the last key. Null asks for nothing. */
export function useEstimate<Request, Price>(
  request: Request | null,
  estimate: (request: Request, signal: AbortSignal) => Promise<Price>,
) {
  const { settled: asked, isSettled } = useSettled(request, TYPING_MS);
  const found = useQuery({
    queryKey: ['estimate', asked],
    queryFn: async ({ signal }) => ({ price: asked === null ? undefined : await estimate(asked, signal) }),
    enabled: asked !== null && request !== null,
    placeholderData: keepPreviousData,
    staleTime: AGAIN_MS,
    refetchInterval: AGAIN_MS,
    retry: false,
  });
  const isCurrent = isSettled && !found.isPlaceholderData;
  return { price: asked === null ? undefined : found.data?.price, error: found.error, isCurrent };
}
