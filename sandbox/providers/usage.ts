import { createHash } from 'node:crypto';
import { decode, encode } from 'gpt-tokenizer/encoding/o200k_base';
import type { TokenCounts } from '../../src/providers/provider.ts';
import { countTokens } from '../../src/tokens/count.ts';
import type { Ask } from './dialect.ts';

/*
 * What the stand-ins report, for both providers: o200k_base tokens of the system prompt and of each message, 4 more for
 * each of them, 3 for the answer's start; and those of the answer as sent.
 */
const PER_MESSAGE = 4;
const PER_ANSWER = 3;

const PLAIN_TEXT = { disallowedSpecial: new Set<string>() };

export async function countInput(ask: Ask): Promise<number> {
  const texts = [...(ask.system === '' ? [] : [ask.system]), ...ask.turns.map(({ text }) => text)];
  let tokens = PER_ANSWER;
  for (const text of texts) tokens += PER_MESSAGE + (await countTokens(text, 'o200k_base'));
  return tokens;
}

/** The answer as it goes out: in pieces of about a word, at most `maxTokens` long. */
export function cutAnswer(answer: string, maxTokens: number | null) {
  const tokens = encode(answer, PLAIN_TEXT);
  const cut = maxTokens !== null && tokens.length > maxTokens;
  const sent = cut ? tokens.slice(0, maxTokens) : tokens;
  // Half of a character at the cut is dropped, as providers do.
  const text = cut ? decode(sent).replace(/\uFFFD+$/, '') : answer;
  return { pieces: text.match(/\s*\S+\s*?(?=\s|$)|\s+$/g) ?? [text], tokens: sent.length, cut };
}

/** An answer of exactly that many tokens. */
export function filler(tokens: number): string {
  return ' word'.repeat(tokens).trimStart();
}

const FIVE_MINUTES_MS = 300_000;

/** Prompt prefixes that were read within five minutes. Shorter ones than the providers' least are not cached. */
export class PromptCache {
  readonly #leastTokens: number;
  readonly #readAt = new Map<string, number>();

  constructor(leastTokens: number) {
    this.#leastTokens = leastTokens;
  }

  /** What this request writes to the cache, or reads from it. */
  async look(ask: Ask, step: number): Promise<Pick<TokenCounts, 'cached' | 'cacheWrite'>> {
    if (ask.cacheable === null) return { cached: 0, cacheWrite: 0 };
    const tokens = await countTokens(ask.cacheable, 'o200k_base');
    if (tokens < this.#leastTokens) return { cached: 0, cacheWrite: 0 };
    const key = createHash('sha256').update(`${ask.model}\n${ask.cacheable}`).digest('base64');
    const now = Date.now();
    const known = now - (this.#readAt.get(key) ?? 0) < FIVE_MINUTES_MS;
    this.#readAt.set(key, now);
    const prefix = tokens - (tokens % step);
    return known ? { cached: prefix, cacheWrite: 0 } : { cached: 0, cacheWrite: prefix };
  }
}
