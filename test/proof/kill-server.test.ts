// Money is never lost, whenever a server dies: kill -9 at moments that nobody chose, then another server.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { call, events, until } from '../http/house.ts';
import { answerTo, type BookedRun, chance, follow, openPlace, question, runIdOf, type Sight, soak } from './place.ts';

const database = await createDatabase();
const place = await openPlace(database, { firstTokenMs: 20, tokenMs: 10, answers: 'composed' });
afterAll(async () => {
  await place.close();
  await database.drop();
});
await database.ops`update settings set checkpoint_ms = 200`;
const people = await Promise.all(Array.from({ length: 8 }, () => place.person()));
const streams = soak ? 100 : 20;
const repeats = soak ? 5 : 1;

type Moment = { name: string; directives(): string; when(sights: Sight[], callsBefore: number): Promise<void> };

const moments: Moment[] = [
  {
    name: 'while runs are let in',
    directives: () => `tokens=${chance(5, 100)} pace=10`,
    when: () => sleep(chance(5, 120)),
  },
  {
    name: 'before the first token',
    directives: () => 'slow=3000 tokens=20 pace=10',
    when: async (_, callsBefore) => {
      await until(() => place.gate.calls - callsBefore >= streams / 2);
      await sleep(chance(0, 500));
    },
  },
  {
    name: 'soon after the first tokens',
    directives: () => `slow=${chance(0, 300)} tokens=${chance(60, 200)} pace=${chance(10, 20)}`,
    when: async (sights) => {
      await until(() => sights.some(({ text }) => text !== ''));
      await sleep(chance(0, 300));
    },
  },
  {
    name: 'in mid-stream',
    directives: () => `slow=${chance(0, 300)} tokens=${chance(60, 200)} pace=${chance(10, 20)}`,
    when: async (sights) => {
      await until(() => sights.every(({ text, end }) => text !== '' || end !== null));
      await sleep(chance(200, 1_000));
    },
  },
  {
    name: 'while runs end',
    directives: () => `tokens=${chance(40, 70)} pace=${chance(8, 12)}`,
    when: async (sights) => {
      await until(() => sights.filter(({ end }) => end !== null).length >= streams / 4);
      await sleep(chance(0, 60));
    },
  },
];

const fates = { completed: 0, cutWithText: 0, cutWithoutText: 0, neverBegun: 0 };
let server = await place.serve();

describe.each(Array.from({ length: repeats }, (_, i) => i + 1))(
  `kill -9 of a server with ${streams} streams, %i`,
  () => {
    it.each(moments)(
      '$name: nothing is lost, nothing is charged twice (spec 5.2, 5.3)',
      async (moment) => {
        const callsBefore = place.gate.calls;
        const followed = Array.from({ length: streams }, (_, i) =>
          follow(server, question(people[i % people.length] ?? people[0] ?? expect.fail(), moment.directives())),
        );
        const sights = followed.map(({ sight }) => sight);
        await moment.when(sights, callsBefore);
        await server.kill();
        await Promise.all(followed.map(({ done }) => done));
        await place.mourn();
        const atDeath = await byKey();
        server = await place.serve();

        // Nothing ends before its time; then everything does, by the job or by the user's next run, whichever comes first.
        expect(await place.expireHolds()).toBe(0);
        await place.pass('61 seconds');
        if (chance(0, 1) === 0) await place.expireAllHolds();
        else for (const person of people) await answerTo(server, question(person, 'tokens=1'));
        expect(await place.held()).toEqual([]);
        expect(await place.audit()).toEqual([]);

        const afterwards = await byKey();
        for (const sight of sights) expectFair(sight, atDeath.get(sight.ask.name), afterwards.get(sight.ask.name));

        // Whoever asks again with the same key gets the same run, and pays and calls for nothing more.
        const asksAgain = await Promise.all(
          sights.map(async ({ ask }) => ({ ask, answer: await answerTo(server, ask) })),
        );
        const inTheEnd = await byKey();
        for (const { ask, answer } of asksAgain) {
          const [before, after] = [afterwards.get(ask.name), inTheEnd.get(ask.name)];
          expect(runIdOf(answer)).toBe(after?.id);
          if (before === undefined) expect(answer).toMatchObject({ status: 200 });
          else expect(after).toEqual(before);
          expect(place.gate.callsFor(ask)).toBeLessThanOrEqual(1);
        }
        expect(await place.held()).toEqual([]);
        expect(await place.audit()).toEqual([]);
      },
      60_000,
    );
  },
);

it('kill -9 in the midst of comparisons: each side is ended by what it had delivered, and its key gives it again (spec 5.3, 5.8)', async () => {
  const path = '/api/v1/playground/compare';
  const asks = people.map((person) => question(person, 'tokens=400 pace=10'));
  const sent = ({ person, name, input }: (typeof asks)[number]) => ({
    token: person.token,
    body: { package_id: 'plain', input, sides: [{}, { use_no_prompt: true }] },
    headers: { 'idempotency-key': `${name}-compared` },
  });
  const seen = asks.map(() => ({ ids: [] as string[], text: ['', ''] }));
  const read = async (ask: (typeof asks)[number], i: number) => {
    for await (const { event, data } of events(server.url, 'POST', path, sent(ask))) {
      const sight = seen[i] ?? expect.fail();
      if (event === 'comparison.created') sight.ids = data.sides.map(({ run_id }: { run_id: string }) => run_id);
      if (event === 'output.delta') sight.text[data.side - 1] += data.text;
    }
  };
  const following = Promise.allSettled(asks.map(read));
  await until(() => seen.every(({ text }) => text.every((said) => said !== '')));
  await sleep(chance(200, 900));
  await server.kill();
  await following;
  await place.mourn();
  server = await place.serve();
  await place.pass('61 seconds');
  await place.expireAllHolds();
  expect(await place.audit()).toEqual([]);

  const booked = new Map((await place.runs()).map((run) => [run.id, run]));
  for (const [i, ask] of asks.entries()) {
    const { json, status } = await call(server.url, 'POST', path, sent(ask));
    expect(status).toBe(200);
    for (const [place_, side] of json.sides.entries()) {
      const { status: ended, answer, credits } = booked.get(side.run_id) ?? expect.fail();
      expect(side.run_id).toBe(seen[i]?.ids[place_]);
      expect([side.response, side.failure.error, side.receipt.credits_spent]).toEqual([answer, 'run_expired', credits]);
      expect([ended, credits]).toEqual(['expired', answer === '' ? 0 : 1]);
      expect(seen[i]?.text[place_]?.startsWith(answer)).toBe(true);
    }
    expect(place.gate.callsFor(ask)).toBe(2);
  }
  expect(await place.audit()).toEqual([]);
}, 60_000);

it('has met runs that were over, runs with text, runs without, and asks that had not become one', () => {
  expect(fates.completed).toBeGreaterThan(0);
  expect(fates.cutWithText).toBeGreaterThan(0);
  expect(fates.cutWithoutText).toBeGreaterThan(0);
  if (soak) expect(fates.neverBegun).toBeGreaterThan(0);
});

async function byKey(): Promise<Map<string, BookedRun>> {
  return new Map((await place.runs()).filter(({ key }) => key !== '').map((run) => [run.key, run]));
}

/** What one who streamed when the server died is owed and owes. */
function expectFair(sight: Sight, atDeath: BookedRun | undefined, after: BookedRun | undefined): void {
  expect(place.gate.callsFor(sight.ask)).toBeLessThanOrEqual(1);
  if (atDeath === undefined || after === undefined) {
    expect([sight.runId, place.gate.callsFor(sight.ask)]).toEqual([null, 0]);
    fates.neverBegun += 1;
    return;
  }
  expect(after.taken).toBe(after.credits);
  expect(after.transfers).toBe(after.credits > 0 ? 1 : 0);
  if (sight.end !== null) {
    expect(sight.end).toMatchObject({ event: 'run.completed', data: { credits_spent: after.credits } });
    expect(after).toMatchObject({ id: sight.runId, status: 'completed', answer: sight.text });
    expect(after.credits).toBeGreaterThan(0);
  }
  if (atDeath.status !== 'running') {
    expect(after).toEqual(atDeath);
    fates.completed += 1;
    return;
  }
  expect(after).toMatchObject({ status: 'expired', error: 'run_expired', answer: atDeath.answer });
  expect(Number(after.cost)).toBeGreaterThan(0);
  if (atDeath.answer === '') {
    expect(after.credits).toBe(0);
    fates.cutWithoutText += 1;
  } else {
    const [shorter, longer] = [after.answer, sight.text].toSorted((a, b) => a.length - b.length);
    expect(longer?.startsWith(shorter ?? '')).toBe(true);
    expect(after.credits).toBeGreaterThan(0);
    fates.cutWithText += 1;
  }
}
