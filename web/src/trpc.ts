// The typed client: the page's only way to the server.
import { QueryCache, QueryClient } from '@tanstack/react-query';
import {
  createTRPCClient,
  httpBatchLink,
  httpLink,
  httpSubscriptionLink,
  splitLink,
  TRPCClientError,
} from '@trpc/client';
import type { inferRouterInputs, inferRouterOutputs } from '@trpc/server';
import { createTRPCOptionsProxy, type TRPCOptionsProxy } from '@trpc/tanstack-react-query';
import type { AppRouter } from '../../src/trpc/_app.ts';
import { problemOf } from './shell/problem.ts';

const MOST_RETRIES = 2;

/** For what is sent as the page is left, and has to arrive all the same: `mutate(input, PARTING)`. */
export const PARTING = { context: { isParting: true } };

/** A refusal is an answer, which the page shows: its status stands inside, and the browser has nothing to complain of. */
const headers = { 'trpc-errors': 'inside' };

export const client = createTRPCClient<AppRouter>({
  links: [
    splitLink({
      condition: ({ type }) => type === 'subscription',
      true: httpSubscriptionLink({ url: '/trpc' }),
      false: splitLink({
        condition: ({ context }) => context.isParting === true,
        true: httpLink({
          url: '/trpc',
          headers,
          fetch: (url, { signal = null, ...options } = {}) => fetch(url, { ...options, signal, keepalive: true }),
        }),
        false: httpBatchLink({ url: '/trpc', headers, maxURLLength: 4_000, maxItems: 8 }),
      }),
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
      refetchOnReconnect: 'always',
      retry: (count, error) => count < MOST_RETRIES && isWorthAnotherTry(error),
    },
    // Who presses a button hears at once that it did not work, instead of some time later that it did.
    mutations: { networkMode: 'always' },
  },
  queryCache: new QueryCache({
    onError: (error) => {
      if (problemOf(error).code === 'login_expired')
        void queryClient.invalidateQueries({ queryKey: [['accounts', 'viewer']] });
    },
  }),
});

export const trpc: TRPCOptionsProxy<AppRouter> = createTRPCOptionsProxy<AppRouter>({ client, queryClient });

export type Outputs = inferRouterOutputs<AppRouter>;
export type Inputs = inferRouterInputs<AppRouter>;
