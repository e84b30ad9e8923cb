// Money is never lost, whenever the database dies: kill -9 of all its processes at once, and a start on what is on disk.
import { randomInt } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, describe, expect, it } from 'vitest';
import { removeCluster, startCluster } from '../../sandbox/postgres/cluster.ts';
import { migrate } from '../../src/database/migrate.ts';
import { createDatabase, createRoles, randomPassword, roleUrl, withDatabase } from '../../src/database/roles.ts';
import { answerTo, type BookedRun, chance, follow, openPlace, question, runIdOf, type Sight, soak } from './place.ts';

const directory = mkdtempSync(join(tmpdir(), 'prpm-proof-'));
process.once('exit', () => removeCluster(directory));
// Below the ports that are given to who asks for any: while it is dead, nobody else takes its port.
let cluster = await startCluster({ directory, port: 10_000 + randomInt(20_000), fsync: true });
const { url, port } = cluster;
const passwords = { prpm_owner: randomPassword(), prpm_app: randomPassword(), prpm_ops: randomPassword() };
await createRoles(url, passwords);
await createDatabase(url, 'prpm');
await migrate(withDatabase(url, 'prpm'), { current: true });

const connect = (to: string) => postgres(to, { max: 2, onnotice: () => {}, backoff: () => 0.1 });
const urlOf = (role: keyof typeof passwords) => roleUrl(url, role, passwords[role], 'prpm');
const superuser = connect(url);
const [owner, app, ops] = [connect(urlOf('prpm_owner')), connect(urlOf('prpm_app')), connect(urlOf('prpm_ops'))];
const place = await openPlace(
  { owner, app, ops, appUrl: urlOf('prpm_app') },
  { firstTokenMs: 20, tokenMs: 10, answers: 'composed' },
);
afterAll(async () => {
  await place.close();
  await Promise.all([superuser, owner, app, ops].map((sql) => sql.end({ timeout: 1 })));
  await cluster.stop('immediate');
  removeCluster(directory);
});

await ops`update settings set checkpoint_ms = 200`;
const people = await Promise.all(Array.from({ length: 8 }, () => place.person()));
const server = await place.serve();
const streams = soak ? 60 : 20;
const rounds = soak ? 20 : 3;

/** What the machine does to a database when it kills it: every process at once, in the midst of whatever it does. */
async function killDatabase(): Promise<void> {
  const children = await superuser<{ pid: number }[]>`select pid from pg_stat_activity`;
  if (cluster.pid === 0) throw new Error('there is no PostgreSQL to kill'); // 0 would mean this process and its group
  for (const pid of [cluster.pid, ...children.map(({ pid }) => pid)]) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // A session that had ended by itself.
    }
  }
  await cluster.stop(); // nothing is left to stop: it lets go of the directory
}

const startAgain = async () => {
  cluster = await startCluster({ directory, port, fsync: true });
};

const seen = { completed: 0, turnedAway: 0 };

describe(`kill -9 of PostgreSQL with ${streams} streams`, () => {
  it.each(Array.from({ length: rounds }, (_, i) => [i + 1]))(
    'round %i: what was told is booked, the rest is settled by trying again or expires (spec 5.3, 5.4)',
    async (round) => {
      const ask = (i: number) =>
        question(
          people[i % people.length] ?? expect.fail(),
          `slow=${chance(0, 400)} tokens=${chance(5, 120)} pace=${chance(2, 15)}`,
        );
      const followed = Array.from({ length: streams }, (_, i) => follow(server, ask(i)));
      await sleep(chance(10, 1_200));
      await killDatabase();

      // Whoever comes now is told so, at once or when the time is over, and may try again with the same key.
      const lateComers = [follow(server, ask(0)), follow(server, ask(1))];
      await sleep(round % 2 === 0 ? chance(0, 500) : 0);
      await startAgain();
      const back = performance.now();
      followed.push(...lateComers);
      await Promise.all(followed.map(({ done }) => done));
      expect(performance.now() - back).toBeLessThan(30_000);
      expect(server.exitCode).toBeNull();

      const sights = followed.map(({ sight }) => sight);
      const booked = await byKey();
      for (const sight of sights) expectTruth(sight, booked.get(sight.ask.name));
      expect(await place.audit()).toEqual([]);

      // What no server could settle ends with its hold.
      await place.pass('61 seconds');
      await place.expireAllHolds();
      expect(await place.audit()).toEqual([]);

      const before = await byKey();
      const asksAgain = await Promise.all(
        sights.map(async ({ ask }) => ({ ask, answer: await answerTo(server, ask) })),
      );
      const after = await byKey();
      for (const { ask, answer } of asksAgain) {
        const [first, last] = [before.get(ask.name), after.get(ask.name)];
        expect(runIdOf(answer)).toBe(last?.id);
        // One that had been taken for dead may have come back since.
        if (first !== undefined && first.error !== 'run_expired') expect(last).toEqual(first);
        expect(last?.taken).toBe(last?.credits);
        expect(last?.transfers).toBe(last !== undefined && last.credits > 0 ? 1 : 0);
        expect(place.gate.callsFor(ask)).toBeLessThanOrEqual(1);
      }
      expect(await place.held()).toEqual([]);
      expect(await place.audit()).toEqual([]);
    },
    60_000,
  );

  it('has met clients who were told of the end, and clients who were turned away', () => {
    expect(seen.completed).toBeGreaterThan(0);
    expect(seen.turnedAway).toBeGreaterThan(0);
  });
});

async function byKey(): Promise<Map<string, BookedRun>> {
  return new Map((await place.runs()).filter(({ key }) => key !== '').map((run) => [run.key, run]));
}

/** What a client was told is so; what it was not told is at worst still held. */
function expectTruth(sight: Sight, booked: BookedRun | undefined): void {
  if (sight.end?.event === 'run.completed') {
    expect(booked).toMatchObject({ id: sight.runId, status: 'completed', answer: sight.text });
    expect(booked?.credits).toBe(sight.end.data.credits_spent);
    expect(booked?.taken).toBe(sight.end.data.credits_spent);
    expect(booked?.credits).toBeGreaterThan(0);
    seen.completed += 1;
  } else if (sight.end !== null) {
    expect(sight.end).toMatchObject({ event: 'run.failed', data: { error: 'database_unavailable' } });
  } else {
    expect(sight).toMatchObject({ runId: null, text: '', error: expect.stringMatching(/^503 .*database_unavailable/) });
    expect(place.gate.callsFor(sight.ask)).toBe(0);
    seen.turnedAway += 1;
  }
}
