// Money is never lost where the database's disk fills up, whether a table or the log finds no room, and goes on when there is some.
// It needs a small disk, which only root can make: npm run soak.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { removeCluster, startCluster } from '../../sandbox/postgres/cluster.ts';
import { migrate } from '../../src/database/migrate.ts';
import { createDatabase, createRoles, randomPassword, roleUrl, withDatabase } from '../../src/database/roles.ts';
import { answerTo, chance, follow, openPlace, question, type ServerProcess } from './place.ts';

const rounds = 6;

describe('a disk of 300 MB that fills up', () => {
  const disk = mkdtempSync(join(tmpdir(), 'prpm-disk-'));
  const directory = join(disk, 'cluster');
  const ballast = join(disk, 'ballast');
  let cluster: Awaited<ReturnType<typeof startCluster>>;
  let place: Awaited<ReturnType<typeof openPlace>>;
  let server: ServerProcess;
  let clients: postgres.Sql[] = [];
  let told = 0;

  beforeAll(async () => {
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=300m,mode=755', 'tmpfs', disk], {
      encoding: 'utf8',
    });
    if (mounted.status !== 0) throw new Error(`a small disk cannot be made: ${mounted.stderr}`);
    cluster = await startCluster({ directory, settings: { max_wal_size: '64MB', min_wal_size: '32MB' } });
    const passwords = { prpm_owner: randomPassword(), prpm_app: randomPassword(), prpm_ops: randomPassword() };
    await createRoles(cluster.url, passwords);
    await createDatabase(cluster.url, 'prpm');
    await migrate(withDatabase(cluster.url, 'prpm'), { current: true });
    const urlOf = (role: keyof typeof passwords) => roleUrl(cluster.url, role, passwords[role], 'prpm');
    clients = [urlOf('prpm_owner'), urlOf('prpm_app'), urlOf('prpm_ops')].map((url) =>
      postgres(url, { max: 2, onnotice: () => {}, backoff: () => 0.1 }),
    );
    const [owner, app, ops] = clients as [postgres.Sql, postgres.Sql, postgres.Sql];
    place = await openPlace(
      { owner, app, ops, appUrl: urlOf('prpm_app') },
      { firstTokenMs: 10, tokenMs: 5, answers: 'composed' },
    );
    await ops`update settings set checkpoint_ms = 100`;
    server = await place.serve();
  }, 60_000);
  afterAll(async () => {
    await place?.close();
    await Promise.all(clients.map((sql) => sql.end({ timeout: 1 })));
    await cluster?.stop('immediate');
    removeCluster(directory);
    spawnSync('umount', ['-l', disk]);
    rmSync(disk, { recursive: true, force: true });
  });

  const room = () => {
    const { bavail, bsize } = statfsSync(disk);
    return bavail * bsize;
  };
  /** All but so many bytes; should the database take some of it meanwhile, then all there is. */
  const fill = (leave: number) => {
    try {
      writeFileSync(ballast, Buffer.alloc(Math.max(0, room() - leave)));
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    }
  };

  it.each(Array.from({ length: rounds }, (_, i) => [i + 1]))(
    'round %i: whoever is told of an answer is charged once, and nobody else',
    async (round) => {
      const people = await Promise.all(Array.from({ length: 8 }, () => place.person()));
      const ask = (i: number) =>
        question(people[i % people.length] ?? expect.fail(), `tokens=${chance(20, 400)} pace=${chance(1, 4)}`);
      const followed = Array.from({ length: 16 }, (_, i) => follow(server, ask(i)));
      await sleep(chance(0, 300));
      // Now and then nothing at all is left, else room for some pages of tables.
      fill(round % 2 === 0 ? 0 : chance(1, 40) * 8192);
      const meanwhile = Array.from({ length: 80 }, (_, i) => follow(server, ask(i)));
      await sleep(chance(500, 2_000));
      rmSync(ballast, { force: true });
      followed.push(...meanwhile);
      await Promise.all(followed.map(({ done }) => done));

      // A database that fell over comes back by itself, or is started by whoever watches it.
      const [owner] = clients as [postgres.Sql];
      for (let turn = 0; turn < 100; turn += 1) {
        if (
          await owner`select 1`.then(
            () => true,
            () => false,
          )
        )
          break;
        await sleep(100);
        if (turn === 30) {
          await cluster.stop('immediate');
          cluster = await startCluster({ directory, port: cluster.port });
        }
      }
      await place.pass('61 seconds');
      await place.expireAllHolds();
      expect(await place.audit()).toEqual([]);
      const booked = new Map((await place.runs()).map((run) => [run.key, run]));
      for (const { sight } of followed) {
        const run = booked.get(sight.ask.name);
        expect(place.gate.callsFor(sight.ask)).toBeLessThanOrEqual(1);
        if (run === undefined) expect([sight.runId, place.gate.callsFor(sight.ask)]).toEqual([null, 0]);
        else expect(run.taken).toBe(run.credits);
        if (sight.end?.event === 'run.completed')
          expect(run).toMatchObject({ status: 'completed', answer: sight.text });
        if (sight.error !== null || sight.end?.event === 'run.failed') told += 1;
      }
      expect((await answerTo(server, ask(0))).status).toBe(200);
      expect(server.exitCode).toBeNull();
    },
    90_000,
  );

  it('has met people who were told that something was wrong', () => {
    console.log(`told that something was wrong: ${told} of ${rounds * 96}`);
    expect(told).toBeGreaterThan(0);
  });
});
