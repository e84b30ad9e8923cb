import type { Invitation, StartedRun } from '../calls/runs.ts';
import type { Tokenizer } from '../tokens/count.ts';
import { closingEvents, type NumberedEvent, type RunEnd, START } from './events.ts';

/** `abandoned`: nobody followed any more. `shutdown`: the server had to end it. */
export type StopReason = 'asked' | 'abandoned' | 'shutdown';

/** A run that this process carries out: its text so far, who follows it, how it ended. */
export class LiveRun {
  readonly userId: string;
  readonly question: string;
  readonly begun: StartedRun;
  readonly tokenizer: Tokenizer;
  /** What a visitor is told at the end. */
  readonly invitation: Invitation | null;
  #pieces: string[] = [];
  #length = 0;
  #end: RunEnd | null = null;
  #stopping = new AbortController();
  #stopReason: StopReason | null = null;
  #followers = 0;
  #wasFollowed = false;
  #abandoned: NodeJS.Timeout | undefined;
  /** For those who follow, made when one waits: most deltas come while nobody does. */
  #changed: PromiseWithResolvers<void> | null = null;
  #ended = Promise.withResolvers<void>();

  constructor(run: {
    userId: string;
    question: string;
    begun: StartedRun;
    tokenizer: Tokenizer;
    invitation?: Invitation;
  }) {
    this.userId = run.userId;
    this.question = run.question;
    this.begun = run.begun;
    this.tokenizer = run.tokenizer;
    this.invitation = run.invitation ?? null;
  }

  get runId(): string {
    return this.begun.begunRunId;
  }
  get end(): RunEnd | null {
    return this.#end;
  }
  get signal(): AbortSignal {
    return this.#stopping.signal;
  }
  get wasFollowed(): boolean {
    return this.#wasFollowed;
  }
  get stopReason(): StopReason | null {
    return this.#stopReason;
  }
  /** Characters so far. */
  get length(): number {
    return this.#length;
  }

  push(delta: string): void {
    this.#pieces.push(delta);
    this.#length += delta.length;
    this.#notify();
  }

  text(from = 0): string {
    const text = this.#pieces.length === 1 ? (this.#pieces[0] ?? '') : this.#pieces.join('');
    return from === 0 ? text : text.slice(from);
  }

  stop(reason: StopReason): void {
    if (this.#end !== null) return;
    this.#stopReason ??= reason;
    this.#stopping.abort();
  }

  finish(end: RunEnd): void {
    this.#end = end;
    clearTimeout(this.#abandoned);
    this.#ended.resolve();
    this.#notify();
  }

  /**
   * The end, for one who waits for the whole answer; null where `signal` or the time came first. One who hangs up is a
   * follower who left; one whose time is over is not. Spec 5.2, 5.3.
   */
  async wait(signal: AbortSignal | undefined, timeoutMs?: number): Promise<RunEnd | null> {
    this.#join();
    let isLate = false;
    const { promise: woken, resolve: wake } = Promise.withResolvers<void>();
    const late = () => {
      isLate = true;
      wake();
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    signal?.addEventListener('abort', () => wake(), { once: true });
    try {
      if (this.#end === null && !signal?.aborted) await Promise.race([this.#ended.promise, woken]);
      return this.#end;
    } finally {
      clearTimeout(timer);
      this.#leave(isLate);
    }
  }

  /** Everything after the event `after` (0: from the beginning), as it comes, to the last event or until `signal`. */
  async *follow(after: number, signal: AbortSignal | undefined, isAdmin: boolean): AsyncGenerator<NumberedEvent> {
    this.#join();
    const wake = () => this.#notify();
    signal?.addEventListener('abort', wake, { once: true });
    try {
      if (after < START) yield { id: START, event: this.#created() };
      let sent = Math.min(Math.max(0, after - START), this.#length);
      let piece = 0;
      let skip = sent;
      for (let next = this.#pieces[0]; next !== undefined && skip >= next.length; next = this.#pieces[piece]) {
        skip -= next.length;
        piece += 1;
      }
      while (!signal?.aborted) {
        if (piece < this.#pieces.length) {
          const rest = piece === this.#pieces.length - 1 ? this.#pieces[piece] : this.#pieces.slice(piece).join('');
          const text = (rest ?? '').slice(skip);
          piece = this.#pieces.length;
          skip = 0;
          sent += text.length;
          yield { id: START + sent, event: { type: 'output.delta', data: { text } } };
        } else if (this.#end !== null) {
          yield* closingEvents(this.#end, after, isAdmin);
          return;
        } else {
          this.#changed ??= Promise.withResolvers();
          await this.#changed.promise;
        }
      }
    } finally {
      signal?.removeEventListener('abort', wake);
      this.#leave(false);
    }
  }

  #created(): NumberedEvent['event'] {
    const { begunRunId, begunSessionId, modelAlias, providerModel, packageId, version } = this.begun;
    const { outputCap, holdCredits, availableCredits } = this.begun;
    return {
      type: 'run.created',
      data: {
        runId: begunRunId,
        sessionId: begunSessionId,
        model: modelAlias,
        providerModel,
        packageId,
        packageVersion: version,
        outputCap,
        holdCredits,
        availableCredits,
      },
    };
  }

  #join(): void {
    this.#followers += 1;
    this.#wasFollowed = true;
    clearTimeout(this.#abandoned);
  }

  #leave(toComeBack: boolean): void {
    this.#followers -= 1;
    if (this.#followers > 0 || this.#end !== null || toComeBack) return;
    this.#abandoned = setTimeout(() => this.stop('abandoned'), this.begun.abandonAfterMs);
  }

  #notify(): void {
    this.#changed?.resolve();
    this.#changed = null;
  }
}
