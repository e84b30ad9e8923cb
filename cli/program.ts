import { createRequire } from 'node:module';
import { Command, CommanderError } from '@commander-js/extra-typings';
import { openCli } from './cli.ts';
import { adminCommand } from './commands/admin.ts';
import { completionCommand } from './commands/completion.ts';
import { buyCommand, creditsCommand, historyCommand, subscribeCommand } from './commands/credits.ts';
import { estimateCommand } from './commands/estimate.ts';
import { loginCommand, logoutCommand } from './commands/login.ts';
import { modelsCommand, packagesCommand } from './commands/packages.ts';
import { runCommand } from './commands/run.ts';
import { sessionsCommand, shareCommand } from './commands/sessions.ts';
import { exit } from './failure.ts';
import type { Terminal } from './terminal.ts';

/** Runs one command line. Returns the exit code. Spec 10.9. */
export async function runCli(args: string[], terminal: Terminal): Promise<number> {
  const cli = openCli(terminal);
  const { version }: { version: string } = createRequire(import.meta.url)('prpm-playground/package.json');
  const program = new Command('prpm-playground')
    .description('Runs prompt packages on language models, and shows what they cost')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'tell about a command')
    .helpCommand(false)
    .option('--url <url>', 'the server, instead of the one that login kept or PRPM_URL')
    .option('--json', 'answers as JSON, with all that there is')
    .configureHelp({ showGlobalOptions: true })
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
      getOutHelpWidth: () => Math.min(terminal.stdout.columns ?? 100, 100),
      getErrHelpWidth: () => Math.min(terminal.stderr.columns ?? 100, 100),
    })
    .hook('preAction', (_, command) => {
      const { url, json } = program.opts();
      cli.said.url = url?.replace(/\/+$/, '');
      cli.said.json = json === true;
      cli.said.options = new Set(command.options.flatMap(({ long }) => long ?? []));
    })
    .addHelpText(
      'after',
      `
Exit codes: 0 done, 1 error, 2 usage, 4 credits, 5 limits, 130 stopped by Ctrl-C.

Examples:
  prpm-playground login --url https://playground.example.com
  prpm-playground packages search review
  prpm-playground estimate -p code-review "if (retries = 3) retry(job)"
  git diff | prpm-playground run -p code-review --max-credits 4`,
    );
  const commands = [
    ...[loginCommand(cli), logoutCommand(cli), runCommand(cli), estimateCommand(cli), modelsCommand(cli)],
    ...[packagesCommand(cli), sessionsCommand(cli), shareCommand(cli)],
    ...[creditsCommand(cli), historyCommand(cli), buyCommand(cli), subscribeCommand(cli), adminCommand(cli)],
    completionCommand(cli, program),
  ];
  for (const command of commands) program.addCommand(command);
  inherit(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return exit.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.done : exit.usage;
    return cli.report(error);
  }
}

/** What is said once of the program holds for each command that was made apart from it. */
function inherit(command: Pick<Command, 'commands'>): void {
  for (const inner of command.commands) {
    inner.copyInheritedSettings(command as Command);
    inherit(inner);
  }
}
