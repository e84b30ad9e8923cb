// The typed client: the page's only way to the server.
import { QueryCache, QueryClient } from '@tanstack/react-query';
import { createTRPCClient, httpBatchLink, httpSubscriptionLink, splitLink, TRPCClientError } from '@trpc/client';
import { createTRPCOptionsProxy, type TRPCOptionsProxy } from '@trpc/tanstack-react-query';
import type { AppRouter } from '../../src/trpc/_app.ts';
import { problemOf } from './shell/problem.ts';

const MOST_RETRIES = 2;

const client = createTRPCClient<AppRouter>({
  links: [
    splitLink({
      condition: ({ type }) => type === 'subscription',
      true: httpSubscriptionLink({ url: '/trpc' }),
      false: httpBatchLink({ url: '/trpc', maxURLLength: 4_000, maxItems: 8 }),
    }),
  ],
});

/** An answer that would be the same another time is not asked for again. */
function isWorthAnotherTry(error: unknown): boolean {
  if (!(error instanceof TRPCClientError)) return false;
  const { status } = problemOf(error);
  return status === undefined || status === 502 || status === 503;
}

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 15_000,
      retry: (count, error) => count < MOST_RETRIES && isWorthAnotherTry(error),
    },
  },
  queryCache: new QueryCache({
    onError: (error) => {
      if (problemOf(error).code === 'login_expired')
        void queryClient.invalidateQueries({ queryKey: [['accounts', 'me']] });
    },
  }),
});

export const trpc: TRPCOptionsProxy<AppRouter> = createTRPCOptionsProxy<AppRouter>({ client, queryClient });
