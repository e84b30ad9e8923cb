import type { Cli } from '../cli.ts';
import { credits } from '../terminal.ts';
import { askCommand, askOf, noInput, readInput } from './ask.ts';

export function estimateCommand(cli: Cli) {
  const { screen } = cli;
  return askCommand('estimate')
    .description('What a run would cost, and whether it would be let in; nothing is run')
    .addHelpText(
      'after',
      `
Examples:
  prpm-playground estimate -p code-review "if (retries = 3) retry(job)"
  git diff | prpm-playground estimate -p code-review -m opus --json`,
    )
    .action(async (words, options) => {
      const input = await readInput(cli.terminal, words, options);
      if (input === undefined) throw noInput();
      const estimate = await cli.connect().api.runs.estimate.mutate(askOf(options, input));
      cli.answer(estimate, ({ refusal, ...shown }) => {
        const range = (least: number | null, likely: number | null, most: number | null, unit: string) =>
          likely === null ? null : `${likely} likely, ${least} to ${most} ${unit}`;
        screen.pairs([
          ['credits', range(shown.creditsLeast, shown.creditsLikely, shown.creditsMost, '')?.trim()],
          ['tokens', range(shown.tokensInput, shown.tokensLikely, shown.tokensMost, '')?.trim()],
          ['model', shown.model],
          ['version', shown.packageVersion],
          ['balance', `${credits(shown.balance)}${shown.canAfford ? '' : ', not enough'}`],
          ['refused', refusal === null ? null : `${refusal.message} (${refusal.code})`],
        ]);
      });
    });
}
