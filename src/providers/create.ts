import { callThrough } from './call.ts';
import type { Adapter, CallProvider, ProviderResult } from './provider.ts';

/** `baseURL` as the provider's SDK takes it: Anthropic's without /v1, OpenAI's with it. */
export type Credentials = { apiKey: string; baseURL?: string | undefined };

export type Providers = {
  call: CallProvider;
  /** Whether a key for this provider was given. */
  configured(provider: string): boolean;
};

/** Providers by the names that `models.provider` uses. One without credentials answers `provider_not_configured`. */
export function createProviders(keys: {
  anthropic?: Credentials | undefined;
  openai?: Credentials | undefined;
}): Providers {
  const { anthropic, openai } = keys;
  const adapters = new Map<string, () => Promise<Adapter>>();
  // An SDK takes some 30 MB and 150 ms to load: the first call pays for it, and only where that provider is used.
  if (anthropic)
    adapters.set(
      'anthropic',
      once(async () => (await import('./anthropic.ts')).anthropicAdapter(anthropic)),
    );
  if (openai)
    adapters.set(
      'openai',
      once(async () => (await import('./openai.ts')).openaiAdapter(openai)),
    );

  return {
    configured: (provider) => adapters.has(provider),
    async call(call, options) {
      const adapter = adapters.get(call.provider);
      return adapter ? callThrough(await adapter(), call, options) : NOT_CONFIGURED;
    },
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

const NOT_CONFIGURED: ProviderResult = {
  text: '',
  usage: null,
  usageComplete: false,
  ending: 'failed',
  failure: {
    code: 'provider_not_configured',
    reason: 'No key for this provider is configured.',
    retryAfterSeconds: null,
    credentialsRejected: false,
  },
  called: false,
  firstTokenMs: null,
  durationMs: 0,
};
