// A demo in a directory of its own, started as a newcomer starts it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openHome } from '../../sandbox/demo/home.ts';

export const root = resolve(import.meta.dirname, '../..');
/** The guides' commands use it. */
export const hasCurl = spawnSync('curl', ['--version'], { stdio: 'ignore' }).status === 0;

export type Demo = {
  /** Process id of npm, which leads a process group. */
  pid: number;
  /** What it has printed so far. */
  output(): string;
  /** The variables of DIR/env. */
  env: Record<string, string>;
  /** Ctrl-C, as a terminal sends it: to npm and everything under it. Resolves to the exit code when all of it is over. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
};

export function demoDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'prpm-demo-'));
}

export function removeDemo(directory: string): void {
  openHome(directory).clear();
  rmSync(directory, { recursive: true, force: true });
}

/** `npm run demo -- --dir DIRECTORY`, until DIRECTORY/env is there. Throws what it printed if it ends before. */
export async function startDemo(
  directory: string,
  args: string[] = [],
  variables: NodeJS.ProcessEnv = {},
): Promise<Demo> {
  const env = join(directory, 'env');
  rmSync(env, { force: true }); // one that was killed outright left it
  const child = runDemo(directory, args, variables);
  let printed = '';
  child.stdout?.on('data', (chunk) => (printed += chunk));
  child.stderr?.on('data', (chunk) => (printed += chunk));
  const closed = once(child, 'close');
  while (!existsSync(env)) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`the demo ended:\n${printed}`);
    await sleep(20);
  }
  const pid = child.pid ?? 0;
  return {
    pid,
    output: () => printed,
    env: readEnv(env),
    async stop(signal = 'SIGINT') {
      if (child.exitCode === null && child.signalCode === null) process.kill(-pid, signal);
      await closed;
      return child.exitCode;
    },
  };
}

/** One that is not expected to become ready: its exit code and what it printed. */
export async function failDemo(directory: string, args: string[] = [], variables: NodeJS.ProcessEnv = {}) {
  const child = runDemo(directory, args, variables);
  let printed = '';
  child.stdout?.on('data', (chunk) => (printed += chunk));
  child.stderr?.on('data', (chunk) => (printed += chunk));
  await once(child, 'close');
  return { code: child.exitCode, output: printed };
}

/** `npm run demo:scale -- --dir DIRECTORY`, to its end: its exit code and what it printed. `demo` knows its new variables then. */
export async function scaleDemo(directory: string, args: string[] = [], demo?: Demo) {
  const child = runCommand('demo:scale', ['--dir', directory, ...args], {});
  let output = '';
  child.stdout?.on('data', (chunk) => (output += chunk));
  child.stderr?.on('data', (chunk) => (output += chunk));
  await once(child, 'close');
  if (demo !== undefined) demo.env = readEnv(join(directory, 'env'));
  return { code: child.exitCode, output };
}

/** Opens the page of a checkout in the demo, as a person does, and presses a button. Returns where that leads. */
export async function payAt(checkoutUrl: string, button = 'pay'): Promise<string | null> {
  const page = await (await fetch(checkoutUrl)).text();
  if (!page.includes('<form method="post">') || !page.includes(`name="action" value="${button}"`)) {
    throw new Error(`no button "${button}" at ${checkoutUrl}:\n${page}`);
  }
  const body = new URLSearchParams({ action: button });
  const pressed = await fetch(checkoutUrl, { method: 'POST', body, redirect: 'manual' });
  return pressed.headers.get('location');
}

function runDemo(directory: string, args: string[], variables: NodeJS.ProcessEnv): ChildProcess {
  return runCommand('demo', ['--dir', directory, '--port', '0', ...args], variables);
}

function runCommand(name: string, args: string[], variables: NodeJS.ProcessEnv): ChildProcess {
  const { DATABASE_URL: _, ...inherited } = process.env;
  return spawn('npm', ['run', '--silent', name, '--', ...args], {
    cwd: root,
    env: { ...inherited, ...variables },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

function readEnv(path: string): Record<string, string> {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  return Object.fromEntries(lines.map((line) => /^export (\w+)='(.*)'$/.exec(line)?.slice(1) ?? ['', line]));
}
