import { z } from 'zod';
import { refused } from '../errors.ts';
import { newId } from '../ids.ts';
import { buildEndpoint, type NewEndpoint } from '../objects/account.ts';
import type { State } from '../state.ts';
import type { StripeEvent, WebhookEndpoint } from '../wire.ts';
import { find, type World } from '../world.ts';
import { listOf } from './lists.ts';
import {
  bool,
  changedMetadata,
  clearable,
  isWithin,
  newMetadata,
  page,
  range,
  text,
  url,
  withMetadata,
} from './parameters.ts';
import { route } from './route.ts';

const DAY = 24 * 60 * 60;
const types = z.array(text).min(1);

/** The secret is shown in the answer to this, and never again. */
export function createEndpoint(world: World, wanted: NewEndpoint, secret = newId('whsec', 32)): WebhookEndpoint {
  const made = buildEndpoint(world, wanted);
  world.state.endpoints[made.id] = made;
  world.state.secrets[made.id] = [secret];
  return { ...made, secret };
}

export const webhookRoutes = [
  route(
    'POST',
    '/v1/webhook_endpoints',
    {
      url,
      enabled_events: types,
      api_version: text.optional(),
      description: clearable(text).optional(),
      metadata: newMetadata.optional(),
    },
    (world, wanted) =>
      createEndpoint(world, {
        url: wanted.url,
        events: wanted.enabled_events,
        apiVersion: wanted.api_version ?? null,
        description: wanted.description ?? null,
        metadata: wanted.metadata ?? {},
      }),
  ),
  route('GET', '/v1/webhook_endpoints/:id', {}, ({ state }, _wanted, id) => endpoint(state, id)),
  route(
    'POST',
    '/v1/webhook_endpoints/:id',
    {
      url: url.optional(),
      enabled_events: types.optional(),
      disabled: bool.optional(),
      description: clearable(text).optional(),
      metadata: changedMetadata.optional(),
    },
    ({ state }, wanted, id) => {
      const found = endpoint(state, id);
      found.url = wanted.url ?? found.url;
      found.enabled_events = wanted.enabled_events ?? found.enabled_events;
      if (wanted.disabled !== undefined) found.status = wanted.disabled ? 'disabled' : 'enabled';
      if (wanted.description !== undefined) found.description = wanted.description;
      found.metadata = withMetadata(found.metadata, wanted.metadata);
      return found;
    },
  ),
  route('DELETE', '/v1/webhook_endpoints/:id', {}, ({ state }, _wanted, id) => {
    endpoint(state, id);
    for (const delivery of state.deliveries) {
      if (delivery.endpoint === id && delivery.state === 'pending') delivery.state = 'failed';
    }
    delete state.endpoints[id];
    delete state.secrets[id];
    return { id, object: 'webhook_endpoint', deleted: true };
  }),
  route('GET', '/v1/webhook_endpoints', page, ({ state }, wanted) =>
    listOf('/v1/webhook_endpoints', Object.values(state.endpoints), wanted),
  ),

  route('GET', '/v1/events/:id', {}, (world, _wanted, id) => {
    const found = find(world.state.events, 'event', id);
    if (!isRecent(world, found)) find<StripeEvent>({}, 'event', id);
    return found;
  }),
  route(
    'GET',
    '/v1/events',
    {
      ...page,
      created: range.optional(),
      delivery_success: bool.optional(),
      type: text.optional(),
      types: z.array(text).max(20).optional(),
    },
    (world, { created, delivery_success: arrived, type, types: some, ...wanted }) => {
      if (type !== undefined && some !== undefined) {
        throw refused('You may only specify one of these parameters: type, types.', 'types');
      }
      const undelivered = missedEvents(world.state);
      const found = Object.values(world.state.events).filter(
        (event) =>
          isRecent(world, event) &&
          (type === undefined || isOfType(event, type)) &&
          (some === undefined || some.some((one) => isOfType(event, one))) &&
          (arrived === undefined || undelivered.has(event.id) !== arrived) &&
          isWithin(event.created, created),
      );
      return listOf('/v1/events', found, wanted);
    },
  ),
];

function endpoint(state: State, id: string): WebhookEndpoint {
  return find(state.endpoints, 'webhook endpoint', id);
}

/** Events older than 30 days cannot be had any more. */
function isRecent(world: World, event: StripeEvent): boolean {
  return event.created > world.now - 30 * DAY;
}

/** `charge.*` stands for all that begin so. */
function isOfType(event: StripeEvent, type: string): boolean {
  return type.endsWith('*') ? event.type.startsWith(type.slice(0, -1)) : event.type === type;
}

/** Events that have not arrived at some endpoint that wants them, whether they are still tried or not. */
function missedEvents(state: State): Set<string> {
  return new Set(state.deliveries.filter((delivery) => delivery.state !== 'delivered').map(({ event }) => event));
}
