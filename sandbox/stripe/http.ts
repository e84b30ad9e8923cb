import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { Api } from './api/server.ts';
import { answerControl } from './control/http.ts';
import { answerPage } from './page/pages.ts';
import type { StripeStandIn } from './stripe.ts';
import type { World } from './world.ts';

/** What one port offers: the API under /v1, the pages that people see, and /sandbox to steer it. */
export function listener(world: World, api: Api, standIn: StripeStandIn, catchUp: () => void): RequestListener {
  return (request, response) => {
    void answer(request, response).catch((error: unknown) => {
      response
        .writeHead(500, { 'content-type': 'text/plain' })
        .end(error instanceof Error ? error.stack : String(error));
    });
  };

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = 'GET', headers } = request;
    const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
    const body = await bodyOf(request);
    catchUp();
    if (path.startsWith('/sandbox/')) {
      const { status, value } = await answerControl(standIn, method, path, body);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value, null, 2));
      return;
    }
    const page = answerPage(world, method, path, body);
    if (page) {
      response.writeHead(page.status, page.headers).end(page.body);
      return;
    }
    const answered = await api.answer({
      method,
      path,
      query,
      headers: {
        authorization: headers.authorization,
        key: single(headers['idempotency-key']),
        version: single(headers['stripe-version']),
      },
      body,
    });
    if (!answered) request.socket.destroy();
    else
      response
        .writeHead(answered.status, { 'content-type': 'application/json', ...answered.headers })
        .end(answered.body);
  }
}

function single(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header[0] : header;
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const read: Buffer[] = [];
  for await (const bytes of request) read.push(bytes);
  return Buffer.concat(read).toString('utf8');
}
