import { TRPCClientError } from '@trpc/client';
import type { Receipt } from './types.ts';

/** What an error says of itself, as application/problem+json does; a refusal also says which limit and what to do. */
export type Problem = {
  /** A stable code; docs/errors.md lists all. */
  error: string;
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
  request_id?: string;
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

  get code(): string {
    return this.problem.error;
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
