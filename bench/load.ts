// A closed loop of requests, in a process of its own: each connection sends, waits for the whole answer, sends again.
// node bench/load.ts '{"url": …, "connections": 16, "seconds": 5, "bodies": […], "headers": […], "firstEvent": null}'
// Prints {"perSecond", "p50", "p99", "firstP50", "firstP99", "failed"}; times in milliseconds.
import { connect, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadSchema } from './load-format.ts';

const load = loadSchema.parse(JSON.parse(process.argv[2] ?? '{}'));
const url = new URL(load.url);
const took: number[] = [];
const firstTokens: number[] = [];
let failed = 0;
let firstFailure: string | null = null;
let sent = 0;
const begin = performance.now();
const end = begin + load.seconds * 1000;

/*
 * HTTP as far as our own servers speak it, on plain sockets: Node's client takes a third of the processor time that it is
 * to leave to the server. An answer ends after content-length bytes, or with the last chunk.
 */
class Connection {
  readonly #request: Buffer;
  readonly #rest: string;
  #socket: Socket | null = null;
  #ended: (() => void) | null = null;
  #started = 0;
  #first: number | undefined;
  #head = '';
  #text = '';
  /** Bytes of the body that are to come; null where it comes in chunks; -1 while the head is not there. */
  #left: number | null = -1;

  constructor(number: number) {
    const body = load.bodies[number % load.bodies.length] ?? '';
    const headers = {
      host: url.host,
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      ...load.headers[number % load.headers.length],
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    this.#rest = `HTTP/1.1\r\n${lines.join('')}\r\n${body}`;
    this.#request = Buffer.from(`POST ${url.pathname} ${this.#rest}`);
  }

  async once(path: string | undefined): Promise<void> {
    this.#socket ??= await this.#connect();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ended = resolve;
    this.#left = -1;
    this.#head = '';
    this.#text = '';
    this.#first = undefined;
    this.#started = performance.now();
    this.#socket.write(path === undefined ? this.#request : `GET ${path} ${this.#rest}`);
    await promise;
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true }, () => resolve(socket));
      socket.setEncoding('latin1'); // a character a byte
      socket.on('data', (piece) => this.#take(String(piece)));
      socket.on('error', reject);
      socket.on('close', () => {
        this.#socket = null;
        if (this.#ended !== null) this.#end('the connection was closed');
      });
    });
  }

  #take(piece: string): void {
    let body = piece;
    if (this.#left === -1) {
      this.#head += piece;
      const at = this.#head.indexOf('\r\n\r\n');
      if (at < 0) return;
      body = this.#head.slice(at + 4);
      this.#head = this.#head.slice(0, at);
      const length = /content-length: *(\d+)/i.exec(this.#head)?.[1];
      this.#left = length === undefined ? null : Number(length);
    }
    const isGood = this.#head.startsWith('HTTP/1.1 200');
    if (!isGood || (load.firstEvent !== null && this.#first === undefined)) this.#text += body;
    if (load.firstEvent !== null && this.#first === undefined && this.#text.includes(load.firstEvent))
      this.#first = performance.now() - this.#started;
    if (this.#left !== null) this.#left -= body.length;
    if (this.#left === null ? !body.endsWith('0\r\n\r\n') : this.#left > 0) return;
    const isWhole = load.firstEvent === null || this.#first !== undefined;
    this.#end(isGood && isWhole ? null : `${this.#head.slice(0, 40)} ${this.#text}`);
  }

  #end(failure: string | null): void {
    if (failure === null) {
      took.push(performance.now() - this.#started);
      if (this.#first !== undefined) firstTokens.push(this.#first);
    } else {
      failed += 1;
      firstFailure ??= failure.slice(0, 500);
    }
    this.#ended?.();
    this.#ended = null;
  }
}

await Promise.all(
  Array.from({ length: load.connections }, async (_, number) => {
    const connection = new Connection(number);
    if (load.apartMs > 0) await sleep(number * load.apartMs);
    while (performance.now() < end && sent < load.requests) {
      const path = load.paths[sent % load.paths.length];
      sent += 1;
      await connection.once(path);
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
