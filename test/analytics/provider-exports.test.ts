// Files of the providers' consoles: read, told apart, added up, entered once. The samples' columns are the real ones, their
// figures invented.
import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { importExport } from '../../src/costs/import.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, converse, publishPackage, signUp, wait } from '../sessions/people.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
beforeEach(async () => {
  await database.owner`delete from provider_usage`;
});
afterAll(() => database.drop());

const sample = (name: string) => join(import.meta.dirname, 'exports', `${name}.csv`);
const read = (name: string, options: { provider?: string; isDryRun?: boolean } = {}) =>
  importExport(database.ops, createReadStream(sample(name)), { reason: 'test', ...options });
const readText = (text: string) => importExport(database.ops, Readable.from([text]), { reason: 'test' });

const stored = async () => [
  ...(await database.owner`
    select first_day::text as day, provider_model, model, input_tokens::int as input, cached_tokens::int as cached,
      cache_write_tokens::int as write, output_tokens::int as output, dollars, source
    from provider_usage order by day, provider_model`),
];
const row = (day: string, name: string, model: string | null, tokens: number[] | null, dollars: string | null) => {
  const [input = null, cached = null, write = null, output = null] = tokens ?? [];
  return { day, provider_model: name, model, input, cached, write, output, dollars };
};
const [first, second] = ['2025-09-01', '2025-09-02'];

describe("a provider's export", () => {
  it.each([
    [
      'anthropic-usage',
      'anthropic usage export',
      [
        row(first, 'claude-haiku-4-5-20251001', null, [700, 0, 0, 70], null),
        row(first, 'claude-sonnet-4-6', 'sonnet', [189_500, 60_000, 4_500, 31_000], null),
        row(second, 'claude-opus-4-6', 'opus', [9_000, 0, 0, 2_000], null),
      ],
    ],
    [
      'anthropic-cost',
      'anthropic cost export',
      [
        row(first, 'Claude Haiku 4.5', null, null, '0'),
        row(first, 'Claude Sonnet 4.6', 'sonnet', null, '0.87'),
        row(second, 'Claude Opus 4.6', 'opus', null, '0.05'),
        row(second, 'web_search', null, null, '0.01'),
      ],
    ],
    [
      'openai-usage',
      'openai usage export',
      [
        row(first, 'gpt-4o-2024-08-06', 'gpt-4o', [3_608, 0, 0, 564], null),
        row(first, 'gpt-4o-mini-2024-07-18', 'gpt-4o-mini', [43_000, 1_280, 0, 9_100], null),
        row(second, 'gpt-5-nano-2025-08-07', null, [500, 0, 0, 200], null),
      ],
    ],
    [
      'openai-cost',
      'openai cost export',
      [
        row(first, 'gpt-4o-2024-08-06', 'gpt-4o', [0, 0, 0, 0], '0'),
        row(first, 'gpt-4o-mini-2024-07-18', 'gpt-4o-mini', [43_280, 1_280, 0, 9_100], '0.011856'),
        row(second, 'web search tool calls', null, null, '0.01'),
      ],
    ],
  ])(
    '%s is known by its columns and added up by day and model, to the last digit (spec 7.1)',
    async (name, source, rows) => {
      const imported = await read(name);
      expect(imported.source).toBe(source);
      expect(await stored()).toEqual(rows.map((one) => ({ ...one, source })));
    },
  );

  it('read again changes nothing, and a dry run keeps nothing (spec 12)', async () => {
    expect((await read('anthropic-usage', { isDryRun: true })).entered.map(({ change }) => change)).toEqual(
      Array(3).fill('new'),
    );
    expect(await stored()).toEqual([]);
    await read('anthropic-usage');
    const rows = await stored();
    expect((await read('anthropic-usage')).entered.map(({ change }) => change)).toEqual(Array(3).fill('same'));
    expect(await stored()).toEqual(rows);
  });

  it('with a mark before its first byte, Windows line ends and empty lines is read all the same', async () => {
    await readText(
      '\ufeffusage_date_utc,model,token_type,cost_usd\r\n\r\n2025-09-01,Claude Sonnet 4.6,output,1.5\r\n,,,\r\n',
    );
    expect(await stored()).toMatchObject([{ provider_model: 'Claude Sonnet 4.6', dollars: '1.5' }]);
  });

  it('is read as it comes: lines are added up, not kept', async () => {
    const lines = 50_000;
    function* file() {
      yield 'start_time,model,input_tokens,output_tokens,input_cached_tokens\n';
      for (let n = 0; n < lines; n += 1) yield `${1756684800 + (n % 1440) * 60},gpt-4o-mini,10,2,1\n`;
    }
    const imported = await importExport(database.ops, Readable.from(file()), { reason: 'test' });
    expect(imported.lines).toBe(lines);
    expect(await stored()).toMatchObject([{ day: first, input: 10 * lines, cached: lines, output: 2 * lines }]);
  });

  const columns = 'usage_date_utc,model,token_type,cost_usd';
  const tokens = 'start_time,model,input_tokens,output_tokens';
  const costs = 'start_time,amount_value,amount_currency,line_item';
  it.each([
    ['an empty file', '', 'It is empty.'],
    ['columns of something else', 'name,age\nx,3\n', 'name, age'],
    ['a missing column', 'usage_date_utc,model,cost_usd\n2025-09-01,x,1\n', 'has no column token_type'],
    [
      'a sum that is none',
      `${columns}\n2025-09-01,Claude,output,1\n2025-09-01,Claude,output,much\n`,
      'Line 3: cost_usd "much"',
    ],
    ['a day that is none', `${columns}\nSeptember,Claude,output,1\n`, 'Line 2: usage_date_utc "September"'],
    [
      'a day of another clock',
      `${tokens}\n2025-09-01T00:00:00+02:00,gpt-4o,1,1\n`,
      'Line 2: start_time "2025-09-01T00',
    ],
    ['a count that is none', `${tokens}\n1756684800,gpt-4o,1.5,1\n`, 'Line 2: input_tokens "1.5"'],
    [
      'usage that no model has',
      `${tokens}\n1756684800,,10,1\n`,
      'Line 2: model "" is empty; export usage grouped by model',
    ],
    [
      'costs that no model has',
      `${costs}\n1756684800,0.5,usd,\n`,
      'Line 2: line_item "" is empty; export costs grouped by line item',
    ],
    ['another currency', `${costs}\n1756684800,0.5,eur,"gpt-4o, input"\n`, 'Line 2: amount_currency "eur"'],
    ['a quote that does not end', `${columns}\n2025-09-01,"Claude,output,1\n`, 'It is no CSV'],
    ['too few fields', `${columns}\n2025-09-01,Claude\n`, 'It is no CSV'],
  ])('is refused whole for %s, and told where and why (style: bad input)', async (_, text, message) => {
    await expect(readText(text)).rejects.toThrow(message);
    expect(await stored()).toEqual([]);
  });

  it('is refused where another provider is meant', async () => {
    await expect(read('openai-cost', { provider: 'anthropic' })).rejects.toThrow(
      'openai cost export, not one of anthropic',
    );
  });
});

it('what a provider exports of our own runs agrees with the books to the token and the cent (spec 7.1; guide: ±5 %)', async () => {
  await publishPackage(database);
  const user = await signUp(database, 'user');
  await database.ops`select from ops.grant_credits(${user}, 1000, 'test')`;
  await database.ops`select from ops.set_user(${user}, tier_override => 'unlimited', reason => 'test')`;
  for (const output of [500, 700, 900]) {
    await converse(database, user, { model: 'gpt-4o-mini', usage: { input: 9_000, cached: 2_000, output } });
    await wait(database, '8 hours');
  }
  await wait(database, '2 days');
  const runs = await database.owner`
    select extract(epoch from started_at)::bigint as start, input_tokens, output_tokens, cached_tokens, cost from runs`;
  const usage = runs.map(
    (run) => `${run.start},gpt-4o-mini-2024-07-18,${run.input_tokens},${run.output_tokens},${run.cached_tokens}`,
  );
  await readText(['start_time,model,input_tokens,output_tokens,input_cached_tokens', ...usage].join('\n'));
  const costs = runs.map((run) => `${run.start},${run.cost},usd,"gpt-4o-mini-2024-07-18, input"`);
  await readText(['start_time,amount_value,amount_currency,line_item', ...costs].join('\n'));
  const rows = await database.ops`
    select our_tokens - their_tokens as tokens, difference_dollars, is_off from ops.provider_drift`;
  expect(rows).toHaveLength(3);
  for (const one of rows)
    expect(one).toEqual({ tokens: '0', difference_dollars: expect.stringMatching(/^0(\.0+)?$/), is_off: false });
  expect(await audit(database.ops)).toEqual([]);
});

describe('npm run costs:import', () => {
  const script = resolve(import.meta.dirname, '../../src/costs/import.ts');
  function run(args: string[], url = database.opsUrl): Promise<{ code: number | null; out: string; err: string }> {
    return new Promise((settle) => {
      const child = spawn(process.execPath, [script, ...args], { env: { PATH: process.env.PATH, DATABASE_URL: url } });
      let [out, err] = ['', ''];
      child.stdout.on('data', (chunk) => (out += chunk));
      child.stderr.on('data', (chunk) => (err += chunk));
      child.once('close', (code) => settle({ code, out, err }));
    });
  }

  it('tells what was entered by model, and what is none of ours apart', async () => {
    const { code, out } = await run([sample('anthropic-usage'), sample('openai-cost')]);
    expect(code).toBe(0);
    expect(out).toContain('claude-sonnet-4-6 (sonnet), 2025-09-01 to 2025-09-01: 1 new');
    expect(out).toMatch(/Kept apart.*\n {2}claude-haiku-4-5-20251001 \(none of ours\)/);
    expect(await stored()).toHaveLength(6);
  });

  it('says in one line what is wrong, and leaves with 1', async () => {
    const wrong = await Promise.all([
      run([]),
      run([sample('nowhere')]),
      run([sample('openai-cost'), '--provider', 'anthropic']),
      run([sample('openai-cost')], ''),
    ]);
    expect(wrong.map(({ code }) => code)).toEqual([1, 1, 1, 1]);
    const [noFile, nowhere, other, noDatabase] = wrong.map(({ err }) => err.trim());
    expect(noFile).toMatch(/^Name a file: npm run costs:import/);
    expect(nowhere).toMatch(/nowhere\.csv/);
    expect(other).toMatch(/^openai-cost\.csv: .* not one of anthropic/);
    expect(noDatabase).toMatch(/^Set DATABASE_URL/);
  });
});
