import { createInterface } from 'node:readline';
import {
  type Ask,
  type CompareAsk,
  type PlaygroundClient,
  PlaygroundError,
  type Receipt,
} from '../../src/client/index.ts';
import { type Cli, interruptible, wholeNumber } from '../cli.ts';
import { CliFailure, exit } from '../failure.ts';
import { credits } from '../terminal.ts';
import { askCommand, askOf, goingOn, noInput, readInput } from './ask.ts';
import { compareOf, compareOnce, sides } from './compare.ts';
import { above, chargeLine, receiptLine, refuseAbove, startProgress } from './receipt.ts';

export function runCommand(cli: Cli) {
  return askCommand('run')
    .description('Run a package; the answer comes as it is made')
    .option('--max-credits <n>', 'do not begin what may cost more', wholeNumber(1, 1_000_000_000))
    .option('-i, --interactive', 'a conversation: each line goes on with it, exit ends it')
    .option('-c, --compare', 'beside it, the same without the prompt, or what --against says')
    .option(
      '--against <side>',
      'compare with model:ALIAS, PACKAGE, PACKAGE@VERSION or baseline; up to three times',
      sides,
    )
    .addHelpText(
      'after',
      `
The answer goes to stdout, everything else to stderr. Ctrl-C stops the run; what was made by then is charged.

Examples:
  prpm-playground run -p code-review "for (let i = 0; i <= list.length; i++) send(list[i])"
  git diff | prpm-playground run -p code-review -m gpt-4o --max-credits 4 > review.md
  prpm-playground run -p code-review -i
  prpm-playground run -p code-review --compare "if (retries = 3) retry(job)"
  prpm-playground run -p code-review --against model:opus --against baseline "if (retries = 3) retry(job)"
  prpm-playground run --prompt-file prompt.md --json "Summarize: …"`,
    )
    .action(async (words, options) => {
      const against = options.against ?? (options.compare ? ['baseline'] : []);
      if (options.interactive) {
        const first = askOf(options, '');
        const exchange =
          against.length === 0
            ? conversation(cli, first, options.maxCredits)
            : comparedConversation(cli, compareOf(first, against), options.maxCredits);
        return converse(cli, exchange, words);
      }
      const input = await readInput(cli.terminal, words, options);
      if (input === undefined) throw noInput();
      const ask = askOf(options, input);
      const client = cli.connect();
      if (cli.account().token === undefined) {
        if (against.length === 0) return runAsVisitor(cli, client, ask);
        throw new CliFailure('Sign in to compare.', exit.error, 'prpm-playground login');
      }
      using stopping = interruptible(cli.terminal);
      if (against.length > 0) {
        const asked = compareOf(ask, against);
        const { comparisonId, exitCode } = await compareOnce(cli, client, asked, options.maxCredits, stopping.signal);
        if (cli.said.json) cli.screen.json(await client.api.runs.comparisons.read.query({ comparisonId }));
        if (exitCode !== exit.done) throw new CliFailure('', exitCode);
      } else {
        const { receipt, text } = await runOnce(cli, client, ask, options.maxCredits, stopping.signal);
        if (cli.said.json) cli.screen.json({ ...receipt, response: text });
      }
      if (stopping.signal.aborted) throw new CliFailure('', exit.interrupted);
    });
}

type Done = { receipt: Receipt; text: string };

/** Runs, prints the answer as it comes, and what it cost. */
async function runOnce(
  { screen, said }: Cli,
  client: PlaygroundClient,
  ask: Ask,
  maxCredits: number | undefined,
  signal: AbortSignal,
): Promise<Done> {
  if (maxCredits !== undefined) refuseAbove(maxCredits, (await client.api.runs.estimate.mutate(ask)).creditsMost);
  const progress = startProgress(screen.showsProgress && !said.json, screen.note);
  const tooMuch = new AbortController();
  const started = ({ model, packageVersion, holdCredits }: Parameters<NonNullable<RunStart>>[0]) => {
    if (maxCredits !== undefined && (holdCredits ?? 0) > maxCredits) tooMuch.abort();
    const what = [model, ...(packageVersion ? [`version ${packageVersion}`] : [])].join(', ');
    progress.say(`${what}, at most ${credits(holdCredits ?? 0)}`);
  };
  let text = '';
  let receipt: Receipt | undefined;
  try {
    const parts = client.run(ask, { signal: AbortSignal.any([signal, tooMuch.signal]), onStart: started });
    for await (const part of parts) {
      progress.end();
      if (part.type === 'receipt') receipt = part.receipt;
      else {
        text += part.text;
        if (!said.json) screen.write(part.text);
      }
    }
  } catch (error) {
    if (text !== '' && !said.json) screen.line();
    const failed = error instanceof PlaygroundError ? error.receipt : null;
    if (failed !== null) screen.note(chargeLine(failed));
    throw error;
  } finally {
    progress.end();
  }
  if (receipt === undefined) throw new CliFailure('The run ended without a receipt.');
  if (!said.json && text !== '' && !text.endsWith('\n')) screen.line();
  if (tooMuch.signal.aborted) throw above(maxCredits ?? 0, null);
  screen.note(receiptLine(receipt));
  return { receipt, text };
}

type RunStart = NonNullable<Parameters<PlaygroundClient['run']>[1]>['onStart'];

/** One line of a conversation: what it was charged. Each goes on from the one before. */
type Exchange = (line: string, signal: AbortSignal) => Promise<number>;

function conversation(cli: Cli, first: Ask, maxCredits: number | undefined): Exchange {
  const client = cli.connect();
  let ask = first;
  return async (line, signal) => {
    const { receipt } = await runOnce(cli, client, { ...ask, input: line }, maxCredits, signal);
    ask = goingOn(first, receipt.sessionId);
    return receipt.creditsSpent;
  };
}

/** Each line goes to all sides, each of which has a session of its own. */
function comparedConversation(cli: Cli, first: CompareAsk, maxCredits: number | undefined): Exchange {
  const client = cli.connect();
  let ask = first;
  return async (line, signal) => {
    const { spent, sessions } = await compareOnce(cli, client, { ...ask, input: line }, maxCredits, signal);
    ask = { ...ask, sides: ask.sides.map((side, place) => goingOn(side, sessions[place])) };
    return spent;
  };
}

/** Each line is run. A refusal does not end the conversation. */
async function converse(cli: Cli, exchange: Exchange, words: string[]): Promise<void> {
  const { terminal, screen } = cli;
  const [isTyped, prompt] = [terminal.stdin.isTTY === true, screen.style('bold', '> ')];
  const lines = createInterface({ input: terminal.stdin, output: isTyped ? terminal.stderr : undefined, prompt });
  const total = { runs: 0, credits: 0 };
  let isRunning = false;
  // A terminal's Ctrl-C is the line editor's first.
  lines.on('SIGINT', () => (isRunning ? process.emit('SIGINT') : lines.close()));
  const say = async (line: string) => {
    isRunning = true;
    try {
      using stopping = interruptible(terminal);
      total.credits += await exchange(line, stopping.signal);
      total.runs += 1;
    } catch (error) {
      if (!isTyped) throw error; // a script is not to go on with what it does not know of
      cli.report(error);
    } finally {
      isRunning = false;
    }
  };
  if (words.length > 0) await say(words.join(' '));
  if (isTyped) {
    screen.note('A line goes on with the conversation; exit ends it.');
    lines.prompt();
  }
  for await (const line of lines) {
    const text = line.trim();
    if (text === 'exit' || text === 'quit') break;
    if (text !== '') await say(text);
    if (isTyped) lines.prompt();
  }
  lines.close();
  screen.note(`${total.runs} run${total.runs === 1 ? '' : 's'}, ${credits(total.credits)}`);
}

/** Once a month without an account, on the model that visitors get. */
async function runAsVisitor({ screen, said }: Cli, { api }: PlaygroundClient, ask: Ask): Promise<void> {
  if (!ask.packageId) throw new CliFailure('Sign in for this.', exit.error, 'prpm-playground login');
  const { packageId, packageVersion, input } = ask;
  const answer = await api.runs.anonymous.mutate({ packageId, packageVersion, input });
  if (said.json) return screen.json(answer);
  screen.write(`${answer.response}\n`);
  screen.note(`${answer.tokensUsed ?? 0} tokens on ${answer.model}, free of charge. ${answer.message}`);
}
