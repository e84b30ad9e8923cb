import { afterAll, describe, expect, it } from 'vitest';
import { call, openHouse } from '../http/house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { packageId, database } = house;

describe.each([1, 2])('200 parallel runs on 5 credits, over %i instances', (instances) => {
  it('spend no more than there was, and call the provider once for each that was let in', async () => {
    const [person] =
      await database.ops`select user_id, token from ops.create_user(${`five${instances}@example.com`}, 'five')`;
    await database.ops`select from ops.set_user(${person?.user_id}, tier_override => 'unlimited', reason => 'for tests')`;
    const urls = [house.url, ...(instances === 2 ? [(await house.another()).url] : [])];
    const before = house.standIns.calls.anthropic.calls;

    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        call(urls[i % urls.length] ?? '', 'POST', '/api/v1/playground/execute', {
          token: person?.token,
          body: { package_id: packageId, input: `run ${i} [[sandbox: tokens=30 pace=5]]` },
        }),
      ),
    );

    const succeeded = answers.filter(({ status }) => status === 200);
    const refused = answers.filter(({ status }) => status !== 200).map(({ json }) => json.error);
    expect(succeeded.length).toBeGreaterThan(0);
    expect(succeeded.length).toBeLessThanOrEqual(5);
    for (const code of refused) expect(['insufficient_credits', 'held_by_other_runs']).toContain(code);
    expect(house.standIns.calls.anthropic.calls - before).toBe(succeeded.length);
    const spent = succeeded.reduce((sum, { json }) => sum + json.credits_spent, 0);
    const [left] = await database.owner`
      select (included_credits + purchased_credits)::int as credits, (held_included + held_purchased)::int as held
      from users where id = ${person?.user_id}`;
    expect(left).toEqual({ credits: 5 - spent, held: 0 });
    expect(await house.audit()).toEqual([]);
  });
});
