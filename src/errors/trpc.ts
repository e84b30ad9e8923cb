import { TRPCError } from '@trpc/server';
import { ZodError } from 'zod';
import { fieldPath, snakeName } from '../names.ts';
import { databaseFailure } from './database.ts';
import { Failure } from './failure.ts';
import { stripeFailure } from './stripe.ts';

const CODES: Record<number, TRPCError['code']> = {
  400: 'BAD_REQUEST',
  401: 'UNAUTHORIZED',
  402: 'PAYMENT_REQUIRED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  405: 'METHOD_NOT_SUPPORTED',
  409: 'CONFLICT',
  413: 'PAYLOAD_TOO_LARGE',
  429: 'TOO_MANY_REQUESTS',
  502: 'BAD_GATEWAY',
  503: 'SERVICE_UNAVAILABLE',
  504: 'GATEWAY_TIMEOUT',
};

/** Any error in the registry's words. What is nobody's business but ours becomes `internal_error`. */
export function failureFrom(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof TRPCError) {
    if (error.cause instanceof Failure) return error.cause;
    if (error.code === 'BAD_REQUEST') return invalidInput(error);
    if (error.code === 'NOT_FOUND') return new Failure('route_not_found', 'There is no such procedure.');
    if (error.code === 'METHOD_NOT_SUPPORTED') return new Failure('method_not_allowed', error.message);
    if (error.code === 'PARSE_ERROR') return new Failure('malformed_json');
    if (error.code === 'PAYLOAD_TOO_LARGE') return new Failure('request_too_long');
  }
  const cause = error instanceof TRPCError ? error.cause : error;
  return (
    stripeFailure(cause) ??
    databaseFailure(cause) ??
    new Failure('internal_error', undefined, {}, { cause: cause ?? error })
  );
}

/** The same as tRPC's error, which keeps the Failure as its cause. */
export function trpcErrorFrom(error: unknown): TRPCError {
  const failure = failureFrom(error);
  return new TRPCError({
    code: CODES[failure.status] ?? 'INTERNAL_SERVER_ERROR',
    message: failure.message,
    cause: failure,
  });
}

function invalidInput(error: TRPCError): Failure {
  if (!(error.cause instanceof ZodError)) return new Failure('validation_error', 'The request cannot be read.');
  const errors = error.cause.issues.map((issue) => ({
    field: fieldPath(issue.path.join('.'), snakeName),
    message: issue.message.endsWith('received undefined') ? 'is required' : issue.message,
  }));
  const message = errors.map(({ field, message: what }) => (field === '' ? what : `${field}: ${what}`)).join('; ');
  return new Failure('validation_error', message, { errors });
}
