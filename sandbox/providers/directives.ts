/*
 * Faults on request: `[[sandbox: status=429 times=1]]` anywhere in the last user message. It works across processes,
 * since it travels with the prompt. sandbox/README.md lists them all.
 */
import type { TokenCounts } from '../../src/providers/provider.ts';

export type Directives = {
  /** Answer with this HTTP status. */
  status?: number;
  /** Seconds in the Retry-After header that goes with it. */
  'retry-after'?: number;
  /** Milliseconds to the first piece of text. */
  slow?: number;
  /** Take the request and never answer. */
  hang?: true;
  /** Destroy the connection before the first byte. */
  reset?: true;
  /** Destroy the connection after this many pieces of text. */
  cut?: number;
  /** Never report usage. */
  'no-usage'?: true;
  /** Length of the answer. */
  tokens?: number;
  /** What to report, whatever was read and written. */
  usage?: TokenCounts;
  /** Milliseconds between pieces of text. */
  pace?: number;
  /** Break off with the provider's error event after three pieces. */
  'error-mid-stream'?: true;
  /** Send something that is no JSON after three pieces. */
  malformed?: true;
  /** Send the stream's bytes in portions of seven, through the middle of characters and lines. */
  ragged?: true;
  /** A NUL character after each blank of the answer, or of the error's message. */
  nul?: true;
  /** All of this only for the first n calls with the same text. */
  times?: number;
};

const FLAGS = ['hang', 'reset', 'no-usage', 'error-mid-stream', 'malformed', 'ragged', 'nul'] as const;
const NUMBERS = ['status', 'retry-after', 'slow', 'cut', 'tokens', 'pace', 'times'] as const;

/** Throws, with a sentence for the person who wrote it, where a directive is not known or makes no sense. */
export function readDirectives(text: string): Directives {
  const found: Directives = {};
  for (const [, inside = ''] of text.matchAll(/\[\[sandbox:([^\]]*)\]\]/g)) {
    for (const word of inside.trim().split(/\s+/)) {
      const [name = '', value = ''] = word.replace(/,$/, '').split('=');
      const flag = FLAGS.find((known) => known === name);
      const number = NUMBERS.find((known) => known === name);
      if (flag && value === '') found[flag] = true;
      else if (number && /^\d+$/.test(value)) found[number] = Number(value);
      else if (name === 'usage') found.usage = readUsage(value);
      else if (name !== '') throw new Error(`the sandbox knows no directive '${word}' (see sandbox/README.md)`);
    }
  }
  return found;
}

function readUsage(value: string): TokenCounts {
  const usage: TokenCounts = { input: 0, cached: 0, cacheWrite: 0, output: 0 };
  const names = { input: 'input', cached: 'cached', cache_write: 'cacheWrite', output: 'output' } as const;
  for (const pair of value.split(',')) {
    const [name = '', number = ''] = pair.split(':');
    if (!Object.hasOwn(names, name) || !/^\d+$/.test(number)) throw new Error(`usage takes no '${pair}'`);
    usage[names[name as keyof typeof names]] = Number(number); // hasOwn has just proved it
  }
  return usage;
}
