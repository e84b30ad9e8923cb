// A comparison as it goes on: its sides are runs, begun all or none and followed as one stream.
import type { ComparisonEvent } from '../../../src/engine/events.ts';
import { problemOf } from '../shell/problem.ts';
import { client, type Inputs, type Outputs, queryClient, trpc } from '../trpc.ts';
import {
  askUntilAnswered,
  createLive,
  failed,
  keepFollowing,
  type LiveRun,
  randomKey,
  readPending,
  refreshBooks,
  stopRun,
  takeEvent,
} from './live.ts';

export type ComparisonRequest = Omit<Inputs['runs']['comparisons']['start'], 'idempotencyKey'>;
export type Stored = Outputs['runs']['comparisons']['read'];

/** `whole` says what is of all sides: whether it began, why not, whether the connection holds. */
export type LiveComparison = { question: string; whole: LiveRun; sides: LiveRun[] };

type Pending = { key: string; request: ComparisonRequest; at: number };
const PENDING = 'prpm-pending-comparison';

/** Those that are followed here, by their ids. */
const following = new Map<string, LiveComparison>();

export function startComparison(request: ComparisonRequest, onBegun: (id: string) => void): LiveComparison {
  return begin({ key: randomKey(), request, at: Date.now() }, onBegun);
}

/** The comparison that a reload cut short before its start was answered; null where there is none. */
export function resumeComparison(onBegun: (id: string) => void): LiveComparison | null {
  const pending = readPending<Pending>(PENDING);
  return pending === null ? null : begin(pending, onBegun);
}

function begin(pending: Pending, onBegun: (id: string) => void): LiveComparison {
  const { key, request } = pending;
  const live = create(request.input, request.sides.length);
  sessionStorage.setItem(PENDING, JSON.stringify(pending));
  askUntilAnswered(
    () => client.runs.comparisons.start.mutate({ ...request, idempotencyKey: key }),
    () => live.whole.change({ isLost: true }),
  )
    .finally(() => sessionStorage.removeItem(PENDING))
    .then(
      ({ comparisonId, sides }) => {
        live.whole.change({ isLost: false });
        sides.forEach(({ runId, sessionId }, nth) => {
          live.sides[nth]?.change({ phase: 'generating', runId, sessionId });
        });
        follow(live, comparisonId);
        onBegun(comparisonId);
      },
      (error: unknown) => {
        live.whole.end(null, problemOf(error));
        for (const side of live.sides) side.end(null, null);
        refreshBooks();
      },
    );
  return live;
}

function create(question: string, count: number): LiveComparison {
  const sides = Array.from({ length: count }, () => createLive({ question }));
  return { question, whole: createLive({ question }), sides };
}

/** One that is followed here, or that the server knows: followed on where it is not over. */
export function liveOf(stored: Stored): LiveComparison {
  const known = following.get(stored.comparisonId);
  if (known !== undefined) return known;
  const question = stored.question ?? '';
  if (stored.sides.some(({ receipt }) => receipt?.status === 'running')) {
    const live = create(question, stored.sides.length);
    stored.sides.forEach(({ runId, sessionId }, nth) => {
      live.sides[nth]?.change({ phase: 'generating', runId, sessionId });
    });
    follow(live, stored.comparisonId);
    return live;
  }
  const sides = stored.sides.map(({ runId, sessionId, receipt, failure, response }) => {
    const problem = failure && failed(failure.error, failure.message, failure.status, runId);
    return createLive({ question, phase: 'ended', runId, sessionId, receipt, problem }, response ?? '');
  });
  return { question, whole: createLive({ question, phase: 'ended' }), sides };
}

export const comparisonOf = (id: string): LiveComparison | null => following.get(id) ?? null;

function follow(live: LiveComparison, comparisonId: string): void {
  const { whole, sides } = live;
  following.set(comparisonId, live);
  const follower = keepFollowing<ComparisonEvent>({
    subscribe: (lastEventId, handlers) =>
      client.runs.comparisons.stream.subscribe({ comparisonId, lastEventId }, handlers),
    take: (event) => {
      if (event.type === 'comparison.created') return;
      if (event.type === 'run.failed' && event.data.error === 'run_in_progress') return follower.again();
      const side = sides[event.data.side - 1];
      if (side !== undefined) takeEvent(side, event);
    },
    onLost: (isLost) => whole.live().isLost !== isLost && whole.change({ isLost }),
    onRefused: (problem) => {
      for (const side of sides) side.end(null, problem);
    },
  });
  const check = () => {
    if (sides.some((side) => side.live().phase !== 'ended') || whole.live().phase === 'ended') return;
    follower.close();
    whole.end(null, null);
    following.delete(comparisonId);
    void queryClient.invalidateQueries(trpc.runs.comparisons.read.queryFilter({ comparisonId }));
    refreshBooks();
  };
  for (const side of sides) side.subscribe(check);
}

export async function stopComparison({ sides }: LiveComparison): Promise<void> {
  await Promise.all(sides.map(stopRun));
}
