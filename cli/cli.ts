import { InvalidArgumentError } from '@commander-js/extra-typings';
import { createPlaygroundClient, type PlaygroundClient } from '../src/client/index.ts';
import { type Account, findAccount } from './account.ts';
import { CliFailure, type ExitCode, exit, explain } from './failure.ts';
import { openScreen, type Terminal } from './terminal.ts';

/** What every command works with. */
export type Cli = ReturnType<typeof openCli>;

export function openCli(terminal: Terminal) {
  const screen = openScreen(terminal);
  /** What was said before the command's name, or after it. */
  const said: { url?: string | undefined; json: boolean; options: Set<string> } = { json: false, options: new Set() };

  function account(): Partial<Account> {
    const environment = { ...terminal.environment, ...(said.url !== undefined && { PRPM_URL: said.url }) };
    return findAccount(environment);
  }

  function connect(): PlaygroundClient {
    const { url, token } = account();
    if (url === undefined)
      throw new CliFailure('Which server? Nobody has signed in here.', exit.error, 'prpm-playground login');
    return clientOf(url, token);
  }

  return {
    terminal,
    screen,
    said,
    account,
    connect,
    /** Says what went wrong and what to do. */
    report(error: unknown): ExitCode {
      const { message, details, exitCode } = explain(error, said.options);
      if (message !== '') screen.fail(message); // the receipt has said that it was stopped
      for (const detail of details) screen.tell(`  ${detail}`);
      return exitCode;
    },
    /** An answer: as it came for --json, else as `show` prints it. */
    answer<T>(value: T, show: (value: T) => void): void {
      if (said.json) screen.json(value);
      else show(value);
    },
  };
}

export function clientOf(url: string, token?: string): PlaygroundClient {
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new CliFailure(
      `"${url}" is no URL of a server: write it out, as https://playground.example.com.`,
      exit.usage,
    );
  }
  return createPlaygroundClient({ url, token });
}

/** Parses an option's value; commander says which option it was. */
export function wholeNumber(least: number, most: number) {
  return (text: string): number => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`Say a whole number from ${least} to ${most.toLocaleString('en')}.`);
    return value;
  };
}

export async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  stream.setEncoding('utf8');
  for await (const piece of stream) text += piece;
  return text;
}

/** Aborted by Ctrl-C. A second one, a second later, ends at once: npm hands the first on twice. */
export function interruptible({ stdout }: Terminal): { signal: AbortSignal; [Symbol.dispose](): void } {
  const controller = new AbortController();
  let first: number | undefined;
  const interrupt = () => {
    first ??= Date.now();
    if (Date.now() - first > 1_000) process.exit(exit.interrupted);
    controller.abort();
  };
  const leave = () => controller.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt);
  stdout.once('error', leave); // whoever read the answer has gone
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupt);
      stdout.off('error', leave);
    },
  };
}
