/*
 * The stand-ins emit every field that the providers' SDKs declare as always there, and none that they do not declare.
 * The lists below are checked against the SDKs' types by tsc: a field that an SDK adds or drops stops the type check.
 */
import type Anthropic from '@anthropic-ai/sdk';
import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type StandIns, startStandIns } from '../../sandbox/providers/standins.ts';

type Presence<T, K extends keyof T> = Record<never, never> extends Pick<T, K> ? 'optional' : 'required';
/** Each field of T, and whether it must be there. */
type Fields<T> = { [K in keyof T]-?: Presence<T, K> };

const R = 'required';
const O = 'optional';

const ANTHROPIC = {
  message: {
    id: R,
    container: R,
    content: R,
    diagnostics: R,
    model: R,
    role: R,
    stop_details: R,
    stop_reason: R,
    stop_sequence: R,
    type: R,
    usage: R,
  } satisfies Fields<Anthropic.Message>,
  usage: {
    cache_creation: R,
    cache_creation_input_tokens: R,
    cache_read_input_tokens: R,
    inference_geo: R,
    input_tokens: R,
    output_tokens: R,
    output_tokens_details: R,
    server_tool_use: R,
    service_tier: R,
    speed: R,
  } satisfies Fields<Anthropic.Usage>,
  cacheCreation: {
    ephemeral_1h_input_tokens: R,
    ephemeral_5m_input_tokens: R,
  } satisfies Fields<Anthropic.CacheCreation>,
  deltaUsage: {
    cache_creation_input_tokens: R,
    cache_read_input_tokens: R,
    input_tokens: R,
    output_tokens: R,
    output_tokens_details: R,
    server_tool_use: R,
  } satisfies Fields<Anthropic.MessageDeltaUsage>,
  text: { citations: R, text: R, type: R } satisfies Fields<Anthropic.TextBlock>,
  textDelta: { text: R, type: R } satisfies Fields<Anthropic.TextDelta>,
  stopDelta: {
    container: R,
    stop_details: R,
    stop_reason: R,
    stop_sequence: R,
  } satisfies Fields<Anthropic.RawMessageDeltaEvent.Delta>,
  error: { error: R, request_id: R, type: R } satisfies Fields<Anthropic.ErrorResponse>,
  errorObject: { message: R, type: R } satisfies Fields<Anthropic.OverloadedError>,
};

/** By type, each event's fields; `ping` is documented but not among the SDK's types, which pass over it. */
const ANTHROPIC_EVENTS = {
  message_start: { message: R, type: R } satisfies Fields<Anthropic.RawMessageStartEvent>,
  content_block_start: { content_block: R, index: R, type: R } satisfies Fields<Anthropic.RawContentBlockStartEvent>,
  content_block_delta: { delta: R, index: R, type: R } satisfies Fields<Anthropic.RawContentBlockDeltaEvent>,
  content_block_stop: { index: R, type: R } satisfies Fields<Anthropic.RawContentBlockStopEvent>,
  message_delta: { delta: R, type: R, usage: R } satisfies Fields<Anthropic.RawMessageDeltaEvent>,
  message_stop: { type: R } satisfies Fields<Anthropic.RawMessageStopEvent>,
  ping: { type: R },
} satisfies Record<Anthropic.RawMessageStreamEvent['type'] | 'ping', Record<string, 'required' | 'optional'>>;

const OPENAI = {
  completion: {
    id: R,
    choices: R,
    created: R,
    model: R,
    object: R,
    metadata: O,
    moderation: O,
    service_tier: O,
    system_fingerprint: O,
    usage: O,
  } satisfies Fields<OpenAI.ChatCompletion>,
  choice: { finish_reason: R, index: R, logprobs: R, message: R } satisfies Fields<OpenAI.ChatCompletion.Choice>,
  message: {
    content: R,
    refusal: R,
    role: R,
    annotations: O,
    audio: O,
    function_call: O,
    tool_calls: O,
  } satisfies Fields<OpenAI.ChatCompletionMessage>,
  chunk: {
    id: R,
    choices: R,
    created: R,
    model: R,
    object: R,
    moderation: O,
    obfuscation: O,
    service_tier: O,
    system_fingerprint: O,
    usage: O,
  } satisfies Fields<OpenAI.ChatCompletionChunk>,
  chunkChoice: {
    delta: R,
    finish_reason: R,
    index: R,
    logprobs: O,
  } satisfies Fields<OpenAI.ChatCompletionChunk.Choice>,
  delta: {
    audio: O,
    content: O,
    function_call: O,
    refusal: O,
    role: O,
    tool_calls: O,
  } satisfies Fields<OpenAI.ChatCompletionChunk.Choice.Delta>,
  usage: {
    completion_tokens: R,
    prompt_tokens: R,
    total_tokens: R,
    completion_tokens_details: O,
    prompt_tokens_details: O,
  } satisfies Fields<OpenAI.CompletionUsage>,
  promptDetails: {
    audio_tokens: O,
    cache_write_tokens: O,
    cached_tokens: O,
    image_tokens: O,
    text_tokens: O,
  } satisfies Fields<OpenAI.CompletionUsage.PromptTokensDetails>,
  completionDetails: {
    accepted_prediction_tokens: O,
    audio_tokens: O,
    reasoning_tokens: O,
    rejected_prediction_tokens: O,
    text_tokens: O,
  } satisfies Fields<OpenAI.CompletionUsage.CompletionTokensDetails>,
  error: { code: R, message: R, param: R, type: R, misalignment: O } satisfies Fields<OpenAI.ErrorObject>,
};

type Json = Record<string, unknown>;

/** Fails on a field that is missing or not declared; returns the value's fields. */
function fields(value: unknown, declared: Record<string, 'required' | 'optional'>): Json {
  const seen = Object.keys(value as Json); // a test: what is no object fails here
  const required = Object.keys(declared).filter((name) => declared[name] === R);
  expect(seen).toEqual(expect.arrayContaining(required));
  expect(Object.keys(declared)).toEqual(expect.arrayContaining(seen));
  return value as Json;
}

let standIns: StandIns;
beforeAll(async () => {
  standIns = await startStandIns({ firstTokenMs: 0, tokenMs: 0, answers: 'composed' });
});
afterAll(() => standIns.stop());

async function post(path: string, body: Json, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(standIns.url + path, {
    method: 'POST',
    headers: { authorization: 'Bearer sandbox', 'anthropic-version': '2023-06-01', ...headers },
    body: JSON.stringify(body),
  });
}

const askAnthropic = (content: string, more: Json = {}) =>
  post('/v1/messages', { model: 'claude-sonnet-5', max_tokens: 50, messages: [{ role: 'user', content }], ...more });
const askOpenai = (content: string, more: Json = {}) =>
  post('/v1/chat/completions', { model: 'gpt-4o', messages: [{ role: 'user', content }], ...more });

/** The events of a stream as [name, data]. */
async function events(response: Response): Promise<[string | undefined, string][]> {
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const frames = (await response.text()).split('\n\n').filter((frame) => frame !== '');
  return frames.map((frame) => {
    const lines = new Map(
      frame.split('\n').map((line) => [line.split(': ', 1)[0], line.slice(line.indexOf(': ') + 2)]),
    );
    expect([...lines.keys()].filter((name) => name !== 'event' && name !== 'data')).toEqual([]);
    return [lines.get('event'), lines.get('data') ?? ''];
  });
}

describe('Anthropic', () => {
  function checkMessage(message: unknown, content: number) {
    const { usage, content: blocks } = fields(message, ANTHROPIC.message);
    fields(fields(usage, ANTHROPIC.usage).cache_creation, ANTHROPIC.cacheCreation);
    expect(blocks).toHaveLength(content);
    for (const block of blocks as unknown[]) fields(block, ANTHROPIC.text);
  }

  test('a whole message has the SDK’s fields', async () => {
    const response = await askAnthropic('hello');
    expect(response.headers.get('request-id')).toMatch(/^req_/);
    checkMessage(await response.json(), 1);
  });

  test('a stream’s events have the SDK’s fields, and come in the documented order', async () => {
    const stream = await events(await askAnthropic('hello', { stream: true }));
    const names = stream.map(([name, data]) => {
      const event: Json = JSON.parse(data);
      expect(event.type).toBe(name);
      const declared = ANTHROPIC_EVENTS[name as keyof typeof ANTHROPIC_EVENTS];
      expect(declared, `${name} is an event of the SDK`).toBeDefined();
      fields(event, declared);
      if (name === 'message_start') checkMessage(event.message, 0);
      if (name === 'content_block_start') fields(event.content_block, ANTHROPIC.text);
      if (name === 'content_block_delta') fields(event.delta, ANTHROPIC.textDelta);
      if (name === 'message_delta') fields(event.delta, ANTHROPIC.stopDelta);
      if (name === 'message_delta') fields(event.usage, ANTHROPIC.deltaUsage);
      return name;
    });
    expect(names.filter((name, i) => name !== names[i - 1])).toEqual([
      'message_start',
      'content_block_start',
      'ping',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
  });

  test.each([
    ['status=400', 400, 'invalid_request_error'],
    ['status=401', 401, 'authentication_error'],
    ['status=403', 403, 'permission_error'],
    ['status=404', 404, 'not_found_error'],
    ['status=429', 429, 'rate_limit_error'],
    ['status=500', 500, 'api_error'],
    ['status=529', 529, 'overloaded_error'],
  ])('an error has the SDK’s fields: %s', async (fault, status, type) => {
    const response = await askAnthropic(`[[sandbox: ${fault}]]`);
    expect(response.status).toBe(status);
    const { error, ...body } = fields(await response.json(), ANTHROPIC.error);
    expect(body).toEqual({ type: 'error', request_id: response.headers.get('request-id') });
    expect(fields(error, ANTHROPIC.errorObject).type).toBe(type);
  });

  test('an error inside of a stream has the SDK’s fields', async () => {
    const stream = await events(await askAnthropic('[[sandbox: error-mid-stream]]', { stream: true }));
    const [name, data = ''] = stream.at(-1) ?? [];
    expect(name).toBe('error');
    const { error } = fields(JSON.parse(data), ANTHROPIC.error);
    expect(fields(error, ANTHROPIC.errorObject).type).toBe('overloaded_error');
  });

  test.each<[string, Json, Record<string, string>]>([
    ['without anthropic-version', {}, { 'anthropic-version': '' }],
    ['without max_tokens', { max_tokens: undefined }, {}],
    ['without messages', { messages: [] }, {}],
    ['with an empty text', { messages: [{ role: 'user', content: '' }] }, {}],
    ['with a temperature above 1', { temperature: 1.5 }, {}],
  ])('a request %s is invalid', async (_what, more, headers) => {
    const body = { model: 'claude-sonnet-5', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }], ...more };
    const response = await post('/v1/messages', body, headers);
    expect(response.status).toBe(400);
    fields(await response.json(), ANTHROPIC.error);
  });

  test('either header carries the key, and a strange key is refused', async () => {
    const body = { model: 'claude-sonnet-5', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }] };
    const status = async (headers: Record<string, string>) => (await post('/v1/messages', body, headers)).status;
    expect(await status({ authorization: '', 'x-api-key': 'sandbox' })).toBe(200);
    expect(await status({ authorization: 'Bearer sandbox-1' })).toBe(200);
    expect(await status({ authorization: '', 'x-api-key': 'strange' })).toBe(401);
  });
});

describe('OpenAI', () => {
  function checkUsage(usage: unknown) {
    const parts = fields(usage, OPENAI.usage);
    fields(parts.prompt_tokens_details, OPENAI.promptDetails);
    fields(parts.completion_tokens_details, OPENAI.completionDetails);
    expect(parts.total_tokens).toBe(Number(parts.prompt_tokens) + Number(parts.completion_tokens));
  }

  test('a whole completion has the SDK’s fields', async () => {
    const response = await askOpenai('hello');
    expect(response.headers.get('x-request-id')).toMatch(/^req_/);
    const { choices, usage } = fields(await response.json(), OPENAI.completion);
    checkUsage(usage);
    expect(choices).toHaveLength(1);
    const [choice] = choices as unknown[];
    fields(fields(choice, OPENAI.choice).message, OPENAI.message);
  });

  test.each([true, false])('a stream’s chunks have the SDK’s fields; usage asked for: %s', async (include_usage) => {
    const stream = await events(await askOpenai('hello', { stream: true, stream_options: { include_usage } }));
    expect(stream.at(-1)).toEqual([undefined, '[DONE]']);
    const chunks = stream.slice(0, -1).map(([name, data]) => {
      expect(name).toBeUndefined();
      return fields(JSON.parse(data), OPENAI.chunk);
    });
    for (const chunk of chunks) {
      expect(chunk.object).toBe('chat.completion.chunk');
      expect('usage' in chunk).toBe(include_usage);
      for (const choice of chunk.choices as unknown[]) fields(fields(choice, OPENAI.chunkChoice).delta, OPENAI.delta);
    }
    const last = chunks.at(-1);
    expect(last?.choices).toHaveLength(include_usage ? 0 : 1);
    if (include_usage) checkUsage(last?.usage);
    expect(chunks.filter((chunk) => chunk.usage).length).toBe(include_usage ? 1 : 0);
  });

  test.each([
    ['status=400', 400, 'invalid_request_error'],
    ['status=401', 401, 'invalid_request_error'],
    ['status=403', 403, 'invalid_request_error'],
    ['status=404', 404, 'invalid_request_error'],
    ['status=429', 429, 'requests'],
    ['status=500', 500, 'server_error'],
    ['status=529', 529, 'server_error'],
  ])('an error has the SDK’s fields: %s', async (fault, status, type) => {
    const response = await askOpenai(`[[sandbox: ${fault}]]`);
    expect(response.status).toBe(status);
    const { error, ...rest } = (await response.json()) as Json;
    expect(rest).toEqual({});
    expect(fields(error, OPENAI.error).type).toBe(type);
  });

  test('an error inside of a stream has the SDK’s fields', async () => {
    const stream = await events(await askOpenai('[[sandbox: error-mid-stream]]', { stream: true }));
    const { error }: Json = JSON.parse(stream.at(-1)?.[1] ?? '');
    expect(fields(error, OPENAI.error).type).toBe('server_error');
  });

  test.each<[string, Json]>([
    ['without messages', { messages: [] }],
    ['with a temperature above 2', { temperature: 2.5 }],
    ['with an output cap of 0', { max_completion_tokens: 0 }],
  ])('a request %s is invalid', async (_what, more) => {
    const response = await askOpenai('hello', more);
    expect(response.status).toBe(400);
    fields(((await response.json()) as Json).error, OPENAI.error);
  });
});
