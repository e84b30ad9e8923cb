import type OpenAI from 'openai';
import { z } from 'zod';
import type { TokenCounts } from '../../src/providers/provider.ts';
import { type Dialect, Refused, type Reply, textOf } from './dialect.ts';

/** OpenAI's Chat Completions API. Payloads are typed by its SDK; test/providers/wire.test.ts checks them field by field. */
export const openai: Dialect = {
  path: '/v1/chat/completions',

  key: (headers) => headers.authorization?.match(/^Bearer (.+)$/)?.[1] ?? null,

  read(_headers, body) {
    const parsed = Request.safeParse(body);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new Refused(400, `Invalid value for '${issue?.path.join('.')}': ${issue?.message}`);
    }
    const { model, messages, stream, stream_options: options, ...rest } = parsed.data;
    if (model.startsWith('unknown')) throw new Refused(404, `The model '${model}' does not exist.`);
    const system = messages.filter(({ role }) => role === 'system' || role === 'developer');
    return {
      model,
      system: system.map(({ content }) => textOf(content)).join('\n'),
      turns: messages.flatMap(({ role, content }) =>
        role === 'user' || role === 'assistant' ? [{ role, text: textOf(content) }] : [],
      ),
      maxTokens: rest.max_completion_tokens ?? rest.max_tokens ?? null,
      stream: stream ?? false,
      wantsUsage: options?.include_usage ?? false,
      cacheable: system.length > 0 ? system.map(({ content }) => textOf(content)).join('\n') : null,
    };
  },

  headers: (requestId) => ({
    'x-request-id': requestId,
    'openai-version': '2020-10-01',
    'openai-organization': 'sandbox',
    'openai-processing-ms': '1',
  }),

  error: (status, message) => ({
    error: { message, ...errorKind(status), param: null } satisfies OpenAI.ErrorObject,
  }),

  whole: (reply) =>
    ({
      id: `chatcmpl-${reply.id}`,
      object: 'chat.completion',
      created: reply.created,
      model: reply.ask.model,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: reply.pieces.join(''), refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: finishReason(reply),
        },
      ],
      ...(reply.usage && { usage: usage(reply.usage) }),
      service_tier: 'default',
      system_fingerprint: 'fp_sandbox',
    }) satisfies OpenAI.ChatCompletion,

  opening: (reply) => chunk(reply, { role: 'assistant', content: '', refusal: null }, null),
  piece: (reply, text) => chunk(reply, { content: text }, null),

  closing: (reply) =>
    chunk(reply, {}, finishReason(reply)) +
    (reply.ask.wantsUsage && reply.usage
      ? frame({ ...frameOf(reply), choices: [], usage: usage(reply.usage) } satisfies OpenAI.ChatCompletionChunk)
      : '') +
    'data: [DONE]\n\n',

  broken: (requestId) => frame(openai.error(500, 'The server had an error while processing your request', requestId)),

  malformed: 'data: {"id":"chatcmpl-1","object":"chat.completion.chu\n\n',
};

const Content = z.union([z.string(), z.array(z.object({ type: z.literal('text'), text: z.string() })).min(1)]);
const Request = z.object({
  model: z.string().min(1),
  messages: z
    .array(z.object({ role: z.enum(['system', 'developer', 'user', 'assistant']), content: Content }))
    .min(1, 'empty array, expected at least one message'),
  max_completion_tokens: z.int().min(1).nullish(),
  max_tokens: z.int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().optional() }).nullish(),
});

function errorKind(status: number): { type: string; code: string | null } {
  if (status === 401) return { type: 'invalid_request_error', code: 'invalid_api_key' };
  if (status === 403) return { type: 'invalid_request_error', code: 'unsupported_country_region_territory' };
  if (status === 404) return { type: 'invalid_request_error', code: 'model_not_found' };
  if (status === 429) return { type: 'requests', code: 'rate_limit_exceeded' };
  return status >= 500 ? { type: 'server_error', code: null } : { type: 'invalid_request_error', code: null };
}

function frameOf(reply: Reply) {
  return {
    id: `chatcmpl-${reply.id}`,
    object: 'chat.completion.chunk',
    created: reply.created,
    model: reply.ask.model,
    service_tier: 'default',
    system_fingerprint: 'fp_sandbox',
  } as const;
}

function chunk(reply: Reply, delta: OpenAI.ChatCompletionChunk.Choice.Delta, finish: 'stop' | 'length' | null): string {
  const choices = [{ index: 0, delta, logprobs: null, finish_reason: finish }];
  const payload = reply.ask.wantsUsage ? { ...frameOf(reply), choices, usage: null } : { ...frameOf(reply), choices };
  return frame(payload satisfies OpenAI.ChatCompletionChunk);
}

function usage(counts: TokenCounts) {
  return {
    prompt_tokens: counts.input,
    completion_tokens: counts.output,
    total_tokens: counts.input + counts.output,
    prompt_tokens_details: { cached_tokens: counts.cached, cache_write_tokens: counts.cacheWrite, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  } satisfies OpenAI.CompletionUsage;
}

function finishReason(reply: Reply): 'length' | 'stop' {
  return reply.cut ? 'length' : 'stop';
}

function frame(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`;
}
