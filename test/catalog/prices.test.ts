import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { syncPrices } from '../../src/prices/sync.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster } from '../harness/tools.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

async function addModel(alias: string, providerModel = 'gpt-4o') {
  await database.ops`
    insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
    values (${alias}, 'openai', ${providerModel}, 1, 1000, 10000, 'o200k_base')`;
}

async function publish(
  model: string,
  input: number,
  source: string | null = null,
  from: string | null = null,
  dryRun = false,
) {
  return [
    ...(await database.ops`
      select id, input, source, upper_inf(valid) as open
      from ops.publish_prices(${model}, ${from}, ${input}, null, null, ${input * 4}, ${source}, 'test', ${dryRun})`),
  ];
}

async function book(model: string) {
  return [
    ...(await database.ops`
      select input, output, source, upper_inf(valid) as open from model_prices where model = ${model} order by valid`),
  ];
}

const listed = { input: '2.5', output: '10', source: expect.stringMatching(/^genai-prices \d/), open: true };

describe('the first models', () => {
  it('are the five of the price list, with a default, all with a price (spec 1.2, 1.4)', async () => {
    const [user] = await database.ops`select user_id from ops.create_user(null, 'reader')`;
    const models =
      await database.app`select alias, credit_multiplier, is_default, priced from api.list_models(${user?.user_id})`;
    expect([...models]).toEqual([
      { alias: 'sonnet', credit_multiplier: '1', is_default: true, priced: true },
      { alias: 'gpt-4-turbo', credit_multiplier: '2', is_default: false, priced: true },
      { alias: 'gpt-4o', credit_multiplier: '2', is_default: false, priced: true },
      { alias: 'gpt-4o-mini', credit_multiplier: '0.5', is_default: false, priced: true },
      { alias: 'opus', credit_multiplier: '5', is_default: false, priced: true },
    ]);
  });

  it('have the prices that genai-prices has, to the last digit (spec 1.4)', async () => {
    const synced = await syncPrices(database.ops);
    expect(synced.filter(({ state }) => state !== 'same')).toEqual([]);
    expect(synced).toHaveLength(5);
  });

  it('can be joined by another with one insert, and one is the default (spec 1.2)', async () => {
    await addModel('joined');
    const [user] = await database.ops`select id from users limit 1`;
    const [row] =
      await database.app`select priced, input_price from api.list_models(${user?.id}) where alias = 'joined'`;
    expect(row).toEqual({ priced: false, input_price: null });
    await expect(database.ops`update models set is_default = true where alias = 'joined'`).rejects.toMatchObject({
      code: '23505',
    });
    await database.ops`update models set enabled = false where alias = 'joined'`;
    expect([...(await database.app`select alias from api.list_models(${user?.id}) where alias = 'joined'`)]).toEqual(
      [],
    );
  });
});

describe('the price book', () => {
  it('has no two prices of a model at one time (spec 1.3)', async () => {
    await expect(database.ops`
      insert into model_prices (model, valid, input, output) values ('opus', tstzrange('2026-01-01', '2026-02-01'), 1, 1)
    `).rejects.toMatchObject({ code: '23P01', message: expect.stringContaining('one_price_at_a_time') });
  });

  it("takes an operator's new period by plain SQL (spec 1.3, 12)", async () => {
    await addModel('by-hand');
    await database.ops`insert into model_prices (model, valid, input, output) values ('by-hand', tstzrange(now(), null), 1, 2)`;
    await database.ops.begin(async (sql) => {
      await sql`update model_prices set valid = tstzrange(lower(valid), now()) where model = 'by-hand' and upper_inf(valid)`;
      await sql`insert into model_prices (model, valid, input, output) values ('by-hand', tstzrange(now(), null), 3, 4)`;
    });
    expect(await book('by-hand')).toEqual([
      { input: '1', output: '2', source: 'operator', open: false },
      { input: '3', output: '4', source: 'operator', open: true },
    ]);
  });

  it.skipIf(differsOnCluster('there are no triggers'))(
    'lets an operator end a row, and change nothing else of it (spec 1.3)',
    async () => {
      await addModel('ended');
      await publish('ended', 1);
      const { ops } = database;
      await expect(ops`update model_prices set input = 9 where model = 'ended'`).rejects.toMatchObject({
        code: '42501',
      });
      await expect(ops`delete from model_prices where model = 'ended'`).rejects.toMatchObject({ code: '42501' });
      for (const valid of [
        `tstzrange('2020-01-01', null)`,
        `tstzrange(lower(valid), lower(valid) + interval '1 microsecond')`,
      ]) {
        await expect(
          ops.unsafe(`update model_prices set valid = ${valid} where model = 'ended'`),
        ).rejects.toMatchObject({
          code: 'PR409',
        });
      }
      await ops`update model_prices set valid = tstzrange(lower(valid), now() + interval '1 day') where model = 'ended'`;
      await expect(
        ops`update model_prices set valid = tstzrange(lower(valid), null) where model = 'ended'`,
      ).rejects.toMatchObject({
        code: 'PR409',
      });
    },
  );
});

describe('ops.publish_prices', () => {
  it('ends the old row and adds the new, and says both (spec 1.3, 12)', async () => {
    await addModel('renewed');
    expect(await publish('renewed', 1)).toMatchObject([{ input: '1', source: 'operator', open: true }]);
    expect(await publish('renewed', 2.5)).toMatchObject([
      { input: '1', open: false },
      { input: '2.5', open: true },
    ]);
    const [entry] = await database.ops`
      select role, reason from audit_log where table_name = 'ops.publish_prices' and row_key = 'renewed' order by id desc limit 1`;
    expect(entry).toEqual({ role: 'prpm_ops', reason: 'test' });
  });

  it('keeps nothing in a dry run, and nothing is new when the price is that already (spec 12)', async () => {
    await addModel('unchanged');
    await publish('unchanged', 1);
    expect(await publish('unchanged', 2, null, null, true)).toHaveLength(2);
    expect(await publish('unchanged', 1)).toEqual([]);
    expect(await book('unchanged')).toHaveLength(1);
  });

  it('holds until the next price that is planned (spec 1.3)', async () => {
    await addModel('planned');
    await publish('planned', 1);
    await publish('planned', 3, null, '2100-01-01');
    await publish('planned', 2);
    expect((await book('planned')).map(({ input, open }) => ({ input, open }))).toEqual([
      { input: '1', open: false },
      { input: '2', open: false },
      { input: '3', open: true },
    ]);
  });

  it('refuses the past, an unknown model, a wrong price and a missing reason (spec 1.3)', async () => {
    await expect(publish('opus', 1, null, '2026-01-01')).rejects.toMatchObject({ code: 'PR400', detail: 'valid_from' });
    await expect(publish('nothing', 1)).rejects.toMatchObject({ code: 'PR404', detail: 'model' });
    await expect(publish('opus', -1)).rejects.toMatchObject({ code: 'PR400', detail: 'input' });
    await expect(
      database.ops`select * from ops.publish_prices('opus', null, 'NaN', null, null, 1, null, 'test')`,
    ).rejects.toMatchObject({ code: 'PR400', detail: 'input' });
    await expect(
      database.ops`select * from ops.publish_prices('opus', null, 7, null, null, 1, null, '')`,
    ).rejects.toMatchObject({ code: 'PR400', detail: 'reason' });
  });

  it('begins at an instant, and not at the end of time, where nobody could take it back (spec 1.3)', async () => {
    for (const from of ['infinity', '-infinity'])
      await expect(
        database.ops.unsafe(`select from ops.publish_prices('gpt-4o', '${from}', 3, null, null, 12, null, 'test')`),
      ).rejects.toMatchObject({ code: 'PR400', detail: 'valid_from' });
  });

  it('by two at once leaves one open price (spec 1.3)', async () => {
    await addModel('raced');
    await publish('raced', 1);
    await Promise.all([publish('raced', 2), publish('raced', 3), publish('raced', 4)]);
    expect((await book('raced')).filter(({ open }) => open)).toHaveLength(1);
    expect(await book('raced')).toHaveLength(4);
  });
});

describe('npm run prices:sync', () => {
  const state = async (model: string, options = {}) =>
    (await syncPrices(database.ops, options)).find((synced) => synced.model === model)?.state;

  it('shows a difference and changes nothing; with --apply it ends the old row and adds the new (spec 1.4)', async () => {
    await addModel('stale');
    await publish('stale', 1, 'genai-prices 0.0.1');
    expect(await state('stale')).toBe('changed');
    expect(await book('stale')).toHaveLength(1);
    expect(await state('stale', { apply: true })).toBe('changed');
    expect(await book('stale')).toEqual([
      { input: '1', output: '4', source: 'genai-prices 0.0.1', open: false },
      listed,
    ]);
    expect(await state('stale', { apply: true })).toBe('same');
    expect(await book('stale')).toHaveLength(2);
  });

  it('gives a model without a price one, from the given instant (spec 1.4)', async () => {
    await addModel('later');
    await syncPrices(database.ops, { apply: true, at: '2100-01-01T00:00:00Z' });
    const [row] = await database.ops`select lower(valid) as starts from model_prices where model = 'later'`;
    expect(row?.starts).toEqual(new Date('2100-01-01T00:00:00Z'));
  });

  it("never overwrites an operator's own price (spec 1.4)", async () => {
    await addModel('own');
    await publish('own', 7);
    expect(await state('own', { apply: true })).toBe('kept');
    expect(await publish('own', 1, 'genai-prices 9.9.9')).toEqual([]);
    expect(await book('own')).toEqual([{ input: '7', output: '28', source: 'operator', open: true }]);
  });

  it('says that it does not know a model, and makes it not free (spec 1.3, 1.4)', async () => {
    await addModel('odd', 'no-such-model');
    const odd = (await syncPrices(database.ops, { apply: true })).find(({ model }) => model === 'odd');
    expect(odd).toMatchObject({ state: 'unknown', line: expect.stringContaining('does not know no-such-model') });
    expect(await book('odd')).toEqual([]);
  });
});
