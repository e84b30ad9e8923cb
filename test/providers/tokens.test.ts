import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { countTokens as exactly } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, test } from 'vitest';
import { countTokens, slices } from '../../src/tokens/count.ts';

const PLAIN = { disallowedSpecial: new Set<string>() };

/** Random numbers that are the same in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function noise(alphabet: string, length: number, seed: number): string {
  const next = random(seed);
  const signs = [...alphabet];
  return Array.from({ length }, () => signs[Math.floor(next() * signs.length)]).join('');
}

function bytes(length: number, seed: number): Buffer {
  const next = random(seed);
  return Buffer.from(Array.from({ length }, () => Math.floor(next() * 256)));
}

/** Pieces of unequal length, as people paste them. */
function pieces(text: string, seed: number): string[] {
  const next = random(seed);
  const found: string[] = [];
  for (let at = 0; at < text.length; ) {
    const length = 200 + Math.floor(next() * 2_800);
    found.push(text.slice(at, at + length));
    at += length;
  }
  return found.filter((piece) => piece.trim().length > 100);
}

function filesOf(folder: string, ending: string): string {
  const root = new URL(`../../${folder}/`, import.meta.url);
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(ending));
  return names.map((name) => readFileSync(new URL(name, root), 'utf8')).join('\n');
}

const HUMAN: Record<string, string> = {
  code: filesOf('src', '.ts') + filesOf('test', '.ts'),
  sql: filesOf('db', '.sql'),
  json: readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8').slice(0, 40_000),
  prose: filesOf('sandbox/packages', '.md'),
  german:
    'Die Rechnung kam gestern mit der Post, und niemand im Haus konnte sich erklären, wofür wir so viel bezahlen sollten. '.repeat(
      4,
    ),
  french:
    'Quand la réunion fut terminée, chacun rangea ses affaires sans rien dire, comme si la décision avait déjà été oubliée. '.repeat(
      4,
    ),
  polish:
    'Zanim wyślesz zgłoszenie, sprawdź proszę, czy ktoś inny nie opisał już tego samego błędu w zeszłym tygodniu. '.repeat(
      4,
    ),
  russian:
    'Перед отправкой сообщения проверьте, пожалуйста, нет ли его уже в списке известных ошибок этой версии. '.repeat(4),
  greek: 'Πριν στείλετε το μήνυμα, ελέγξτε αν κάποιος άλλος έχει ήδη περιγράψει το ίδιο πρόβλημα. '.repeat(5),
  arabic: 'قبل أن ترسل الرسالة تحقق من أن أحدا لم يصف المشكلة نفسها من قبل في هذا الأسبوع. '.repeat(5),
  hindi: 'संदेश भेजने से पहले कृपया देख लें कि किसी और ने यही समस्या पहले तो नहीं बताई है। '.repeat(5),
  chinese: '在提交报告之前，请先确认是否已经有人描述过同样的问题，并附上能够重现它的最短步骤。'.repeat(8),
  japanese: '報告を送る前に、同じ問題がすでに書かれていないか確かめ、再現する手順を短く添えてください。'.repeat(8),
  korean: '보고서를 보내기 전에 같은 문제가 이미 적혀 있는지 확인하고 다시 일으키는 방법을 짧게 적어 주세요. '.repeat(
    6,
  ),
};

const NOISE: Record<string, (seed: number) => string> = {
  emoji: (seed) => noise('😀😂🥰👍🏽🎉🚀🔥✨🤖💡📦🧪', 300, seed),
  base64: (seed) => bytes(900, seed).toString('base64'),
  hexadecimal: (seed) => bytes(600, seed).toString('hex'),
  'bytes read as Latin-1': (seed) => bytes(900, seed).toString('latin1'),
  'bytes read as UTF-8': (seed) => bytes(900, seed).toString('utf8'),
  'printable ASCII': (seed) => noise(String.fromCharCode(...Array.from({ length: 95 }, (_, i) => 32 + i)), 900, seed),
  digits: (seed) => noise('0123456789', 900, seed),
  'a table of numbers': (seed) => noise('0123456789', 300, seed).replaceAll(/..?/g, '$&, '),
  spaces: (seed) => ' '.repeat(100 + seed * 10),
  'lines and spaces': (seed) => noise('   \n', 500, seed),
  punctuation: (seed) => noise('!"#$%&()*+,-./:;<=>?@[]^_{|}~', 900, seed),
};

describe('OpenAI’s tokenizers', () => {
  test('known texts have their known counts', async () => {
    expect(await countTokens('', 'o200k_base')).toBe(0);
    expect(await countTokens('hello world', 'o200k_base')).toBe(2);
    expect(await countTokens('hello world', 'cl100k_base')).toBe(2);
  });

  test('what looks like a special token is text', async () => {
    expect(await countTokens('<|endoftext|>', 'o200k_base')).toBeGreaterThan(1);
    expect(await countTokens('<|im_start|>system', 'cl100k_base')).toBeGreaterThan(1);
  });

  test.each(Object.keys(HUMAN))('counting in slices is within 1 %% of counting at once: %s', async (kind) => {
    for (const piece of pieces(HUMAN[kind] ?? '', 1).slice(0, 50)) {
      const whole = exactly(piece, PLAIN);
      expect(Math.abs((await countTokens(piece, 'o200k_base')) - whole)).toBeLessThanOrEqual(Math.max(1, whole * 0.01));
    }
  });

  test('slices are the text, none longer than 500 characters, no character halved', () => {
    for (const text of [
      'x'.repeat(1_234),
      '😀'.repeat(700),
      `a${'😀'.repeat(700)}`,
      HUMAN.prose ?? '',
      HUMAN.code ?? '',
    ]) {
      const cut = [...slices(text)];
      expect(cut.join('')).toBe(text);
      expect(Math.max(...cut.map((slice) => slice.length))).toBeLessThanOrEqual(500);
      expect(cut.every((slice) => slice.isWellFormed())).toBe(true);
    }
  });

  test('a long run without a break takes no long time', async () => {
    const started = performance.now();
    await countTokens('a'.repeat(80_000), 'o200k_base');
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe('the estimate for other models', () => {
  const human = Object.entries(HUMAN).flatMap(([kind, text]) => pieces(text, 7).map((piece) => [kind, piece] as const));

  test('at most one text in a hundred is estimated below its o200k_base count', async () => {
    const noisy = Object.values(NOISE).flatMap((make) => Array.from({ length: 20 }, (_, seed) => make(seed + 1)));
    const texts = [...human.map(([, piece]) => piece), ...noisy];
    expect(texts.length).toBeGreaterThan(300);
    let below = 0;
    for (const text of texts) if ((await countTokens(text, 'approximate')) < exactly(text, PLAIN)) below += 1;
    expect(below / texts.length).toBeLessThanOrEqual(0.01);
  });

  /** Claude counts up to 1.35 times o200k_base for English and code, and more for other scripts. */
  test.each(Object.keys(HUMAN))('in all, it is above the o200k_base count, but not absurdly: %s', async (kind) => {
    const counts = { estimated: 0, exact: 0 };
    for (const [, piece] of human.filter(([of]) => of === kind)) {
      counts.estimated += await countTokens(piece, 'approximate');
      counts.exact += exactly(piece, PLAIN);
    }
    const ratio = counts.estimated / counts.exact;
    expect(ratio).toBeGreaterThan(1.2);
    expect(ratio).toBeLessThan(['code', 'sql', 'json', 'prose'].includes(kind) ? 1.6 : 2.25);
  });

  test('it needs no encoding in memory', () => {
    const script = `
      import { countTokens } from '${new URL('../../src/tokens/count.ts', import.meta.url).href}';
      import { createProviders } from '${new URL('../../src/providers/create.ts', import.meta.url).href}';
      createProviders({ anthropic: { apiKey: 'sandbox' } });
      const measure = () => { gc(); return process.memoryUsage().heapUsed / 1e6; };
      const before = measure();
      await countTokens(${JSON.stringify(HUMAN.prose?.slice(0, 2_000))}, 'approximate');
      const estimated = measure();
      await countTokens('hello', 'o200k_base');
      console.log(JSON.stringify({ estimate: estimated - before, encoding: measure() - estimated }));
    `;
    const said = execFileSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
      encoding: 'utf8',
      cwd: new URL('../..', import.meta.url),
    });
    const megabytes: { estimate: number; encoding: number } = JSON.parse(said);
    expect(megabytes.estimate).toBeLessThan(1);
    expect(megabytes.encoding).toBeGreaterThan(5);
  });
});
