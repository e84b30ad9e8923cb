import { bothCases, camelName, fieldPath, snakeCase, snakeName } from '../names.ts';
import type { Failure } from './failure.ts';
import { registry } from './registry.ts';

/** Where an error happened, and how the caller writes the names of fields: in snake_case where not said. */
export type Instance = { path: string; requestId: string; case?: 'camel' | 'both' | undefined };

/** An error as application/problem+json says it (RFC 9457), with the fields that clients of the reference know. Spec 11.3. */
export function problemOf(failure: Failure, { path, requestId, case: naming }: Instance): Record<string, unknown> {
  const { code, status, extras } = failure;
  const rename = naming === undefined ? snakeName : camelName;
  const fieldName = (field: string) => fieldPath(field, rename);
  // Messages name fields in snake_case.
  const message = (extras.errors ?? []).reduce(
    (text, { field }) => text.replaceAll(fieldPath(field, snakeName), fieldName(field)),
    failure.message,
  );
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
    ...members(bothCases(extras.both)),
    ...(extras.errors && {
      errors: extras.errors.map(({ field, message: what }) => ({ field: fieldName(field), message: what })),
    }),
    ...(extras.runId !== undefined && { run_id: extras.runId }),
    ...(extras.retryAfter !== undefined && { retry_after: extras.retryAfter }),
    request_id: requestId,
  };
}

const members = (value: unknown) => (typeof value === 'object' ? value : {});

function snakeMembers(refusal: Record<string, unknown> = {}): Record<string, unknown> {
  return Object.fromEntries(Object.entries(refusal).map(([name, value]) => [snakeName(name), snakeCase(value)]));
}
