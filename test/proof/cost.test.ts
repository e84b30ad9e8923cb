// What a run is said to have cost is what the provider reported, at the price book, to the last digit. The prices are the
// book's; the arithmetic is this file's own, in whole numbers.
import { afterAll, expect, it } from 'vitest';
import { call, openHouse } from '../http/house.ts';
import { chance, execute, soak } from './place.ts';

const house = await openHouse({ firstTokenMs: 0, tokenMs: 0, answers: 'composed' });
afterAll(() => house.close());
const { database, packageId } = house;
const admin = await house.person('admin');

type Usage = { input: number; cached: number; cacheWrite: number; output: number };
type Model = {
  alias: string;
  multiplier: string;
  input: string;
  cached_read: string | null;
  cache_write: string | null;
  output: string;
};

const samples = soak ? 500 : 50;
const digits = 18;

/** A decimal number in units of 10^-18. */
function units(decimal: string): bigint {
  const [whole = '', fraction = ''] = decimal.split('.');
  if (fraction.length > digits) throw new Error(`${decimal} has more digits than are reckoned with here`);
  return BigInt(whole + fraction.padEnd(digits, '0'));
}

/** Back to a decimal, without trailing zeros. */
function decimal(amount: bigint, places: number): string {
  const text = amount.toString().padStart(places + 1, '0');
  return `${text.slice(0, -places)}.${text.slice(-places)}`.replace(/\.?0+$/, '');
}

/** Tokens at dollars per million: exact, hence six places more. A price that is missing is that of input. */
function costOf(usage: Usage, model: Model): bigint {
  const fresh = usage.input - usage.cached - usage.cacheWrite;
  const parts: [number, string][] = [
    [fresh, model.input],
    [usage.cached, model.cached_read ?? model.input],
    [usage.cacheWrite, model.cache_write ?? model.input],
    [usage.output, model.output],
  ];
  return parts.reduce((sum, [tokens, price]) => sum + BigInt(tokens) * units(price), 0n);
}

/** ceil(max(1, ceil(tokens / 5000)) x multiplier). Spec 1.1. */
function creditsOf({ input, output }: Usage, { multiplier }: Model): number {
  const blocks = BigInt(Math.max(1, Math.ceil((input + output) / 5_000)));
  const one = 10n ** BigInt(digits);
  return Number((blocks * units(multiplier) + one - 1n) / one);
}

/** Anything from nothing to much, and the edges of a credit. */
function randomUsage(place: number): Usage {
  const input = place % 10 === 0 ? chance(0, 3) * 5_000 : chance(0, 10 ** chance(1, 5));
  const cached = chance(0, 2) === 0 ? 0 : chance(0, input);
  const cacheWrite = chance(0, 2) === 0 ? 0 : chance(0, input - cached);
  return { input, cached, cacheWrite, output: place % 10 === 0 ? chance(0, 1) : chance(0, 10 ** chance(1, 4)) };
}

await database.ops`
  insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
  values ('odd-anthropic', 'anthropic', 'odd-1', 1.3, 4096, 200000, 'approximate'),
    ('odd-openai', 'openai', 'odd-1', 0.07, 4096, 200000, 'o200k_base')`;
await database.ops`
  insert into model_prices (model, valid, input, cached_read, cache_write, output)
  values ('odd-anthropic', tstzrange(now() - interval '1 hour', null), 1.234567, 0.1000001, 1.54320987, 7.7777777),
    ('odd-openai', tstzrange(now() - interval '1 hour', null), 0.000003, null, null, 0.0123)`;
await database.ops`select from ops.grant_credits(${admin.userId}, 1000000, 'for tests')`;
await database.ops`select from ops.set_user(${admin.userId}, is_admin => true, reason => 'for tests')`;
const models = await database.owner<Model[]>`
  select m.alias, m.credit_multiplier as multiplier, p.input, p.cached_read, p.cache_write, p.output
  from models m join model_prices p on p.model = m.alias and p.valid @> core.now()
  where m.enabled
  order by m.alias`;
let total = 0n;

it('knows the models of the house and two with odd prices', () => {
  expect(models.map(({ alias }) => alias)).toEqual(
    expect.arrayContaining(['gpt-4-turbo', 'gpt-4o', 'gpt-4o-mini', 'odd-anthropic', 'odd-openai', 'opus', 'sonnet']),
  );
});

it.each(models)(
  `costs exactly what the provider reported, over ${samples} usages: $alias (spec 1.1, 1.3)`,
  async (model) => {
    const usages = Array.from({ length: samples }, (_, i) => randomUsage(i));
    const check = async (usage: Usage) => {
      const reported = `input:${usage.input},cached:${usage.cached},cache_write:${usage.cacheWrite},output:${usage.output}`;
      const { status, json } = await call(house.url, 'POST', execute, {
        token: admin.token,
        body: { package_id: packageId, model: model.alias, input: `[[sandbox: usage=${reported} tokens=3]]` },
      });
      expect(status).toBe(200);
      const { input, cached, cacheWrite, output } = usage;
      expect(json.tokens).toEqual({ input, cached, cache_write: cacheWrite, output });
      expect([json.tokens_used, json.estimated]).toEqual([input + output, false]);
      expect(json.credits_spent).toBe(creditsOf(usage, model));
      const [run] = await database.owner`
        select trim_scale(cost)::text as cost, credits::int, input_tokens, cached_tokens, cache_write_tokens, output_tokens
        from runs where id = ${json.run_id}`;
      const cost = costOf(usage, model);
      total += cost;
      expect(run).toEqual({
        ...{ cost: decimal(cost, digits + 6), credits: creditsOf(usage, model) },
        ...{ input_tokens: input, cached_tokens: cached, cache_write_tokens: cacheWrite, output_tokens: output },
      });
      expect(units(json.cost) * 1_000_000n).toBe(cost);
    };
    for (let i = 0; i < usages.length; i += 8) await Promise.all(usages.slice(i, i + 8).map(check));
  },
  60_000,
);

it('adds up to the same in the figures of the user (spec 3.3)', async () => {
  const [figures] = await database.owner`
    select trim_scale(lifetime_api_cost)::text as lifetime, trim_scale(current_month_api_cost)::text as month
    from users where id = ${admin.userId}`;
  expect(figures).toEqual({ lifetime: decimal(total, digits + 6), month: decimal(total, digits + 6) });
  expect(await house.audit()).toEqual([]);
});
