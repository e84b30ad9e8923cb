import { snakeCase, snakeName } from '../names.ts';
import type { Failure } from './failure.ts';
import { registry } from './registry.ts';

/** Where an error happened. */
export type Instance = { path: string; requestId: string };

/** An error as application/problem+json says it (RFC 9457), with the fields that clients of the reference know. Spec 11.3. */
export function problemOf(failure: Failure, { path, requestId }: Instance): Record<string, unknown> {
  const { code, status, message, extras } = failure;
  return {
    type: `urn:prpm-playground:error:${code}`,
    title: registry[code][1],
    status,
    detail: message,
    instance: path,
    error: code,
    message,
    ...snakeMembers(extras.refusal),
    ...(extras.details !== undefined && { details: snakeCase(extras.details) }),
    ...(extras.errors && {
      errors: extras.errors.map(({ field, message: what }) => ({ field: snakeName(field), message: what })),
    }),
    ...(extras.runId !== undefined && { run_id: extras.runId }),
    ...(extras.retryAfter !== undefined && { retry_after: extras.retryAfter }),
    request_id: requestId,
  };
}

function snakeMembers(refusal: Record<string, unknown> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(refusal).map(([name, value]) => [snakeName(name), snakeCase(value)]));
}
