import type { StandIns } from '../../sandbox/providers/standins.ts';
import { createProviders, type Providers } from '../../src/providers/create.ts';
import type { ProviderCall } from '../../src/providers/provider.ts';

/** Both providers, at the stand-ins, through their real SDKs. */
export function providersAt(standIns: StandIns, apiKey = 'sandbox-key'): Providers {
  return createProviders({
    anthropic: { apiKey, baseURL: standIns.anthropicBaseURL },
    openai: { apiKey, baseURL: standIns.openaiBaseURL },
  });
}

const MODELS = { anthropic: 'claude-sonnet-5', openai: 'gpt-4o' } as const;
export type Name = keyof typeof MODELS;
export const NAMES: readonly Name[] = ['anthropic', 'openai'];

/** A call that asks for nothing special. */
export function call(provider: Name, content: string, more: Partial<ProviderCall> = {}): ProviderCall {
  return {
    provider,
    model: MODELS[provider],
    system: null,
    messages: [{ role: 'user', content }],
    maxOutputTokens: 500,
    temperature: null,
    cachePrompt: false,
    firstTokenTimeoutMs: 10_000,
    timeoutMs: 10_000,
    userKey: null,
    ...more,
  };
}

/** Makes the call and keeps what was told on the way. */
export async function ask(providers: Providers, wanted: ProviderCall, signal = new AbortController().signal) {
  const deltas: string[] = [];
  const reports: unknown[] = [];
  const result = await providers.call(wanted, {
    signal,
    onText: (delta) => deltas.push(delta),
    onUsage: (usage) => reports.push(usage),
  });
  return { ...result, deltas, reports };
}

/** Waits until something that another task does has happened. */
export async function until(happened: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!happened()) {
    if (Date.now() > deadline) throw new Error('it did not happen within 5 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
