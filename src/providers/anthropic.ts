import Anthropic from '@anthropic-ai/sdk';
import type { Credentials } from './create.ts';
import { brokenStream, failedMidStream, notConnected, refused, timedOut } from './failure.ts';
import { leanFetch } from './fetch.ts';
import type { Adapter, ProviderCall, TokenCounts } from './provider.ts';

/** Anthropic's Messages API through its SDK, streamed. */
export function anthropicAdapter({ apiKey, baseURL = 'https://api.anthropic.com' }: Credentials): Adapter {
  const client = new Anthropic({
    apiKey,
    baseURL,
    fetch: leanFetch,
    maxRetries: 0, // the SDK would also retry timeouts, and wait for as long as it is told to
    logLevel: 'off', // it would log answers that it cannot parse
    openTelemetry: false,
  });

  return {
    async stream(call, signal, sink) {
      const events = await client.messages.create(request(call), { signal, timeout: Math.ceil(call.timeoutMs) });
      let usage: TokenCounts = { input: 0, cached: 0, cacheWrite: 0, output: 0 };
      for await (const event of events) {
        switch (event.type) {
          case 'message_start':
            // Its output count is the provider's first guess; message_delta brings the true one.
            if (event.message.usage) {
              usage = counts(event.message.usage, usage);
              sink.usage(usage, false);
            }
            break;
          case 'content_block_start':
            if (event.content_block.type === 'text') sink.text(event.content_block.text);
            break;
          case 'content_block_delta':
            if (event.delta.type === 'text_delta') sink.text(event.delta.text);
            else sink.otherContent();
            break;
          case 'message_delta':
            if (event.usage) {
              usage = counts(event.usage, usage);
              sink.usage(usage, true);
            }
            if (event.delta.stop_reason) sink.ended(CUT_SHORT.has(event.delta.stop_reason) ? 'length' : 'complete');
            break;
        }
      }
      // An aborted stream ends here too, without an exception: the caller looks at its signal.
    },

    failure(error) {
      if (error instanceof Anthropic.APIConnectionTimeoutError) return timedOut();
      if (error instanceof Anthropic.APIConnectionError) return notConnected(error.cause);
      if (!(error instanceof Anthropic.APIError)) return brokenStream();
      const { status, type, apiMessage: message, headers } = error;
      return status === undefined ? failedMidStream(type, message) : refused({ status, type, message, headers });
    },
  };
}

const CUT_SHORT: ReadonlySet<string> = new Set(['max_tokens', 'model_context_window_exceeded']);

function request(call: ProviderCall): Anthropic.MessageCreateParamsStreaming {
  return {
    stream: true,
    model: call.model,
    max_tokens: call.maxOutputTokens,
    messages: call.messages.map(({ role, content }) => ({ role, content })),
    ...(call.system !== null && { system: systemPrompt(call.system, call.cachePrompt) }),
    ...(call.temperature !== null && { temperature: call.temperature }),
    ...(call.userKey !== null && { metadata: { user_id: call.userKey } }),
  };
}

function systemPrompt(text: string, cache: boolean): string | Anthropic.TextBlockParam[] {
  return cache ? [{ type: 'text', text, cache_control: { type: 'ephemeral' } }] : text;
}

type Reported = {
  input_tokens: number | null;
  cache_read_input_tokens: number | null;
  cache_creation_input_tokens: number | null;
  output_tokens: number;
};

/** Anthropic's `input_tokens` leaves out what the cache read and wrote. What a later report omits stays as it was. */
function counts(reported: Reported, before: TokenCounts): TokenCounts {
  const fresh = reported.input_tokens ?? before.input - before.cached - before.cacheWrite;
  const cached = reported.cache_read_input_tokens ?? before.cached;
  const cacheWrite = reported.cache_creation_input_tokens ?? before.cacheWrite;
  return { input: fresh + cached + cacheWrite, cached, cacheWrite, output: reported.output_tokens };
}
