import { Command, Option } from '@commander-js/extra-typings';
import { type Cli, wholeNumber } from '../cli.ts';
import { credits, moment, shorten } from '../terminal.ts';
import { receiptLine, refuseAbove } from './receipt.ts';

const formats = ['markdown', 'json'] as const;

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
  prpm-playground sessions show SESSION
  prpm-playground sessions export SESSION > session.md`,
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
        screen.more(nextCursor);
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
  command
    .command('export')
    .description('One as a file, whole: to stdout')
    .argument('<session>')
    .addOption(new Option('-f, --format <format>', 'how it is written').choices(formats).default('markdown' as const))
    .action(async (sessionId, { format }) => {
      const { sessions } = cli.connect().api;
      let cursor: string | null = null;
      do {
        const piece: { content: string; nextCursor: string | null } = await sessions.export.query({
          ...{ sessionId, format, cursor },
        });
        screen.write(piece.content);
        cursor = piece.nextCursor;
      } while (cursor !== null);
    });
  command
    .command('fork')
    .description('Copy a shared one, to go on with on your own credits')
    .argument('<link>', 'the link, or the token at its end')
    .action(async (link) => {
      const shareToken =
        link
          .replace(/[/?#]+$/, '')
          .split('/')
          .at(-1) ?? '';
      cli.answer(await cli.connect().api.sessions.fork.mutate({ shareToken }), ({ sessionId, exchangeCount }) => {
        screen.line(sessionId);
        screen.note(`${exchangeCount} exchange${exchangeCount === 1 ? '' : 's'}. Go on with run -s ${sessionId}`);
      });
    });
  command
    .command('summarise')
    .description('Have the model sum one up; the conversation goes on from that')
    .argument('<session>')
    .option('-m, --model <alias>', 'a model, instead of that of its newest run')
    .option('--max-credits <n>', 'do not begin what may cost more', wholeNumber(1, 1_000_000_000))
    .action(async (sessionId, { model, maxCredits }) => {
      const { runs } = cli.connect().api;
      const ask = { sessionId, model };
      const { creditsMost } = await runs.estimateSummary.mutate(ask);
      refuseAbove(maxCredits, creditsMost);
      if (!cli.said.json && creditsMost !== null) screen.note(`at most ${credits(creditsMost)}`);
      cli.answer(await runs.summarise.mutate(ask), (receipt) => {
        screen.write(`${receipt.response}\n`);
        screen.note(receiptLine(receipt));
      });
    });
  return command;
}

export function shareCommand(cli: Cli) {
  const { screen } = cli;
  return new Command('share')
    .description('A link to a conversation, which anybody may read')
    .argument('<session>')
    .option('-c, --comparison', 'it is a comparison: one link for all its sides')
    .option('--off', 'end the link, at once')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground share SESSION
  prpm-playground share SESSION --off
  prpm-playground share --comparison COMPARISON`,
    )
    .action(async (id, { off, comparison }) => {
      const { sessions, runs } = cli.connect().api;
      const shared = comparison ? runs.comparisons : sessions;
      const isOf = { sessionId: id, comparisonId: id };
      if (off) {
        const ended = await shared.unshare.mutate(isOf);
        return cli.answer(ended, () => screen.line(ended.ended ? 'Its link has ended.' : 'It was not shared.'));
      }
      const share = await shared.share.mutate(isOf);
      cli.answer(share, ({ shareUrl }) => screen.line(shareUrl));
    });
}
