import { note } from './agenda.ts';
import { missing } from './errors.ts';
import { newId } from './ids.ts';
import type { Due, State, Table, Wallet } from './state.ts';
import type { EventType, Json, StripeEvent } from './wire.ts';

/** How this account is set up, where Stripe leaves a choice. */
export type Settings = {
  livemode: boolean;
  apiVersion: string;
  publicUrl: string;
  /** Days from each failed payment of a renewal to the next try. */
  retryDays: readonly number[];
  /** What becomes of a subscription when all tries have failed. */
  afterRetries: 'cancel' | 'unpaid' | 'past_due';
};

/** The state and what everything else needs to change it. Money is in cents, time in whole seconds. */
export class World {
  state: State;
  readonly settings: Settings;
  /** The request that is being carried out: its events name it. */
  request: { id: string; key: string | null } | null = null;
  readonly #now: () => number;
  readonly #published: (event: StripeEvent) => void;

  constructor(state: State, settings: Settings, now: () => number, published: (event: StripeEvent) => void) {
    this.state = state;
    this.settings = settings;
    this.#now = now;
    this.#published = published;
  }

  /** Seconds. */
  get now(): number {
    return Math.floor(this.#now() / 1000);
  }

  later(at: number, kind: Due['kind'], id: string): void {
    note(this.state.agenda, { at, kind, id });
  }

  wallet(customer: string | null): Wallet {
    const fresh: Wallet = { card: 'good', failNext: 0 };
    if (customer === null) return fresh;
    this.state.wallets[customer] ??= fresh;
    return this.state.wallets[customer];
  }

  /** Makes an event of the object as it is now. */
  emit(type: EventType, object: Json, previous?: Json): StripeEvent {
    const event: StripeEvent = {
      id: newId('evt'),
      object: 'event',
      api_version: this.settings.apiVersion,
      created: this.now,
      data: structuredClone(previous ? { object, previous_attributes: previous } : { object }),
      livemode: this.settings.livemode,
      pending_webhooks: 0,
      request: { id: this.request?.id ?? null, idempotency_key: this.request?.key ?? null },
      type,
    };
    this.state.events[event.id] = event;
    this.#published(event);
    return event;
  }

  /** Changes an object and, if that changed something, makes the event that tells what was before. */
  change<T extends Json>(type: EventType, object: T, change: (object: T) => void): void {
    const before = structuredClone(object);
    try {
      change(object);
    } catch (error) {
      for (const key of Object.keys(object)) if (!(key in before)) delete object[key];
      Object.assign(object, before); // a request that is refused has changed nothing
      throw error;
    }
    const previous = difference(before, object);
    if (Object.keys(previous).length > 0) this.emit(type, object, previous);
  }
}

/** The old values of what differs: by field inside of objects, whole for arrays, null for what was not there. */
function difference(before: Json, after: Json): Json {
  const previous: Json = {};
  for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[key], after[key]];
    if (JSON.stringify(was) === JSON.stringify(is)) continue;
    previous[key] = isObject(was) && isObject(is) ? difference(was, is) : (was ?? null);
  }
  return previous;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Throws 404 `resource_missing`. */
export function find<T>(table: Table<T>, what: string, id: string, param?: string): T {
  const found = Object.hasOwn(table, id) ? table[id] : undefined;
  if (found === undefined) throw missing(what, id, param);
  return found;
}
