import { approximateTokens } from './approximate.ts';

/** Which rule counts a model's tokens: OpenAI's encodings exactly, others by an estimate that is high by design. */
export type Tokenizer = 'o200k_base' | 'cl100k_base' | 'approximate';

/** The tokens of a text, special tokens counted as the plain text that a user typed. Spec 1.6. */
export async function countTokens(text: string, tokenizer: Tokenizer): Promise<number> {
  if (text === '') return 0;
  if (tokenizer === 'approximate') return approximateTokens(text);
  const { countTokens: count } = await encoding(tokenizer);
  let tokens = 0;
  for (const slice of slices(text)) tokens += count(slice, PLAIN_TEXT);
  return tokens;
}

const PLAIN_TEXT = { disallowedSpecial: new Set<string>() };

/** An encoding costs some 80 MB and a quarter of a second: only a model that needs it pays for it, once. */
function encoding(tokenizer: 'o200k_base' | 'cl100k_base') {
  return tokenizer === 'o200k_base'
    ? import('gpt-tokenizer/encoding/o200k_base')
    : import('gpt-tokenizer/encoding/cl100k_base');
}

/** The encoder's time grows with the square of an unbroken run's length (80 kB of one letter: 6 s). */
const SLICE_CHARS = 500;

/** Cuts where the encodings cut too, at the end of a word, so that a slice seldom adds a token. */
export function* slices(text: string): Generator<string> {
  let start = 0;
  while (text.length - start > SLICE_CHARS) {
    const end = cut(text, start);
    yield text.slice(start, end);
    start = end;
  }
  yield text.slice(start);
}

function cut(text: string, start: number): number {
  const latest = start + SLICE_CHARS;
  for (let end = latest; end > start + SLICE_CHARS / 2; end -= 1) {
    if (WORD_END.test(text.slice(end - 1, end + 1))) return end;
  }
  // Never between the halves of a surrogate pair.
  return /[\uD800-\uDBFF]/.test(text.charAt(latest - 1)) ? latest - 1 : latest;
}

/** A letter or digit, then neither: both encodings begin a new token there (an apostrophe may go on, as in "don't"). */
const WORD_END = /^[\p{L}\p{N}][^\p{L}\p{N}\p{M}'’\uD800-\uDFFF]$/u;
