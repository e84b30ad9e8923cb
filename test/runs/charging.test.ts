// What a run is charged and what it costs.
import { expect, it } from 'vitest';
import { openWorld } from './world.ts';

const world = await openWorld();

it.each([
  // tokens, sonnet, gpt-4o-mini, gpt-4o, gpt-4-turbo, opus
  [0, 1, 1, 2, 2, 5],
  [1, 1, 1, 2, 2, 5],
  [5_000, 1, 1, 2, 2, 5],
  [5_001, 2, 1, 4, 4, 10],
  [10_001, 3, 2, 6, 6, 15],
  [20_000, 4, 2, 8, 8, 20],
])(
  'charges %i tokens as the table says: sonnet %i, gpt-4o-mini %i, gpt-4o %i, gpt-4-turbo %i, opus %i (spec 1.1)',
  async (tokens, ...credits) => {
    const models = ['sonnet', 'gpt-4o-mini', 'gpt-4o', 'gpt-4-turbo', 'opus'];
    for (const [place, model] of models.entries()) {
      const user = await world.person({ credits: 100, tier: 'unlimited' });
      const output = Math.min(tokens, 7);
      const receipt = await world.run(user, { model }, { input: tokens - output, output });
      expect([model, receipt.credits_spent]).toEqual([model, credits[place]]);
      expect(receipt.tokens_used).toBe(tokens);
      expect(receipt.credits_remaining).toBe(100 - receipt.credits_spent);
    }
  },
);

it('counts output as well as input: the charge follows what the provider reports, whatever was estimated (spec 1.1, 1.6)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  expect((await world.run(user, { tokens: 400 }, { input: 500, output: 4_501 })).credits_spent).toBe(2);
  expect((await world.run(user, { tokens: 15_000 }, { input: 100, output: 10 })).credits_spent).toBe(1);
});

it.each([
  ['gpt-4o-mini', 5_000, 2],
  ['gpt-4o-mini', 10_001, 4],
  ['plain', 5_001, 4],
  ['opus', 5_000, 10],
])(
  'charges a custom prompt twice, rounded up: %s with %i tokens %i credits (spec 1.7)',
  async (model, tokens, credits) => {
    const user = await world.person({ credits: 100, tier: 'unlimited', verifiedAuthor: true });
    const receipt = await world.run(user, { model, custom: 50 }, { input: tokens - 10, output: 10 });
    expect(receipt.credits_spent).toBe(credits);
  },
);

it("multiplies a custom prompt by the setting of the time when it began, rounded up after the model's own (spec 1.7)", async () => {
  await world.ops`update settings set custom_prompt_multiplier = 1.5`;
  const user = await world.person({ credits: 100, tier: 'unlimited', verifiedAuthor: true });
  const { begun_run_id } = await world.start(user, { model: 'gpt-4o-mini', custom: 50 });
  await world.ops`update settings set custom_prompt_multiplier = 3`;
  // ceil(ceil(3 × 0.5) × 1.5) = 3
  expect((await world.settle(user, begun_run_id, { input: 10_001, output: 0 })).credits_spent).toBe(3);
});

it('prices each kind of token by the book, exactly, and rounds nothing (spec 1.3)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  const ended = { input: 1_237, cached: 401, cacheWrite: 307, output: 611 };
  const receipt = await world.run(user, { model: 'cached' }, ended);
  // 529 × 10 + 401 × 1 + 307 × 12.5 + 611 × 20 = 21,748.5 millionths
  expect(Number(receipt.cost)).toBe(0.0217485);
  expect(receipt.tokens).toEqual({ input: 1_237, cached: 401, cache_write: 307, output: 611 });
  expect((await world.figures(user)).month).toBe('0.0217485');
  await world.run(user, { model: 'gpt-4o-mini' }, { input: 1, output: 0 });
  expect((await world.figures(user)).lifetime).toBe('0.02174865');
});

it('takes the input price where the book has none for the cache (spec 1.3)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  const receipt = await world.run(
    user,
    { model: 'gpt-4-turbo' },
    { input: 1_000, cached: 300, cacheWrite: 200, output: 0 },
  );
  expect(Number(receipt.cost)).toBe(0.01);
});

it('keeps for a run the price, multiplier and tokens per credit that it began under (spec 1.3)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  await world.ops`
    insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
    values ('changing', 'openai', 'changing-1', 1, 4096, 128000, 'o200k_base')`;
  await world.ops`insert into model_prices (model, valid, input, output) values ('changing', '[2025-01-01,)', 1, 2)`;
  const before = await world.start(user, { model: 'changing' });
  await world.pass('1 minute');
  await world.ops`select from ops.publish_prices('changing', null, 100, null, null, 200, 'operator', 'dearer')`;
  await world.ops`update models set credit_multiplier = 7 where alias = 'changing'`;
  await world.ops`update settings set tokens_per_credit = 100`;
  const after = await world.start(user, { model: 'changing' });

  const old = await world.settle(user, before.begun_run_id, { input: 1_000, output: 1_000 });
  expect([Number(old.cost), old.credits_spent]).toEqual([0.003, 1]);
  const fresh = await world.settle(user, after.begun_run_id, { input: 500, output: 100 });
  expect([Number(fresh.cost), fresh.credits_spent]).toEqual([0.07, 42]);
});

it('takes the price of the day on which a run begins, and changes none that is in the book (spec 1.3)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  await world.ops`
    insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
    values ('dated', 'openai', 'dated-1', 1, 4096, 128000, 'o200k_base')`;
  await world.ops`
    insert into model_prices (model, valid, input, output) values
      ('dated', '[2031-01-01 00:00:00+00, 2031-04-01 00:00:00+00)', 1, 1), ('dated', '[2031-04-01 00:00:00+00,)', 2, 2)`;
  await world.at('2031-03-31T23:59:50Z');
  const { begun_run_id } = await world.start(user, { model: 'dated' });
  await world.at('2031-04-01T00:00:05Z');
  expect(Number((await world.settle(user, begun_run_id, { input: 100, output: 0 })).cost)).toBe(0.0001);
  expect(Number((await world.run(user, { model: 'dated' }, { input: 100, output: 0 })).cost)).toBe(0.0002);
  await expect(world.ops`update model_prices set input = 9 where model = 'dated'`).rejects.toThrow();
  await expect(
    world.ops`insert into model_prices (model, valid, input, output) values ('dated', '[2031-05-01,)', 3, 3)`,
  ).rejects.toThrow('one_price_at_a_time');
});

it('refuses a model without a price now: a run is never free for want of one (spec 1.3)', async () => {
  const user = await world.person();
  await world.ops`
    insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
    values ('unpriced', 'openai', 'unpriced-1', 1, 4096, 128000, 'o200k_base')`;
  expect(await world.refusal(user, { model: 'unpriced' })).toMatchObject({ code: 'model_not_priced', status: 503 });
  await world.ops`
    insert into model_prices (model, valid, input, output) values ('unpriced', '[2031-06-01 00:00:00+00, 2031-07-01 00:00:00+00)', 1, 1)`;
  expect((await world.refusal(user, { model: 'unpriced' })).code).toBe('model_not_priced');
  await world.at('2031-06-01T00:00:01Z');
  await world.run(user, { model: 'unpriced' });
  await world.at('2031-07-01T00:00:01Z');
  expect((await world.refusal(user, { model: 'unpriced' })).code).toBe('model_not_priced');
});

it('refuses a model that is unknown or switched off, and takes the default where none is named (spec 1.2)', async () => {
  const user = await world.person();
  expect(await world.refusal(user, { model: 'unknown' })).toMatchObject({ code: 'model_not_found', status: 404 });
  await world.ops`update models set enabled = false where alias = 'vague'`;
  expect(await world.refusal(user, { model: 'vague' })).toMatchObject({ code: 'model_disabled', status: 409 });
  await world.ops`update models set enabled = true where alias = 'vague'`;
  const { begun_run_id } = await world.start(user, { model: null });
  expect((await world.settle(user, begun_run_id)).status).toBe('completed');
  const [row] = await world.ops`select model from runs where id = ${begun_run_id}`;
  expect(row?.model).toBe('sonnet');
});

it('marks a run estimated where the usage report was lost, and charges the estimate (spec 1.6)', async () => {
  const user = await world.person();
  const receipt = await world.run(user, { tokens: 400 }, { input: null, output: 123, estimated: true });
  expect(receipt).toMatchObject({ estimated: true, tokens: { input: 500, output: 123 }, credits_spent: 1 });
  expect(Number(receipt.cost)).toBe(0.00746);
});

it('charges credits in the receipt, the run, the ledger and the balance alike (spec 4.2)', async () => {
  const user = await world.person({ credits: 9, tier: 'unlimited' });
  const receipt = await world.run(user, {}, { input: 500, output: 4_501 });
  expect(receipt).toMatchObject({ credits_spent: 2, credits_by_kind: { signup: 2 }, credits_remaining: 7 });
  expect(await world.transfers(user)).toEqual([
    ['signup', 'issued', 'lot', 9],
    ['spend', 'lot', 'spent', 2],
  ]);
  expect(await world.figures(user)).toMatchObject({ balance: 7, held: 0, lifetime: '0.09502' });
});
