// Money is never lost, wherever a connection to the database breaks: before a statement arrives, or after it was carried
// out and before its answer does.
import { expect, it } from 'vitest';
import { call, until } from '../http/house.ts';
import { type Ask, answerTo, type BookedRun, chance, follow, question, runIdOf, soak } from './place.ts';
import { openWiredPlace } from './wire.ts';

const proof = await openWiredPlace({ DATABASE_POOL: '6' });
const { place, wire } = proof;

it('goes on where a connection breaks while it is being made, at whatever step', async () => {
  const person = await place.person();
  const steps = [1, 2, 3, 4, 5, 6].flatMap((step) => [
    [step, false],
    [step, true],
  ]) as [number, boolean][];
  for (const [step, ofAnswers] of steps) {
    let left = 6;
    wire.breaks = (portion, isAnswer) => isAnswer === ofAnswers && portion === step && left > 0 && left-- > 0;
    wire.cutAll();
    // Answers that come at the same moment are one step; then there are fewer of them, and it is asked again.
    for (let tries = 0; tries < 5 && left === 6; tries++)
      await Promise.all(Array.from({ length: 24 }, () => answerTo(proof.server, question(person, 'tokens=2'))));
    wire.breaks = () => false;
    await until(async () => (await answerTo(proof.server, question(person, 'tokens=1'))).status === 200);
    expect(proof.server.exitCode).toBeNull();
    expect(left, `breaks at step ${step} of ${ofAnswers ? 'answers' : 'questions'}`).toBeLessThan(6);
  }
  await expectTruth();
}, 60_000);

it('calls once and charges once, wherever connections break, however often the same is asked (spec 5.3)', async () => {
  const people = await Promise.all(Array.from({ length: 6 }, () => place.person()));
  const insist = async (ask: Ask) => {
    await follow(proof.server, ask).done;
    await Promise.all([answerTo(proof.server, ask), follow(proof.server, ask).done]);
  };

  /** Asks new questions over breaking connections, and answers how each ended. */
  async function tryAll(count: number): Promise<(string | undefined)[]> {
    const asks = Array.from({ length: count }, (_, i) =>
      question(people[i % people.length] ?? expect.fail(), `tokens=${chance(1, 60)}`),
    );
    wire.broken = 0;
    wire.breaks = () => chance(1, 25) === 1;
    for (let i = 0; i < asks.length; i += 12) await Promise.all(asks.slice(i, i + 12).map(insist));
    wire.breaks = () => false;
    expect(wire.broken).toBeGreaterThan(asks.length / 4);
    expect(proof.server.exitCode).toBeNull();

    const answers = await Promise.all(asks.map(async (ask) => ({ ask, answer: await answerTo(proof.server, ask) })));
    const runs = await expectTruth();
    return answers.map(({ ask, answer }) => {
      const run = runs.get(ask.name);
      expect(runIdOf(answer)).toBe(run?.id);
      if (run?.status === 'completed') {
        expect(answer).toMatchObject({ status: 200, json: { credits_spent: run.credits, response: run.answer } });
        expect([run.transfers, place.gate.callsFor(ask)]).toEqual([1, 1]);
        expect(run.credits).toBeGreaterThan(0);
      } else {
        // Let in, but the word of it was lost: given back before any call.
        expect(run).toMatchObject({ status: 'released', error: 'database_unavailable', credits: 0, cost: '0' });
        expect([run?.transfers, place.gate.callsFor(ask)]).toEqual([0, 0]);
      }
      return run?.status;
    });
  }

  const fates = new Set(await tryAll(soak ? 600 : 120));
  // That the word of a begun run is lost is chance: a few more, until it was.
  for (let more = 0; more < 8 && fates.size < 2; more++) for (const fate of await tryAll(60)) fates.add(fate);
  expect(fates).toEqual(new Set(['completed', 'released']));
}, 180_000);

it('a comparison calls once for each side or for none, wherever connections break (spec 5.3, 5.8)', async () => {
  const people = await Promise.all(Array.from({ length: 6 }, () => place.person()));
  const compare = ({ person, name, input }: Ask) =>
    call(proof.server.url, 'POST', '/api/v1/playground/compare', {
      token: person.token,
      body: { package_id: 'plain', input, sides: [{}, { use_no_prompt: true }] },
      headers: { 'idempotency-key': name },
    });
  const insist = async (ask: Ask) => {
    await compare(ask);
    await Promise.all([compare(ask), compare(ask)]);
  };
  const asks = Array.from({ length: soak ? 300 : 48 }, (_, i) =>
    question(people[i % people.length] ?? expect.fail(), `tokens=${chance(1, 60)}`),
  );
  wire.broken = 0;
  wire.breaks = () => chance(1, 25) === 1;
  for (let i = 0; i < asks.length; i += 12) await Promise.all(asks.slice(i, i + 12).map(insist));
  wire.breaks = () => false;
  expect(wire.broken).toBeGreaterThan(asks.length / 4);
  await until(async () => (await place.held()).length === 0, 15_000);

  // Whoever's connection broke each time is let in only now.
  const answers: [Ask, Awaited<ReturnType<typeof compare>>][] = [];
  for (const ask of asks) answers.push([ask, await compare(ask)]);
  const runs = new Map((await place.runs()).map((run) => [run.id, run]));
  for (const [ask, { json, status }] of answers) {
    expect(status).toBe(200);
    const isLetIn = json.sides[0].failure === null;
    for (const { run_id, response, failure, receipt } of json.sides) {
      const run = runs.get(run_id);
      if (isLetIn)
        expect([run?.status, run?.answer, receipt.credits_spent]).toEqual(['completed', response, run?.credits]);
      else expect([run?.status, failure.error, run?.transfers]).toEqual(['released', 'database_unavailable', 0]);
    }
    expect(place.gate.callsFor(ask)).toBe(isLetIn ? 2 : 0);
  }
  expect(await place.audit()).toEqual([]);
}, 120_000);

/** No hold is left and nothing needs to expire: the server has ended all that it began. */
async function expectTruth(): Promise<Map<string, BookedRun>> {
  await until(async () => (await place.held()).length === 0, 15_000);
  expect(await place.audit()).toEqual([]);
  const runs = await place.runs();
  for (const { taken, credits } of runs) expect(taken).toBe(credits);
  return new Map(runs.map((run) => [run.key, run]));
}
