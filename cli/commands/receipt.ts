import type { Receipt } from '../../src/client/index.ts';
import { CliFailure, exit } from '../failure.ts';
import { credits, seconds } from '../terminal.ts';

export function above(maxCredits: number, most: number | null): CliFailure {
  const cost = most === null ? 'more' : `up to ${credits(most)}, more`;
  return new CliFailure(
    `It may cost ${cost} than --max-credits ${maxCredits}. Nothing was run.`,
    exit.credits,
    'a shorter input, --max-output-tokens, a cheaper model, or a higher --max-credits',
  );
}

/** Throws where it may cost more than is wanted; `creditsMost` is null where the server cannot say. */
export function refuseAbove(maxCredits: number | undefined, creditsMost: number | null): void {
  if (maxCredits !== undefined && creditsMost !== null && creditsMost > maxCredits)
    throw above(maxCredits, creditsMost);
}

/** Of a run that failed. */
export function chargeLine(receipt: Receipt): string {
  return receipt.creditsSpent === 0 ? 'Not charged.' : receiptLine(receipt);
}

export function receiptLine(receipt: Receipt): string {
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
export function startProgress(isShown: boolean, note: (text: string) => void) {
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
