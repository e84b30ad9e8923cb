// Billing periods: grants, rollover, expiry.
import { expect, it } from 'vitest';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();

const starts = ['2031-03-01', '2031-04-01', '2031-05-01', '2031-06-01', '2031-07-01'].map((day) => `${day}T10:00:00Z`);

/** Grants the period that begins at the given place of `starts`. */
async function period(user: string, place: number) {
  await world.period(user, starts[place] ?? '', starts[place + 1] ?? '');
}

const spend = async (user: string, credits: number) => {
  for (let left = credits; left > 0; left -= 4) {
    const part = Math.min(4, left);
    await world.run(user, { tokens: 100 }, { input: 5_000 * part - 10, output: 10 });
  }
};

it('grants a period once, whoever notices and however often (spec 4.3, faults 1, 3 and 53)', async () => {
  const user = await world.person();
  for (let attempt = 0; attempt < 3; attempt++) await period(user, 0);
  await Promise.all([1, 2, 3, 4].map(() => period(user, 0)));
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['signup', 5],
  ]);
  expect(await world.transfers(user)).toEqual([
    ['signup', 'issued', 'lot', 5],
    ['monthly', 'issued', 'lot', 100],
  ]);
});

it('turns what is left of the old period into one rollover lot that lives a month longer (spec 4.3, fault 6)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await period(user, 0);
  await spend(user, 60);
  await world.at('2031-04-01T11:00:00Z');
  await period(user, 1);
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['rollover', 40],
  ]);
  const [rollover] =
    await world.ops`select expires_at, paid_per_credit from credit_lots where user_id = ${user} and kind = 'rollover'`;
  expect(rollover).toEqual({ expires_at: new Date('2031-05-01T10:00:00Z'), paid_per_credit: '0.060000' });
  await world.at('2031-05-01T09:59:00Z');
  await world.run(user);
  expect(await world.lots(user)).toEqual([
    ['monthly', 99],
    ['rollover', 40],
  ]);
  await world.at('2031-05-01T10:00:00Z');
  await world.run(user);
  expect(await world.lots(user)).toEqual([['monthly', 98]]);
});

it('rolls over at most the setting, and books the rest as expired (spec 4.3)', async () => {
  await world.ops`update settings set max_rollover_credits = 25`;
  const user = await world.person({ credits: 0 });
  await period(user, 0);
  await world.at('2031-04-01T11:00:00Z');
  await period(user, 1);
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['rollover', 25],
  ]);
  expect(await world.transfers(user)).toEqual([
    ['monthly', 'issued', 'lot', 100],
    ['rollover', 'lot', 'issued', 25],
    ['rollover', 'issued', 'lot', 25],
    ['expire', 'lot', 'expired', 75],
    ['monthly', 'issued', 'lot', 100],
  ]);
});

it('books older rollover as expired when the next period begins (spec 4.3, fault 5)', async () => {
  const user = await world.person({ credits: 0 });
  for (const place of [0, 1, 2]) {
    await world.at((starts[place] ?? '').replace('10:00', '10:30'));
    await period(user, place);
  }
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['rollover', 100],
  ]);
  expect((await world.transfers(user)).filter(([type]) => type === 'expire')).toEqual([
    ['expire', 'lot', 'expired', 100],
  ]);
});

it('gives after three missed months what three punctual ones would have given (spec 4.3)', async () => {
  const [punctual, late] = [await world.person({ credits: 0 }), await world.person({ credits: 0 })];
  await world.at('2031-03-01T10:30:00Z');
  await period(punctual, 0);
  await period(late, 0);
  for (const place of [1, 2, 3]) {
    await world.at((starts[place] ?? '').replace('10:00', '10:30'));
    await period(punctual, place);
  }
  for (const place of [1, 2, 3]) await period(late, place);
  const books = (user: string) => world.ops`
    select kind, granted, remaining, expires_at, period_start, period_end, paid_per_credit from credit_lots
    where user_id = ${user} and remaining > 0 order by kind`;
  expect(await books(late)).toEqual(await books(punctual));
  expect(await world.lots(late)).toEqual([
    ['monthly', 100],
    ['rollover', 100],
  ]);
});

it("lets the old period's credits live until the next is paid, at most the days of grace (spec 4.3)", async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await period(user, 0);
  await world.at('2031-04-04T09:59:00Z');
  await world.run(user);
  expect(await world.lots(user)).toEqual([['monthly', 99]]);
  await world.at('2031-04-04T10:00:00Z');
  expect((await world.refusal(user)).code).toBe('insufficient_credits');
});

it('keeps of the old period what a run holds, and rolls the rest of that over when the run ends (spec 4.5)', async () => {
  await world.ops`update settings set max_rollover_credits = 97`;
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await period(user, 0);
  await world.at('2031-04-01T10:59:50Z');
  const { begun_run_id, hold_credits } = await world.start(user, { tokens: 14_900, wish: 4_000 });
  expect(hold_credits).toBe(4);
  await period(user, 1);
  expect(await world.lots(user)).toEqual([
    ['monthly', 4],
    ['monthly', 100],
    ['rollover', 96],
  ]);
  await world.settle(user, begun_run_id, { input: 100, output: 100 });
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['rollover', 97],
  ]);
  expect((await world.transfers(user)).slice(-3)).toEqual([
    ['rollover', 'lot', 'issued', 1],
    ['rollover', 'issued', 'lot', 1],
    ['expire', 'lot', 'expired', 2],
  ]);
});

it('ends monthly credits with the period paid for; rollover keeps its date and purchased credits stay (spec 4.4)', async () => {
  const user = await world.person({ credits: 0 });
  await world.buy(user);
  await period(user, 0);
  await world.at('2031-04-01T10:30:00Z');
  await period(user, 1);
  await world.owner`select core.end_subscription(${user}, 'sub_1', '2031-04-20T00:00:00Z', core.now())`;
  expect(await world.lots(user)).toEqual([
    ['monthly', 100],
    ['rollover', 100],
    ['purchased', 100],
  ]);
  await world.at('2031-04-20T00:00:00Z');
  await world.start(user);
  expect(await world.lots(user)).toEqual([
    ['rollover', 100],
    ['purchased', 100],
  ]);
});

it('rolls nothing over from a period whose successor was paid after the grace, whether or not a job came by (spec 4.3)', async () => {
  for (const isSwept of [false, true]) {
    const user = await world.person({ credits: 0 });
    await world.at('2031-03-01T10:30:00Z');
    await period(user, 0);
    await world.at('2031-04-04T10:00:01Z');
    if (isSwept) await world.ops`select ops.expire_lots()`;
    await world.period(user, '2031-04-01T10:00:00Z', '2031-05-01T10:00:00Z', undefined, '2031-04-04T10:00:01Z');
    expect(await world.lots(user), `swept: ${isSwept}`).toEqual([['monthly', 100]]);
  }
});

it('grants months of any length without drift (spec 4.3)', async () => {
  const user = await world.person({ credits: 0 });
  const ends = ['2032-01-31', '2032-02-29', '2032-03-31', '2032-04-30', '2032-05-31'].map((day) => `${day}T23:00:00Z`);
  for (let place = 0; place < 4; place++) {
    await world.at((ends[place] ?? '').replace('23:00:00', '23:50:00'));
    await world.period(user, ends[place] ?? '', ends[place + 1] ?? '');
    const expected =
      place === 0
        ? [['monthly', 100]]
        : [
            ['monthly', 100],
            ['rollover', 100],
          ];
    expect(await world.lots(user)).toEqual(expected);
  }
});
