// Money is never lost, wherever a connection to the database breaks: before a statement arrives, or after it was carried
// out and before its answer does.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { until } from '../http/house.ts';
import {
  type Ask,
  answerTo,
  type BookedRun,
  chance,
  follow,
  openPlace,
  question,
  runIdOf,
  type ServerProcess,
  soak,
} from './place.ts';

const database = await createDatabase();
const place = await openPlace(database, { firstTokenMs: 10, tokenMs: 5, answers: 'composed' });

/** Stands between server and database. `breaks` is asked for each portion of bytes, the nth of its direction, first. */
let breaks: (portion: number, isAnswer: boolean) => boolean = () => false;
let broken = 0;
const { hostname, port } = new URL(database.appUrl);
const open = new Set<Socket>();
const wire = createServer((near) => {
  const far = connect(Number(port), hostname);
  open.add(near);
  const end = () => {
    open.delete(near);
    near.destroy();
    far.destroy();
  };
  const pass = (from: Socket, to: Socket, isAnswer: boolean) => {
    let portion = 0;
    from.on('data', (bytes) => {
      portion += 1;
      if (!breaks(portion, isAnswer)) return void to.write(bytes);
      broken += 1;
      // As a killed process ends a connection, or as one that closes it.
      if (chance(0, 1) === 0) near.resetAndDestroy();
      end();
    });
  };
  pass(near, far, false);
  pass(far, near, true);
  for (const socket of [near, far]) socket.setNoDelay(true).once('close', end).on('error', end);
});
wire.listen(0, '127.0.0.1');
await once(wire, 'listening');
const through = new URL(database.appUrl);
const address = wire.address();
through.port = String(typeof address === 'object' && address?.port);

let server: ServerProcess;
beforeAll(async () => {
  await database.ops`update settings set checkpoint_ms = 100`;
  server = await place.serve({ APP_DATABASE_URL: through.href, DATABASE_POOL: '6' });
});
afterAll(async () => {
  await place.close();
  wire.close();
  await database.drop();
});

it('goes on where a connection breaks while it is being made, at whatever step', async () => {
  const person = await place.person();
  const steps = [1, 2, 3, 4, 5, 6].flatMap((step) => [
    [step, false],
    [step, true],
  ]) as [number, boolean][];
  for (const [step, ofAnswers] of steps) {
    let left = 6;
    breaks = (portion, isAnswer) => isAnswer === ofAnswers && portion === step && left > 0 && left-- > 0;
    for (const socket of open) socket.destroy();
    await Promise.all(Array.from({ length: 24 }, () => answerTo(server, question(person, 'tokens=2'))));
    breaks = () => false;
    await until(async () => (await answerTo(server, question(person, 'tokens=1'))).status === 200);
    expect(server.exitCode).toBeNull();
  }
  expect(broken).toBeGreaterThan(20);
  await expectTruth();
}, 30_000);

it('calls once and charges once, wherever connections break, however often the same is asked (spec 5.3)', async () => {
  const people = await Promise.all(Array.from({ length: 6 }, () => place.person()));
  const insist = async (ask: Ask) => {
    await follow(server, ask).done;
    await Promise.all([answerTo(server, ask), follow(server, ask).done]);
  };

  /** Asks new questions over breaking connections, and answers how each ended. */
  async function tryAll(count: number): Promise<(string | undefined)[]> {
    const asks = Array.from({ length: count }, (_, i) =>
      question(people[i % people.length] ?? expect.fail(), `tokens=${chance(1, 60)}`),
    );
    broken = 0;
    breaks = () => chance(1, 25) === 1;
    for (let i = 0; i < asks.length; i += 12) await Promise.all(asks.slice(i, i + 12).map(insist));
    breaks = () => false;
    expect(broken).toBeGreaterThan(asks.length / 4);
    expect(server.exitCode).toBeNull();

    const answers = await Promise.all(asks.map(async (ask) => ({ ask, answer: await answerTo(server, ask) })));
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

/** No hold is left and nothing needs to expire: the server has ended all that it began. */
async function expectTruth(): Promise<Map<string, BookedRun>> {
  await until(async () => (await place.held()).length === 0, 15_000);
  expect(await place.audit()).toEqual([]);
  const runs = await place.runs();
  for (const { taken, credits } of runs) expect(taken).toBe(credits);
  return new Map(runs.map((run) => [run.key, run]));
}
