import { Failure } from './failure.ts';

type StripeError = Error & { type: string; statusCode?: unknown; code?: unknown; param?: unknown };

/** Told by its shape, for whoever looks at an error may not have loaded the package. */
function isStripeError(error: unknown): error is StripeError {
  return error instanceof Error && 'type' in error && typeof error.type === 'string' && error.type.startsWith('Stripe');
}

/** HTTP's status of Stripe's answer; undefined where there was none. */
export function stripeStatus(error: unknown): number | undefined {
  return isStripeError(error) && typeof error.statusCode === 'number' ? error.statusCode : undefined;
}

/** Stripe does not take our key, or not for this: nothing is wrong with the request. */
export function isKeyRefused(error: unknown): boolean {
  const status = stripeStatus(error);
  return status === 401 || status === 403;
}

/** The customer that the request was for is not there, or was deleted. */
export function isCustomerGone(error: unknown): boolean {
  return isStripeError(error) && error.code === 'resource_missing' && error.param === 'customer';
}

/** The account has no configuration to open the portal by, or not the one that was named. */
export function isPortalMissing(error: unknown): boolean {
  return isStripeError(error) && isFinal(error) && (error.param ?? 'configuration') === 'configuration';
}

/** Stripe has looked at the request and will answer the same again. 409: somebody else is at it; 429: too much is asked. */
export function isFinal(error: unknown): boolean {
  const status = stripeStatus(error) ?? 0;
  return status >= 400 && status < 500 && status !== 409 && status !== 429 && !isKeyRefused(error);
}

/** Stripe is away or busy, or does not take our key: later it may answer otherwise. */
export function isPassing(error: unknown): boolean {
  return isStripeError(error) && !isFinal(error);
}

/** An error of Stripe's as its own words, for the books and the log; they quote no more of a key than its ends. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const parts = isStripeError(error) ? [error.type, error.statusCode, error.code] : [error.name];
  return `${parts.filter((part) => part !== undefined).join(' ')}: ${error.message}`.slice(0, 500);
}

/** What an error of Stripe's means to the caller; undefined where it means that we asked for something wrong. */
export function stripeFailure(error: unknown): Failure | undefined {
  if (!isPassing(error)) return undefined;
  return new Failure('billing_unavailable', undefined, { retryAfter: 5 }, { cause: error });
}
