import { InvalidArgumentError } from '@commander-js/extra-typings';
import type { Ask, CompareAsk, PlaygroundClient, Receipt } from '../../src/client/index.ts';
import type { Cli } from '../cli.ts';
import { CliFailure, type ExitCode, exit } from '../failure.ts';
import { credits } from '../terminal.ts';
import { above, chargeLine, receiptLine, refuseAbove, startProgress } from './receipt.ts';

type Side = CompareAsk['sides'][number];

/** Parses --against, which can be said several times. */
export function sides(said: string, before: string[] = []): string[] {
  if (before.length === 3) throw new InvalidArgumentError('At most four sides can be compared.');
  return [...before, said];
}

/** The run that is asked for, beside what it is compared with. */
export function compareOf(ask: Ask, against: string[]): CompareAsk {
  if (ask.sessionId) throw new CliFailure('A comparison begins sessions of its own: leave --session out.', exit.usage);
  const { input, maxOutputTokens, temperature, ...first } = ask;
  return { input, maxOutputTokens, temperature, sides: [first, ...against.map((said) => sideOf(first, said))] };
}

function sideOf(first: Side, said: string): Side {
  if (said === 'baseline') return { ...first, useNoPrompt: true };
  if (said.startsWith('model:')) return { ...first, model: said.slice('model:'.length) };
  const [, packageId = '', packageVersion] = /^(.+?)(?:@([^@/]+))?$/.exec(said) ?? [];
  return { packageId, packageVersion, model: first.model, dropOldest: first.dropOldest };
}

type Compared = { comparisonId: string; spent: number; sessions: string[]; exitCode: ExitCode };

/**
 * Runs all sides, and prints each under its name: one as it comes, the next when that has ended. A side that fails is told
 * of in its place.
 */
export async function compareOnce(
  cli: Cli,
  client: PlaygroundClient,
  ask: CompareAsk,
  maxCredits: number | undefined,
  signal: AbortSignal,
): Promise<Compared> {
  const { screen, said } = cli;
  if (maxCredits !== undefined)
    refuseAbove(maxCredits, (await client.api.runs.comparisons.estimate.mutate(ask)).creditsMost);
  const progress = startProgress(screen.showsProgress && !said.json, screen.note);
  const tooMuch = new AbortController();
  const pages = ask.sides.map((side) => openPage(cli, side));
  const done: Compared = { comparisonId: '', spent: 0, sessions: [], exitCode: exit.done };
  let [most, tokens, turn] = [0, 0, 0];
  const book = ({ creditsSpent, tokensUsed }: Receipt) => {
    done.spent += creditsSpent;
    tokens += tokensUsed ?? 0;
  };
  const parts = client.compare(ask, {
    signal: AbortSignal.any([signal, tooMuch.signal]),
    onStart(comparison) {
      done.comparisonId = comparison.comparisonId;
      done.sessions = comparison.sides.map(({ sessionId }) => sessionId);
    },
    onSide({ side, model, packageVersion, holdCredits }) {
      pages[side - 1]?.begin(model, packageVersion);
      most += holdCredits ?? 0;
      if (maxCredits !== undefined && most > maxCredits) tooMuch.abort();
      progress.say(`side ${side}: ${model}, at most ${credits(holdCredits ?? 0)}`);
    },
  });
  try {
    for await (const part of parts) {
      const page = pages[part.side - 1];
      progress.end();
      if (part.type === 'delta') page?.write(part.text);
      else if (part.type === 'receipt') {
        book(part.receipt);
        page?.end(() => screen.note(receiptLine(part.receipt)));
      } else {
        const { error } = part;
        if (error.receipt !== null) book(error.receipt);
        page?.end(() => {
          done.exitCode = cli.report(error);
          if (error.receipt !== null) screen.note(chargeLine(error.receipt));
        });
      }
      while (pages[turn]?.print(turn === 0)) turn += 1;
    }
  } finally {
    progress.end();
  }
  if (tooMuch.signal.aborted) throw above(maxCredits ?? 0, null);
  screen.note(`together ${credits(done.spent)}, ${tokens} tokens · comparison ${done.comparisonId}`);
  return done;
}

/** What is printed of a side, and when: nothing before its turn. */
function openPage({ screen, said }: Cli, side: Side) {
  let [heading, text] = ['', ''];
  let [isPrinting, isOver] = [false, false];
  let last = () => {};
  let ending = '\n';
  return {
    begin(model: string, version: string) {
      const name = side.customPrompt ? 'your prompt' : (side.packageId ?? 'session');
      const what = side.useNoPrompt ? 'without the prompt' : side.customPrompt ? name : `${name} ${version}`;
      heading = `${what}, ${model}`;
    },
    write(piece: string) {
      if (piece !== '') ending = piece.slice(-1);
      text += piece;
    },
    end(tell: () => void) {
      isOver = true;
      last = tell;
    },
    /** In its turn: prints what there is. Whether it is over and all was said; then it is not to be asked again. */
    print(isFirst: boolean): boolean {
      if (!isPrinting && heading !== '') {
        isPrinting = true;
        if (!said.json) screen.line(`${isFirst ? '' : '\n'}${screen.style('bold', `## ${heading}`)}\n`);
      }
      if (!said.json) screen.write(text);
      text = '';
      if (!isOver) return false;
      if (!said.json && ending !== '\n') screen.line();
      last();
      return true;
    },
  };
}
