import { isUtf8 } from 'node:buffer';
import type Stripe from 'stripe';
import { z } from 'zod';
import { applyStripeEvent, failStripeEvent, storeStripeEvent } from '../calls/billing.ts';
import type { Sql } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import { describeError } from '../errors/stripe.ts';
import type { Log } from '../telemetry/log.ts';
import type { StripeAccount } from './client.ts';

/** How far the time of a signature may be from ours, in either direction. */
const TOLERANCE_S = 300;

const eventSchema = z.object({ id: z.string().min(1).max(255), object: z.literal('event'), type: z.string() });
type Event = z.output<typeof eventSchema>;

/** An event, and what became of it: what storing or applying it answered, or `failed`. */
export type Received = Event & { outcome: string };

export type Delivery = { bytes: Buffer; signature: string | undefined };

export type Inbox = { sql: Sql; account: StripeAccount; secrets: readonly string[]; log: Log };

/**
 * Takes an event from the webhook: checks its signature, stores it as it came, applies it. One that cannot be applied is
 * stored all the same and tried again, so that Stripe need not send it again. Throws `webhook_signature_invalid`. Spec 6.3 to 6.5.
 */
export async function receiveEvent({ sql, account, secrets, log }: Inbox, delivery: Delivery): Promise<Received> {
  const { stripe, apiVersion } = await account.load();
  const event = verify(stripe, secrets, delivery);
  const signed = { id: event.id, body: delivery.bytes.toString('utf8'), livemode: account.livemode, apiVersion };
  const stored = await storeStripeEvent(sql, signed);
  if (stored === 'repeated') return { ...event, outcome: stored };
  return { ...event, outcome: await applyEvent(sql, event.id, log) };
}

/** Applies a stored event, or has it tried again later. Throws only where the database cannot take that down either. */
export async function applyEvent(sql: Sql, eventId: string, log: Log): Promise<string> {
  try {
    return await applyStripeEvent(sql, eventId);
  } catch (error) {
    log.error({ error, eventId }, 'an event could not be applied; it is tried again');
    await failStripeEvent(sql, eventId, describeError(error));
    return 'failed';
  }
}

/** The event of a delivery that one of our secrets has signed, not long ago. */
function verify(stripe: Stripe, secrets: readonly string[], { bytes, signature }: Delivery): Event {
  if (signature === undefined || signature === '') throw invalid('The header Stripe-Signature is missing.');
  if (bytes.length === 0) throw invalid('The body is empty.');
  const secret = secrets.find((one) => isSigned(stripe, bytes, signature, one, Number.POSITIVE_INFINITY));
  if (secret === undefined) throw invalid('The signature does not fit the body and the signing secret.');
  if (!isSigned(stripe, bytes, signature, secret, TOLERANCE_S)) {
    throw invalid(`The signature is more than ${TOLERANCE_S} seconds old.`);
  }
  // The package takes any time to come.
  if (signedAt(signature) > Date.now() / 1000 + TOLERANCE_S) {
    throw invalid(`The signature is more than ${TOLERANCE_S} seconds in the future. Check the clock.`);
  }
  return eventOf(bytes);
}

function isSigned(stripe: Stripe, bytes: Buffer, header: string, secret: string, toleranceS: number): boolean {
  try {
    return stripe.webhooks.signature?.verifyHeader(bytes, header, secret, toleranceS) ?? false;
  } catch {
    return false;
  }
}

/** Seconds. Of several times the last is the signed one. */
function signedAt(header: string): number {
  const item = header.split(',').findLast((one) => one.startsWith('t=')) ?? '';
  return Number.parseInt(item.slice(2), 10);
}

/** Thin events (of API v2) have another `object`: nobody has asked for them. */
function eventOf(bytes: Buffer): Event {
  const parsed = eventSchema.safeParse(jsonOf(bytes));
  if (parsed.success) return parsed.data;
  throw invalid('The body is no event: JSON with "object": "event", an id and a type.');
}

function jsonOf(bytes: Buffer): unknown {
  try {
    return isUtf8(bytes) ? JSON.parse(bytes.toString('utf8')) : undefined;
  } catch {
    return undefined;
  }
}

function invalid(message: string): Failure {
  return new Failure('webhook_signature_invalid', message);
}
