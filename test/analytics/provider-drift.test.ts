// What providers ask for against what we booked: entering invoices and exports, and the differences.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster } from '../harness/tools.ts';
import { audit, converse, publishPackage, signUp, wait } from '../sessions/people.ts';

let database: TestDatabase;
let user: string;
/** The month of the runs, and its last two days with some: 2026-12, 2026-12-10, 2026-12-11. */
let month: string;
let first: string;
let second: string;

const cached = { input: 12_000, cached: 8_000, cacheWrite: 1_000, output: 2_000 };

beforeAll(async () => {
  database = await createDatabase();
  const { owner, ops } = database;
  await publishPackage(database);
  user = await signUp(database, 'user');
  await ops`select from ops.grant_credits(${user}, 100000, 'test')`;
  await ops`select from ops.set_user(${user}, tier_override => 'unlimited', reason => 'test')`;
  await ops`update models set enabled = true`;
  const today = async () => String((await owner`select (core.now() at time zone 'UTC')::date::text as day`)[0]?.day);
  first = await today();
  month = first.slice(0, 7);
  for (const model of ['gpt-4o-mini', 'sonnet', 'opus']) await converse(database, user, { model, usage: cached });
  await wait(database, '1 day');
  second = await today();
  await converse(database, user, { model: 'gpt-4o-mini', usage: { input: 3_000, output: 1_000 } });
  await wait(database, '1 month');
});
afterAll(async () => {
  expect(await audit(database.ops)).toEqual([]);
  await database.drop();
});

type Figures = {
  input?: number | null;
  cached?: number;
  write?: number;
  output?: number | null;
  dollars?: string | null;
};

function record(provider: string, period: string, model: string, figures: Figures, source = 'invoice', dryRun = false) {
  const { input = null, cached: read = null, write = null, output = null, dollars = null } = figures;
  return database.ops`
    select change, alias as model, provider_model from ops.record_provider_invoice(
      ${provider}, ${period}, ${model}, ${input}, ${read}, ${write}, ${output}, ${dollars}, 'test', ${source}, ${dryRun})`;
}

function enter(provider: string, source: string, entries: object[]) {
  return database.ops`
    select period, provider_model, model, change
    from ops.import_provider_usage(${provider}, ${source}, ${JSON.stringify(entries)}::text::jsonb, 'test')`;
}

async function drift(period: string, provider = 'openai') {
  return [
    ...(await database.ops`
      select model, our_tokens::int, their_tokens::int, our_dollars, their_dollars, difference_percent, is_off
      from ops.provider_drift where period = ${period} and provider = ${provider} order by model`),
  ];
}

async function clear() {
  await database.owner`delete from provider_usage`;
}

/** What the books say, added up from the runs themselves. */
async function booked(model: string, like: string) {
  const [row] = await database.owner`
    select sum(input_tokens + output_tokens)::int as tokens, sum(cost) as dollars
    from runs where model = ${model} and to_char(started_at at time zone 'UTC', 'YYYY-MM-DD') like ${`${like}%`}`;
  return { tokens: Number(row?.tokens), dollars: String(row?.dollars) };
}

describe('an invoice that an operator enters', () => {
  it('is held against the books, and agrees where both say the same (spec 7.1, 12)', async () => {
    await clear();
    const { tokens, dollars } = await booked('gpt-4o-mini', month);
    expect(tokens).toBe(18_000);
    await record('openai', month, 'gpt-4o-mini', {
      input: 15_000,
      cached: 8_000,
      write: 1_000,
      output: 3_000,
      dollars,
    });
    expect(await drift(month)).toEqual([
      {
        ...{
          model: 'gpt-4o-mini',
          our_tokens: tokens,
          their_tokens: tokens,
          our_dollars: dollars,
          their_dollars: dollars,
        },
        ...{ difference_percent: '0.00', is_off: false },
      },
    ]);
  });

  it('is off above settings.provider_drift_percent, 5, and from settings.provider_drift_dollars, 0.10 (spec 7.1; guide: ±5 %)', async () => {
    await clear();
    const { dollars } = await booked('opus', first);
    const theirs = (percent: number) => String(Number(dollars) / (1 - percent / 100));
    const isOff = async (percent: number) => {
      await record('anthropic', first, 'opus', { dollars: theirs(percent) });
      return (await drift(first, 'anthropic'))[0]?.is_off;
    };
    await database.ops`update settings set provider_drift_dollars = 0`;
    expect(await isOff(4.9)).toBe(false);
    expect(await isOff(5.1)).toBe(true);
    expect(await isOff(-5.1)).toBe(true);
    await database.ops`update settings set provider_drift_percent = 6`;
    expect(await isOff(5.1)).toBe(false);
    await database.ops`update settings set provider_drift_percent = default, provider_drift_dollars = default`;
    expect(await isOff(90)).toBe(Number(theirs(90)) - Number(dollars) >= 0.1);
  });

  it('changes nothing when it is entered again, and gives way to a later one; the audit log keeps the old (spec 12)', async () => {
    await clear();
    const enterOnce = (dollars: string) => record('openai', month, 'gpt-4o-mini', { dollars });
    expect(await enterOnce('1.50')).toMatchObject([{ change: 'new', model: 'gpt-4o-mini' }]);
    expect(await enterOnce('1.50')).toMatchObject([{ change: 'same' }]);
    expect(await enterOnce('1.75')).toMatchObject([{ change: 'changed' }]);
    expect(await database.owner`select dollars, entered_by from provider_usage`).toEqual([
      { dollars: '1.75', entered_by: 'prpm_ops' },
    ]);
    const [noted] = await database.owner`
      select role, reason, new -> 'old' ->> 'dollars' as old from audit_log
      where action = 'call' and table_name = 'ops.record_provider_invoice' order by id desc limit 1`;
    expect(noted).toEqual({ role: 'prpm_ops', reason: 'test', old: '1.50' });
  });

  it('is taken back by one without figures, and kept by nothing in a dry run (spec 12)', async () => {
    await clear();
    expect(await record('openai', month, 'gpt-4o', { dollars: '1' }, 'invoice', true)).toMatchObject([
      { change: 'new' },
    ]);
    expect(await database.owner`select * from provider_usage`).toHaveLength(0);
    await record('openai', month, 'gpt-4o', { dollars: '1' });
    expect(await record('openai', month, 'gpt-4o', {})).toMatchObject([{ change: 'taken back' }]);
    expect(await drift(month)).toEqual([]);
  });

  it.each([
    ['provider', 'PR400', () => record('elsewhere', month, 'gpt-4o', { dollars: '1' })],
    ['model', 'PR404', () => record('openai', month, 'sonnet', { dollars: '1' })],
    ['period', 'PR400', () => record('openai', 'January', 'gpt-4o', { dollars: '1' })],
    ['period', 'PR400', () => record('openai', '2026-02-30', 'gpt-4o', { dollars: '1' })],
    ['period', 'PR400', () => record('openai', '2099-01', 'gpt-4o', { dollars: '1' })],
    ['input_tokens', 'PR400', () => record('openai', month, 'gpt-4o', { input: 10, cached: 11, output: 1 })],
    ['output_tokens', 'PR400', () => record('openai', month, 'gpt-4o', { input: 10, output: -1 })],
    ['dollars', 'PR400', () => record('openai', month, 'gpt-4o', { dollars: 'NaN' })],
    ['source', 'PR400', () => record('openai', month, 'gpt-4o', { dollars: '1' }, '')],
  ])('is refused with the name of what is wrong: %s (style: bad input)', async (field, code, enterIt) => {
    await expect(enterIt()).rejects.toMatchObject({ code, detail: field });
  });
});

describe('days and months', () => {
  it('are not counted beside each other: a month is its invoice where there is one, else the sum of its days (spec 7.1)', async () => {
    await clear();
    const days = [await booked('gpt-4o-mini', first), await booked('gpt-4o-mini', second)];
    await record('openai', first, 'gpt-4o-mini', { dollars: '0.01' });
    await record('openai', second, 'gpt-4o-mini', { dollars: '0.02' });
    expect(await drift(first)).toMatchObject([{ our_dollars: days[0]?.dollars, their_dollars: '0.01' }]);
    expect(await drift(second)).toMatchObject([{ our_dollars: days[1]?.dollars, their_dollars: '0.02' }]);
    const { dollars } = await booked('gpt-4o-mini', month);
    expect(await drift(month)).toMatchObject([{ our_dollars: dollars, their_dollars: '0.03' }]);
    await record('openai', month, 'gpt-4o-mini', { dollars: '0.05' });
    expect(await drift(month)).toMatchObject([{ our_dollars: dollars, their_dollars: '0.05' }]);
    expect(await drift(first)).toHaveLength(1);
  });

  it('are compared for the days that are told of, and not for others', async () => {
    await clear();
    const { dollars } = await booked('gpt-4o-mini', first);
    await record('openai', first, 'gpt-4o-mini', { dollars: '0.01' });
    expect(await drift(month)).toMatchObject([{ our_dollars: dollars, their_dollars: '0.01' }]);
  });

  it('are judged when they are over, and not before', async () => {
    await clear();
    const [now] = await database.owner`
      select to_char(core.now() at time zone 'UTC', 'YYYY-MM') as month, to_char(core.now() at time zone 'UTC', 'YYYY-MM-DD') as day`;
    for (const period of [now?.month, now?.day]) await record('openai', period, 'gpt-4o-mini', { dollars: '100' });
    await record('openai', month, 'gpt-4o-mini', { dollars: '100' });
    const rows = await database.ops`select period, is_off from ops.provider_drift order by period desc`;
    expect(rows).toEqual([
      { period: now?.day, is_off: false },
      { period: now?.month, is_off: false },
      { period: month, is_off: true },
    ]);
  });
});

describe('an export', () => {
  const entry = (day: string, model: string, figures: object) => ({ period: day, provider_model: model, ...figures });

  it('names models in its own words, and they are ours all the same (spec 1.2)', async () => {
    await clear();
    const named = [
      ...(await enter('anthropic', 'anthropic cost export', [
        entry(first, 'Claude Sonnet 4.6', { dollars: '0.10' }),
        entry(first, 'claude-opus-4-6-20260205', { dollars: '0.10' }),
        entry(first, 'Claude Haiku 4.5', { dollars: '0.10' }),
      ])),
      ...(await enter('openai', 'openai usage export', [
        entry(first, 'gpt-4o-mini-2024-07-18', { input_tokens: 1, output_tokens: 1 }),
        entry(first, 'gpt-4-turbo-2024-04-09', { input_tokens: 1, output_tokens: 1 }),
      ])),
    ];
    expect(named.map(({ provider_model, model }) => [provider_model, model])).toEqual([
      ['Claude Haiku 4.5', null],
      ['Claude Sonnet 4.6', 'sonnet'],
      ['claude-opus-4-6-20260205', 'opus'],
      ['gpt-4-turbo-2024-04-09', 'gpt-4-turbo'],
      ['gpt-4o-mini-2024-07-18', 'gpt-4o-mini'],
    ]);
  });

  it('keeps what is none of ours apart, and it is off: somebody else uses the key (spec 7.1)', async () => {
    await clear();
    await enter('anthropic', 'anthropic cost export', [entry(first, 'Claude Haiku 4.5', { dollars: '0.10' })]);
    expect(await drift(first, 'anthropic')).toContainEqual(
      expect.objectContaining({
        model: 'none of ours: claude-haiku-4-5',
        our_dollars: '0',
        their_dollars: '0.10',
        is_off: true,
      }),
    );
  });

  it('becomes ours when the model does, with the daily job (spec 7.1)', async () => {
    await clear();
    await enter('anthropic', 'anthropic cost export', [entry(first, 'Claude Haiku 4.5', { dollars: '0.10' })]);
    await database.ops`
      insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer, enabled)
      values ('haiku', 'anthropic', 'claude-haiku-4-5', 1, 1000, 10000, 'approximate', false)`;
    const off = await database.ops`select * from ops.provider_drift where is_off`;
    const [done] = await database.ops`select ops.reconcile_costs() as off`;
    expect(Number(done?.off)).toBeGreaterThan(0);
    expect(off.some(({ model }) => String(model).startsWith('none of ours'))).toBe(true);
    expect(await database.owner`select model from provider_usage`).toEqual([{ model: 'haiku' }]);
  });

  it('that leaves out a model says that it was not used (spec 7.1)', async () => {
    await clear();
    await enter('anthropic', 'anthropic cost export', [entry(first, 'Claude Sonnet 4.6', { dollars: '0.10' })]);
    const { dollars } = await booked('opus', first);
    expect(await drift(first, 'anthropic')).toContainEqual(
      expect.objectContaining({ model: 'opus', our_dollars: dollars, their_dollars: '0' }),
    );
    expect((await drift(first, 'anthropic')).map(({ model }) => model)).toEqual(['opus', 'sonnet']);
  });

  it('of costs beside one of usage is one: tokens of the one, dollars of the other; an invoice goes before both (spec 7.1)', async () => {
    await clear();
    await enter('openai', 'openai usage export', [
      entry(first, 'gpt-4o-mini-2024-07-18', { input_tokens: 12000, cached_tokens: 8000, output_tokens: 2000 }),
    ]);
    await enter('openai', 'openai cost export', [
      entry(first, 'gpt-4o-mini-2024-07-18', { input_tokens: 5, output_tokens: 5, dollars: '0.02' }),
    ]);
    expect(await drift(first)).toMatchObject([{ their_tokens: 14000, their_dollars: '0.02' }]);
    await record('openai', first, 'gpt-4o-mini', { dollars: '0.03' });
    expect(await drift(first)).toMatchObject([{ their_tokens: 14000, their_dollars: '0.03' }]);
  });

  it('of usage alone is judged by its tokens, from 10,000 (spec 7.1)', async () => {
    await clear();
    const tell = (input: number) =>
      enter('openai', 'openai usage export', [
        entry(first, 'gpt-4o-mini', { input_tokens: input, output_tokens: 2000 }),
      ]);
    await tell(21_999);
    expect(await drift(first)).toMatchObject([{ our_tokens: 14_000, their_tokens: 23_999, is_off: false }]);
    await tell(22_000);
    expect(await drift(first)).toMatchObject([{ our_tokens: 14_000, their_tokens: 24_000, is_off: true }]);
  });

  it('is entered whole or not at all (spec 12)', async () => {
    await clear();
    const bad = enter('openai', 'openai usage export', [
      entry(first, 'gpt-4o', { input_tokens: 1, output_tokens: 1 }),
      entry(first, 'gpt-4o-mini', { input_tokens: 1, cached_tokens: 2, output_tokens: 1 }),
    ]);
    await expect(bad).rejects.toMatchObject({ code: 'PR400', detail: 'input_tokens' });
    expect(await database.owner`select * from provider_usage`).toHaveLength(0);
  });
});

describe('a model', () => {
  it('that has two aliases is compared once, both together (spec 1.2)', async () => {
    await clear();
    await database.ops`
      insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
      values ('a-mini', 'openai', 'gpt-4o-mini-2024-07-18', 1, 1000, 10000, 'o200k_base')`;
    await record('openai', first, 'gpt-4o-mini', { dollars: '0.02' });
    const { dollars } = await booked('gpt-4o-mini', first);
    expect(await drift(first)).toMatchObject([
      { model: 'a-mini, gpt-4o-mini', our_dollars: dollars, their_dollars: '0.02' },
    ]);
    const explained =
      await database.ops`select what from ops.explain_provider_drift('openai', ${first}, 'gpt-4o-mini')`;
    expect(explained).toHaveLength(5);
    await database.owner`delete from models where alias = 'a-mini'`;
  });

  it.skipIf(differsOnCluster('old ids are read from the audit log, which a trigger writes'))(
    'whose id was replaced is known by its old one (spec 1.2)',
    async () => {
      await clear();
      await database.ops`update models set provider_model = 'gpt-4o-2' where alias = 'gpt-4o'`;
      expect(await record('openai', first, 'gpt-4o-2024-08-06', { dollars: '1' })).toMatchObject([{ model: 'gpt-4o' }]);
      await database.ops`update models set provider_model = 'gpt-4o' where alias = 'gpt-4o'`;
    },
  );

  it('is explained by kind of token, the last row in dollars as the view has it (spec 12)', async () => {
    await clear();
    const { dollars } = await booked('gpt-4o-mini', first);
    await record('openai', first, 'gpt-4o-mini', {
      input: 12_500,
      cached: 8_000,
      write: 1_000,
      output: 2_000,
      dollars: '0.02',
    });
    const rows = await database.ops`
      select what, ours, theirs, difference from ops.explain_provider_drift('openai', ${first}, 'gpt-4o-mini')`;
    expect(rows).toEqual([
      { what: 'tokens read, not cached', ours: '3000', theirs: '3500', difference: '500' },
      { what: 'tokens read from the cache', ours: '8000', theirs: '8000', difference: '0' },
      { what: 'tokens written to the cache', ours: '1000', theirs: '1000', difference: '0' },
      { what: 'tokens written', ours: '2000', theirs: '2000', difference: '0' },
      { what: 'US dollars', ours: dollars, theirs: '0.02', difference: expect.any(String) },
    ]);
    const [shown] = await database.ops`select difference_dollars from ops.provider_drift where period = ${first}`;
    expect(rows.at(-1)?.difference).toBe(shown?.difference_dollars);
    await expect(
      database.ops`select * from ops.explain_provider_drift('openai', ${first}, 'gpt-4-turbo')`,
    ).rejects.toMatchObject({ code: 'PR404', detail: 'model' });
  });
});

it('the job holds them against each other once a day, and its result stands in job_runs (spec 7.1)', async () => {
  await clear();
  await record('openai', month, 'gpt-4o-mini', { dollars: '100' });
  await database.ops`call ops.run_job('reconcile-costs')`;
  expect(await database.owner`select rows_touched, error from job_runs where job = 'reconcile-costs'`).toEqual([
    { rows_touched: '1', error: null },
  ]);
});
