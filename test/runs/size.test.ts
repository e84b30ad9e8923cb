// How large a request may be, and how long an answer is allowed.
import { expect, it } from 'vitest';
import { newId, openWorld } from './world.ts';

const world = await openWorld();

it('refuses input that leaves no room for a useful answer, with both numbers and how much to cut (spec 1.5)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  expect((await world.start(user, { tokens: 19_644 })).output_cap).toBe(256);
  expect(await world.refusal(user, { tokens: 19_645 })).toMatchObject({
    ...{ code: 'request_too_large', status: 413, limit: 20_000, used: 19_745, unit: 'tokens' },
    details: { input_tokens: 19_745, min_output_tokens: 256, cut_tokens: 1 },
  });
  expect((await world.refusal(user, { tokens: 25_000 })).details).toMatchObject({ cut_tokens: 25_100 + 256 - 20_000 });
});

it('lets a caller who wishes for less than a useful answer come closer to the limit (spec 1.5)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  expect((await world.start(user, { tokens: 19_890, wish: 10 })).output_cap).toBe(10);
  expect((await world.refusal(user, { tokens: 19_891, wish: 10 })).details).toMatchObject({ cut_tokens: 1 });
});

it('follows max_request_tokens from the next request on (spec 1.5)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  await world.ops`update settings set max_request_tokens = 15000`;
  expect(await world.refusal(user, { tokens: 15_000 })).toMatchObject({ code: 'request_too_large', limit: 15_000 });
  expect((await world.start(user, { tokens: 14_000 })).output_cap).toBe(900);
});

it('cuts the answer to the smallest of wish, model, setting, request size, credits and cost windows (spec 1.5)', async () => {
  await world.ops`
    insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
    values ('short', 'openai', 'short-1', 1, 300, 128000, 'o200k_base'), ('narrow', 'openai', 'narrow-1', 1, 4096, 1000, 'o200k_base')`;
  await world.ops`
    insert into model_prices (model, valid, input, output) values ('short', '[2025-01-01,)', 10, 20), ('narrow', '[2025-01-01,)', 10, 20)`;
  const rich = await world.person({ credits: 1_000, tier: 'unlimited', verifiedAuthor: true });
  const cap = async (user: string, asked: object) => (await world.start(user, asked)).output_cap;

  expect(await cap(rich, {})).toBe(4_096);
  expect(await cap(rich, { wish: 1_234 })).toBe(1_234);
  expect(await cap(rich, { model: 'short' })).toBe(300);
  expect(await cap(rich, { model: 'narrow' })).toBe(500);
  expect(await cap(rich, { custom: 100 })).toBe(1_024);
  expect(await cap(rich, { tokens: 18_900 })).toBe(1_000);
  expect(await cap(await world.person({ credits: 1 }), { tokens: 3_900 })).toBe(1_000);
  await world.ops`update cost_limits_config set daily_cost_limit = 0.05 where tier_name = 'free'`;
  expect(await cap(await world.person(), {})).toBe(2_250);
  await world.ops`update cost_limits_config set daily_cost_limit = null, monthly_cost_limit = 0.03 where tier_name = 'free'`;
  expect(await cap(await world.person(), {})).toBe(1_250);
  await world.ops`update settings set max_output_tokens = 700, custom_max_output_tokens = 600`;
  expect(await cap(rich, {})).toBe(700);
  expect(await cap(rich, { custom: 100 })).toBe(600);
});

it('still lets runs in where an operator allows only answers shorter than min_output_tokens (spec 1.5)', async () => {
  const user = await world.person({ verifiedAuthor: true });
  await world.ops`update settings set max_output_tokens = 100, custom_max_output_tokens = 50`;
  expect((await world.start(user)).output_cap).toBe(100);
  expect((await world.start(user, { custom: 10 })).output_cap).toBe(50);
});

it('holds input that was counted with another tokenizer 1.3 times, and in credits and dollars alike (spec 3.2)', async () => {
  const exact = await world.start(await world.person(), { tokens: 900 });
  expect([exact.estimated_input, exact.held_input]).toEqual([1_000, 1_000]);
  const other = await world.start(await world.person(), { tokens: 900, counted: 'cl100k_base' });
  expect([other.estimated_input, other.held_input]).toEqual([1_000, 1_300]);
  // 3,101 tokens of input may be 4,032; one credit pays for 5,000.
  const vague = await world.start(await world.person({ credits: 1 }), { model: 'vague', tokens: 3_001 });
  expect([vague.held_input, vague.output_cap]).toEqual([4_032, 968]);
});

it('holds input at the dearer of its price and that of a cache write (spec 3.2)', async () => {
  await world.ops`update cost_limits_config set daily_cost_limit = 0.05 where tier_name = 'free'`;
  const user = await world.person();
  const { output_cap } = await world.start(user, { model: 'cached' });
  expect(output_cap).toBe(2_187); // (0.05 − 500 × 12.5 / 1e6) × 1e6 / 20
  expect((await world.figures(user)).day_held).toBe('0.04999');
});

it('holds exactly the credits of the worst case, and gives back what was not used (spec 3.2)', async () => {
  const user = await world.person({ credits: 9, tier: 'unlimited' });
  const { begun_run_id, hold_credits, available_credits } = await world.start(user, { tokens: 3_900, wish: 1_001 });
  expect([hold_credits, available_credits]).toEqual([2, 7]);
  expect(await world.figures(user)).toMatchObject({ balance: 9, held: 2, free: 7 });
  await world.settle(user, begun_run_id);
  expect(await world.figures(user)).toMatchObject({ balance: 8, held: 0, free: 8 });
});

it('refuses for want of credits with what is needed, what there is and where to buy (spec 1.5, 11.3)', async () => {
  const user = await world.person({ credits: 1 });
  expect(await world.refusal(user, { model: 'gpt-4o' })).toMatchObject({
    ...{ code: 'insufficient_credits', status: 402, required_credits: 2, available_credits: 1 },
    purchase_url: '/playground/credits/buy',
  });
  const poor = await world.person({ credits: 0 });
  expect(await world.refusal(poor)).toMatchObject({ required_credits: 1, available_credits: 0 });
});

it('lets a new person run at once, without anything else done before (spec 2.1, fault 10)', async () => {
  const user = await world.person();
  expect((await world.run(user, { model: 'gpt-4o' })).credits_remaining).toBe(3);
});

it('estimates what a run then holds and charges, and changes nothing (spec 5.7)', async () => {
  const user = await world.person({ credits: 9, tier: 'unlimited' });
  const before = await world.owner`select * from users where id = ${user}`;
  const estimate = async (tokens: number, wish: number | null = null, model = 'plain') => {
    const [row] = await world.app`
      select api.estimate_run(${user}, ${newId()}, 'plain', null, null, ${model}, false, ${tokens}, 'o200k_base', ${wish}, null) as it`;
    return row?.it;
  };
  const small = await estimate(4_800);
  expect(small).toMatchObject({
    ...{
      credits_least: 1,
      credits_likely: 2,
      credits_most: 2,
      tokens_input: 4_900,
      tokens_likely: 5_156,
      tokens_most: 8_996,
    },
    ...{ can_afford: true, balance: 9, refusal: null, output_cap: 4_096, package_version: '1.0.0', model: 'plain' },
  });
  expect((await estimate(19_700)).refusal).toMatchObject({ code: 'request_too_large' });
  expect(await estimate(400, null, 'opus')).toMatchObject({ can_afford: true, credits_most: 5, output_cap: 4_096 });
  expect(await estimate(4_800, 300, 'opus')).toMatchObject({
    can_afford: false,
    refusal: { code: 'insufficient_credits', required_credits: 10 },
  });
  expect((await estimate(400, null, 'unknown')).refusal).toMatchObject({ code: 'model_not_found' });
  expect(await world.owner`select * from users where id = ${user}`).toEqual(before);
  expect(await world.owner`select from runs where user_id = ${user}`).toEqual([]);
  expect(await world.owner`select from refusals where user_id = ${user}`).toEqual([]);

  const begun = await world.start(user, { tokens: 4_800 });
  expect([begun.hold_credits, begun.output_cap]).toEqual([small.credits_most, small.output_cap]);
});
