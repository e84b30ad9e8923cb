import { newId } from '../ids.ts';
import type { Delivery } from '../state.ts';
import type { Deliveries, Order, Overrides, Result } from '../webhooks/deliveries.ts';
import { sign } from '../webhooks/signature.ts';
import { renderFor } from '../webhooks/versions.ts';
import type { EventType, StripeEvent, WebhookEndpoint } from '../wire.ts';
import { find, type World } from '../world.ts';

/** What can be done with events, beside letting them arrive. */
export type WebhookControl = ReturnType<typeof createWebhookControl>;

export function createWebhookControl(world: World, deliveries: Deliveries) {
  const event = (id: string): StripeEvent => find(world.state.events, 'event', id);
  return {
    /** All made so far, oldest first; or those of these types. */
    events: (...types: EventType[]): StripeEvent[] =>
      structuredClone(
        Object.values(world.state.events).filter(({ type }) => types.length === 0 || types.includes(type)),
      ),
    /** Those that were made after so many. */
    eventsAfter: (count: number): StripeEvent[] => structuredClone(Object.values(world.state.events).slice(count)),
    /** Deliveries that have not arrived and are still tried, or wait to be sent. */
    pending: (): Delivery[] => structuredClone(deliveries.pending()),
    deliveries: (): Delivery[] => structuredClone(world.state.deliveries),
    endpoints: (): WebhookEndpoint[] => structuredClone(Object.values(world.state.endpoints)),

    /** Sends these events now, in this order, to each endpoint that wants them: also those that have arrived before. */
    deliver: (ids: string | readonly string[], overrides?: Overrides): Promise<Result[]> =>
      deliveries.deliver(typeof ids === 'string' ? [ids] : ids, overrides),
    /** The same for one event: signed anew, with a new time. */
    redeliver: (id: string, overrides?: Overrides): Promise<Result[]> => deliveries.deliver([id], overrides),
    deliverAll: (order?: Order): Promise<Result[]> => deliveries.deliverAll(order),
    /** In auto mode: keeps everything back, until release. */
    hold: (): void => deliveries.hold(),
    release: (): void => deliveries.release(),
    /** In auto mode: until everything has been sent once. */
    settled: (): Promise<void> => deliveries.settled(),

    /** An event as an endpoint of that version would receive it. */
    render(id: string, { apiVersion, ...others }: Overrides = {}): StripeEvent {
      return { ...renderFor(world.state, event(id), apiVersion ?? world.settings.apiVersion), ...others };
    },
    sign,
    /** A second secret that signs beside the first, as while one is rolled. Returns it. */
    rollSecret(endpoint: string): string {
      const secret = newId('whsec', 32);
      world.state.secrets[endpoint] = [...find(world.state.secrets, 'webhook endpoint', endpoint), secret];
      return secret;
    },
    /** Ends the rolling: only the newest secret signs. */
    dropOldSecrets(endpoint: string): void {
      world.state.secrets[endpoint] = find(world.state.secrets, 'webhook endpoint', endpoint).slice(-1);
    },
  };
}
