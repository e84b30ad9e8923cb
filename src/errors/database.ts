import { Failure } from './failure.ts';
import type { ErrorCode } from './registry.ts';

/** Codes of postgres.js and the operating system that mean: nobody is there to ask. */
const DOWN = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
]);

/** A character that PostgreSQL does not take: of well-formed text that is NUL alone. */
const NO_TEXT = '22021';

const OURS: Record<string, ErrorCode> = {
  PR400: 'validation_error',
  PR403: 'forbidden',
  PR404: 'not_found',
  PR409: 'conflict',
};

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** The connection failed or was refused: whether the statement was carried out is not known. */
export function isDatabaseDown(error: unknown): boolean {
  const code = codeOf(error);
  return (
    DOWN.has(code) ||
    code.startsWith('08') ||
    (error instanceof Error && 'severity' in error && error.severity === 'FATAL')
  );
}

/** The database could not do it now, and may later: it is away, took too long, is only read from, or has no room, memory or connection left. */
export function isPassing(error: unknown): boolean {
  return isDatabaseDown(error) || /^(25006|40|53|55P03|57014|58)/.test(codeOf(error));
}

/** The statement carried something that PostgreSQL cannot store or reckon with (class 22). */
export function isDataException(error: unknown): boolean {
  return codeOf(error).startsWith('22');
}

/** What a database error means to the caller; undefined where it means nothing to them. */
export function databaseFailure(error: unknown): Failure | undefined {
  if (codeOf(error) === '57014')
    return new Failure('database_unavailable', 'The database took too long.', { retryAfter: 5 }, { cause: error });
  if (isPassing(error)) return new Failure('database_unavailable', undefined, { retryAfter: 2 }, { cause: error });
  if (codeOf(error) === NO_TEXT)
    return new Failure('validation_error', 'A text of the request has a NUL character.', {}, { cause: error });
  const code = OURS[codeOf(error)];
  if (code === undefined || !(error instanceof Error)) return undefined;
  const hint = textOf(error, 'hint');
  const message = hint === undefined ? error.message : `${error.message}. ${hint}`;
  const field = code === 'validation_error' ? textOf(error, 'detail') : undefined;
  return new Failure(code, message, field === undefined ? {} : { errors: [{ field, message: error.message }] }, {
    cause: error,
  });
}

function textOf(error: Error, name: 'hint' | 'detail'): string | undefined {
  const value: unknown = Reflect.get(error, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}
