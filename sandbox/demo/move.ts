// Moves a running demo to a cluster of three nodes, or back to the one server that it came from. The page is away only while rows
// are copied that may have changed meanwhile; what can refuse is tried before.
import { connect } from '../../src/database/connection.ts';
import { createDatabase, createRoles, randomPassword, withDatabase } from '../../src/database/roles.ts';
import { copyRows, copyWhole, findPrograms, type Programs } from '../../src/scale/copy.ts';
import { expectBalance } from '../../src/scale/count.ts';
import { scaleUp } from '../../src/scale/up.ts';
import type { RunningServer } from '../../src/server.ts';

import { allowWrites, prepareDatabase, refuseWrites, type Server, type Single, type Urls, urlsOf } from './database.ts';
import type { Home, Memory } from './home.ts';
import { refuseWithoutCitus, rejoinNodes, startDemoNodes } from './nodes.ts';
import type { Shop } from './stripe.ts';

/** How long runs may go on that have begun before the page is closed: longer than any of the stand-ins takes. */
const patienceMs = 15_000;

/** Where the data is. */
export type Place = { server: Server; urls: Urls };

export type Demo = {
  home: Home;
  memory: Memory;
  /** Files of db/ when this demo started. */
  schema: string;
  place: Place;
  playground: RunningServer;
  shop: Shop;
  /** Starts the server on that database, where it listened before. */
  serve(urls: Urls): Promise<RunningServer>;
  /** Writes DIR/env. */
  publish(): void;
  /** Where it came from. */
  single: Single;
  /** Ctrl-C. */
  ending: AbortSignal;
};

type Start = Pick<Demo, 'home' | 'memory' | 'schema'> & { single: Single; mayReplace: boolean };

/** Starts the servers that have the demo's data, and prepares the database. `mayReplace` as in prepareDatabase. */
export async function openPlace({ home, memory, schema, single, mayReplace }: Start): Promise<Place> {
  if (memory.nodes !== null) {
    await using undo = new AsyncDisposableStack();
    const nodes = await startDemoNodes(home.nodes, memory.nodes.password, memory.passwords);
    undo.defer(nodes.stop);
    await rejoinNodes(nodes);
    if (memory.nodes.schema === schema) {
      undo.move();
      return { server: nodes, urls: urlsOf(nodes, memory) };
    }
    console.log(
      'This demo is on three nodes, and db/ has changed since. Nodes of a demo are not migrated, so it goes back to one server, with all its ' +
        'data; npm run demo:scale moves it again.',
    );
    await bringBack(findPrograms(), nodes, single);
    memory.nodes = null;
    home.remember(memory);
  }
  home.removeNodes(); // of a move that was killed
  const server = await single.open();
  try {
    return { server, urls: await prepareDatabase(server, memory, mayReplace) };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** To the server that it came from, before anybody uses it. */
async function bringBack(programs: Programs, nodes: Server, single: Single): Promise<void> {
  const server = await single.open();
  try {
    await allowWrites(server);
    await copyRows(programs, inside(nodes), inside(server));
    await expectBalanceAt(inside(server));
  } finally {
    await server.stop();
  }
}

export type Say = (line: string) => void;

/** Throws, with the demo where it was, if anything refuses. */
export async function moveToNodes(demo: Demo, say: Say): Promise<void> {
  const { home, memory, place } = demo;
  if (memory.nodes !== null) {
    say(`It is there already: ${place.server.shown}.`);
    return;
  }
  refuseWithoutCitus();
  const programs = findPrograms();
  await refuseCron(place.server);
  await using undo = new AsyncDisposableStack();
  undo.defer(home.removeNodes);
  home.removeNodes();

  say('Starting a coordinator and two workers.');
  const password = randomPassword();
  const nodes = await startDemoNodes(home.nodes, password, memory.passwords);
  undo.defer(nodes.stop);
  const breakOff = () => home.removeNodes(); // whatever waits for them goes on, and fails
  demo.ending.throwIfAborted();
  demo.ending.addEventListener('abort', breakOff, { once: true });
  undo.defer(() => demo.ending.removeEventListener('abort', breakOff));

  say('Copying the database to the coordinator and spreading it from there; the page goes on.');
  const target = { server: nodes, urls: urlsOf(nodes, memory) };
  await createRoles(nodes.superuserUrl, memory.passwords);
  await createDatabase(nodes.superuserUrl, nodes.database);
  await copyWhole(programs, inside(place.server), inside(nodes));
  const workers = nodes.workerUrls.map((url) => withDatabase(url, nodes.database));
  await scaleUp([inside(nodes), ...workers], (line) => say(`  ${line}`));
  await tryAsServer(target.urls, memory);
  const away = await switchOver(programs, demo, target, { password, schema: demo.schema }, say);
  undo.move();
  demo.ending.removeEventListener('abort', breakOff);
  await leave(demo, target, away, say);
}

/** To one server, with all that has happened on the nodes. */
export async function moveBack(demo: Demo, say: Say): Promise<void> {
  const { home, memory } = demo;
  if (memory.nodes === null) {
    say(`It is on one server: ${demo.place.server.shown}.`);
    return;
  }
  const programs = findPrograms();
  say('Starting the one server that it came from.');
  const server = await demo.single.open();
  const target = { server, urls: urlsOf(server, memory) };
  let away: string;
  try {
    await allowWrites(server);
    away = await switchOver(programs, demo, target, null, say);
  } catch (error) {
    await refuseWrites(server).finally(server.stop);
    throw error;
  }
  await leave(demo, target, away, say);
  home.removeNodes();
}

/**
 * Closes the server, copies every row, starts it again on the other database. What goes wrong leaves it where it was, on a
 * database that nothing has changed. Returns how long the page was away.
 */
async function switchOver(
  programs: Programs,
  demo: Demo,
  target: Place,
  nodes: Memory['nodes'],
  say: Say,
): Promise<string> {
  const { home, memory, place: old, shop } = demo;
  const note = (where: Memory['nodes']) => {
    memory.nodes = where;
    home.remember(memory);
  };
  const before = memory.nodes;
  say('Closing the page; runs under way come to their end.');
  const from = performance.now();
  shop.hold();
  try {
    await demo.playground.close(patienceMs);
    demo.ending.throwIfAborted();
    await refuseWrites(old.server);
    const copying = performance.now();
    const { rows, tables } = await copyRows(programs, inside(old.server), inside(target.server));
    await expectBalanceAt(inside(target.server));
    say(`${rows} rows of ${tables} tables copied in ${seconds(copying)}, each the same there; the books balance.`);
    demo.ending.throwIfAborted();
    note(nodes);
    demo.playground = await demo.serve(target.urls);
  } catch (error) {
    note(before);
    if (!demo.ending.aborted) {
      await allowWrites(old.server);
      demo.playground = await demo.serve(old.urls);
      shop.open();
    }
    throw error;
  }
  return seconds(from);
}

async function leave(demo: Demo, target: Place, away: string, say: Say): Promise<void> {
  const { server: old } = demo.place;
  demo.place = target;
  demo.shop.open();
  demo.publish();
  say(`The page is back. It was away for ${away}.`);
  await old.stop().catch((error) => say(`Where it was before does not stop: ${error.message}`));
}

const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(1)} s`;
const inside = ({ superuserUrl, database }: Server) => withDatabase(superuserUrl, database);

/** As the server will, at each node: the role comes in, and what is for one person finds them. */
async function tryAsServer(urls: Urls, memory: Memory): Promise<void> {
  const [person] = memory.seeded?.people ?? [];
  for (const url of [urls.app, ...urls.workers]) {
    await using sql = connect(url);
    await sql`select credits from api.read_credits(${person?.id ?? ''}) credits`;
  }
}

/** Its jobs would go on there alone. */
async function refuseCron({ superuserUrl, database }: Server): Promise<void> {
  await using sql = connect(superuserUrl);
  const [cron] = await sql<{ home: string | null }[]>`select current_setting('cron.database_name', true) as home`;
  if (!cron?.home) return;
  await using there = connect(withDatabase(superuserUrl, cron.home));
  const [schedules] = await there<{ isThere: boolean }[]>`select to_regclass('cron.job') is not null as "isThere"`;
  if (!schedules?.isThere) return;
  const [job] = await there`select from cron.job where starts_with(jobname, ${`prpm/${database}/`})`;
  if (job !== undefined)
    throw new Error(
      `pg_cron does the jobs of "${database}", and would go on with them there. npm run db:cron -- --remove ends that; the demo's ` +
        'server does them then, wherever its data is. Nothing was changed.',
    );
}

async function expectBalanceAt(url: string): Promise<void> {
  await using sql = connect(url);
  await expectBalance(sql, 'there');
}
