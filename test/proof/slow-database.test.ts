// A database that is far away, or busy: what takes long is waited for or given up, and no money is lost by either.
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../http/house.ts';
import { answerTo, chance, follow, question, soak } from './place.ts';
import { openWiredPlace } from './wire.ts';

const proof = await openWiredPlace({ DATABASE_POOL: '2' });
const { database, place, wire } = proof;
afterEach(async () => {
  wire.delays = () => 0;
  await until(async () => (await place.held()).length === 0, 20_000);
  expect(await place.audit()).toEqual([]);
});
const crowd = soak ? 400 : 60;

async function expectAllBooked(asks: ReturnType<typeof question>[]): Promise<void> {
  const runs = new Map((await place.runs()).map((run) => [run.key, run]));
  for (const ask of asks) {
    expect(place.gate.callsFor(ask)).toBe(1);
    expect(runs.get(ask.name)).toMatchObject({ status: 'completed', transfers: 1 });
  }
}

it(`${crowd} runs of many people at once over two connections: all are answered, each once`, async () => {
  const people = await Promise.all(Array.from({ length: 10 }, () => place.person()));
  const asks = Array.from({ length: crowd }, (_, i) => question(people[i % 10] ?? expect.fail(), 'tokens=10'));
  const answers = await Promise.all(asks.map((ask) => answerTo(proof.server, ask)));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  await expectAllBooked(asks);
}, 60_000);

it('where each portion takes up to 150 ms, runs take longer and are booked all the same', async () => {
  const people = await Promise.all(Array.from({ length: 6 }, () => place.person()));
  wire.delays = () => chance(0, 150);
  const asks = Array.from({ length: 24 }, (_, i) =>
    question(people[i % 6] ?? expect.fail(), `tokens=${chance(1, 80)}`),
  );
  const sights = asks.map((ask) => follow(proof.server, ask));
  await Promise.all(sights.map(({ done }) => done));
  for (const { sight } of sights) expect(sight.end).toMatchObject({ event: 'run.completed' });
  await until(async () => (await place.held()).length === 0, 20_000);
  await expectAllBooked(asks);
}, 60_000);

describe('whose row somebody else holds', () => {
  it('is told after ten seconds that the database took too long, nothing is begun, and the same key begins it later', async () => {
    const person = await place.person();
    const other = await place.person();
    const ask = question(person, 'tokens=5');
    await database.owner.begin(async (sql) => {
      await sql`select from users where id = ${person.userId} for update`;
      const refused = await answerTo(proof.server, ask);
      expect([refused.status, refused.json.error]).toEqual([503, 'database_unavailable']);
      expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
      expect((await answerTo(proof.server, question(other, 'tokens=5'))).status).toBe(200);
    });
    expect(place.gate.callsFor(ask)).toBe(0);
    expect((await answerTo(proof.server, ask)).status).toBe(200);
    await expectAllBooked([ask]);
  }, 60_000);

  it('has an answer that is settled when the row is free, though the statement timed out before', async () => {
    const person = await place.person();
    const ask = question(person, 'slow=500 tokens=5');
    const asked = answerTo(proof.server, ask);
    await until(async () => (await place.held()).length === 1);
    await database.owner.begin(async (sql) => {
      await sql`select from users where id = ${person.userId} for update`;
      await new Promise((resolve) => setTimeout(resolve, 12_000));
    });
    expect((await asked).status).toBe(200);
    await expectAllBooked([ask]);
  }, 60_000);
});
