import type { IncomingHttpHeaders } from 'node:http';
import type { TokenCounts } from '../../src/providers/provider.ts';
import { type Dialect, parseBody } from './dialect.ts';

/*
 * For benches: one answer for every request, its bytes made once for each model and length of request, so that the
 * stand-in takes little of the CPU that is being measured. Usage by a cheap rule: input is a quarter of the characters
 * of the request's body, rounded up; output is 80.
 */
const OUTPUT_TOKENS = 80;
const PIECES = 8;
const PIECE = 'This answer is the same for all, ten words long. ';

type FixedAnswer = { bytes: Buffer; stream: boolean; usage: TokenCounts | null };

const made = new Map<string, FixedAnswer>();

/** Null where the request needs a real look: directives, small output caps, anything that might be refused. */
export function fixedAnswer(dialect: Dialect, headers: IncomingHttpHeaders, body: string): FixedAnswer | null {
  if (body.includes('[[sandbox')) return null;
  // Inside of a JSON text quotes are escaped, so these are the request's own fields and no part of a prompt.
  const fields = body.match(/"(?:model|max_tokens|max_completion_tokens|stream|include_usage)":(?:"[^"]*"|\w+)/g);
  const key = `${dialect.path} ${body.length} ${fields?.join()}`;
  const known = made.get(key);
  if (known) return known;

  const ask = dialect.read(headers, parseBody(body));
  if (ask.maxTokens !== null && ask.maxTokens < OUTPUT_TOKENS) return null;
  const usage = { input: Math.ceil(body.length / 4), cached: 0, cacheWrite: 0, output: OUTPUT_TOKENS };
  const pieces = new Array<string>(PIECES).fill(PIECE);
  const reply = { ask, id: 'sandbox', created: Math.floor(Date.now() / 1000), pieces, cut: false, usage };
  const text = ask.stream
    ? dialect.opening(reply) + pieces.map((piece) => dialect.piece(reply, piece)).join('') + dialect.closing(reply)
    : JSON.stringify(dialect.whole(reply));
  const answer = { bytes: Buffer.from(text), stream: ask.stream, usage: ask.wantsUsage || !ask.stream ? usage : null };
  if (made.size > 1_000) made.clear();
  made.set(key, answer);
  return answer;
}
