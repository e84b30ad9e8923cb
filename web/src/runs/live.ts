// One run as it goes on: begun once, followed through broken connections, reloads and second tabs, stopped when asked. It stands
// outside of React, so that text that comes fifty times a second makes nothing anew but the answer that it belongs to.
import { useSyncExternalStore } from 'react';
import type { RunEvent, ShownReceipt } from '../../../src/engine/events.ts';
import { type Problem, problemOf } from '../shell/problem.ts';
import { client, type Inputs, queryClient, trpc } from '../trpc.ts';

export type Request = Omit<Inputs['runs']['start'], 'idempotencyKey'>;

/** All that is known of it but its text. */
export type Live = {
  phase: 'starting' | 'generating' | 'stopping' | 'ended';
  /** The connection is broken; the run goes on at the server. */
  isLost: boolean;
  runId: string | null;
  sessionId: string | null;
  question: string;
  receipt: ShownReceipt | null;
  /** Why it did not begin, or ended early. */
  problem: Problem | null;
};

/** How often text that came in is shown. */
const PAINT_MS = 50;
const RETRY_MS = [500, 1_000, 2_000, 4_000, 8_000];
/** A connection that comes back sooner was not lost for anybody who looks. */
const LOST_MS = 1_000;
/** A start that a reload cut short is taken up again for so long. */
const TAKE_UP_MS = 120_000;
const PENDING = 'prpm-pending-run';
const FOLLOWED = 'prpm-run';
const VISIT = 'prpm-visit';
const FINAL = new Set(['run_not_found', 'authentication_required', 'login_expired', 'account_closed']);

export type LiveRun = ReturnType<typeof createLive>;

/** A run, as whoever follows it tells. */
export function createLive(initial: Partial<Live> & { question: string }, said = '') {
  let live: Live = {
    ...{ phase: 'starting', isLost: false, runId: null, sessionId: null, receipt: null, problem: null },
    ...initial,
  };
  let shown = said;
  let text = said;
  let painting: ReturnType<typeof setTimeout> | undefined;
  const listeners = new Set<() => void>();
  const tell = () => {
    for (const listener of listeners) listener();
  };
  const paint = () => {
    clearTimeout(painting);
    painting = undefined;
    if (shown === text) return;
    shown = text;
    tell();
  };
  const change = (patch: Partial<Live>) => {
    live = { ...live, ...patch };
    tell();
  };
  return {
    live: () => live,
    text: () => shown,
    subscribe(listener: () => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    change,
    say(delta: string) {
      text += delta;
      if (live.phase === 'starting') change({ phase: 'generating' });
      painting ??= setTimeout(paint, PAINT_MS);
    },
    /** The first end that is told is the end; `whole` is the text where it came with the end. */
    end(receipt: ShownReceipt | null, problem: Problem | null, whole?: string | null) {
      if (live.phase === 'ended') return;
      if (whole !== undefined && whole !== null) text = whole;
      paint();
      change({ phase: 'ended', isLost: false, receipt, problem });
    },
  };
}

export function useLive(run: LiveRun | null): Live | null {
  return useSyncExternalStore(run?.subscribe ?? never, () => run?.live() ?? null);
}
export function useText(run: LiveRun): string {
  return useSyncExternalStore(run.subscribe, run.text);
}
const never = () => () => {};

/** Those that are followed here, by their sessions: also while another session, or another page, is looked at. */
const following = new Map<string, LiveRun>();
let visit: LiveRun | null = null;

/** The run that this tab follows, or followed before a reload, in that session; null where there is none. */
export function runIn(sessionId: string): LiveRun | null {
  const known = following.get(sessionId);
  if (known !== undefined) return known;
  const kept = read<Found>(FOLLOWED);
  return kept?.sessionId === sessionId ? takeUpRun(kept) : null;
}

/** What is begun: a run, or the summary of a session. */
export type Start = { request: Request } | { summaryOf: { sessionId: string; model: string | null } };
type Found = { runId: string; sessionId: string; question: string };
type Pending = { key: string; start: Start; at: number };

/** Begins a run and follows it. It is begun once, however often the connection breaks meanwhile. */
export function startRun(start: Start, onBegun: (sessionId: string) => void): LiveRun {
  return begin({ key: randomKey(), start, at: Date.now() }, onBegun);
}

/** The run that a reload cut short before its start was answered; null where there is none. */
export function resumeStart(onBegun: (sessionId: string) => void): LiveRun | null {
  const pending = readPending<Pending>(PENDING);
  return pending === null ? null : begin(pending, onBegun);
}

function begin(pending: Pending, onBegun: (sessionId: string) => void): LiveRun {
  const { start, key } = pending;
  const run = createLive(
    'request' in start
      ? { question: start.request.input, sessionId: start.request.sessionId ?? null }
      : { question: SUMMARY, sessionId: start.summaryOf.sessionId },
  );
  sessionStorage.setItem(PENDING, JSON.stringify(pending));
  const ask = () =>
    'request' in start
      ? client.runs.start.mutate({ ...start.request, idempotencyKey: key })
      : client.runs.startSummary.mutate({ ...start.summaryOf, idempotencyKey: key });
  askUntilAnswered(ask, () => run.change({ isLost: true }))
    .finally(() => sessionStorage.removeItem(PENDING))
    .then(
      ({ runId, sessionId }) => {
        onBegun(sessionId);
        run.change({ phase: 'generating', runId, sessionId, isLost: false });
        follow(run, runId, client.runs.stream);
      },
      (error: unknown) => {
        run.end(null, problemOf(error));
        refreshBooks();
      },
    );
  return run;
}

/** Whether a start was let in is not known where no answer came: the same key asks again, and begins nothing twice. */
export async function askUntilAnswered<Answer>(ask: () => Promise<Answer>, onLost: () => void): Promise<Answer> {
  for (const wait of RETRY_MS) {
    try {
      return await ask();
    } catch (error) {
      if (problemOf(error).code !== 'unreachable') throw error;
      onLost();
      await pause(wait);
    }
  }
  return ask();
}

/** What stands for the question of a summary, which the server asks. */
const SUMMARY = 'Summary of the conversation until here';

/** Takes up a run that goes on already: after a reload, or in a second tab. */
export function takeUpRun(found: Found): LiveRun {
  const known = following.get(found.sessionId);
  if (known?.live().runId === found.runId) return known;
  const run = createLive({ ...found, phase: 'generating' });
  follow(run, found.runId, client.runs.stream);
  return run;
}

/** The run of a visitor who is not signed in. Nothing of it is kept but here, in this tab. */
export function startVisit({ packageId, packageVersion, input, variables }: Request): LiveRun {
  const run = createLive({ question: input });
  const ask = async () => {
    try {
      const { runId } = await client.runs.startAnonymous.mutate({
        ...{ packageId: packageId ?? '', packageVersion, input, variables },
      });
      run.change({ phase: 'generating', runId });
      follow(run, runId, client.runs.streamAnonymous);
      keepVisit(run);
    } catch (error) {
      run.end(null, problemOf(error));
    }
  };
  visit = run;
  void ask();
  return run;
}

/** A visitor's run as this tab last saw it, followed on where it is not over. */
export function resumeVisit(): LiveRun | null {
  if (visit !== null) return visit;
  const kept = read<{ live: Live; text: string }>(VISIT);
  if (kept === null) return null;
  const { live, text } = kept;
  if (live.phase === 'ended' || live.runId === null) return createLive(live, text);
  visit = createLive({ ...live, phase: 'generating' });
  follow(visit, live.runId, client.runs.streamAnonymous);
  keepVisit(visit);
  return visit;
}

export function forgetVisit(): void {
  visit = null;
  sessionStorage.removeItem(VISIT);
}

/** As the tab is left, and at the end. */
function keepVisit(run: LiveRun): void {
  const keep = () => sessionStorage.setItem(VISIT, JSON.stringify({ live: run.live(), text: run.text() }));
  keep();
  window.addEventListener('pagehide', keep);
  const end = run.subscribe(() => {
    if (run.live().phase !== 'ended') return;
    keep();
    end();
    window.removeEventListener('pagehide', keep);
  });
}

/** Asks the server to end it; what was made until then is settled. */
export async function stopRun(run: LiveRun): Promise<void> {
  const { runId, phase } = run.live();
  if (runId === null || phase !== 'generating') return;
  run.change({ phase: 'stopping' });
  try {
    const { question: _, response, ...receipt } = await client.runs.stop.mutate({ runId });
    // The stream tells the same; whichever is first.
    if (receipt.status !== 'running') run.end(receipt, null, response);
  } catch {
    if (run.live().phase === 'stopping') run.change({ phase: 'generating' });
  }
}

/** A start that this tab kept, and not too long ago. */
export function readPending<P extends { at: number }>(key: string): P | null {
  const kept = read<P>(key);
  return kept !== null && Date.now() - kept.at < TAKE_UP_MS ? kept : null;
}

/** What this tab wrote itself. */
function read<T>(key: string): T | null {
  try {
    return JSON.parse(sessionStorage.getItem(key) ?? 'null');
  } catch {
    return null;
  }
}

/** What a run changes: balance, sessions, use of the limits. */
export function refreshBooks(): void {
  void queryClient.invalidateQueries(trpc.credits.pathFilter());
  void queryClient.invalidateQueries(trpc.sessions.pathFilter());
  void queryClient.invalidateQueries(trpc.limits.pathFilter());
}

/** Of a subscription whose events have ids. */
type Handlers<Event> = {
  onData: (chunk: { id: string; data: Event }) => void;
  onConnectionStateChange: (change: { state: 'idle' | 'connecting' | 'pending' }) => void;
  onError: (error: unknown) => void;
  onComplete: () => void;
};
type Follower<Event> = {
  subscribe(lastEventId: string | null, handlers: Handlers<Event>): { unsubscribe(): void };
  take(event: Event): void;
  /** The connection is broken, or back. */
  onLost(isLost: boolean): void;
  /** It cannot be followed, now or later. */
  onRefused(problem: Problem): void;
};

/** Follows until it is closed, asking again where it left off after whatever breaks. */
export function keepFollowing<Event>({ subscribe, take, onLost, onRefused }: Follower<Event>) {
  let lastEventId: string | null = null;
  let isOver = false;
  let attempt = 0;
  let losing: ReturnType<typeof setTimeout> | undefined;
  let retrying: ReturnType<typeof setTimeout> | undefined;
  let subscription: { unsubscribe(): void } | undefined;

  const lose = () => {
    losing ??= setTimeout(() => onLost(true), LOST_MS);
  };
  const find = () => {
    clearTimeout(losing);
    losing = undefined;
    onLost(false);
  };
  const again = () => {
    if (isOver) return;
    subscription?.unsubscribe();
    lose();
    clearTimeout(retrying);
    retrying = setTimeout(open, RETRY_MS[Math.min(attempt++, RETRY_MS.length - 1)]);
  };
  const open = () => {
    subscription = subscribe(lastEventId, {
      onData: ({ id, data }) => {
        if (isOver) return;
        attempt = 0;
        lastEventId = id;
        find();
        take(data);
      },
      onConnectionStateChange: ({ state }) => {
        if (isOver) return;
        if (state === 'connecting') lose();
        else if (state === 'pending') find();
      },
      onError: (error) => {
        if (isOver) return;
        const problem = problemOf(error);
        if (FINAL.has(problem.code)) onRefused(problem);
        else again();
      },
      onComplete: again,
    });
  };
  open();
  return {
    again,
    close() {
      isOver = true;
      clearTimeout(losing);
      clearTimeout(retrying);
      subscription?.unsubscribe();
    },
  };
}

type Stream = typeof client.runs.stream | typeof client.runs.streamAnonymous;

/** Follows a run to its end. */
function follow(run: LiveRun, runId: string, stream: Stream): void {
  const { sessionId, question } = run.live();
  if (sessionId !== null) {
    following.set(sessionId, run);
    sessionStorage.setItem(FOLLOWED, JSON.stringify({ runId, sessionId, question } satisfies Found));
  }
  const stopFollowing = run.subscribe(() => {
    if (run.live().phase !== 'ended') return;
    stopFollowing();
    follower.close();
    if (sessionId !== null && following.get(sessionId) === run) following.delete(sessionId);
    if (read<Found>(FOLLOWED)?.runId === runId) sessionStorage.removeItem(FOLLOWED);
    refreshBooks();
  });
  const follower = keepFollowing<RunEvent>({
    subscribe: (lastEventId, handlers) => stream.subscribe({ runId, lastEventId }, handlers),
    take: (event) => {
      if (event.type === 'run.failed' && event.data.error === 'run_in_progress') follower.again();
      else takeEvent(run, event);
    },
    onLost: (isLost) => run.live().isLost !== isLost && run.change({ isLost }),
    onRefused: (problem) => run.end(null, problem),
  });
}

export function takeEvent(run: LiveRun, event: RunEvent): void {
  if (event.type === 'output.delta') run.say(event.data.text);
  else if (event.type === 'run.failed') {
    const { error, message, status, receipt } = event.data;
    run.end(receipt, failed(error, message, status, run.live().runId));
  } else if (event.type === 'run.completed' || event.type === 'run.stopped') run.end(event.data, null);
}

export const failed = (code: string, message: string, status: number, runId: string | null): Problem => ({
  ...{ ...problemOf(null), code, title: 'The run failed', message, status, runId: runId ?? undefined },
});

/** Also where the page is not served over https, and crypto.randomUUID is not there. */
export const randomKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
