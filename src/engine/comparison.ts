// Runs of one question side by side: begun all or none, then each a run like any other. Spec 5.8.
import { hash } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import {
  type BegunSide,
  beginComparison,
  type ComparisonRequest,
  comparisonEstimateSchema,
  estimateComparison,
  type RunRequest,
  type StartedRun,
} from '../calls/runs.ts';
import { readComparison } from '../calls/sessions.ts';
import type { Database } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import { refusalFailure } from '../errors/refusal.ts';
import type { Tokenizer } from '../tokens/count.ts';
import { type Ask, type Filled, fill, hashOf } from './ask.ts';
import type { Begun, Facts } from './engine.ts';
import type { ComparisonEvent, NumberedEvent, RunEvent } from './events.ts';
import { interleave } from './interleave.ts';

/** Sides with the same input, temperature and wish; a key of their own they have none. */
export type ComparisonAsk = { sides: Ask[]; maxOutputTokens: number | null; idempotencyKey: string | null };
export type BegunComparison = { comparisonId: string; isNew: boolean; sides: Begun[] };
type NumberedSideEvent = { id: string; event: ComparisonEvent };
type SideEvents = AsyncIterable<[place: number, item: NumberedEvent]>;

type Request = RunRequest & { tokenizer: Tokenizer };
type Requests = Omit<ComparisonRequest, 'sides'> & { sides: Request[] };
/** What comparisons are made of: single runs. */
type Runs = {
  complete(userId: string, ask: Ask): Promise<Request>;
  launch(
    userId: string,
    side: { ask: Ask; begun: StartedRun; filled: Filled | null; tokenizer: Tokenizer },
    facts: Facts,
  ): {
    begun: Begun;
    /** Resolves when it is over, however it ended. */
    over: Promise<void>;
  };
  find(userId: string, run: { runId: string; sessionId: string }): Begun;
  /** What may have been let in although the database did not answer. */
  giveBack(userId: string, runIds: string[], error: unknown): void;
  refused(facts: Facts, begun: Extract<BegunSide['begun'], { outcome: 'refused' }>): void;
  follow(
    userId: string,
    runId: string,
    how: { after: number; signal: AbortSignal; isAdmin: boolean },
  ): Promise<AsyncIterable<NumberedEvent>>;
};

export const noComparison = () => new Failure('comparison_not_found', 'There is no such comparison of yours.');

export function createComparisons({ sql, reads }: Pick<Database, 'sql' | 'reads'>, runs: Runs) {
  /** Those that go on here: who follows them asks the database for nothing. */
  const here = new Map<string, { userId: string; sides: Begun[] }>();

  async function requestOf(userId: string, { sides, maxOutputTokens }: Omit<ComparisonAsk, 'idempotencyKey'>) {
    const requests = await Promise.all(sides.map((side, place) => ofSide(place + 1, runs.complete(userId, side))));
    return { runIds: sides.map(() => uuidv7()), sides: requests, maxOutputTokens };
  }

  /** The same request with the prompts filled in that the database gave out for it. */
  async function filledIn(request: Requests, templates: (Parameters<typeof fill>[0] | null)[]) {
    const filled = await Promise.all(
      templates.map((template, place) => {
        const tokenizer = request.sides[place]?.tokenizer ?? 'approximate';
        return template === null ? null : ofSide(place + 1, fill(template, tokenizer));
      }),
    );
    const sides = request.sides.map((side, place) => ({ ...side, ...filled[place]?.request }));
    return { request: { ...request, sides }, filled };
  }

  /** Asks the database to let all sides in, with their prompts filled in where that is needed first. */
  async function letIn(userId: string, comparisonId: string, ask: ComparisonAsk) {
    const idempotency = ask.idempotencyKey === null ? null : { key: ask.idempotencyKey, hash: hashOfSides(ask.sides) };
    const beginIt = (request: Requests) =>
      beginComparison(sql, userId, comparisonId, request, idempotency).catch((error: unknown) => {
        runs.giveBack(userId, request.runIds, error);
        throw error;
      });
    const request = await requestOf(userId, ask);
    const rows = await beginIt(request);
    if (!rows.some(({ begun }) => begun.outcome === 'template')) return { rows, request, filled: [] };
    const templates = request.sides.map((_, place) => {
      const begun = rows.find(({ side }) => side === place + 1)?.begun;
      return begun?.outcome === 'template' ? begun : null;
    });
    const whole = await filledIn(request, templates);
    return { ...whole, rows: await beginIt(whole.request) };
  }

  /** Lets all sides in and starts them. A refusal is thrown as a Failure that names its side. */
  async function begin(userId: string, ask: ComparisonAsk, facts: Facts): Promise<BegunComparison> {
    const newId = uuidv7();
    const { rows, request, filled } = await letIn(userId, newId, ask);
    const comparisonId = rows[0]?.begunComparisonId ?? newId;
    const sides: Begun[] = [];
    const over: Promise<void>[] = [];
    for (const { side, begun } of rows) {
      const place = (side ?? 1) - 1;
      const [sideAsk, tokenizer] = [ask.sides[place], request.sides[place]?.tokenizer];
      if (begun.outcome === 'refused') {
        runs.refused(facts, begun);
        throw side === null ? refusalFailure(begun.refusal) : sideFailure(side, refusalFailure(begun.refusal));
      } else if (begun.outcome === 'known') {
        sides[place] = runs.find(userId, { runId: begun.begunRunId, sessionId: begun.begunSessionId });
      } else if (begun.outcome === 'started' && sideAsk !== undefined && tokenizer !== undefined) {
        const started = { ask: sideAsk, begun, filled: filled[place] ?? null, tokenizer };
        const run = runs.launch(userId, started, facts);
        sides[place] = run.begun;
        over.push(run.over);
      } else throw new Failure('internal_error');
    }
    if (over.length > 0) {
      here.set(comparisonId, { userId, sides });
      void Promise.all(over).finally(() => here.delete(comparisonId));
    }
    return { comparisonId, isNew: over.length > 0, sides };
  }

  async function sidesOf(userId: string, comparisonId: string): Promise<{ runId: string; sessionId: string }[]> {
    const live = here.get(comparisonId);
    if (live?.userId === userId) return live.sides;
    return (await read(userId, comparisonId)).sides;
  }

  async function read(userId: string, comparisonId: string) {
    const comparison = await readComparison(reads, userId, comparisonId);
    if (comparison === undefined) throw noComparison();
    return comparison;
  }

  return {
    begin,
    read,
    isLive: (userId: string, comparisonId: string) => here.get(comparisonId)?.userId === userId,

    /** Follows all sides from where `after` says that each is. Throws before the first event where there is no such comparison. */
    async follow(
      userId: string,
      comparisonId: string,
      { after, signal, isAdmin }: { after: number[] | null; signal: AbortSignal | undefined; isAdmin: boolean },
    ): Promise<AsyncIterable<NumberedSideEvent>> {
      const sides = await sidesOf(userId, comparisonId);
      const places = after?.length === sides.length ? after : null;
      const left = new AbortController();
      const either = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
      const sources = await Promise.all(
        sides.map(({ runId }, place) =>
          runs.follow(userId, runId, { after: places?.[place] ?? 0, signal: either, isAdmin }),
        ),
      );
      const named = sides.map(({ runId, sessionId }, place) => ({ side: place + 1, runId, sessionId }));
      const told = interleave(sources, () => left.abort());
      if (places !== null) return numbered(told, places);
      return afterFirst(
        { type: 'comparison.created', data: { comparisonId, sides: named } },
        told,
        sides.map(() => 0),
      );
    },

    /** What all would cost, and the refusal that they would meet. Spec 5.7. */
    async estimate(userId: string, ask: Omit<ComparisonAsk, 'idempotencyKey'>) {
      const request = await requestOf(userId, ask);
      const first = await estimateComparison(sql, userId, request);
      if (!('outcome' in first)) return first;
      const templates = first.sides.map((side) => ('outcome' in side ? side : null));
      const second = await estimateComparison(sql, userId, (await filledIn(request, templates)).request);
      return comparisonEstimateSchema.parse(second);
    },
  };
}

async function* afterFirst(first: ComparisonEvent, events: SideEvents, places: number[]) {
  yield { id: places.join('.'), event: first };
  yield* numbered(events, places);
}

/** Ids say where each side is: at the text that was sent, or at its end. */
async function* numbered(events: SideEvents, places: number[]): AsyncGenerator<NumberedSideEvent> {
  const so = [...places];
  for await (const [place, { id, event }] of events) {
    if (id <= (places[place] ?? 0)) continue; // a run says its end to whoever asks: a side that was over has said it
    if (!isPassing(event)) so[place] = id;
    yield { id: so.join('.'), event: withSide(event, place + 1) };
  }
}

/** It stands where the text that is still to come will stand. */
const isPassing = (event: RunEvent) =>
  event.type === 'usage' || (event.type === 'run.failed' && event.data.error === 'run_in_progress');

function withSide(event: RunEvent, side: number): ComparisonEvent {
  return { ...event, data: { ...event.data, side } } as ComparisonEvent; // whichever event it is, with one field more
}

/** The same for the same sides in the same order; never that of a single run. Spec 5.3. */
function hashOfSides(sides: Ask[]): Buffer {
  return hash('sha256', ['comparison', ...sides.map((side) => hashOf(side).toString('hex'))].join(), 'buffer');
}

async function ofSide<T>(side: number, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof Failure ? sideFailure(side, error) : error;
  }
}

/** A failure of one side, which says of which. */
function sideFailure(side: number, { code, message, status, extras }: Failure): Failure {
  const { details, errors, ...others } = extras;
  const named = errors?.map(({ field, message: what }) => ({ field: `sides.${side - 1}.${field}`, message: what }));
  const all = typeof details === 'object' ? { ...details, side } : { side };
  return new Failure(
    code,
    `Side ${side}: ${message}`,
    { ...others, details: all, ...(named && { errors: named }) },
    { status },
  );
}
