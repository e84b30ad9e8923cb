// What the server answers when it does not do something (RFC 9457), as the page reads it.
import { TRPCClientError } from '@trpc/client';

export type Problem = {
  /** A stable code; `unreachable` where no answer came. */
  code: string;
  /** Of HTTP; undefined where no answer came. */
  status: number | undefined;
  title: string;
  message: string;
  limit: number | undefined;
  used: number | undefined;
  held: number | undefined;
  unit: string | undefined;
  /** When to try again. */
  retryAt: Date | undefined;
  requiredCredits: number | undefined;
  availableCredits: number | undefined;
  /** The field that was wrong, and how. */
  fields: { field: string; message: string }[];
  details: Record<string, unknown>;
  runId: string | undefined;
  requestId: string | undefined;
};

export function problemOf(error: unknown): Problem {
  const data: unknown = error instanceof TRPCClientError ? error.data : undefined;
  const sent = members(members(data).problem);
  const code = text(sent.error);
  if (code === undefined) return unreachable;
  const retryAt = text(sent.retry_at);
  const seconds = number(sent.retry_after);
  return {
    code,
    status: number(sent.status),
    title: text(sent.title) ?? 'That did not work',
    message: text(sent.message) ?? '',
    ...{ limit: number(sent.limit), used: number(sent.used), held: number(sent.held), unit: text(sent.unit) },
    retryAt:
      retryAt !== undefined
        ? new Date(retryAt)
        : seconds === undefined
          ? undefined
          : new Date(Date.now() + seconds * 1_000),
    requiredCredits: number(sent.required_credits),
    availableCredits: number(sent.available_credits),
    fields: list(sent.errors).map((one) => ({ field: text(one.field) ?? '', message: text(one.message) ?? '' })),
    details: members(sent.details),
    runId: text(sent.run_id),
    requestId: text(sent.request_id),
  };
}

const unreachable: Problem = {
  code: 'unreachable',
  status: undefined,
  title: 'The server cannot be reached',
  message: 'Check your connection. What runs at the server goes on; this page catches up as soon as it can.',
  ...{ limit: undefined, used: undefined, held: undefined, unit: undefined, retryAt: undefined },
  ...{ requiredCredits: undefined, availableCredits: undefined, runId: undefined, requestId: undefined },
  fields: [],
  details: {},
};

/** A refusal that was told beforehand, with an estimate. */
export type Refusal = {
  code: string;
  status: number;
  message: string;
  limit?: number | undefined;
  used?: number | undefined;
  held?: number | undefined;
  unit?: string | undefined;
  retryAt?: string | undefined;
  requiredCredits?: number | undefined;
  availableCredits?: number | undefined;
  details?: Record<string, unknown> | undefined;
};

export function problemOfRefusal({ retryAt, details, ...refusal }: Refusal): Problem {
  return {
    ...unreachable,
    ...refusal,
    details: details ?? {},
    title: TITLES[refusal.code] ?? 'This cannot be run now',
    retryAt: retryAt === undefined ? undefined : new Date(retryAt),
  };
}

const TITLES: Record<string, string> = {
  insufficient_credits: 'Not enough credits',
  hourly_request_limit: 'Hourly run limit reached',
  daily_cost_limit: 'Daily cost limit reached',
  monthly_cost_limit: 'Monthly cost limit reached',
  request_too_large: 'Too long',
  throttled: 'Your account is throttled',
  limit_exceeded: 'Your free run of this month is used',
  anonymous_budget: 'The free runs of today are used up',
  runs_disabled: 'Runs are switched off for the moment',
  held_by_other_runs: 'Your other runs hold what is left',
};

function members(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}
const list = (value: unknown) => (Array.isArray(value) ? value.map(members) : []);
const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
const number = (value: unknown) => (typeof value === 'number' ? value : undefined);
