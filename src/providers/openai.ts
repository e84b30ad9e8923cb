import OpenAI from 'openai';
import type { Credentials } from './create.ts';
import { brokenStream, failedMidStream, notConnected, refused, timedOut } from './failure.ts';
import { leanFetch } from './fetch.ts';
import type { Adapter, ProviderCall, TokenCounts } from './provider.ts';

/** OpenAI's Chat Completions API through its SDK, streamed. */
export function openaiAdapter({ apiKey, baseURL = 'https://api.openai.com/v1' }: Credentials): Adapter {
  const client = new OpenAI({
    apiKey,
    baseURL,
    fetch: leanFetch,
    maxRetries: 0, // the SDK would also retry timeouts
    logLevel: 'off',
    // The environment is read in one place, and not by the SDK.
    organization: null,
    project: null,
    adminAPIKey: null,
    webhookSecret: null,
  });

  return {
    async stream(call, signal, sink) {
      const chunks = await client.chat.completions.create(request(call), {
        signal,
        timeout: Math.ceil(call.timeoutMs),
      });
      for await (const chunk of chunks) {
        const choice = chunk.choices[0];
        if (choice) {
          sink.text(choice.delta.content ?? choice.delta.refusal ?? '');
          if (choice.finish_reason) sink.ended(choice.finish_reason === 'length' ? 'length' : 'complete');
        }
        // Comes once, at the end, in a chunk without choices; a stream that breaks off never has it.
        if (chunk.usage) sink.usage(counts(chunk.usage), true);
      }
    },

    failure(error) {
      if (error instanceof OpenAI.APIConnectionTimeoutError) return timedOut();
      if (error instanceof OpenAI.APIConnectionError) return notConnected(error.cause);
      if (!(error instanceof OpenAI.APIError)) return brokenStream();
      const { status, headers, type = null } = error;
      const message = messageOf(error.error);
      return status === undefined || headers === undefined
        ? failedMidStream(type, message)
        : refused({ status, type, message, headers });
    },
  };
}

function request(call: ProviderCall): OpenAI.ChatCompletionCreateParamsStreaming {
  return {
    stream: true,
    stream_options: { include_usage: true },
    model: call.model,
    max_completion_tokens: call.maxOutputTokens,
    messages: [
      ...(call.system === null ? [] : [{ role: 'system' as const, content: call.system }]),
      ...call.messages.map(({ role, content }) => ({ role, content })),
    ],
    ...(call.temperature !== null && { temperature: call.temperature }),
    ...(call.userKey !== null && { safety_identifier: call.userKey }),
  };
}

/** OpenAI's `prompt_tokens` includes what the cache read and wrote. */
function counts(reported: OpenAI.CompletionUsage): TokenCounts {
  return {
    input: reported.prompt_tokens,
    cached: reported.prompt_tokens_details?.cached_tokens ?? 0,
    cacheWrite: reported.prompt_tokens_details?.cache_write_tokens ?? 0,
    output: reported.completion_tokens,
  };
}

function messageOf(body: unknown): string | null {
  if (typeof body !== 'object' || body === null || !('message' in body)) return null;
  return typeof body.message === 'string' ? body.message : null;
}
