import { setTimeout as sleep } from 'node:timers/promises';
import { type Channel, claimMessages, failMessage, finishMessage, type Message } from '../calls/alerts.ts';
import type { Sql } from '../database/client.ts';
import type { Log } from '../telemetry/log.ts';
import type { Deliver } from './channels.ts';
import { DeliveryError } from './delivery-error.ts';

const LOOK_EVERY_MS = 5_000;
const AT_ONCE = 10;
/** For how long a message that is under way is waited for when the server stops. */
const STOP_MS = 5_000;

export type Delivery = {
  /** Delivers what is due now. */
  look(): Promise<void>;
  /** Begins nothing any more. What it breaks off is delivered by whoever claims it next. */
  stop(): Promise<void>;
};

/**
 * Delivers the messages that the database has written, each at least once, until stopped: a server that dies, or cannot say
 * that it has delivered one, leaves it to the next. Spec 9.
 */
export function startDelivery(sql: Sql, channels: ReadonlyMap<Channel, Deliver>, log: Log): Delivery {
  const stopping = new AbortController();
  let underWay = Promise.resolve();

  async function deliver(message: Message): Promise<void> {
    const { messageId, channel } = message;
    try {
      await channels.get(channel)?.(message, stopping.signal);
    } catch (error) {
      if (!stopping.signal.aborted) await fail(message, error);
      return;
    }
    await finishMessage(sql, messageId);
    log.debug({ messageId, channel }, 'message delivered');
  }

  async function fail(message: Message, error: unknown): Promise<void> {
    const isFinal = error instanceof DeliveryError && error.isFinal;
    const reason = error instanceof DeliveryError ? error.message : 'failed in an unexpected way';
    const { messageId, channel, attempt } = message;
    log[isFinal ? 'error' : 'warn']({ messageId, channel, attempt, reason }, 'message not delivered');
    await failMessage(sql, message, reason, isFinal);
  }

  async function deliverDue(): Promise<void> {
    while (!stopping.signal.aborted) {
      const messages = await claimMessages(sql, [...channels.keys()], AT_ONCE);
      const done = await Promise.allSettled(messages.map(deliver));
      for (const { reason } of done.filter((one) => one.status === 'rejected')) {
        log.warn({ error: reason }, 'a delivery could not be booked; its claim will end');
      }
      if (messages.length < AT_ONCE) return;
    }
  }

  function look(): Promise<void> {
    underWay = underWay.then(deliverDue).catch((error: unknown) => {
      if (!stopping.signal.aborted) log.warn({ error }, 'messages could not be looked at');
    });
    return underWay;
  }

  const timer = setInterval(look, LOOK_EVERY_MS);
  void look();
  return {
    look,
    async stop() {
      clearInterval(timer);
      stopping.abort();
      const over = new AbortController();
      await Promise.race([underWay, sleep(STOP_MS, undefined, { signal: over.signal }).catch(() => undefined)]);
      over.abort();
    },
  };
}
