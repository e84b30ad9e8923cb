import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from '@commander-js/extra-typings';
import type { Ask } from '../../src/client/index.ts';
import { readAll, wholeNumber } from '../cli.ts';
import { CliFailure, exit } from '../failure.ts';
import type { Terminal } from '../terminal.ts';

export type AskOptions = {
  package?: string;
  packageVersion?: string;
  input?: string;
  model?: string;
  session?: string;
  baseline?: true;
  custom?: string;
  promptFile?: string;
  maxOutputTokens?: number;
  temperature?: number;
  dropOldest?: true;
};

/** A command that says what is to be run. */
export function askCommand(name: string) {
  return new Command(name)
    .argument('[input...]', 'what to run it on; left out, it is read from a pipe')
    .option('-p, --package <name>', 'name or id of a package')
    .option('-v, --package-version <version>', 'one of its versions, instead of the newest')
    .option('--input <text>', 'the input, where arguments are inconvenient')
    .option('-m, --model <alias>', 'a model, as prpm-playground models lists them')
    .option('-s, --session <id>', 'go on in a session, with its package and model')
    .option('--baseline', "without the package's prompt, to see what that does")
    .option('--custom <prompt>', 'your own prompt in place of a package (verified authors)')
    .option('--prompt-file <file>', 'the same, from a file')
    .option('--max-output-tokens <n>', 'the longest answer that you want', wholeNumber(1, 1_000_000))
    .option('--temperature <n>', 'from 0 to 2', temperature)
    .option('--drop-oldest', 'leave the oldest exchanges of a long conversation out, so that the answer has room');
}

function temperature(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 2)) throw new InvalidArgumentError('Say a number from 0 to 2.');
  return value;
}

export function askOf(options: AskOptions, input: string): Ask {
  const prompts = [options.package, options.session, options.custom, options.promptFile].filter(Boolean);
  if (prompts.length === 0) {
    throw new CliFailure(
      'Which package? Say -p NAME, or -s SESSION to go on in one.',
      exit.usage,
      'prpm-playground packages search',
    );
  }
  if (options.custom !== undefined && options.promptFile !== undefined)
    throw new CliFailure('Say --custom or --prompt-file, not both.', exit.usage);
  const customPrompt = options.promptFile === undefined ? options.custom : promptIn(options.promptFile);
  return {
    ...{ input, packageId: options.package, packageVersion: options.packageVersion, sessionId: options.session },
    ...{ model: options.model, useNoPrompt: options.baseline, customPrompt },
    ...{ maxOutputTokens: options.maxOutputTokens, temperature: options.temperature, dropOldest: options.dropOldest },
  };
}

type GoneOn = Pick<Ask, 'packageId' | 'packageVersion' | 'sessionId'>;

/** The same in the session that it has by now, which knows its package. */
export function goingOn<T extends GoneOn>(ask: T, sessionId: string | undefined): T {
  return sessionId === undefined ? ask : { ...ask, packageId: undefined, packageVersion: undefined, sessionId };
}

function promptIn(file: string): string {
  try {
    return readFileSync(pathOf(file), 'utf8');
  } catch (error) {
    throw new CliFailure(`--prompt-file ${file} cannot be read: ${String(error)}`, exit.usage);
  }
}

/** `npm run cli` changes to the project's folder, and says where the person was. */
export function pathOf(path: string): string {
  const { INIT_CWD: from, npm_lifecycle_event: script } = process.env;
  return resolve(script === 'cli' && from ? from : '.', path);
}

/** The input from arguments, --input or a pipe; undefined where a person would have to type it. */
export async function readInput(
  { stdin }: Terminal,
  words: string[],
  { input }: AskOptions,
): Promise<string | undefined> {
  if (input !== undefined) return input;
  if (words.length > 0 && !(words.length === 1 && words[0] === '-')) return words.join(' ');
  return stdin.isTTY === true ? undefined : readAll(stdin);
}

export const noInput = () => new CliFailure('What is it to be run on? Say it, or send it through a pipe.', exit.usage);
