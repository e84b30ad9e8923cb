import type { AttemptFailure, Failure } from './provider.ts';

/** A provider's answer with an error status, in words that both SDKs share. */
type Refusal = {
  status: number;
  /** The provider's own category, such as `overloaded_error`. */
  type: string | null;
  message: string | null;
  headers: Headers;
};

/** Spec 5.4, by status. */
export function refused({ status, type, message, headers }: Refusal): AttemptFailure {
  const retryAfterSeconds = retryAfter(headers);
  if (status === 401 || status === 403) {
    const reason = `The provider refused our credentials (${status}).`;
    return {
      code: 'provider_not_configured',
      reason,
      retryAfterSeconds: null,
      credentialsRejected: true,
      ...NOT_AGAIN,
    };
  }
  if (status === 429 || status >= 500) {
    const reason = `The provider is ${status === 429 ? 'limiting our requests' : 'out of order'} (${status}).`;
    return { ...unavailable(reason, retryAfterSeconds), mayRetry: true, mayBill: false };
  }
  return { ...rejected(type, message), ...NOT_AGAIN };
}

const NOT_AGAIN = { mayRetry: false, mayBill: false };

/** An error that the provider sent inside of a stream that had begun well. */
export function failedMidStream(type: string | null, message: string | null): AttemptFailure {
  const failure =
    type === 'invalid_request_error' ? rejected(type, message) : unavailable('The provider broke off its answer.');
  return { ...failure, mayRetry: false, mayBill: true };
}

/** No answer at all: refused, unreachable, reset before the first byte. */
export function notConnected(cause: unknown): AttemptFailure {
  return { ...unavailable('The provider could not be reached.'), mayRetry: true, mayBill: !neverSent(cause) };
}

/** A timeout that the SDK noticed before our own clock did. */
export function timedOut(): AttemptFailure {
  const reason = 'The provider did not answer in time.';
  return {
    code: 'provider_timeout',
    reason,
    retryAfterSeconds: null,
    credentialsRejected: false,
    mayRetry: false,
    mayBill: true,
  };
}

/** A connection lost, or a message that nobody can read, after the answer had begun. */
export function brokenStream(): AttemptFailure {
  return { ...unavailable('The answer broke off.'), mayRetry: false, mayBill: true };
}

export function unavailable(reason: string, retryAfterSeconds: number | null = null): Failure {
  return { code: 'provider_unavailable', reason, retryAfterSeconds, credentialsRejected: false };
}

function rejected(type: string | null, message: string | null): Failure {
  const reason =
    message === null || aboutOurAccount(type, message) ? 'The provider refused the request.' : shown(message);
  return { code: 'provider_error', reason, retryAfterSeconds: null, credentialsRejected: false };
}

/** What the provider says about our account with it is not the user's business. */
function aboutOurAccount(type: string | null, message: string): boolean {
  return type === 'billing_error' || /credit balance|billing|quota|organi[sz]ation|workspace|api key/i.test(message);
}

/** PostgreSQL stores any character but NUL. */
export function withoutNul(text: string): string {
  return text.replaceAll('\0', '\ufffd');
}

/** A provider's message as one short line without keys, ids and addresses. */
function shown(message: string): string {
  const line = withoutNul(message)
    .replace(/\b(bearer|basic)\s+[\w.~+/=-]+/gi, '…')
    .replace(/\bsk[-_][\w*.-]+/gi, '…')
    .replace(/\b(?:org|proj|user|req|msg|chatcmpl)[-_](?=[\w.-]*\d)[\w.-]{6,}/gi, '…')
    .replace(/\bhttps?:\/\/\S+/gi, '…')
    .replace(/[\w.+-]+@[\w-]+\.[\w.-]+/g, '…')
    .replace(/\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b/g, '…')
    .replace(/\b[0-9a-f]{8}-[0-9a-f-]{27}\b/gi, '…')
    .replace(/\b(?=\w*\d)(?=\w*[a-z])\w{28,}\b/gi, '…')
    .replace(/\s+/g, ' ')
    .trim();
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}

/** Seconds or an HTTP date, rounded up; null where it is missing, past or senseless. */
function retryAfter(headers: Headers): number | null {
  const value = headers.get('retry-after');
  if (value === null) return null;
  const seconds = /^\d+(\.\d+)?$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1_000;
  return seconds > 0 && seconds <= 86_400 ? Math.ceil(seconds) : null;
}

/** True where the connection itself failed, so that no request was sent. */
function neverSent(cause: unknown): boolean {
  if (!(cause instanceof Error)) return false;
  // Node tries all of a host's addresses and reports their errors together.
  if (cause instanceof AggregateError) return cause.errors.every(neverSent);
  if ('syscall' in cause && (cause.syscall === 'connect' || cause.syscall === 'getaddrinfo')) return true;
  return neverSent(cause.cause);
}
