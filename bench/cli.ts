// The command line against the server's wire: when the first word of an answer arrives, and when it is printed.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { median, startDatabase } from './database.ts';
import { startProcess } from './http.ts';
import type { Length, Report } from './report.ts';

const main = join(import.meta.dirname, '../cli/main.ts');

/** cli_first_word_*: from the first delta's bytes, as the server sent them, to the word on stdout. cli_start: before that. */
export async function measureCli(report: Report, { quick }: Length): Promise<void> {
  const database = await startDatabase(1);
  const processes: ChildProcess[] = [];
  const wires: { close(): void }[] = [];
  try {
    const [made] = await database.sql<{ token: string }[]>`
      select token from ops.create_token(bench_user(1)::text, 'bench', reason => 'bench')`;
    const start = async (file: string, args: string[], environment: NodeJS.ProcessEnv = {}) => {
      const started = await startProcess(file, args, environment);
      processes.push(started.process);
      return started;
    };
    const provider = await start('sandbox/providers/start.ts', ['--first-token-ms', '400', '--token-ms', '25']);
    const server = await start('src/main.ts', [], {
      ...{ APP_DATABASE_URL: database.appUrl, PORT: '0', HOST: '127.0.0.1', LOG_LEVEL: 'info' }, // it says where it listens
      ...{ ANTHROPIC_API_KEY: 'sandbox', ANTHROPIC_BASE_URL: provider.url },
    });
    const wire = await openWire(server.url);
    wires.push(wire);
    const environment = { PRPM_URL: wire.url, PRPM_TOKEN: made?.token ?? '' };
    const runs: Awaited<ReturnType<typeof runOnce>>[] = [];
    for (let run = 0; run < (quick ? 8 : 40); run++) {
      const measured = await runOnce(wire, environment);
      if (run > 1) runs.push(measured); // as a server is that did not start this second
    }
    const words = runs.map(({ word }) => word).sort((a, b) => a - b);
    report('cli_first_word_p50_ms', median(words), `ms after the server's first delta, ${words.length} runs`);
    report('cli_first_word_max_ms', words.at(-1) ?? 0, 'ms');
    const asked = runs.map(({ asked }) => asked);
    report('cli_start_ms', median(asked), 'ms from the start of the process to its first request, not in the above');
  } finally {
    for (const wire of wires) wire.close();
    for (const process of processes) process.kill('SIGKILL');
    await database.stop();
  }
}

type Wire = Awaited<ReturnType<typeof openWire>>;

/** Milliseconds: from start to the first request, and from the first delta on the wire to the first byte printed. */
async function runOnce(wire: Wire, environment: NodeJS.ProcessEnv): Promise<{ asked: number; word: number }> {
  const seen = wire.watch();
  const began = performance.now();
  const child = spawn(process.execPath, [main, 'run', '-p', 'bench', 'Please look at this.'], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed: number | undefined;
  let said = '';
  child.stdout.on('data', () => {
    printed ??= performance.now();
  });
  child.stderr.on('data', (piece) => (said += piece));
  const [code] = await once(child, 'close');
  const { request, delta } = seen;
  if (code !== 0 || printed === undefined || request === undefined || delta === undefined)
    throw new Error(`the command line ended with ${code}: ${said}`);
  return { asked: request - began, word: printed - delta };
}

/** A way to the server that notes when a first request and a first delta pass. */
async function openWire(url: string) {
  const { hostname, port } = new URL(url);
  let seen: { request?: number; delta?: number } = {};
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ host: hostname, port: Number(port), noDelay: true });
    let tail = '';
    near.on('data', (bytes) => {
      seen.request ??= performance.now();
      far.write(bytes);
    });
    far.on('data', (bytes) => {
      near.write(bytes);
      tail = `${tail.slice(-20)}${bytes.toString('latin1')}`;
      if (tail.includes('output.delta')) seen.delta ??= performance.now();
    });
    for (const [end, other] of [
      [near, far],
      [far, near],
    ] as const)
      end.on('error', () => {}).once('close', () => other.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    watch: () => {
      seen = {};
      return seen;
    },
    close: () => server.close(),
  };
}
