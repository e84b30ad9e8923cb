import { type ErrorCode, registry } from './registry.ts';

/** A field that was wrong. */
type FieldError = { field: string; message: string };

/** What an answer says beside code and message; names as they are sent. */
export type FailureExtras = {
  details?: unknown;
  /** Members that the reference names in camelCase, where all else is in snake_case: sent in both. */
  both?: Record<string, unknown>;
  errors?: FieldError[];
  /** Seconds. */
  retryAfter?: number | undefined;
  /** Header of a 405. */
  allow?: string;
  /** Members of a refusal: limit, used, held, unit, retry_at, required_credits, available_credits, purchase_url. */
  refusal?: Record<string, unknown>;
  runId?: string;
};

/** An error that the caller is told, by a code of the registry. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly code: ErrorCode;
  readonly status: number;
  readonly extras: FailureExtras;

  constructor(
    code: ErrorCode,
    message?: string,
    extras: FailureExtras = {},
    options?: { cause?: unknown; status?: number },
  ) {
    const [status, title, advice] = registry[code];
    super(message ?? `${title}. ${advice}`, { cause: options?.cause });
    this.code = code;
    this.status = options?.status ?? status;
    this.extras = extras;
  }
}
