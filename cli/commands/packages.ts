import { Command } from '@commander-js/extra-typings';
import { type Cli, wholeNumber } from '../cli.ts';
import { moment } from '../terminal.ts';
import { publishCommand } from './publish.ts';

export function packagesCommand(cli: Cli) {
  const { screen } = cli;
  const command = new Command('packages')
    .description('Find packages, read about them, and publish your own')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground packages search review
  prpm-playground packages show code-review
  prpm-playground packages publish ./code-review`,
    );
  command
    .command('search')
    .description('Packages that have these words; all without')
    .argument('[words...]')
    .option('-l, --limit <n>', 'how many', wholeNumber(1, 100), 10)
    .option('--cursor <cursor>', 'where the list before ended')
    .action(async (words, { limit, cursor }) => {
      const query = words.join(' ');
      const page = await cli.connect().api.catalog.packages.search.query({ query, limit, cursor });
      cli.answer(page, ({ packages, nextCursor }) => {
        screen.table(
          ['package', 'version', 'by', 'description'],
          packages.map(({ name, latestVersion, author, description }) => [name, latestVersion, author, description]),
        );
        screen.more(nextCursor);
      });
    });
  command
    .command('show')
    .description('Versions of a package, and inputs to try')
    .argument('<package>', 'name or id')
    .action(async (packageId) => {
      cli.answer(await cli.connect().api.catalog.packages.read.query({ packageId }), (found) => {
        screen.pairs([
          ['package', found.name],
          ['id', found.id],
          ['about', found.description],
          ['by', [found.author, found.organization].filter((name) => name !== null).join(' of ')],
          ['seen by', found.visibility],
          ['tags', found.tags.join(', ') || null],
        ]);
        screen.line();
        screen.table(
          ['version', 'since', 'tokens', 'changes'],
          found.versions.map(({ version, createdAt, tokens, changelog }) => [
            ...[version, moment(createdAt), tokens.o200kBase, changelog],
          ]),
        );
        if (found.suggestedInputs.length === 0) return;
        screen.line();
        screen.table(
          ['input to try', 'difficulty', 'model', 'about'],
          found.suggestedInputs.map((one) => [one.title, one.difficulty, one.recommendedModel, one.description]),
        );
      });
    });
  command.addCommand(publishCommand(cli));
  return command;
}

export function modelsCommand(cli: Cli) {
  const { screen } = cli;
  return new Command('models').description('Models, and how many times the credits each takes').action(async () => {
    cli.answer(await cli.connect().api.catalog.models.query(), ({ models }) =>
      screen.table(
        ['model', 'credits', 'at the provider', 'context', ''],
        models.map((one) => [
          ...[one.alias, `x${one.creditMultiplier}`, one.providerModel, one.contextTokens],
          one.isDefault ? 'the default' : one.priced ? '' : 'has no price now',
        ]),
      ),
    );
  });
}
