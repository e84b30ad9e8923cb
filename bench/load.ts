// A closed loop of requests, in a process of its own: each connection sends, waits for the whole answer, sends again.
// node bench/load.ts '{"url": …, "connections": 16, "seconds": 5, "bodies": […], "headers": […], "firstEvent": null}'
// Prints {"perSecond", "p50", "p99", "firstP50", "firstP99", "failed"}; times in milliseconds.
import { Agent, request } from 'node:http';
import { performance } from 'node:perf_hooks';
import { loadSchema } from './load-format.ts';

const load = loadSchema.parse(JSON.parse(process.argv[2] ?? '{}'));
const agent = new Agent({ keepAlive: true, maxSockets: load.connections });
const took: number[] = [];
const firstTokens: number[] = [];
let failed = 0;
let firstFailure: string | null = null;
let sent = 0;
const begin = performance.now();
const end = begin + load.seconds * 1000;

function once(connection: number): Promise<void> {
  return new Promise((resolve) => {
    const started = performance.now();
    const fail = (why: string) => {
      failed += 1;
      firstFailure ??= why.slice(0, 500);
      resolve();
    };
    const body = load.bodies[connection % load.bodies.length] ?? '';
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      ...load.headers[connection % load.headers.length],
    };
    const call = request(load.url, { method: 'POST', agent, headers }, (answer) => {
      let text = '';
      let first: number | undefined;
      answer.setEncoding('utf8');
      answer.on('data', (piece: string) => {
        if (load.firstEvent === null && answer.statusCode === 200) return;
        text += piece;
        if (first === undefined && load.firstEvent !== null && text.includes(load.firstEvent))
          first = performance.now() - started;
      });
      answer.on('error', (error) => fail(error.message));
      answer.on('end', () => {
        if (answer.statusCode !== 200 || (load.firstEvent !== null && first === undefined))
          return fail(`${answer.statusCode} ${text}`);
        took.push(performance.now() - started);
        if (first !== undefined) firstTokens.push(first);
        resolve();
      });
    });
    call.on('error', (error) => fail(error.message));
    call.end(body);
  });
}

await Promise.all(
  Array.from({ length: load.connections }, async (_, connection) => {
    while (performance.now() < end && sent < load.requests) {
      sent += 1;
      await once(connection);
    }
  }),
);
const elapsed = (performance.now() - begin) / 1000;
const at = (values: number[], share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;
console.log(
  JSON.stringify({
    perSecond: took.length / elapsed,
    p50: at(took, 0.5),
    p99: at(took, 0.99),
    firstP50: at(firstTokens, 0.5),
    firstP99: at(firstTokens, 0.99),
    failed,
    firstFailure,
  }),
);
process.exit(0);
