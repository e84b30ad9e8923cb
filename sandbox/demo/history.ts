// Some weeks of use, as a list of what happens when. Each event goes through the functions that a server calls.
import { V7Generator } from 'uuidv7';
import type { Model } from '../../src/calls/catalog.ts';
import { beginRun, releaseRun, type StartedRun, settleRun } from '../../src/calls/runs.ts';
import type { Sql } from '../../src/database/client.ts';
import { countTokens } from '../../src/tokens/count.ts';
import { compose } from '../providers/answer.ts';
import { countInput, cutAnswer } from '../providers/usage.ts';
import { type Chance, chance } from './chance.ts';
import { after, type Clock, day, midnight, minute } from './clock.ts';
import type { Package } from './packages.ts';
import { type Habits, type Person, people } from './people.ts';

/** Days of history; the last is yesterday. */
export const historyDays = 37;

export type Event = { at: Date; happen(): Promise<void> };

export type Setting = {
  /** As the server's role. */
  sql: Sql;
  clock: Clock;
  packages: readonly Package[];
  models: readonly Model[];
  idOf(username: string): string;
};

/** What people ask, in no order. Two such histories on one day are the same. */
export function conversations(setting: Setting): Event[] {
  const chances = chance(20_240);
  const first = midnight(historyDays);
  const events: Event[] = [];
  for (let nth = 0; nth < historyDays; nth++) {
    const start = after(first, nth * day);
    // Yesterday is busy whatever day it was, so that there is something fresh to look at.
    const isWorkingDay = start.getUTCDay() % 6 !== 0 || nth === historyDays - 1;
    for (const person of people) {
      const { habits } = person;
      if (habits === undefined || nth < (habits.from ?? 1) || nth > historyDays - (habits.until ?? 0)) continue;
      for (let left = habits.perDay * (isWorkingDay ? 1 : 1 / 3); left > 0; left -= 1) {
        if (chances.happens(left)) events.push(...conversation(setting, person, habits, start, chances));
      }
    }
  }
  return events;
}

/** Busiest before and after noon (UTC). */
const hours = [7, 8, 9, 9, 10, 10, 11, 13, 13, 14, 14, 15, 15, 16, 17, 19, 21];
const followUps = ['Shorter, please.', 'And for somebody who is new to this?', 'What would you check first?'];

/** One to three questions about one package, minutes apart. */
function conversation(setting: Setting, person: Person, habits: Habits, start: Date, chances: Chance): Event[] {
  const favourite = chances.oneOf(habits.packages);
  const about = setting.packages.find(({ name }) => name === favourite);
  if (about === undefined) throw new Error(`${person.username} likes ${favourite}, which is not there`);
  const talk = { packageId: about.name, model: chances.oneOf(habits.models), useNoPrompt: chances.happens(0.06) };
  const nature = { stops: chances.happens(0.05), fate: chances.next(), seconds: 2 + chances.next() * 9 };
  const questions = [ask(about.questions, chances.between(1, habits.pieces), chances)];
  while (questions.length < 3 && chances.happens(0.25)) questions.push(chances.oneOf(followUps));

  let session: string | null = null;
  let at = after(start, chances.oneOf(hours) * 60 * minute + chances.between(0, 59 * minute));
  return questions.map((question) => {
    const turn = { at, userId: () => setting.idOf(person.username), question, ...talk };
    at = after(at, chances.between(1, 4) * minute);
    return {
      at: turn.at,
      async happen() {
        session = await run(setting, { ...turn, userId: turn.userId(), sessionId: session }, nature);
      },
    };
  });
}

/** Several suggested inputs make a long question; a question has at most 10,000 characters. */
function ask(suggested: readonly string[], pieces: number, chances: Chance): string {
  const first = Math.floor(chances.next() * suggested.length);
  const parts = Array.from({ length: pieces }, (_, i) => suggested[(first + i) % suggested.length] ?? '');
  while (parts.join(separator).length > 10_000) parts.pop();
  return parts.join(separator);
}

const separator = '\n\n---\n\n';

type Turn = {
  at: Date;
  userId: string;
  question: string;
  packageId: string;
  model: string | null;
  useNoPrompt: boolean;
  sessionId: string | null;
};
/** How it ends: `fate` is a number from 0 to 1. */
type Nature = { stops: boolean; fate: number; seconds: number };

const generator = new V7Generator();

/** One run from beginning to end, at that moment of the clock. Its session, or null if it was refused. */
async function run({ sql, clock, models }: Setting, turn: Turn, nature: Nature): Promise<string | null> {
  await clock.moveTo(turn.at);
  const { userId, question, packageId, model, useNoPrompt, sessionId } = turn;
  const runId = generator.generateOrResetWithTs(turn.at.getTime()).toString();
  const wanted = models.find(({ alias, isDefault }) => (model === null ? isDefault : alias === model));
  const countedWith = wanted?.tokenizer ?? 'approximate';
  const request = {
    ...{ packageId, packageVersion: null, sessionId, model, useNoPrompt, maxOutputTokens: null },
    ...{
      inputTokens: await countTokens(question, countedWith),
      customPromptTokens: null,
      history: null,
      variables: null,
      promptTokens: null,
      countedWith,
    },
  };
  const begun = await beginRun(sql, userId, runId, request, null);
  if (begun.outcome !== 'started') return null;

  const reply = await answer(begun, question);
  const firstTokenMs = 350 + Math.round(nature.fate * 900);
  const durationMs = firstTokenMs + Math.round(nature.seconds * 1000);
  await clock.moveTo(after(turn.at, durationMs));
  const run = { userId, runId, called: true, question, error: null, errorReason: null, durationMs };

  if (nature.fate < 0.025) {
    const error = nature.fate < 0.012 ? 'provider_timeout' : 'provider_unavailable';
    const errorReason = error === 'provider_timeout' ? 'No answer in time.' : 'Overloaded';
    const usage = { input: 0, cached: 0, cacheWrite: 0, output: 0 };
    await releaseRun(sql, { ...run, usage, error, errorReason });
  } else if (nature.fate < 0.05) {
    const usage = await halfOf(reply);
    const failure = { error: 'provider_unavailable', errorReason: 'The provider broke off.' };
    await settleRun(sql, { ...run, ...failure, ...usage, firstTokenMs, ending: 'failed' });
  } else if (nature.stops) {
    await settleRun(sql, { ...run, ...(await halfOf(reply)), firstTokenMs, ending: 'stopped' });
  } else {
    const { text, input, output } = reply;
    const usage = { input, cached: 0, cacheWrite: 0, output };
    const ending = reply.cut ? 'length' : 'completed';
    await settleRun(sql, { ...run, usage, answer: text, estimated: false, firstTokenMs, ending });
  }
  return begun.begunSessionId;
}

type Reply = { text: string; input: number; output: number; cut: boolean };

/** What a stand-in would answer, and report. */
async function answer(
  { systemPrompt, history, outputCap, providerModel }: StartedRun,
  question: string,
): Promise<Reply> {
  const system = systemPrompt ?? '';
  const said = question
    .split(separator)
    .map((part) => compose(system, part))
    .join('\n\n');
  const { pieces, tokens, cut } = cutAnswer(said, outputCap);
  const turns = [...(history ?? []), { role: 'user' as const, content: question }];
  const input = await countInput({
    ...{ model: providerModel, system, maxTokens: outputCap, stream: true, wantsUsage: true, cacheable: null },
    turns: turns.map(({ role, content }) => ({ role, text: content })),
  });
  return { text: pieces.join(''), input, output: tokens, cut };
}

/** The usage report comes last, so half an answer has none. */
async function halfOf({ text }: Reply) {
  const answer = text.slice(0, Math.ceil(text.length / 2));
  const usage = { input: null, cached: 0, cacheWrite: 0, output: await countTokens(answer, 'o200k_base') };
  return { answer, usage, estimated: true };
}
