import { createInterface } from 'node:readline';
import { type Ask, type PlaygroundClient, PlaygroundError, type Receipt } from '../../src/client/index.ts';
import { type Cli, interruptible, wholeNumber } from '../cli.ts';
import { CliFailure, exit } from '../failure.ts';
import { credits, seconds } from '../terminal.ts';
import { askCommand, askOf, noInput, readInput } from './ask.ts';

export function runCommand(cli: Cli) {
  return askCommand('run')
    .description('Run a package; the answer comes as it is made')
    .option('--max-credits <n>', 'do not begin what may cost more', wholeNumber(1, 1_000_000_000))
    .option('-i, --interactive', 'a conversation: each line goes on with it, exit ends it')
    .addHelpText(
      'after',
      `
The answer goes to stdout, everything else to stderr. Ctrl-C stops the run; what was made by then is charged.

Examples:
  prpm-playground run -p code-review "for (let i = 0; i <= list.length; i++) send(list[i])"
  git diff | prpm-playground run -p code-review -m gpt-4o --max-credits 4 > review.md
  prpm-playground run -p code-review -i
  prpm-playground run --prompt-file prompt.md --json "Summarize: …"`,
    )
    .action(async (words, options) => {
      if (options.interactive) return converse(cli, askOf(options, ''), words, options.maxCredits);
      const input = await readInput(cli.terminal, words, options);
      if (input === undefined) throw noInput();
      const ask = askOf(options, input);
      const client = cli.connect();
      if (cli.account().token === undefined) return runAsVisitor(cli, client, ask);
      using stopping = interruptible(cli.terminal);
      const { receipt, text } = await runOnce(cli, client, ask, options.maxCredits, stopping.signal);
      if (cli.said.json) cli.screen.json({ ...receipt, response: text });
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
  if (maxCredits !== undefined) await refuseAbove(client, ask, maxCredits);
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
    if (failed !== null) screen.note(failed.creditsSpent === 0 ? 'Not charged.' : receiptLine(failed));
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

async function refuseAbove({ api }: PlaygroundClient, ask: Ask, maxCredits: number): Promise<void> {
  const { creditsMost } = await api.runs.estimate.mutate(ask);
  if (creditsMost !== null && creditsMost > maxCredits) throw above(maxCredits, creditsMost);
}

function above(maxCredits: number, most: number | null): CliFailure {
  const cost = most === null ? 'more' : `up to ${credits(most)}, more`;
  return new CliFailure(
    `It may cost ${cost} than --max-credits ${maxCredits}. Nothing was run.`,
    exit.credits,
    'a shorter input, --max-output-tokens, a cheaper model, or a higher --max-credits',
  );
}

function receiptLine(receipt: Receipt): string {
  const { status, creditsSpent, creditsByKind, creditsRemaining, tokens, tokensUsed, durationMs, sessionId } = receipt;
  const kinds = Object.entries(creditsByKind).map(([kind, count]) => `${count} ${kind}`);
  const from = kinds.length === 0 ? '' : ` (${kinds.join(', ')})`;
  return [
    `${status === 'completed' ? '' : `${status}: `}${credits(creditsSpent)}${from}, ${creditsRemaining} left`,
    `${tokensUsed ?? 0} tokens (${tokens.output ?? 0} written${receipt.estimated ? ', counted by us' : ''})`,
    seconds(durationMs),
    `session ${sessionId}`,
  ].join(' · ');
}

/** One line that tells that something goes on, until the first word comes. Only where a person looks. */
function startProgress(isShown: boolean, note: (text: string) => void) {
  if (!isShown) return { say: note, end: () => {} };
  const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
  let [text, frame] = ['asking', 0];
  let timer: NodeJS.Timeout | undefined = setInterval(() => {
    frame = (frame + 1) % frames.length;
    process.stderr.write(`\r\u001b[K${frames[frame]} ${text}`);
  }, 100);
  return {
    say: (next: string) => {
      text = next;
    },
    end: () => {
      if (timer === undefined) return;
      clearInterval(timer);
      timer = undefined;
      process.stderr.write('\r\u001b[K');
    },
  };
}

/** Each line is a run that goes on in the same session. A refusal does not end the conversation. */
async function converse(cli: Cli, first: Ask, words: string[], maxCredits: number | undefined): Promise<void> {
  const { terminal, screen } = cli;
  const client = cli.connect();
  const [isTyped, prompt] = [terminal.stdin.isTTY === true, screen.style('bold', '> ')];
  const lines = createInterface({ input: terminal.stdin, output: isTyped ? terminal.stderr : undefined, prompt });
  let ask: Ask = first;
  const total = { runs: 0, credits: 0 };
  let isRunning = false;
  // A terminal's Ctrl-C is the line editor's first.
  lines.on('SIGINT', () => (isRunning ? process.emit('SIGINT') : lines.close()));
  const answer = async (line: string) => {
    using stopping = interruptible(terminal);
    const { receipt } = await runOnce(cli, client, { ...ask, input: line }, maxCredits, stopping.signal);
    total.runs += 1;
    total.credits += receipt.creditsSpent;
    // The session has a package of its own from now on.
    ask = { ...first, packageId: undefined, packageVersion: undefined, sessionId: receipt.sessionId };
  };
  const say = async (line: string) => {
    isRunning = true;
    try {
      await answer(line);
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
