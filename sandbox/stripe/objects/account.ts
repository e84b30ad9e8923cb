import { newId } from '../ids.ts';
import type { Account, WebhookEndpoint } from '../wire.ts';
import type { World } from '../world.ts';

export function buildAccount(): Account {
  return {
    id: newId('acct', 16),
    object: 'account',
    business_type: null,
    charges_enabled: true,
    country: 'US',
    created: 1_600_000_000,
    default_currency: 'usd',
    details_submitted: true,
    email: 'owner@sandbox.example',
    metadata: {},
    payouts_enabled: true,
    type: 'standard',
  };
}

export type NewEndpoint = {
  url: string;
  events: readonly string[];
  apiVersion: string | null;
  description: string | null;
  metadata: Record<string, string>;
};

export function buildEndpoint(world: World, wanted: NewEndpoint): WebhookEndpoint {
  return {
    id: newId('we'),
    object: 'webhook_endpoint',
    api_version: wanted.apiVersion,
    application: null,
    created: world.now,
    description: wanted.description,
    enabled_events: [...wanted.events],
    livemode: world.settings.livemode,
    metadata: wanted.metadata,
    status: 'enabled',
    url: wanted.url,
  };
}
