import type { IncomingHttpHeaders } from 'node:http';
import type { TokenCounts } from '../../src/providers/provider.ts';

/** One request, in the words of no provider. */
export type Ask = {
  model: string;
  system: string;
  turns: { role: 'user' | 'assistant'; text: string }[];
  maxTokens: number | null;
  stream: boolean;
  /** Whether a stream reports its usage: Anthropic's always does, OpenAI's if asked to. */
  wantsUsage: boolean;
  /** The beginning of the prompt that may be cached; null where nothing is. */
  cacheable: string | null;
};

export type Reply = {
  ask: Ask;
  id: string;
  created: number;
  pieces: string[];
  cut: boolean;
  /** Null: the fault of a lost usage report. */
  usage: TokenCounts | null;
};

/** A request that the provider would refuse. */
export class Refused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** How one provider's API looks on the wire. */
export type Dialect = {
  path: string;
  /** The key of the request, however it was sent. */
  key(headers: IncomingHttpHeaders): string | null;
  /** Throws Refused. */
  read(headers: IncomingHttpHeaders, body: unknown): Ask;
  /** Headers of every answer. */
  headers(requestId: string): Record<string, string>;
  error(status: number, message: string, requestId: string): object;
  /** A whole answer to a request that wants no stream. */
  whole(reply: Reply): object;
  /** The events of a stream: before the text, for each piece of it, after it. */
  opening(reply: Reply): string;
  piece(reply: Reply, text: string): string;
  closing(reply: Reply): string;
  /** An error event in the middle of a stream. */
  broken(requestId: string): string;
  /** An event that cannot be parsed. */
  malformed: string;
};

/** The text of a content that is a string or a list of text blocks, as both providers take it. */
export function textOf(content: string | readonly { text: string }[]): string {
  return typeof content === 'string' ? content : content.map((block) => block.text).join('\n');
}

/** Throws Refused. */
export function parseBody(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new Refused(400, 'The request body is not valid JSON.');
  }
}
