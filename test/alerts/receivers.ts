// Who gets alerts: a webhook's receiver that checks signatures, and a mail server. Both are real, and can be made to misbehave.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ParsedMail, simpleParser } from 'mailparser';
import { SMTPServer } from 'smtp-server';
import { Webhook } from 'standardwebhooks';

export const SECRET = `whsec_${Buffer.from('a secret of thirty-two bytes, no more'.slice(0, 32)).toString('base64')}`;

type Delivered = { id: string; timestamp: number; event: { type: string; data: Record<string, unknown> } };
type Behaviour = (request: IncomingMessage, response: ServerResponse) => void;

/** Listens on a port, the same again after a restart. What it takes was signed well, or is in `forged`. */
export async function openReceiver() {
  const taken: Delivered[] = [];
  const forged: string[] = [];
  const ids: string[] = [];
  let behave: Behaviour = (_, response) => response.writeHead(204).end();
  let port = 0;
  const open = async () => {
    const server = createServer(async (request, response) => {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece);
      const body = Buffer.concat(pieces).toString('utf8');
      const id = String(request.headers['webhook-id']);
      ids.push(id);
      try {
        const event = new Webhook(SECRET).verify(
          body,
          Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)])),
        );
        response.once('finish', () => {
          if (response.statusCode < 300)
            taken.push({
              id,
              timestamp: Number(request.headers['webhook-timestamp']),
              event: event as Delivered['event'],
            });
        });
      } catch (error) {
        forged.push(String(error));
      }
      behave(request, response);
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
    return server;
  };
  let server = await open();
  const stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return {
    ...{ taken, forged, ids, stop },
    url: `http://127.0.0.1:${port}/alerts`,
    async start() {
      server = await open();
    },
    behave(how: Behaviour) {
      behave = how;
    },
    heal() {
      behave = (_, response) => response.writeHead(204).end();
    },
  };
}
export type Receiver = Awaited<ReturnType<typeof openReceiver>>;

/** Takes mail for everybody but for `refused`, nothing while `isOut`, and never says whether it has while `isHanging`. On the same port after a restart. */
export async function openMailServer() {
  const mails: ParsedMail[] = [];
  const state = { isOut: false, isHanging: false, refused: new Set<string>() };
  const open = () =>
    new SMTPServer({
      authOptional: true,
      disabledCommands: ['STARTTLS'],
      onRcptTo({ address }, _session, done) {
        if (state.refused.has(address)) done(Object.assign(new Error('no such person'), { responseCode: 550 }));
        else done();
      },
      onData(stream, _session, done) {
        simpleParser(stream).then(
          (mail) => {
            if (state.isHanging) return;
            if (state.isOut) return done(Object.assign(new Error('out of order'), { responseCode: 451 }));
            mails.push(mail);
            done();
          },
          (error) => done(error),
        );
      },
    });
  let port = 0;
  let server: SMTPServer;
  const start = async () => {
    server = open();
    const listening = server.listen(port, '127.0.0.1');
    await once(listening, 'listening');
    port = (listening.address() as AddressInfo).port;
  };
  await start();
  return {
    mails,
    state,
    url: `smtp://127.0.0.1:${port}`,
    start,
    stop: () => new Promise<void>((resolve) => server.close(resolve)),
  };
}
