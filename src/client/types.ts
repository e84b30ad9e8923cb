import type { inferRouterInputs } from '@trpc/server';
import type { AppRouter } from './router.ts';

export type { AppRouter };

type Streamed<T> = T extends AsyncIterable<{ data: infer Data }> ? Data : never;

/** What a follower of a run is told, in this order; `run.completed`, `run.stopped` or `run.failed` is the last. */
export type RunEvent = Streamed<AppRouter['runs']['stream']['_def']['$types']['output']>;
/** Of a run: what it used, what it was charged, what is left. */
export type Receipt = Extract<RunEvent, { type: 'run.completed' }>['data'];
/** What a run asks for. */
export type Ask = Omit<inferRouterInputs<AppRouter>['runs']['start'], 'idempotencyKey'>;

type Comparisons = AppRouter['runs']['comparisons'];
/** What a follower of a comparison is told: of each side what a follower of its run is told, with its number. */
export type ComparisonEvent = Streamed<Comparisons['stream']['_def']['$types']['output']>;
/** What a comparison asks for: sides, and what they have in common. */
export type CompareAsk = Omit<inferRouterInputs<AppRouter>['runs']['comparisons']['start'], 'idempotencyKey'>;
