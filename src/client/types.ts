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
