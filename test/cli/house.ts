// The command line as a person or a script runs it: a process, its streams, its exit code.
import { type ChildProcess, spawn } from 'node:child_process';
import { resolve } from 'node:path';

const main = resolve(import.meta.dirname, '../../cli/main.ts');

type Ended = { code: number | null; out: string; err: string };
type Cli = { process: ChildProcess; ended: Promise<Ended> };

/** `prpm-playground ARGS`, with `stdin` in its pipe and nothing else in its environment than what is said. */
export function startCli(args: string[], environment: NodeJS.ProcessEnv, stdin = ''): Cli {
  const env = { PATH: process.env.PATH, TZ: 'UTC', HOME: '/nonexistent', ...environment };
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ['pipe', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (piece) => (out += piece));
  child.stderr.setEncoding('utf8').on('data', (piece) => (err += piece));
  child.stdin.on('error', () => {}); // it may not read any
  child.stdin.end(stdin);
  return {
    process: child,
    ended: new Promise((settle) => child.once('close', (code) => settle({ code, out, err }))),
  };
}
