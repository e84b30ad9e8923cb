import { createTRPCClient, httpBatchLink, httpSubscriptionLink, splitLink, type TRPCClient } from '@trpc/client';
import { EventSource } from 'eventsource';
import { type CompareOptions, type ComparisonPart, compareSides, watchComparison } from './compare.ts';
import { type Follow, type Part, type RunOptions, runPackage, watchRun } from './run.ts';
import type { AppRouter, Ask, CompareAsk, ComparisonEvent, RunEvent } from './types.ts';

export type { CompareOptions, ComparisonPart } from './compare.ts';
export { PlaygroundError, type PlaygroundErrorCode, type Problem } from './error.ts';
export type { Part, RunOptions } from './run.ts';
export type { AppRouter, Ask, CompareAsk, ComparisonEvent, Receipt, RunEvent } from './types.ts';

export type PlaygroundOptions = {
  /** Where the server is, as https://playground.example.com. */
  url: string;
  /** An API token (prpm_…) or a JWT; without one only what is open to everybody works. */
  token?: string | undefined;
};

export type PlaygroundClient = {
  /** Every procedure of the server: `api.credits.balance.query()`. */
  api: TRPCClient<AppRouter>;
  /** Runs a package: text as it is made, and in the end the receipt. To leave the loop is to stop the run. */
  run(ask: Ask, options?: RunOptions): AsyncGenerator<Part, void, undefined>;
  /** Runs one question on two to four sides: text of each as it is made, and in the end of each its receipt, or why it failed. */
  compare(ask: CompareAsk, options?: CompareOptions): AsyncGenerator<ComparisonPart, void, undefined>;
  /** Tells of a comparison that was begun, here or elsewhere, until its last side ends. */
  followComparison(
    comparisonId: string,
    options?: { signal?: AbortSignal | undefined },
  ): AsyncGenerator<ComparisonEvent, void, undefined>;
  /** Tells of a run that was begun, here or elsewhere, from its beginning to its end. */
  follow(runId: string, options?: { signal?: AbortSignal | undefined }): AsyncGenerator<RunEvent, void, undefined>;
};

/** A client of one server. Throws a TypeError for what is no URL. */
export function createPlaygroundClient({ url, token }: PlaygroundOptions): PlaygroundClient {
  const base = new URL(url).href;
  const endpoint = `${base.replace(/\/+$/, '')}/trpc`;
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const api = createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: ({ type }) => type === 'subscription',
        true: httpSubscriptionLink({
          url: endpoint,
          EventSource, // the platform's own sends no headers
          eventSourceOptions: {
            fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...authorization } }),
          },
        }),
        false: httpBatchLink({ url: endpoint, headers: authorization }),
      }),
    ],
  });
  const follow: Follow = (runId, options) => watchRun(api, runId, options);
  return {
    ...{ api, follow, run: (ask, options) => runPackage(api, follow, ask, options) },
    compare: (ask, options) => compareSides(api, ask, options),
    followComparison: (comparisonId, options) => watchComparison(api, comparisonId, options),
  };
}
