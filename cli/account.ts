import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { CliFailure, exit } from './failure.ts';

/** Which server, and as whom. */
export type Account = { url: string; token: string };

type Environment = NodeJS.ProcessEnv;

/** PRPM_URL and PRPM_TOKEN, where they are set, come before what login stored. */
export function findAccount(environment: Environment): Partial<Account> {
  const { PRPM_URL: url, PRPM_TOKEN: token } = environment;
  if (url && token) return { url, token };
  const stored = readAccount(environment);
  // A token is for one server: what is stored goes to no other.
  if (url && stored?.url !== url) return { url, ...(token && { token }) };
  return { ...stored, ...(token && { token }) };
}

function accountFile(environment: Environment): string {
  const { XDG_CONFIG_HOME: xdg, APPDATA: windows } = environment;
  const base = xdg || (process.platform === 'win32' && windows) || join(environment.HOME || homedir(), '.config');
  return join(base, 'prpm-playground', 'account.json');
}

function readAccount(environment: Environment): Account | undefined {
  let text: string;
  try {
    text = readFileSync(accountFile(environment), 'utf8');
  } catch {
    return undefined;
  }
  try {
    const { url, token }: Record<string, unknown> = JSON.parse(text);
    if (typeof url !== 'string' || typeof token !== 'string') throw new TypeError('no account');
    return { url, token };
  } catch {
    throw new CliFailure(`${accountFile(environment)} cannot be read.`, exit.error, 'prpm-playground login --url URL');
  }
}

/** For its owner's eyes alone, from its first byte. */
export function storeAccount(environment: Environment, account: Account): string {
  const file = accountFile(environment);
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${process.pid}`;
  writeFileSync(fresh, `${JSON.stringify(account, null, 2)}\n`, { mode: 0o600 });
  chmodSync(fresh, 0o600);
  renameSync(fresh, file);
  return file;
}

export function forgetAccount(environment: Environment): void {
  rmSync(accountFile(environment), { force: true });
}
