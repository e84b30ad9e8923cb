import type Anthropic from '@anthropic-ai/sdk';
import { z } from 'zod';
import type { TokenCounts } from '../../src/providers/provider.ts';
import { type Dialect, Refused, type Reply, textOf } from './dialect.ts';

/** Anthropic's Messages API. Payloads are typed by its SDK; test/providers/wire.test.ts checks them field by field. */
export const anthropic: Dialect = {
  path: '/v1/messages',

  key: (headers) => {
    const key = headers['x-api-key'] ?? headers.authorization?.replace(/^Bearer /, '');
    return typeof key === 'string' ? key : null;
  },

  read(headers, body) {
    if (!headers['anthropic-version']) throw new Refused(400, 'anthropic-version: header is required');
    const parsed = Request.safeParse(body);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new Refused(400, `${issue?.path.join('.') || 'body'}: ${issue?.message}`);
    }
    const { model, messages, max_tokens: maxTokens, stream = false, system = '' } = parsed.data;
    if (model.startsWith('unknown')) throw new Refused(404, `model: ${model}`);
    const marked = typeof system === 'string' ? -1 : system.findLastIndex((block) => block.cache_control);
    return {
      model,
      system: textOf(system),
      turns: messages.map(({ role, content }) => ({ role, text: textOf(content) })),
      maxTokens,
      stream,
      wantsUsage: true,
      cacheable: typeof system === 'string' || marked < 0 ? null : textOf(system.slice(0, marked + 1)),
    };
  },

  headers: (requestId) => ({
    'request-id': requestId,
    'anthropic-organization-id': '00000000-0000-4000-8000-000000000000',
  }),

  error: (status, message, requestId) =>
    ({
      type: 'error',
      // ErrorObject is a union by type, of which `message` is the only other field.
      error: { type: errorType(status), message } as Anthropic.ErrorObject,
      request_id: requestId,
    }) satisfies Anthropic.ErrorResponse,

  whole: (reply) =>
    ({
      ...message(reply, reply.usage ?? NONE),
      content: [textBlock(reply.pieces.join(''))],
      stop_reason: stopReason(reply),
    }) satisfies Anthropic.Message,

  opening(reply) {
    // As the provider does: the input is known, the output is a first guess.
    const { usage, ...start } = message(reply, { ...(reply.usage ?? NONE), output: 1 });
    return (
      event({ type: 'message_start', message: reply.usage ? { ...start, usage } : withoutUsage(start) }) +
      event({ type: 'content_block_start', index: 0, content_block: textBlock('') }) +
      'event: ping\ndata: {"type": "ping"}\n\n'
    );
  },

  piece: (_reply, text) => event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }),

  closing(reply) {
    const delta = { stop_reason: stopReason(reply), stop_sequence: null, stop_details: null, container: null };
    const end = { type: 'message_delta', delta } as const;
    return (
      event({ type: 'content_block_stop', index: 0 }) +
      event(reply.usage ? { ...end, usage: deltaUsage(reply.usage) } : withoutUsage(end)) +
      event({ type: 'message_stop' })
    );
  },

  broken: (requestId) => frame('error', anthropic.error(529, 'Overloaded', requestId)),

  malformed: 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"del\n\n',
};

const Text = z.object({
  type: z.literal('text'),
  text: z.string().min(1, 'text content blocks must be non-empty'),
  cache_control: z.object({ type: z.literal('ephemeral'), ttl: z.enum(['5m', '1h']).optional() }).nullish(),
});
const Request = z.object({
  model: z.string().min(1),
  max_tokens: z.int().min(1),
  messages: z
    .array(z.object({ role: z.enum(['user', 'assistant']), content: z.union([Text.shape.text, z.array(Text).min(1)]) }))
    .min(1, 'at least one message is required'),
  system: z.union([z.string(), z.array(Text)]).optional(),
  temperature: z.number().min(0).max(1).optional(),
  stream: z.boolean().optional(),
});

function errorType(status: number): Anthropic.ErrorObject['type'] {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 404) return 'not_found_error';
  if (status === 429) return 'rate_limit_error';
  if (status === 529) return 'overloaded_error';
  return status >= 500 ? 'api_error' : 'invalid_request_error';
}

const NONE: TokenCounts = { input: 0, cached: 0, cacheWrite: 0, output: 0 };

function message(reply: Reply, usage: TokenCounts) {
  return {
    id: `msg_${reply.id}`,
    type: 'message',
    role: 'assistant',
    model: reply.ask.model,
    content: [],
    container: null,
    diagnostics: null,
    stop_details: null,
    stop_reason: null,
    stop_sequence: null,
    usage: {
      input_tokens: fresh(usage),
      cache_creation_input_tokens: usage.cacheWrite,
      cache_read_input_tokens: usage.cached,
      cache_creation: { ephemeral_5m_input_tokens: usage.cacheWrite, ephemeral_1h_input_tokens: 0 },
      output_tokens: usage.output,
      output_tokens_details: null,
      server_tool_use: null,
      service_tier: 'standard',
      inference_geo: null,
      speed: null,
    },
  } satisfies Anthropic.Message;
}

function deltaUsage(usage: TokenCounts) {
  return {
    input_tokens: fresh(usage),
    cache_creation_input_tokens: usage.cacheWrite,
    cache_read_input_tokens: usage.cached,
    output_tokens: usage.output,
    output_tokens_details: null,
    server_tool_use: null,
  } satisfies Anthropic.MessageDeltaUsage;
}

/** On Anthropic's wire, input is what the cache neither read nor wrote. */
function fresh(usage: TokenCounts): number {
  return usage.input - usage.cached - usage.cacheWrite;
}

function textBlock(text: string) {
  return { type: 'text', text, citations: null } satisfies Anthropic.TextBlock;
}

function stopReason(reply: Reply): 'max_tokens' | 'end_turn' {
  return reply.cut ? 'max_tokens' : 'end_turn';
}

/** The fault of a lost report: the one place where the wire's types are broken on purpose. */
function withoutUsage<T extends object>(payload: T): T & { usage: never } {
  return payload as T & { usage: never };
}

function event(data: Anthropic.RawMessageStreamEvent): string {
  return frame(data.type, data);
}

function frame(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
