import { setTimeout as sleep } from 'node:timers/promises';
import type { Delivery } from '../state.ts';
import type { StripeEvent, WebhookEndpoint } from '../wire.ts';
import { find, type World } from '../world.ts';
import { sign } from './signature.ts';
import { renderFor } from './versions.ts';

export type Mode = 'auto' | 'manual';

/** What a delivery says otherwise than its event. */
export type Overrides = { livemode?: boolean; account?: string; context?: string; apiVersion?: string };

export type Result = { event: string; type: string; endpoint: string; status: number };

export type Order = {
  /** From 0 up to 1: with it, deliveries are shuffled. */
  shuffle?: () => number;
  /** Each is sent this many times. */
  times?: number;
  /** How many are under way at once. */
  parallel?: number;
};

/** Brings events to endpoints: by itself, trying again after growing gaps, or when told to. */
export class Deliveries {
  readonly #world: World;
  readonly #mode: Mode;
  readonly #gapsMs: readonly number[];
  readonly #signAt: () => number;
  readonly #ending = new AbortController();
  readonly #drains = new Map<string, Promise<void>>();
  /** Failed ones whose next try has its time. */
  readonly #resting = new Set<Delivery>();
  #isHeld = false;
  /** The deliveries of the present state, so that a long history costs nothing. */
  #book: { of: Delivery[]; open: Set<Delivery>; byName: Map<string, Delivery> } | null = null;

  /** `signAt`: seconds; the receiver compares them with its own clock, which is not ours. */
  constructor(world: World, mode: Mode, gapsMs: readonly number[], signAt: () => number) {
    this.#world = world;
    this.#mode = mode;
    this.#gapsMs = gapsMs;
    this.#signAt = signAt;
  }

  /** Puts a new event in the queue of each endpoint that wants it. */
  queue(event: StripeEvent): void {
    for (const endpoint of Object.values(this.#world.state.endpoints)) {
      if (!wants(endpoint, event)) continue;
      const delivery: Delivery = { event: event.id, endpoint: endpoint.id, state: 'pending', tries: [] };
      const book = this.#read();
      book.of.push(delivery);
      book.open.add(delivery);
      book.byName.set(nameOf(delivery.event, delivery.endpoint), delivery);
      event.pending_webhooks += 1;
      this.#drain(endpoint.id);
    }
  }

  pending(): Delivery[] {
    const { open } = this.#read();
    for (const delivery of open) if (delivery.state !== 'pending') open.delete(delivery);
    return [...open];
  }

  hold(): void {
    this.#isHeld = true;
  }

  /** In auto mode: also what a snapshot has brought. */
  release(): void {
    this.#isHeld = false;
    for (const endpoint of Object.keys(this.#world.state.endpoints)) this.#drain(endpoint);
  }

  /** Until no queue is being worked off; what waits for its next try is not waited for. */
  async settled(): Promise<void> {
    while (this.#drains.size > 0) await Promise.all(this.#drains.values());
  }

  async stop(): Promise<void> {
    this.#ending.abort();
    await Promise.allSettled(this.#drains.values());
  }

  /** Sends these events now, in this order, to the endpoints that want them, whatever was sent before. */
  async deliver(events: readonly string[], overrides: Overrides = {}): Promise<Result[]> {
    const results: Result[] = [];
    for (const id of events) {
      const event = find(this.#world.state.events, 'event', id);
      for (const endpoint of Object.values(this.#world.state.endpoints)) {
        if (wants(endpoint, event)) results.push(await this.#send(event, endpoint, overrides));
      }
    }
    return results;
  }

  /** Sends all that is pending. */
  async deliverAll({ shuffle, times = 1, parallel = 1 }: Order = {}): Promise<Result[]> {
    const waiting = this.pending().flatMap((delivery) => Array.from({ length: times }, () => delivery));
    if (shuffle) shuffleWith(waiting, shuffle);
    const results: Result[] = [];
    const worker = async () => {
      for (let delivery = waiting.shift(); delivery; delivery = waiting.shift()) {
        const { events, endpoints } = this.#world.state;
        const event = find(events, 'event', delivery.event);
        const endpoint = endpoints[delivery.endpoint];
        if (endpoint) results.push(await this.#send(event, endpoint));
      }
    };
    await Promise.all(Array.from({ length: parallel }, worker));
    return results;
  }

  /** In auto mode: one after the other for each endpoint. One that fails does not stop the others. */
  #drain(endpoint: string): void {
    if (this.#mode === 'manual' || this.#drains.has(endpoint)) return;
    const work = async () => {
      await null; // what is being done now is finished first
      try {
        for (let due = this.#nextFor(endpoint); due; due = this.#nextFor(endpoint)) await this.#try(due);
      } finally {
        this.#drains.delete(endpoint);
      }
    };
    this.#drains.set(endpoint, work());
  }

  #nextFor(endpoint: string): Delivery | undefined {
    if (this.#isHeld || this.#ending.signal.aborted) return undefined;
    for (const delivery of this.#read().open) {
      if (delivery.state !== 'pending') this.#read().open.delete(delivery);
      else if (delivery.endpoint === endpoint && !this.#resting.has(delivery)) return delivery;
    }
    return undefined;
  }

  async #try(delivery: Delivery): Promise<void> {
    const event = find(this.#world.state.events, 'event', delivery.event);
    const endpoint = this.#world.state.endpoints[delivery.endpoint];
    if (!endpoint) {
      delivery.state = 'failed';
      return;
    }
    await this.#send(event, endpoint);
    if (delivery.state !== 'pending' || this.#ending.signal.aborted) return;
    const gap = this.#gapsMs[delivery.tries.length - 1];
    if (gap === undefined) delivery.state = 'failed';
    else void this.#tryLater(delivery, gap);
  }

  async #tryLater(delivery: Delivery, gapMs: number): Promise<void> {
    this.#resting.add(delivery);
    try {
      await sleep(gapMs, undefined, { ref: false, signal: this.#ending.signal });
    } catch {
      return; // the stand-in stops
    }
    this.#resting.delete(delivery);
    this.#drain(delivery.endpoint);
  }

  #read() {
    const of = this.#world.state.deliveries;
    if (this.#book?.of === of) return this.#book;
    const byName = new Map(of.map((delivery) => [nameOf(delivery.event, delivery.endpoint), delivery]));
    this.#book = { of, open: new Set(of.filter(({ state }) => state === 'pending')), byName };
    return this.#book;
  }

  async #send(event: StripeEvent, endpoint: WebhookEndpoint, overrides: Overrides = {}): Promise<Result> {
    const { state, settings } = this.#world;
    const { apiVersion, ...others } = overrides;
    const version = apiVersion ?? endpoint.api_version ?? settings.apiVersion;
    const body = JSON.stringify({ ...renderFor(state, event, version), ...others }, null, 2);
    const signature = sign(body, state.secrets[endpoint.id] ?? [], this.#signAt());
    const status = await post(endpoint.url, body, signature, this.#ending.signal);
    this.#record(event, endpoint, status);
    return { event: event.id, type: event.type, endpoint: endpoint.id, status };
  }

  #record(event: StripeEvent, endpoint: WebhookEndpoint, status: number): void {
    const delivery = this.#read().byName.get(nameOf(event.id, endpoint.id));
    if (!delivery || this.#ending.signal.aborted) return;
    delivery.tries.push({ at: Date.now(), status });
    if (status < 200 || status > 299 || delivery.state === 'delivered') return;
    delivery.state = 'delivered';
    event.pending_webhooks -= 1;
  }
}

const nameOf = (event: string, endpoint: string) => `${event} ${endpoint}`;

function wants(endpoint: WebhookEndpoint, event: StripeEvent): boolean {
  const { enabled_events: wanted, status } = endpoint;
  return status === 'enabled' && (wanted.includes('*') || wanted.includes(event.type));
}

/** The status, 0 where there is no answer. */
async function post(url: string, body: string, signature: string, ending: AbortSignal): Promise<number> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json; charset=utf-8',
        'stripe-signature': signature,
        'user-agent': 'Stripe/1.0 (+https://stripe.com/docs/webhooks)',
      },
      body,
      redirect: 'manual',
      signal: AbortSignal.any([ending, AbortSignal.timeout(20_000)]),
    });
    await response.arrayBuffer();
    return response.status;
  } catch {
    return 0;
  }
}

function shuffleWith<T>(list: T[], random: () => number): void {
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    const [one, two] = [list[last], list[other]];
    if (one !== undefined && two !== undefined) [list[last], list[other]] = [two, one];
  }
}
