import { setTimeout as sleep } from 'node:timers/promises';
import { uuidv7 } from 'uuidv7';
import {
  type BegunRun,
  beginAnonymousRun,
  beginRun,
  type Delivery,
  estimateRun,
  type Invitation,
  type Receipt,
  type RunRequest,
  readRun,
  releaseRun,
  type Settlement,
  type StoredRun,
  settleAnonymousRun,
  settleRun,
  stopRun,
  type Usage,
} from '../calls/runs.ts';
import { readSession, type SessionWithExchanges } from '../calls/sessions.ts';
import type { Database } from '../database/client.ts';
import { isDatabaseDown, isDataException, isPassing } from '../errors/database.ts';
import { Failure } from '../errors/failure.ts';
import { type Refusal, refusalFailure } from '../errors/refusal.ts';
import { registry } from '../errors/registry.ts';
import type { Providers } from '../providers/create.ts';
import type { ProviderCall, ProviderResult } from '../providers/provider.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics, RunOutcome } from '../telemetry/metrics.ts';
import type { TracedRequest, TracedRun } from '../telemetry/traces.ts';
import type { Values } from '../template/template.ts';
import { countTokens, type Tokenizer } from '../tokens/count.ts';
import { type Ask, type Filled, fill, hashOf, providerCall } from './ask.ts';
import { keepCheckpoints, noCheckpoints } from './checkpoints.ts';
import { type BegunComparison, type ComparisonAsk, createComparisons } from './comparison.ts';
import { closingEvents, failureOf, type NumberedEvent, type RunEnd, START, withInvitation } from './events.ts';
import { LiveRun } from './live-run.ts';
import { createModels } from './models.ts';
import { persist } from './persist.ts';

/** How long a run that ended before anybody followed it is kept. Others are read from the database from then on. */
const KEEP_MS = 10_000;
/** How long a JSON caller with a known key waits for its run. Spec 5.3. */
const WAIT_MS = 30_000;
/** How long a lost connection to the database may last before a settlement is left to the hold's expiry. */
const SETTLE_MS = 60_000;
/** How often the run of another instance is looked at, and for how long. */
const LOOK_MS = 500;
const LOOK_FOR_MS = 300_000;
/** For how long the list of models is trusted, where it is shown and where it only says how to count. */
const SHOWN_MS = 5_000;
const COUNTED_MS = 300_000;
/** How long runs that a shutdown ended get to be settled. */
const LAST_SETTLE_MS = 5_000;

/** Where answers say what is left: headers, mostly. */
export type Facts = {
  /** For the log. */
  runId?: string;
  /** The request, where it is traced. */
  trace?: TracedRequest | undefined;
  rate?: { policy: 'runs' | 'reads'; limit: number; remaining: number; reset: number };
  creditsRemaining?: number;
};

/** Who asks without being signed in. */
export type Visitor = { userId: string | null; address: string };

/** How a run's end is booked. */
type Books = { settle: (run: Delivery) => Promise<Receipt>; release: (run: Settlement) => Promise<Receipt> };

/** A run that was let in or is known: here, or only in the database. */
export type Begun = { runId: string; sessionId: string; isNew: boolean; live: LiveRun | null };

export type Engine = ReturnType<typeof createEngine>;
export type EngineParts = { database: Database; providers: Providers; log: Log; metrics?: Metrics | undefined };

/**
 * Carries runs out: asks the database to let them in, calls the provider, tells followers, settles. Knows no rule about
 * money; what happened goes to the database as it was.
 */
export function createEngine({ database, providers, log, metrics }: EngineParts) {
  const { sql, runs, reads } = database;
  const models = createModels(reads, SHOWN_MS);
  const counted = createModels(sql, COUNTED_MS);
  const live = new Map<string, LiveRun>();
  /** Runs that go on here, and requests that are being let in and may become some. */
  const active = new Set<Promise<void>>();
  const beginning = new Set<Promise<unknown>>();
  const closing = new AbortController();
  let draining = false;
  let stopping = false;

  async function tokenizerOf(userId: string, model: string | null) {
    const known = await counted(userId);
    const found = known.find((one) => (model === null ? one.isDefault : one.alias === model));
    return found?.tokenizer ?? 'approximate';
  }

  async function complete(userId: string, ask: Ask): Promise<RunRequest & { tokenizer: Tokenizer }> {
    let { packageId, model } = ask;
    if (packageId === null && ask.sessionId !== null && ask.customPrompt === null) {
      const session = await readSession(reads, userId, ask.sessionId);
      if (session === undefined) throw new Failure('session_not_found', 'There is no such session of yours.');
      packageId = session.packageId;
      model ??= session.model;
    }
    if (packageId === null && ask.customPrompt === null)
      throw new Failure('validation_error', 'package_id is required.', { errors: [PACKAGE_MISSING] });
    if (ask.customPrompt !== null && ask.variables !== null)
      throw new Failure('validation_error', "variables: one's own prompt takes none.", { errors: [NO_VARIABLES] });
    const tokenizer = await tokenizerOf(userId, model);
    const inputTokens = await countTokens(ask.input, tokenizer);
    const customPromptTokens = ask.customPrompt === null ? null : await countTokens(ask.customPrompt, tokenizer);
    const { packageVersion, sessionId, useNoPrompt, maxOutputTokens, history, variables } = ask;
    return {
      ...{ variables: useNoPrompt ? null : variables, promptTokens: null },
      ...{ packageId, packageVersion, sessionId, model, useNoPrompt, maxOutputTokens, history },
      ...{ inputTokens, customPromptTokens, countedWith: tokenizer, tokenizer },
    };
  }

  /** Has `begin` let something in, and a shutdown wait for it. */
  async function admit<T>(begin: () => Promise<T>): Promise<T> {
    if (draining) throw new Failure('shutting_down', undefined, { retryAfter: 2 });
    const begun = begin();
    beginning.add(begun);
    try {
      return await begun;
    } finally {
      beginning.delete(begun);
    }
  }

  /** Lets a run in and starts it. A refusal is thrown as a Failure. */
  async function begin(userId: string, ask: Ask, facts: Facts): Promise<Begun> {
    const request = await complete(userId, ask);
    const runId = uuidv7();
    const idempotency = ask.idempotencyKey === null ? null : { key: ask.idempotencyKey, hash: hashOf(ask) };
    let begun: BegunRun;
    let filled: Filled | null = null;
    try {
      begun = await beginRun(runs(userId), userId, runId, request, idempotency);
      if (begun.outcome === 'template') {
        filled = await fill(begun, request.tokenizer);
        begun = await beginRun(runs(userId), userId, runId, { ...request, ...filled.request }, idempotency);
      }
    } catch (error) {
      // It may have been let in all the same; then its hold is given back as soon as the database is there again.
      if (isDatabaseDown(error)) void track(giveBack(theirBooks, userId, runId));
      throw error;
    }
    if (begun.outcome === 'template') throw new Failure('internal_error');
    if (begun.outcome !== 'known') noteRate(facts, begun);
    if (begun.outcome === 'refused') {
      noteRefusal(facts, begun.refusal);
      throw refusalFailure(begun.refusal);
    }
    if (begun.outcome === 'known') {
      const { begunRunId, begunSessionId } = begun;
      facts.runId = begunRunId;
      return { runId: begunRunId, sessionId: begunSessionId, isNew: false, live: findLive(userId, begunRunId) };
    }
    facts.creditsRemaining = begun.availableCredits;
    const run = new LiveRun({ userId, question: ask.input, begun, tokenizer: request.tokenizer });
    void launch(run, providerCall(userId, ask, begun, filled), theirBooks, facts);
    return { runId, sessionId: begun.begunSessionId, isNew: true, live: run };
  }

  /**
   * Lets a visitor's run in and starts it. It is followed by its id alone, here, and nothing of it is kept but what it used
   * and cost. Spec 5.9.
   */
  async function beginAnonymous(
    visitor: Visitor,
    ask: { packageId: string; packageVersion: string | null; input: string; variables: Values | null; asRun: boolean },
    facts: Facts,
  ): Promise<{ run: LiveRun; invitation: Invitation }> {
    const { packageId, packageVersion, input, variables, asRun } = ask;
    const inputTokens = await countTokens(input, VISITORS_TOKENIZER);
    const request = { packageId, packageVersion, inputTokens, countedWith: VISITORS_TOKENIZER, variables, asRun };
    const runId = uuidv7();
    const beginIt = (filledIn: Filled['request'] | null) =>
      beginAnonymousRun(sql, visitor, runId, { ...request, promptTokens: null, ...filledIn }).catch(
        (error: unknown) => {
          if (isDatabaseDown(error)) void track(giveBack(nobodysBooks, NOBODY, runId));
          throw error;
        },
      );
    let { begun, invitation } = await beginIt(null);
    let filled: Filled | null = null;
    if (begun.outcome === 'template') {
      filled = await fill(begun, VISITORS_TOKENIZER);
      ({ begun, invitation } = await beginIt(filled.request));
    }
    if (begun.outcome === 'template') throw new Failure('internal_error');
    if (begun.outcome === 'known') throw new Failure('conflict');
    if (begun.outcome === 'refused') {
      metrics?.runRefused(begun.refusal.code);
      throw refusalFailure(begun.refusal);
    }
    const run = new LiveRun({ userId: NOBODY, question: input, begun, tokenizer: VISITORS_TOKENIZER, invitation });
    const call = providerCall(
      runId,
      { input, temperature: null, customPrompt: null, useNoPrompt: false },
      begun,
      filled,
    );
    void launch(run, call, nobodysBooks, facts);
    return { run, invitation };
  }

  /** Resolves when the run is over, however it ended. */
  function launch(run: LiveRun, call: ProviderCall, books: Books, facts: Facts): Promise<void> {
    const { runId, begun } = run;
    facts.runId = runId;
    metrics?.runBegan();
    live.set(runId, run);
    if (stopping) run.stop('shutdown');
    const traced = facts.trace?.run({ runId, sessionId: begun.begunSessionId, model: begun.modelAlias });
    return track(carryOut(run, call, books, traced));
  }

  const theirBooks: Books = {
    settle: (run) => settleRun(runs(run.userId), run),
    release: (run) => releaseRun(runs(run.userId), run),
  };
  const nobodysBooks: Books = {
    settle: (run) => settleAnonymousRun(sql, run),
    release: (run) =>
      settleAnonymousRun(sql, {
        ...run,
        ...{ ending: 'failed', answer: '', firstTokenMs: null, estimated: run.called && run.usage.input === null },
      }),
  };

  async function giveBack(books: Books, userId: string, runId: string): Promise<void> {
    const settlement = {
      ...{ userId, runId, called: false, usage: NO_USAGE, question: '', durationMs: 0 },
      ...{ error: 'database_unavailable', errorReason: 'The database was away when the run began.' },
    };
    await persist(() => books.release(settlement), SETTLE_MS, closing.signal).catch(() => undefined);
  }

  async function carryOut(run: LiveRun, call: ProviderCall, books: Books, traced?: TracedRun): Promise<void> {
    const { tokenizer } = run;
    const checkpoints =
      run.userId === NOBODY ? noCheckpoints() : keepCheckpoints(run, runs, (text) => countTokens(text, tokenizer), log);
    const tracedCall = traced?.call(call);
    let result: ProviderResult;
    try {
      result = await providers.call(call, {
        signal: run.signal,
        onText: (delta) => run.push(delta),
        onUsage: (usage) => {
          checkpoints.usage = usage;
        },
      });
    } catch (error) {
      log.error({ error, runId: run.runId }, 'provider call failed in an unexpected way');
      result = unexpected(run, checkpoints.usage);
    }
    await checkpoints.stop();
    if (result.failure?.credentialsRejected) {
      log.error({ provider: call.provider, runId: run.runId }, 'the provider refuses our key');
    }
    tracedCall?.end(result);
    if (result.failure !== null) metrics?.providerFailed(call.provider, result.failure.code);
    const end = await settle(run, result, books);
    metrics?.runEnded(outcomeOf(run, result, end));
    traced?.end(end);
    run.finish(end);
    if (run.wasFollowed) live.delete(run.runId);
    else setTimeout(() => live.delete(run.runId), KEEP_MS).unref();
  }

  async function settle(run: LiveRun, result: ProviderResult, books: Books): Promise<RunEnd> {
    const answer = result.text;
    const cutOff = result.ending === 'stopped' && run.stopReason === 'shutdown';
    const ending = cutOff ? 'failed' : result.ending === 'complete' ? 'completed' : result.ending;
    const usage: Usage =
      result.usage !== null && result.usageComplete
        ? result.usage
        : { ...(result.usage ?? NO_USAGE), output: await countTokens(answer, run.tokenizer) };
    const settlement: Settlement = {
      userId: run.userId,
      runId: run.runId,
      called: result.called,
      usage,
      question: run.question,
      error: cutOff ? 'shutting_down' : (result.failure?.code ?? null),
      errorReason: cutOff ? 'The server had to stop before the answer was complete.' : (result.failure?.reason ?? null),
      durationMs: Math.round(result.durationMs),
    };
    const firstTokenMs = result.firstTokenMs === null ? null : Math.round(result.firstTokenMs);
    const book = (used: Usage, estimated: boolean) =>
      persist(
        () =>
          ending === 'failed' && answer === ''
            ? books.release({ ...settlement, usage: used })
            : books.settle({ ...settlement, usage: used, ending, answer, estimated, firstTokenMs }),
        SETTLE_MS,
        closing.signal,
      );
    try {
      const receipt = await book(usage, !result.usageComplete).catch(async (error: unknown) => {
        if (!isDataException(error)) throw error;
        // No run is free because a count of it cannot be stored.
        log.error({ error, runId: run.runId }, 'a run could not be settled with the usage reported; it is estimated');
        return book({ ...NO_USAGE, output: await countTokens(answer, run.tokenizer) }, true);
      });
      return { receipt, answer, failure: failureOf(receipt, result.failure?.retryAfterSeconds) };
    } catch (error) {
      log.error({ error, runId: run.runId }, 'a run could not be settled; its hold will expire');
      const code = isPassing(error) ? 'database_unavailable' : 'internal_error';
      return {
        receipt: null,
        answer,
        failure: new Failure(code, undefined, { runId: run.runId, retryAfter: 5 }, { cause: error }),
      };
    }
  }

  function track(work: Promise<void>): Promise<void> {
    const tracked = work
      .catch((error: unknown) => log.error({ error }, 'a run ended in an unexpected way'))
      .finally(() => active.delete(tracked));
    active.add(tracked);
    return tracked;
  }

  function findLive(userId: string, runId: string): LiveRun | null {
    const run = live.get(runId);
    return run?.userId === userId ? run : null;
  }

  async function stored(userId: string, runId: string): Promise<StoredRun> {
    const run = await readRun(reads, userId, runId);
    if (run === undefined) throw new Failure('run_not_found', 'There is no such run of yours.');
    return run;
  }

  function noteRefusal(facts: Facts, { code, availableCredits }: Refusal): void {
    metrics?.runRefused(code);
    if (availableCredits !== undefined) facts.creditsRemaining = availableCredits;
  }

  /** The end of a run that is not here: at once where it is over, else when it is. */
  async function awaitStored(userId: string, runId: string, signal: AbortSignal | undefined): Promise<RunEnd | null> {
    for (const deadline = Date.now() + WAIT_MS; ; ) {
      const run = await stored(userId, runId);
      if (run.receipt.status !== 'running') return endOf(run);
      if (Date.now() >= deadline || signal?.aborted) return null;
      await sleep(LOOK_MS, undefined, signal && { signal }).catch(() => undefined);
    }
  }

  /** Follows a run from the event after `after`. Throws before the first event where there is no such run. */
  async function follow(
    userId: string,
    runId: string,
    { after, signal, isAdmin }: { after: number; signal: AbortSignal | undefined; isAdmin: boolean },
  ): Promise<AsyncIterable<NumberedEvent>> {
    const run = findLive(userId, runId);
    if (run !== null) return run.follow(after, signal, isAdmin);
    const first = await stored(userId, runId);
    return followStored(first, () => stored(userId, runId), after, signal, isAdmin);
  }

  const comparisons = createComparisons(database, {
    complete,
    follow,
    find: (userId, run) => ({ ...run, isNew: false, live: findLive(userId, run.runId) }),
    giveBack(userId, runIds, error) {
      if (isDatabaseDown(error)) for (const runId of runIds) void track(giveBack(theirBooks, userId, runId));
    },
    refused(facts, begun) {
      noteRate(facts, begun);
      noteRefusal(facts, begun.refusal);
    },
    launch(userId, { ask, begun, filled, tokenizer }, facts) {
      // The side that was let in last knows what is left.
      if ((begun.rateRemaining ?? 0) <= (facts.rate?.remaining ?? Number.POSITIVE_INFINITY)) noteRate(facts, begun);
      facts.creditsRemaining = Math.min(facts.creditsRemaining ?? begun.availableCredits, begun.availableCredits);
      const run = new LiveRun({ userId, question: ask.input, begun, tokenizer });
      const over = launch(run, providerCall(userId, ask, begun, filled), theirBooks, facts);
      const { begunRunId: runId, begunSessionId: sessionId } = begun;
      return { begun: { runId, sessionId, isNew: true, live: run }, over };
    },
  });

  /** Resolves when nothing goes on here, nor is about to. */
  async function idle(): Promise<void> {
    while (beginning.size + active.size > 0) await Promise.allSettled([...beginning, ...active]);
  }

  return {
    begin: (...asked: Parameters<typeof begin>) => admit(() => begin(...asked)),
    beginAnonymous: (...asked: Parameters<typeof beginAnonymous>) => admit(() => beginAnonymous(...asked)),
    comparisons: {
      ...comparisons,
      /** Lets all sides in and starts them. A refusal is thrown as a Failure that names its side. */
      begin: (userId: string, ask: ComparisonAsk, facts: Facts): Promise<BegunComparison> =>
        admit(() => comparisons.begin(userId, ask, facts)),
    },

    /** Follows a visitor's run that is carried out here. Who knows its id may. */
    followAnonymous(runId: string, after: number, signal: AbortSignal | undefined): AsyncIterable<NumberedEvent> {
      const run = findLive(NOBODY, runId);
      if (run === null || run.invitation === null)
        throw new Failure('run_not_found', 'That run is over, or another server carries it out.');
      return withInvitation(run.follow(after, signal, false), run.invitation);
    },

    /** Waits for the end of a run. One that only a key made known is waited for at most 30 s. */
    async result(userId: string, begun: Begun, signal: AbortSignal | undefined): Promise<RunEnd> {
      const end = begun.live
        ? await begun.live.wait(signal, begun.isNew ? undefined : WAIT_MS)
        : await awaitStored(userId, begun.runId, signal);
      if (end !== null) return end;
      throw new Failure('run_in_progress', undefined, { retryAfter: 5, runId: begun.runId });
    },

    follow,

    isLive: (userId: string, runId: string) => findLive(userId, runId) !== null,

    /** A run and its texts, as of now where it runs here. */
    async read(userId: string, runId: string): Promise<StoredRun> {
      const run = findLive(userId, runId);
      if (run?.end?.receipt) return { receipt: run.end.receipt, question: run.question, answer: run.end.answer };
      const found = await stored(userId, runId);
      return run === null ? found : { ...found, question: run.question, answer: run.text() };
    },

    /** Asks a run to stop, waits a moment for its end, and tells what is known then. */
    async stop(userId: string, runId: string): Promise<StoredRun> {
      const status = await stopRun(runs(userId), userId, runId);
      if (status === undefined) throw new Failure('run_not_found', 'There is no such run of yours.');
      const run = findLive(userId, runId);
      run?.stop('asked');
      await run?.wait(undefined, LAST_SETTLE_MS);
      return this.read(userId, runId);
    },

    /** Asks all of a user's runs that are carried out here to stop. */
    stopAll(userId: string): void {
      for (const run of live.values()) if (run.userId === userId) run.stop('asked');
    },

    async estimate(userId: string, ask: Ask) {
      const request = await complete(userId, ask);
      const first = await estimateRun(sql, userId, uuidv7(), request);
      if (!('outcome' in first)) return first;
      const filled = await fill(first, request.tokenizer);
      const second = await estimateRun(sql, userId, uuidv7(), { ...request, ...filled.request });
      if ('outcome' in second) throw new Failure('internal_error');
      return second;
    },

    models,

    /** The conversation that an answer ends, oldest first. */
    async conversation(userId: string, begun: Begun, end: RunEnd): Promise<Message[]> {
      if (begun.live !== null) return conversationOf(begun.live, end);
      const sessionId = end.receipt?.sessionId;
      const session = sessionId === undefined ? undefined : await readSession(reads, userId, sessionId);
      return session === undefined ? [] : conversationUpTo(session, begun.runId);
    },

    /** Lets nothing in any more, waits for what runs or is about to, then ends the rest and settles it with what it has. */
    async drain(limitMs: number): Promise<void> {
      draining = true;
      await within(limitMs, idle());
      stopping = true;
      for (const run of live.values()) run.stop('shutdown');
      await within(LAST_SETTLE_MS, idle());
      closing.abort();
      await within(LAST_SETTLE_MS, idle());
    },

    get draining() {
      return draining;
    },
  };
}

export type Message = { role: 'user' | 'assistant'; content: string; timestamp?: string; tokens?: number };

/** Whose a visitor's run is. */
const NOBODY = '';
/** Visitors have no choice of model; one that counts otherwise has its estimate taken for one. */
const VISITORS_TOKENIZER: Tokenizer = 'o200k_base';

const NO_USAGE: Usage = { input: null, cached: 0, cacheWrite: 0, output: 0 };
const PACKAGE_MISSING = {
  field: 'package_id',
  message: 'is required, unless session_id names a session to go on with',
};

const NO_VARIABLES = { field: 'variables', message: "one's own prompt takes none" };

type Rate = { rateLimit: number | null; rateRemaining: number | null; rateReset: number | null };

function noteRate(facts: Facts, { rateLimit, rateRemaining, rateReset }: Rate): void {
  if (rateLimit === null || rateRemaining === null || rateReset === null) return;
  facts.rate = { policy: 'runs', limit: rateLimit, remaining: rateRemaining, reset: rateReset };
}

function unexpected(run: LiveRun, usage: ProviderResult['usage']): ProviderResult {
  return {
    ...{
      text: run.text(),
      usage,
      usageComplete: false,
      ending: 'failed',
      called: true,
      firstTokenMs: null,
      durationMs: 0,
    },
    failure: {
      code: 'provider_error',
      reason: registry.internal_error[1],
      retryAfterSeconds: null,
      credentialsRejected: false,
    },
  };
}

function outcomeOf(run: LiveRun, { firstTokenMs, durationMs }: ProviderResult, { receipt }: RunEnd): RunOutcome {
  const { input, cached, cacheWrite, output } = receipt?.tokens ?? NO_USAGE;
  return {
    model: run.begun.modelAlias,
    ending: receipt?.status ?? 'unsettled',
    duration: durationMs / 1_000,
    firstToken: firstTokenMs === null ? null : firstTokenMs / 1_000,
    tokens: {
      uncached: (input ?? 0) - (cached ?? 0) - (cacheWrite ?? 0),
      ...{ cached: cached ?? 0, cacheWrite: cacheWrite ?? 0, output: output ?? 0 },
    },
    credits: receipt?.creditsSpent ?? 0,
    cost: Number(receipt?.cost ?? 0),
  };
}

function endOf({ receipt, answer }: StoredRun): RunEnd {
  return { receipt, answer: answer ?? '', failure: failureOf(receipt) };
}

/** Follows a run by what is stored of it: whole where it is over, else from checkpoint to checkpoint. Spec 5.2. */
async function* followStored(
  first: StoredRun,
  again: () => Promise<StoredRun>,
  after: number,
  signal: AbortSignal | undefined,
  isAdmin: boolean,
): AsyncGenerator<NumberedEvent> {
  if (after < START) yield { id: START, event: { type: 'run.created', data: createdFrom(first.receipt) } };
  let sent = Math.max(0, after - START);
  const deadline = Date.now() + LOOK_FOR_MS;
  for (let run = first; !signal?.aborted; run = await again()) {
    const text = (run.answer ?? '').slice(sent);
    if (text !== '') {
      sent += text.length;
      yield { id: START + sent, event: { type: 'output.delta', data: { text } } };
    }
    if (run.receipt.status !== 'running' || Date.now() > deadline) {
      const end =
        run.receipt.status === 'running' ? { ...endOf(run), failure: new Failure('run_in_progress') } : endOf(run);
      yield* closingEvents(end, after, isAdmin);
      return;
    }
    await sleep(LOOK_MS, undefined, signal && { signal }).catch(() => undefined);
  }
}

function createdFrom(receipt: Receipt) {
  const { runId, sessionId, model, providerModel, packageId, packageVersion } = receipt;
  return {
    ...{ runId, sessionId, model, providerModel, packageId, packageVersion },
    ...{ outputCap: null, holdCredits: null, availableCredits: null },
  };
}

function conversationOf(run: LiveRun, { receipt, answer }: RunEnd): Message[] {
  const asked: Message = { role: 'user', content: run.question };
  const answered: Message = { role: 'assistant', content: answer };
  if (receipt !== null) {
    asked.timestamp = receipt.startedAt;
    if (receipt.finishedAt !== null) answered.timestamp = receipt.finishedAt;
    if (receipt.tokens.output !== null) answered.tokens = receipt.tokens.output;
  }
  return [...(run.begun.history ?? []), asked, answered];
}

/** Run ids are ordered by time, so what came later than this run sorts behind it. */
function conversationUpTo(session: SessionWithExchanges, runId: string): Message[] {
  const until = session.exchanges.filter((one) => one.runId !== null && one.runId <= runId);
  return until.flatMap(({ question, answer, startedAt, finishedAt }) => [
    { role: 'user' as const, content: question, timestamp: startedAt },
    { role: 'assistant' as const, content: answer, ...(finishedAt !== null && { timestamp: finishedAt }) },
  ]);
}

async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([work, sleep(ms, undefined, { signal: over.signal }).catch(() => undefined)]);
  over.abort();
}
