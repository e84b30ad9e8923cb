import { createServer } from 'node:http';
import type { Fault } from './api/faults.ts';
import { Api, type Call } from './api/server.ts';
import { createEndpoint } from './api/webhooks.ts';
import { Clock } from './clock.ts';
import { type Control, createControl } from './control/control.ts';
import { createWebhookControl, type WebhookControl } from './control/webhooks.ts';
import { listener } from './http.ts';
import { buildAccount } from './objects/account.ts';
import { emptyState, readSnapshot, type State, writeSnapshot } from './state.ts';
import { Deliveries, type Mode } from './webhooks/deliveries.ts';
import { type Settings, World } from './world.ts';

type Endpoint = {
  url: string;
  secret: string;
  /** `*` for all. */
  events: readonly string[];
  /** As in 2024-06-20; the account's version if not said. */
  apiVersion?: string;
};

export type Options = {
  /** 0 picks a free one. */
  port?: number;
  host?: string;
  /** `sk_live_…` makes this live mode. */
  secretKey?: string;
  webhooks?: readonly Endpoint[];
  /** Where the clock begins, or what it showed last if a snapshot is given. Default: the wall clock. */
  now?: Date;
  /** The clock goes with the wall clock, and what falls due is done by itself. */
  realTime?: boolean;
  /** Whether webhooks go by themselves or wait to be sent. Default: manual. */
  delivery?: Mode;
  /** Nothing goes by itself before release(): the receiver is not there yet. */
  held?: boolean;
  /** Milliseconds (wall clock) from each failed delivery to the next try. */
  deliveryGapsMs?: readonly number[];
  /** Seconds that go into signatures: the receiver's idea of now. Default: the wall clock. */
  signAt?: () => number;
  /** Under which people reach the pages; default: the address of the server. */
  publicUrl?: string;
  apiVersion?: string;
  retryDays?: readonly number[];
  afterRetries?: Settings['afterRetries'];
  /** What snapshot() returned. */
  snapshot?: string;
};

export type StripeStandIn = Control &
  WebhookControl & {
    url: string;
    secretKey: string;
    /** For `new Stripe(secretKey, clientOptions)`. */
    clientOptions: { host: string; port: number; protocol: 'http' };
    clock: Pick<Clock, 'now' | 'advance'>;
    /** Every call of the API so far. */
    calls: readonly Call[];
    /** The next calls that fit go wrong. */
    fail(fault: Fault): void;
    /** Each call takes this long. */
    delay(ms: number): void;
    /** 429 for calls above this many in a second; null switches it off. */
    limit(perSecond: number | null): void;
    /** Ends faults, delay and limit. */
    heal(): void;
    snapshot(): string;
    restore(snapshot: string): void;
    stop(): Promise<void>;
  };

/** A Stripe of our own: the npm package talks to it unchanged. See README.md. */
export async function startStripe(options: Options = {}): Promise<StripeStandIn> {
  const {
    port = 0,
    host = '127.0.0.1',
    secretKey = 'sk_test_sandbox',
    realTime = false,
    delivery = 'manual',
  } = options;
  if (!/^[sr]k_(test|live)_/.test(secretKey)) throw new Error('secretKey begins with sk_test_ or sk_live_');
  const settings: Settings = {
    livemode: secretKey.includes('_live_'),
    apiVersion: options.apiVersion ?? '2026-10-28.endive',
    publicUrl: options.publicUrl ?? '',
    retryDays: options.retryDays ?? [3, 5, 7],
    afterRetries: options.afterRetries ?? 'cancel',
  };

  const clock: Clock = new Clock(
    () => world,
    realTime,
    () => deliveries.settled(),
  );
  const world: World = new World(
    begin(options, realTime),
    settings,
    () => clock.ms(),
    (event) => deliveries.queue(event),
  );
  const gaps = options.deliveryGapsMs ?? [1_000, 5_000, 25_000];
  const signAt = options.signAt ?? (() => Math.floor(Date.now() / 1000));
  const deliveries: Deliveries = new Deliveries(world, delivery, gaps, signAt);
  const catchUp = () => clock.catchUp();
  const api = new Api(world, secretKey, () => clock.ms());
  const control = createControl(world, catchUp);
  const webhooks = createWebhookControl(world, deliveries);

  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const address = server.address();
  const listening = typeof address === 'object' && address ? address.port : port;
  const url = `http://${host}:${listening}`;
  if (settings.publicUrl === '') settings.publicUrl = url;
  addEndpoints(world, options.webhooks ?? []);
  const ticking = realTime ? setInterval(catchUp, 1_000).unref() : undefined;

  const standIn: StripeStandIn = {
    ...control,
    ...webhooks,
    url,
    secretKey,
    clientOptions: { host, port: listening, protocol: 'http' },
    clock,
    calls: api.calls,
    fail: (fault) => api.faults.add(fault),
    delay: (ms) => {
      api.faults.delayMs = ms;
    },
    limit: (perSecond) => {
      api.limiter.perSecond = perSecond;
    },
    heal: () => {
      api.faults.clear();
      api.limiter.perSecond = null;
    },
    snapshot: () => writeSnapshot(world.state, world.now),
    restore: (snapshot) => {
      world.state = readSnapshot(snapshot);
      addEndpoints(world, options.webhooks ?? []);
      deliveries.release();
    },
    async stop() {
      clearInterval(ticking);
      await deliveries.stop();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
  server.on('request', listener(world, api, standIn, catchUp));
  if (options.held) deliveries.hold();
  else deliveries.release();
  return standIn;
}

function begin({ snapshot, now }: Options, realTime: boolean): State {
  if (snapshot !== undefined) return readSnapshot(snapshot);
  const start = now?.getTime() ?? Date.now();
  return emptyState(buildAccount(), realTime ? start - Date.now() : start);
}

/** Endpoints that are set up from outside: one that is known by its URL keeps its id and its deliveries. */
function addEndpoints(world: World, wanted: readonly Endpoint[]): void {
  for (const { url, secret, events, apiVersion } of wanted) {
    const known = Object.values(world.state.endpoints).find((endpoint) => endpoint.url === url);
    if (known) {
      known.enabled_events = [...events];
      known.api_version = apiVersion ?? null;
      world.state.secrets[known.id] = [secret];
    } else {
      const asNew = { url, events, apiVersion: apiVersion ?? null, description: null, metadata: {} };
      createEndpoint(world, asNew, secret);
    }
  }
}
