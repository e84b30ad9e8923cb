// A clock that is set while people run things: forth by a month, and back, which no clock should do.
import { afterAll, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { until } from '../http/house.ts';
import { answerTo, chance, follow, openPlace, question, soak } from './place.ts';

const database = await createDatabase();
const place = await openPlace(database, { firstTokenMs: 10, tokenMs: 5, answers: 'composed' });
afterAll(async () => {
  await place.close();
  await database.drop();
});
await database.ops`update cost_limits_config set hourly_request_limit = null, minute_request_limit = null`;
await database.ops`update settings set checkpoint_ms = 100`;
const server = await place.serve();

const jumps = ['-2 hours', '26 hours', '-1 day', '40 days', '-40 days', '-1 second', '1 month', '-1 year', '1 year'];

it('each run is charged once and its cost is booked, wherever the clock jumps meanwhile', async () => {
  const people = await Promise.all([5, 40, 100_000].map((credits) => place.person(credits, 'free')));
  const asks: ReturnType<typeof question>[] = [];
  for (const jump of soak ? Array.from({ length: 10 }, () => jumps).flat() : jumps) {
    const round = people.flatMap((person) =>
      Array.from({ length: 2 }, () => question(person, `tokens=${chance(5, 60)} pace=${chance(2, 10)}`)),
    );
    const followed = round.map((ask) => follow(server, ask));
    await until(() => followed.some(({ sight }) => sight.text !== '' || sight.error !== null));
    await place.pass(jump);
    await database.ops`select reset_monthly_api_costs()`;
    await database.ops`select ops.expire_lots()`;
    await Promise.all(followed.map(({ done }) => done));
    // A hold that the jump made look old was ended by what was delivered; its answer is booked all the same, late.
    await place.expireAllHolds();
    expect(await place.audit()).toEqual([]);
    asks.push(...round);
    for (const person of people)
      expect((await answerTo(server, question(person, 'tokens=1'))).status).toBeOneOf([200, 402, 429]);
  }

  const runs = new Map((await place.runs()).map((run) => [run.key, run]));
  let completed = 0;
  for (const ask of asks) {
    const run = runs.get(ask.name);
    if (run === undefined) {
      expect(place.gate.callsFor(ask)).toBe(0); // refused
      continue;
    }
    expect([run.taken, place.gate.callsFor(ask)]).toEqual([run.credits, 1]);
    expect(Number(run.cost)).toBeGreaterThan(0);
    if (run.status === 'completed') completed += 1;
  }
  expect(completed).toBeGreaterThan(asks.length / 4);
  for (const person of people) {
    const mine = [...runs.values()].filter(({ user_id }) => user_id === person.userId);
    const [row] = await database.owner`
      select lifetime_api_cost = (select sum(cost) from runs where user_id = ${person.userId}) as agrees from users where id = ${person.userId}`;
    expect(row?.agrees).toBe(true);
    expect(await place.balance(person)).toBeGreaterThanOrEqual(0);
    expect(mine.length).toBeGreaterThan(0);
  }
}, 120_000);
