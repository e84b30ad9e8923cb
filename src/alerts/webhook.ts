import { createHmac } from 'node:crypto';
import { DeliveryError } from './delivery-error.ts';

/** Where the operator's webhook is, the secret that it shares with us (`whsec_` and base64), and how long it has to answer. */
export type Receiver = { url: string; secret: string; patienceMs: number };

const GONE = 410;

/**
 * Posts a body as Standard Webhooks says (https://www.standardwebhooks.com): `id` is the same in every attempt, the time is
 * that of this one. Follows no redirect. Throws a DeliveryError where the receiver does not answer 2xx; 410 is final. Spec 9.
 */
export async function postWebhook(
  { url, secret, patienceMs }: Receiver,
  { id, body }: { id: string; body: string },
  signal: AbortSignal,
): Promise<void> {
  const timestamp = Math.floor(Date.now() / 1000);
  const response = await fetch(url, {
    method: 'POST',
    redirect: 'manual',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'prpm-playground',
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signWebhook(secret, { id, timestamp, body }),
    },
    body,
    signal: AbortSignal.any([signal, AbortSignal.timeout(patienceMs)]),
  }).catch((error: unknown) => {
    throw new DeliveryError(describe(error, patienceMs), { cause: error });
  });
  await response.body?.cancel();
  if (!response.ok) throw new DeliveryError(`HTTP ${response.status}`, { isFinal: response.status === GONE });
}

/** `v1,` and the base64 of the HMAC-SHA256 of id, time in seconds and body. */
export function signWebhook(
  secret: string,
  { id, timestamp, body }: { id: string; timestamp: number; body: string },
): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

/** An error of fetch without the URL, which may itself be a secret. */
function describe(error: unknown, patienceMs: number): string {
  if (!(error instanceof Error)) return 'no answer';
  if (error.name === 'TimeoutError') return `no answer within ${patienceMs / 1000} s`;
  const { cause } = error;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : error.name;
}
