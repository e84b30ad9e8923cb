// A running demo is told to move by another terminal: over HTTP on this machine, with a secret that is in the demo's directory.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { bringsSecret } from '../../src/auth/shared-secret.ts';
import type { ControlAddress, Home } from './home.ts';
import { host } from './ports.ts';

const moves = ['nodes', 'back'] as const;
export type Move = (typeof moves)[number];

/** How long a move that is broken off may take to come to its end, of which nothing depends. */
const patienceMs = 3_000;

/** One a line, as JSON: what happens, and at the end how it ended. */
const lineSchema = z.union([
  z.object({ line: z.string() }),
  z.object({ done: z.literal(true) }),
  z.object({ error: z.string() }),
]);
type Line = z.output<typeof lineSchema>;

/** Listens until stopped, which waits for a move that is under way. One at a time. */
export async function openControl(
  home: Home,
  move: (to: Move, say: (line: string) => void) => Promise<void>,
): Promise<{ stop(): Promise<void> }> {
  const secret = randomBytes(24).toString('base64url');
  let moving: Promise<void> | undefined;

  async function carryOut(to: Move, response: ServerResponse): Promise<void> {
    const write = (line: Line) => void response.write(`${JSON.stringify(line)}\n`);
    try {
      await move(to, (line) => write({ line }));
      write({ done: true });
    } catch (error) {
      write({ error: error instanceof Error ? error.message : String(error) });
    }
  }

  const answer = async (asked: IncomingMessage, response: ServerResponse) => {
    const refuse = (status: number, error: string) =>
      response.writeHead(status).end(`${JSON.stringify({ error } satisfies Line)}\n`);
    const to = moves.find((name) => asked.url === `/${name}`);
    if (!bringsSecret(asked.headers.authorization, secret)) refuse(401, 'The secret is in the demo’s directory.');
    else if (to === undefined || asked.method !== 'POST') refuse(404, 'A demo cannot be told that.');
    else if (moving !== undefined) refuse(409, 'It is being moved already.');
    else {
      response.writeHead(200, { 'content-type': 'application/jsonl' }).flushHeaders();
      moving = carryOut(to, response).finally(() => (moving = undefined));
      await moving;
      response.end();
    }
  };
  const server = createServer((asked, response) => void answer(asked, response));
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  home.publishControl({ port: typeof address === 'object' && address ? address.port : 0, secret });
  return {
    async stop() {
      server.close();
      await Promise.race([moving, sleep(patienceMs, undefined, { ref: false })]);
      server.closeAllConnections();
    },
  };
}

/** Tells a demo to move and prints what it says meanwhile. Throws its reason where it refuses; undefined where nobody answers. */
export async function tellDemo(
  { port, secret }: ControlAddress,
  to: Move,
  say: (line: string) => void,
): Promise<'done' | undefined> {
  const headers = { authorization: `Bearer ${secret}` };
  // Not fetch, which gives up where nothing is said for some minutes.
  const asking = request({ host, port, path: `/${to}`, method: 'POST', headers, agent: false }).end();
  const [answer]: IncomingMessage[] = await once(asking, 'response').catch(() => []);
  if (answer === undefined) return undefined;
  let isDone = false;
  try {
    for await (const text of createInterface({ input: answer })) {
      const line = lineSchema.parse(JSON.parse(text));
      if ('error' in line) throw new Refusal(line.error);
      if ('done' in line) isDone = true;
      else say(line.line);
    }
  } catch (error) {
    if (error instanceof Refusal) throw error;
  }
  if (!isDone) throw new Error('The demo ended before it was done. Its next start says where it is.');
  return 'done';
}

class Refusal extends Error {}
