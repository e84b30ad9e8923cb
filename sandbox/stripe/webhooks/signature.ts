import { createHmac } from 'node:crypto';

/**
 * The Stripe-Signature header of a body: the time (seconds) and an HMAC of both for each secret, of which an endpoint has
 * two while one is rolled.
 */
export function sign(body: string, secrets: string | readonly string[], t = Math.floor(Date.now() / 1000)): string {
  const all = typeof secrets === 'string' ? [secrets] : secrets;
  const signatures = all.map((secret) => `v1=${createHmac('sha256', secret).update(`${t}.${body}`).digest('hex')}`);
  return [`t=${t}`, ...signatures].join(',');
}
