import { Command } from '@commander-js/extra-typings';
import { type Cli, wholeNumber } from '../cli.ts';
import { credits, moment, shorten } from '../terminal.ts';

export function sessionsCommand(cli: Cli) {
  const { screen } = cli;
  const command = new Command('sessions')
    .description('Conversations, newest first; with words, those that they are found in')
    .argument('[words...]', 'words of the texts; also model:alias, package:name, cost:>n, -word')
    .option('-l, --limit <n>', 'how many', wholeNumber(1, 100), 10)
    .option('--cursor <cursor>', 'where the list before ended')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground sessions "package:code-review cost:>2 cache"
  prpm-playground sessions show SESSION`,
    )
    .action(async (words, { limit, cursor }) => {
      const query = words.length === 0 ? undefined : words.join(' ');
      const page = await cli.connect().api.sessions.list.query({ query, limit, cursor });
      cli.answer(page, ({ sessions, nextCursor }) => {
        screen.table(
          ['session', 'last run', 'package', 'model', 'runs', 'credits', 'title'],
          sessions.map((one) => [
            ...[one.id, moment(one.lastRunAt), one.packageName, one.model, one.runCount, one.creditsSpent],
            shorten(one.title ?? '', 60),
          ]),
        );
        if (nextCursor !== null) screen.note(`More: --cursor ${nextCursor}`);
      });
    });
  command
    .command('show')
    .description('What was said in one')
    .argument('<session>')
    .action(async (sessionId) => {
      cli.answer(await cli.connect().api.sessions.read.query({ sessionId }), (session) => {
        const { title, packageName, packageVersion, exchanges, creditsSpent } = session;
        screen.line(screen.style('bold', title ?? sessionId));
        screen.note(`${packageName} ${packageVersion}, ${credits(creditsSpent)}`);
        for (const { question, answer, model, creditsSpent: spent } of exchanges) {
          screen.line();
          screen.write(`${screen.style('bold', '>')} ${question}\n\n${answer}\n`);
          screen.note(`${model}, ${credits(spent)}`);
        }
      });
    });
  command
    .command('rename')
    .description('Give one a title')
    .argument('<session>')
    .argument('<title>')
    .action(async (sessionId, title) => {
      const renamed = await cli.connect().api.sessions.rename.mutate({ sessionId, title });
      cli.answer(renamed, () => screen.line(`Renamed: ${renamed.title}`));
    });
  command
    .command('delete')
    .description('Delete one with its texts; what was charged stays in the history')
    .argument('<session>')
    .action(async (sessionId) => {
      const deleted = await cli.connect().api.sessions.delete.mutate({ sessionId });
      cli.answer(deleted, ({ message }) => screen.line(`${message}.`));
    });
  return command;
}

export function shareCommand(cli: Cli) {
  const { screen } = cli;
  return new Command('share')
    .description('A link to a conversation, which anybody may read')
    .argument('<session>')
    .option('--off', 'end the link, at once')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground share SESSION
  prpm-playground share SESSION --off`,
    )
    .action(async (sessionId, { off }) => {
      const { sessions } = cli.connect().api;
      if (off) {
        const ended = await sessions.unshare.mutate({ sessionId });
        return cli.answer(ended, () => screen.line(ended.ended ? 'Its link has ended.' : 'It was not shared.'));
      }
      cli.answer(await sessions.share.mutate({ sessionId }), ({ shareUrl }) => screen.line(shareUrl));
    });
}
