import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { Command } from '@commander-js/extra-typings';
import { forgetAccount, storeAccount } from '../account.ts';
import { type Cli, clientOf, readAll } from '../cli.ts';
import { CliFailure, exit } from '../failure.ts';
import type { Terminal } from '../terminal.ts';

export function loginCommand({ terminal, screen, said, account }: Cli) {
  return new Command('login')
    .description('Sign in with an API token, which is asked for, or read from a pipe')
    .addHelpText(
      'after',
      `
Make a token on the account page, or ask an operator for one. It is tried, and kept for this user alone.
PRPM_URL and PRPM_TOKEN, where they are set, come before what is kept.

Examples:
  prpm-playground login --url https://playground.example.com
  pass show prpm | prpm-playground login --url https://playground.example.com`,
    )
    .action(async () => {
      const { environment } = terminal;
      const url = said.url ?? account().url;
      if (url === undefined) throw new CliFailure('Which server? Say --url https://…', exit.usage);
      const token = (await readToken(terminal, url)).trim();
      if (token === '') throw new CliFailure('There was no token.', exit.usage);
      const me = await clientOf(url, token).api.accounts.me.query();
      const file = storeAccount(environment, { url, token });
      screen.tell(`Signed in to ${url} as ${me.username}${me.email === null ? '' : ` (${me.email})`}.`);
      screen.tell(`The token may ${me.scopes.join(', ')}. It is kept in ${file}`);
    });
}

export function logoutCommand({ terminal, screen }: Cli) {
  return new Command('logout')
    .description('Forget the token that login kept; it stays good until it is revoked')
    .action(() => {
      forgetAccount(terminal.environment);
      screen.tell('Signed out here.');
    });
}

/** Pasted where a person sits, without being shown; else all of stdin. */
async function readToken({ stdin, stderr }: Terminal, url: string): Promise<string> {
  if (stdin.isTTY !== true) return readAll(stdin);
  stderr.write(`API token for ${url} (it is not shown): `);
  const nowhere = new Writable({ write: (_, __, done) => done() });
  const lines = createInterface({ input: stdin, output: nowhere, terminal: true });
  try {
    return await lines.question('');
  } finally {
    lines.close();
    stderr.write('\n');
  }
}
