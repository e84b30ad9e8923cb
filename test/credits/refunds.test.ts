// Packs: paid once, refunded in part, in full, before the payment, and given back.
import { expect, it } from 'vitest';
import { newId, openWorld } from '../runs/world.ts';

const world = await openWorld();

it("gives a purchase's credits once, however often it is told of the payment (spec 6.5, faults 54 and 59)", async () => {
  const user = await world.person({ credits: 0 });
  const purchase = await world.buy(user, 'medium');
  await Promise.all([1, 2, 3, 4].map(() => world.pay(user, purchase)));
  expect(await world.lots(user)).toEqual([['purchased', 250]]);
  const [lot] = await world.ops`select paid_per_credit from credit_lots where user_id = ${user}`;
  expect(lot?.paid_per_credit).toBe('0.040000');
});

it('gives nothing for another amount than the row asks (spec 6.5, fault 58)', async () => {
  const user = await world.person({ credits: 0 });
  const purchase = await world.buy(user, 'small', false);
  await expect(world.owner`select core.grant_purchase(${user}, ${purchase}, 0.50, core.now())`).rejects.toMatchObject({
    code: 'PR409',
  });
  await expect(world.owner`select core.grant_purchase(${user}, ${newId()}, 5, core.now())`).rejects.toMatchObject({
    code: 'PR404',
  });
  expect(await world.lots(user)).toEqual([]);
});

it("takes back floor(credits × refunded / paid) from the pack's own lot, once (spec 4.6, faults 56 and 57)", async () => {
  const user = await world.person();
  const [first, second] = [await world.buy(user), await world.buy(user)];
  expect(await world.refund(user, second, 1.99)).toBe(39);
  for (let attempt = 0; attempt < 3; attempt++) expect(await world.refund(user, second, 1.99)).toBe(0);
  expect(await world.purchase(user, second)).toEqual({ status: 'partly_refunded', taken_back: 39, shortfall: 0 });
  expect(await world.purchase(user, first)).toMatchObject({ status: 'paid', taken_back: 0 });
  expect(await world.refund(user, second, 5)).toBe(61);
  expect(await world.purchase(user, second)).toEqual({ status: 'refunded', taken_back: 100, shortfall: 0 });
  expect(await world.lots(user)).toEqual([
    ['signup', 5],
    ['purchased', 100],
  ]);
  expect((await world.transfers(user)).slice(-2)).toEqual([
    ['refund', 'lot', 'clawed_back', 39],
    ['refund', 'lot', 'clawed_back', 61],
  ]);
});

it('gives credits back when a refund failed (spec 4.6)', async () => {
  const user = await world.person({ credits: 0 });
  const purchase = await world.buy(user);
  await world.refund(user, purchase, 5);
  expect(await world.refund(user, purchase, 2)).toBe(-60);
  expect(await world.refund(user, purchase, 0)).toBe(-40);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'paid', taken_back: 0, shortfall: 0 });
  expect(await world.lots(user)).toEqual([['purchased', 100]]);
});

it('keeps as a shortfall what is spent already, and settles it first when a refund fails (spec 4.6, fault 57)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  const purchase = await world.buy(user);
  for (let run = 0; run < 10; run++) await world.run(user, { tokens: 100 }, { input: 20_000, output: 0 });
  await world.run(user, {}, { input: 5_000, output: 1 });
  expect(await world.refund(user, purchase, 5)).toBe(58);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'refunded', taken_back: 58, shortfall: 42 });
  expect((await world.figures(user)).balance).toBe(0);
  expect(await world.refund(user, purchase, 3)).toBe(0);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'partly_refunded', taken_back: 58, shortfall: 2 });
  expect(await world.refund(user, purchase, 2)).toBe(-18);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'partly_refunded', taken_back: 40, shortfall: 0 });
});

it('leaves other lots alone: no shortfall is taken from another pack or from sign-up credits (spec 4.6, fault 9)', async () => {
  const user = await world.person({ tier: 'unlimited' });
  const purchase = await world.buy(user);
  await world.run(user, { tokens: 100, model: 'opus' }, { input: 100, output: 100 });
  await world.run(user, { tokens: 100, model: 'opus' }, { input: 100, output: 100 });
  await world.buy(user, 'medium');
  await world.grant(user, 3);
  await world.refund(user, purchase, 5);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'refunded', taken_back: 95, shortfall: 5 });
  expect(await world.lots(user)).toEqual([
    ['bonus', 3],
    ['purchased', 250],
  ]);
});

it('takes what a run holds only when the run ends, and of that what it leaves (spec 4.5)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  const purchase = await world.buy(user);
  const { begun_run_id, hold_credits } = await world.start(user, { tokens: 14_900, wish: 4_000 });
  expect(hold_credits).toBe(4);
  expect(await world.refund(user, purchase, 5)).toBe(96);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'refunded', taken_back: 96, shortfall: 4 });
  await world.refusal(user);
  expect(await world.settle(user, begun_run_id)).toMatchObject({
    credits_spent: 1,
    shortfall: 0,
    credits_remaining: 0,
  });
  expect(await world.purchase(user, purchase)).toEqual({ status: 'refunded', taken_back: 99, shortfall: 1 });
});

it('takes the overrun of a run from no credits that a refund still asks for (spec 4.2, 4.6)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  const purchase = await world.buy(user);
  const [first, second] = [await world.start(user), await world.start(user)];
  await world.refund(user, purchase, 5);
  expect(await world.settle(user, first.begun_run_id, { input: 20_000, output: 0 })).toMatchObject({
    credits_spent: 1,
    shortfall: 3,
  });
  expect(await world.settle(user, second.begun_run_id)).toMatchObject({ credits_spent: 1, shortfall: 0 });
  expect(await world.purchase(user, purchase)).toEqual({ status: 'refunded', taken_back: 98, shortfall: 2 });
});

it('ends in the same state whether refund or payment becomes known first (spec 4.6, 6.4)', async () => {
  const user = await world.person({ credits: 0 });
  const purchase = await world.buy(user, 'small', false);
  expect(await world.refund(user, purchase, 2)).toBe(0);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'pending', taken_back: 0, shortfall: 0 });
  await world.pay(user, purchase);
  expect(await world.purchase(user, purchase)).toEqual({ status: 'partly_refunded', taken_back: 40, shortfall: 0 });
  expect(await world.lots(user)).toEqual([['purchased', 60]]);
});

it('refuses a refund above what was paid, below nothing, and of an unknown purchase (spec 4.6)', async () => {
  const user = await world.person();
  const purchase = await world.buy(user);
  await expect(world.refund(user, purchase, 5.01)).rejects.toMatchObject({ code: 'PR400' });
  await expect(world.refund(user, purchase, -1)).rejects.toMatchObject({ code: 'PR400' });
  await expect(world.refund(user, newId(), 1)).rejects.toMatchObject({ code: 'PR404' });
});
