// Purchased credits and the limits of a tier.
import { expect, it } from 'vitest';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();

it('lets purchased credits be spent in a used-up window, and burdens no window with them (spec 3.3)', async () => {
  const user = await world.person({ credits: 1 });
  await world.run(user, {}, { input: 500, output: 4_400 });
  expect(await world.figures(user)).toMatchObject({ day_limited: '0.093', balance: 0 });
  await world.buy(user, 'large');
  for (let run = 0; run < 5; run++) {
    const receipt = await world.run(user, {}, { input: 500, output: 4_096 });
    expect(receipt).toMatchObject({ paid_by_purchased_only: true, credits_by_kind: { purchased: 1 } });
  }
  expect(await world.figures(user)).toMatchObject({
    ...{ balance: 595, is_throttled: false, day_limited: '0.093', month_limited: '0.093' },
    ...{ day: '0.5276', month: '0.5276', lifetime: '0.5276' },
  });
});

it('holds against purchased credits alone what the windows cannot bear, and says so (spec 3.3)', async () => {
  const user = await world.person({ credits: 20 });
  await world.buy(user);
  await world.run(user, {}, { input: 500, output: 4_750 });
  const { begun_run_id, output_cap } = await world.start(user);
  expect(output_cap).toBe(4_096);
  expect((await world.figures(user)).day_held).toBe('0');
  const receipt = await world.settle(user, begun_run_id, { input: 500, output: 4_000 });
  expect(receipt).toMatchObject({ paid_by_purchased_only: true, credits_by_kind: { purchased: 1 } });
  expect(await world.figures(user)).toMatchObject({
    day_limited: '0.1',
    day: '0.185',
    is_throttled: true,
    balance: 117,
  });
  expect(await world.lots(user)).toEqual([
    ['signup', 18],
    ['purchased', 99],
  ]);
});

it('refuses where neither the windows nor purchased credits alone suffice, by the window (spec 3.3)', async () => {
  const user = await world.person({ credits: 20 });
  await world.buy(user);
  await world.run(user, {}, { input: 500, output: 4_750 });
  await world.revoke(user, 18);
  await world.revoke(user, 97);
  await world.grant(user, 10);
  expect((await world.refusal(user, { model: 'opus' })).code).toBe('daily_cost_limit');
  await world.start(user);
});

it('counts of a run that several kinds paid the share of credits that were not purchased (spec 3.3)', async () => {
  const user = await world.person({ credits: 1 });
  await world.buy(user);
  const { begun_run_id } = await world.start(user, { tokens: 900 });
  const receipt = await world.settle(user, begun_run_id, { input: 1_000, output: 4_000 + 1 });
  expect(receipt).toMatchObject({
    credits_spent: 2,
    credits_by_kind: { signup: 1, purchased: 1 },
    paid_by_purchased_only: false,
  });
  expect(await world.figures(user)).toMatchObject({ day: '0.09002', day_limited: '0.04501', month_limited: '0.04501' });
});

it('counts a failed run on purchased credits for no window (spec 3.3, 5.4)', async () => {
  const user = await world.person({ credits: 0 });
  await world.buy(user);
  const { begun_run_id } = await world.start(user);
  await world.release(user, begun_run_id);
  expect(await world.figures(user)).toMatchObject({ day: '0.005', day_limited: '0' });
});

it('shortens answers so that no purchased credit costs more than the cap, however short the answer (spec 3.3)', async () => {
  await world.ops`update settings set purchased_cost_per_credit_cap = 0.05`;
  const user = await world.person({ credits: 0 });
  await world.buy(user);
  // One credit pays for 0.05 dollars: 0.005 of input and 2,250 tokens of output.
  expect((await world.start(user)).output_cap).toBe(2_250);
  // 4,900 tokens of input cost 0.049: 50 tokens in one credit; two credits would bear more, but a short answer is one credit.
  const refusal = await world.refusal(user, { tokens: 4_800 });
  expect(refusal).toMatchObject({ code: 'purchased_credit_cost', limit: 0.05, unit: 'dollars per credit' });
  expect((await world.start(user, { tokens: 4_800, wish: 50 })).output_cap).toBe(50);
  await world.ops`update settings set purchased_cost_per_credit_cap = null`;
  expect((await world.start(user)).output_cap).toBe(4_096);
});

it('leaves credits that were not purchased without such a cap (spec 3.3)', async () => {
  await world.ops`update settings set purchased_cost_per_credit_cap = 0.01`;
  const user = await world.person();
  expect((await world.start(user)).output_cap).toBe(4_096);
});
