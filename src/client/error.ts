import { TRPCClientError } from '@trpc/client';
import type { ErrorCode } from '../errors/registry.ts';
import type { Receipt } from './types.ts';

/**
 * A stable code: of the server (docs/errors.md lists them; a newer one may have more), or of the client itself, where nobody
 * answers (`unreachable`) or not any more (`connection_lost`).
 */
export type PlaygroundErrorCode = ErrorCode | 'unreachable' | 'connection_lost';

/** What an error says of itself, as application/problem+json does; a refusal also says which limit and what to do. */
export type Problem = {
  error: PlaygroundErrorCode;
  message: string;
  /** As HTTP would answer; 0 where the server was not reached. */
  status: number;
  /** Fields that were wrong. */
  errors?: { field: string; message: string }[];
  limit?: number | null;
  used?: number;
  held?: number;
  unit?: string;
  retry_at?: string;
  /** Seconds. */
  retry_after?: number;
  required_credits?: number;
  available_credits?: number;
  purchase_url?: string;
  /** The run that a refusal is about, as of `run_in_progress`. */
  run_id?: string;
  /** More about it, as `held_by_other_runs` and `session_busy` have. */
  details?: Record<string, unknown>;
  request_id?: string;
};

type FailedRun = Pick<Problem, 'message' | 'status'> & {
  error: ErrorCode;
  retryAfter?: number | undefined;
  receipt: Receipt | null;
};

/** Every error of `run` and `follow`; `PlaygroundError.from` makes one of what `api` throws. */
export class PlaygroundError extends Error {
  override readonly name = 'PlaygroundError';
  readonly problem: Problem;
  /** Of a run that failed after it had begun: what was delivered and charged all the same. */
  readonly receipt: Receipt | null;

  constructor(problem: Problem, options: { receipt?: Receipt | null; cause?: unknown } = {}) {
    super(problem.message, { cause: options.cause });
    this.problem = problem;
    this.receipt = options.receipt ?? null;
  }

  get code(): PlaygroundErrorCode {
    return this.problem.error;
  }

  /** Of a run that failed, as its last event says it. */
  static ofRun({ receipt, retryAfter, ...problem }: FailedRun): PlaygroundError {
    const more = {
      ...(retryAfter !== undefined && { retry_after: retryAfter }),
      ...(receipt !== null && { run_id: receipt.runId }),
    };
    return new PlaygroundError({ ...problem, ...more }, { receipt });
  }

  static from(error: unknown): PlaygroundError {
    if (error instanceof PlaygroundError) return error;
    if (error instanceof TRPCClientError) {
      const problem: unknown = error.data?.problem;
      if (isProblem(problem)) return new PlaygroundError(problem, { cause: error });
      const answer: unknown = error.meta?.responseJSON;
      if (isProblem(answer)) return new PlaygroundError(answer, { cause: error });
    }
    const reason = reasonOf(error);
    return new PlaygroundError(
      { error: 'unreachable', message: `The server cannot be reached: ${reason}.`, status: 0 },
      { cause: error },
    );
  }
}

function isProblem(value: unknown): value is Problem {
  return typeof value === 'object' && value !== null && 'error' in value && typeof value.error === 'string';
}

/** The innermost cause says most: "fetch failed" says nothing. */
function reasonOf(error: unknown): string {
  let reason = String(error);
  for (let cause = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    if (cause.message !== '') reason = cause.message;
  }
  return reason;
}
