// A wire between servers and the database, which breaks, or takes its time.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { chance, openPlace, type ServerProcess } from './place.ts';

type Wire = {
  /** The database's URL by way of this. */
  url: string;
  /** Asked for each portion of bytes, the nth of its direction, before it passes. Default: never. */
  breaks: (portion: number, isAnswer: boolean) => boolean;
  /** Milliseconds that a portion takes. Default: none. */
  delays: () => number;
  /** How many connections broke. */
  broken: number;
  cutAll(): void;
  close(): void;
};

async function openWire(databaseUrl: string): Promise<Wire> {
  const through = new URL(databaseUrl);
  const { hostname, port } = through;
  const open = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    open.add(near);
    const end = () => {
      open.delete(near);
      near.destroy();
      far.destroy();
    };
    const pass = async (from: Socket, to: Socket, isAnswer: boolean) => {
      let portion = 0;
      for await (const bytes of from) {
        portion += 1;
        const ms = wire.delays();
        if (ms > 0) await sleep(ms);
        if (!wire.breaks(portion, isAnswer)) {
          to.write(bytes);
          continue;
        }
        wire.broken += 1;
        // As a killed process ends a connection, or as one that closes it.
        if (chance(0, 1) === 0) near.resetAndDestroy();
        return end();
      }
    };
    pass(near, far, false).catch(end);
    pass(far, near, true).catch(end);
    for (const socket of [near, far]) socket.setNoDelay(true).once('close', end).on('error', end);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  through.port = String(typeof address === 'object' && address?.port);
  const wire: Wire = {
    url: through.href,
    breaks: () => false,
    delays: () => 0,
    broken: 0,
    cutAll: () => {
      for (const socket of open) socket.destroy();
    },
    close: () => void server.close(),
  };
  return wire;
}

/** A place of whose server every connection to the database goes through a wire; opened and closed with the tests of a file. */
export async function openWiredPlace(variables: Record<string, string>) {
  const database = await createDatabase();
  const place = await openPlace(database, { firstTokenMs: 10, tokenMs: 5, answers: 'composed' });
  const wire = await openWire(database.appUrl);
  let server: ServerProcess | undefined;
  beforeAll(async () => {
    await database.ops`update settings set checkpoint_ms = 100`;
    server = await place.serve({ APP_DATABASE_URL: wire.url, ...variables });
  });
  afterAll(async () => {
    await place.close();
    wire.close();
    await database.drop();
  });
  return {
    ...{ database, place, wire },
    get server(): ServerProcess {
      if (server === undefined) throw new Error('the server is started before the first test');
      return server;
    },
  };
}
