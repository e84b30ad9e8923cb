import type Stripe from 'stripe';

/** How long Stripe may take to answer, each time that it is asked. */
const TIMEOUT_MS = 20_000;
const RETRIES = 2;

export type LoadedStripe = {
  stripe: Stripe;
  /** In whose words the package speaks, and events of ours arrive. */
  apiVersion: (typeof Stripe)['API_VERSION'];
};

export type StripeAccount = {
  /** Whether the key is of live mode; every object that it sees is of the same. */
  livemode: boolean;
  load(): Promise<LoadedStripe>;
};

/** `base` is where Stripe is reached, as an http or https URL without a path; Stripe's own address where left out. */
export type AccountOptions = { key: string; base?: string | undefined };

/** An account at Stripe. The package is loaded when it is first needed, for it takes some megabytes. */
export function openAccount({ key, base }: AccountOptions): StripeAccount {
  let loaded: Promise<LoadedStripe> | undefined;
  return {
    livemode: /^(sk|rk)_live_/.test(key),
    load: () => {
      loaded ??= load(key, base);
      return loaded;
    },
  };
}

async function load(key: string, base: string | undefined): Promise<LoadedStripe> {
  const { default: Client } = await import('stripe');
  const stripe = new Client(key, {
    ...(base !== undefined && address(base)),
    maxNetworkRetries: RETRIES,
    timeout: TIMEOUT_MS,
    telemetry: false,
  });
  return { stripe, apiVersion: Client.API_VERSION };
}

function address(base: string): { host: string; port: number; protocol: 'http' | 'https' } {
  const { hostname, port, protocol } = new URL(base);
  const isPlain = protocol === 'http:';
  return {
    host: hostname,
    port: port === '' ? (isPlain ? 80 : 443) : Number(port),
    protocol: isPlain ? 'http' : 'https',
  };
}
