import { checkpointRun, type Usage } from '../calls/runs.ts';
import type { Database } from '../database/client.ts';
import type { TokenCounts } from '../providers/provider.ts';
import type { Log } from '../telemetry/log.ts';
import type { LiveRun } from './live-run.ts';

export type Checkpoints = {
  /** The provider's report so far, which may be preliminary. */
  usage: TokenCounts | null;
  /** Ends them. Resolves when none is under way any more. */
  stop(): Promise<void>;
};

/**
 * Stores a running run's text and counts every `checkpoint_ms`, one at a time, and stops it where somebody asked for that
 * elsewhere. A checkpoint that fails is left out: the next one says all.
 */
export function keepCheckpoints(
  run: LiveRun,
  runs: Database['runs'],
  count: (text: string) => Promise<number>,
  log: Log,
): Checkpoints {
  let counted = 0;
  let output = 0;
  let underWay = Promise.resolve();
  let stopped = false;
  const checkpoints: Checkpoints = {
    usage: null,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      return underWay;
    },
  };

  const save = async () => {
    const fresh = run.text(counted);
    counted = run.length;
    output += await count(fresh);
    const { usage } = checkpoints;
    const soFar: Usage = {
      input: usage?.input ?? null,
      cached: usage?.cached ?? 0,
      cacheWrite: usage?.cacheWrite ?? 0,
      output,
    };
    const { status, stopRequested } = await checkpointRun(runs(run.userId), {
      userId: run.userId,
      runId: run.runId,
      question: run.question,
      answer: run.text(),
      usage: soFar,
    });
    if (stopRequested || status !== 'running') run.stop('asked');
  };

  const later = () =>
    setTimeout(() => {
      underWay = save()
        .catch((error: unknown) => log.warn({ error, runId: run.runId }, 'checkpoint failed'))
        .then(() => {
          if (!stopped) timer = later();
        });
    }, run.begun.checkpointMs);
  let timer = later();
  return checkpoints;
}

/** For a run whose text is nobody's to keep. */
export function noCheckpoints(): Checkpoints {
  return { usage: null, stop: () => Promise.resolve() };
}
