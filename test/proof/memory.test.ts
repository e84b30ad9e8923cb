// The memory of a server process. Anthropic's default model, so that no token encoding is loaded.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { call } from '../http/house.ts';
import { execute, follow, median, openPlace, question, soak } from './place.ts';

const database = await createDatabase();
const place = await openPlace(database, { firstTokenMs: 0, tokenMs: 0 });
afterAll(async () => {
  await place.close();
  await database.drop();
});
const people = await Promise.all(Array.from({ length: 64 }, () => place.person(1_000_000)));
const server = await place.serve({}, false);
const runs = soak ? 10_000 : 2_000;
const person = (i: number) => people[i % people.length] ?? expect.fail();

it('stays below 200 MB under 64 streams at the pace of people', async () => {
  let most = 0;
  const watch = setInterval(() => {
    most = Math.max(most, server.resident());
  }, 50);
  const seconds = soak ? 60 : 6;
  const end = Date.now() + seconds * 1_000;
  const stream = async (i: number) => {
    await sleep(i * 20); // people do not come all at once
    while (Date.now() < end) {
      const { sight, done } = follow(server, question(person(i), 'slow=400 pace=25 tokens=120'));
      await done;
      expect(sight.end?.event).toBe('run.completed');
    }
  };
  await Promise.all(people.map((_, i) => stream(i)));
  clearInterval(watch);
  console.log(`64 streams: at most ${most.toFixed(1)} MB resident`);
  expect(most).toBeGreaterThan(40);
  expect(most).toBeLessThan(200);
  expect(await place.audit()).toEqual([]);
}, 180_000);

/** V8 lets its heap grow to a plateau before it collects all of it for the first times: that many runs do not count. */
const warmUp = 7_000;

it(`does not grow over ${runs} runs`, async () => {
  const resident: number[] = [];
  let begun = 0;
  const work = async () => {
    while (begun < warmUp + runs) {
      const i = begun++;
      if (i >= warmUp && i % 20 === 0) resident.push(server.resident());
      const body = { package_id: 'plain', input: `Please look at this, number ${i}. ${'word '.repeat(100)}` };
      const { status } = await call(server.url, 'POST', execute, { token: person(i).token, body });
      expect(status).toBe(200);
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
  const quarter = Math.floor(resident.length / 4);
  const [second, last] = [median(resident.slice(quarter, 2 * quarter)), median(resident.slice(-quarter))];
  console.log(`${runs} runs: ${second.toFixed(1)} MB in the second quarter, ${last.toFixed(1)} MB in the last`);
  // The heap breathes by some MB between two collections. A run that left 10 kB behind would show as more than this.
  expect(last - second).toBeLessThan(8);
  expect(await place.audit()).toEqual([]);
}, 300_000);

it('has 1,000 streams open at once, stays below 400 MB, and ends each as it should', async () => {
  let [most, openAtOnce] = [0, 0];
  const followed: ReturnType<typeof follow>[] = [];
  const watch = setInterval(() => {
    most = Math.max(most, server.resident());
    const open = followed.filter(({ sight }) => sight.runId !== null && sight.end === null).length;
    openAtOnce = Math.max(openAtOnce, open);
  }, 50);
  for (let i = 0; i < 1_000; i += 1) {
    followed.push(follow(server, question(person(i), 'slow=12000 pace=500 tokens=20')));
    if (i % 50 === 49) await sleep(100);
  }
  await Promise.all(followed.map(({ done }) => done));
  clearInterval(watch);
  console.log(`${openAtOnce} streams open at once: at most ${most.toFixed(1)} MB resident`);
  expect(followed.map(({ sight }) => sight.end?.event)).toEqual(followed.map(() => 'run.completed'));
  expect(openAtOnce).toBe(1_000);
  expect(most).toBeLessThan(400);
  expect(await place.audit()).toEqual([]);
}, 180_000);
