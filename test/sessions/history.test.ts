// A conversation that grows: how full it is, and how it goes on when it is full.
import { uuidv7 } from 'uuidv7';
import { expect, it } from 'vitest';
import { newId, openWorld } from '../runs/world.ts';

const world = await openWorld();

/** Runs whose ids say when they began, as a server makes them: what was said is told in that order. */
const start = (user: string, asked: object = {}) => world.start(user, { run: uuidv7(), ...asked });

/** An exchange in a session: its question has 400 tokens, its answer so many. Its share of later requests is 8 more. */
async function exchange(user: string, session: string | null, answer: string, output = 592, asked: object = {}) {
  const { begun_run_id } = await start(user, { session, ...asked });
  return world.settle(user, begun_run_id, { answer, input: 500, output });
}

async function talk(user: string, exchanges: number, output = 592): Promise<string> {
  const { run_id } = await exchange(user, null, 'answer 1', output);
  for (let n = 2; n <= exchanges; n++) await exchange(user, run_id, `answer ${n}`, output);
  return run_id;
}

const answersIn = (history: { role: string; content: string }[] | null) =>
  (history ?? []).filter(({ role }) => role === 'assistant').map(({ content }) => content);

const rich = () => world.person({ credits: 1_000, tier: 'unlimited' });

it('says with each receipt how full the conversation is, of how much (spec 10.1)', async () => {
  const user = await rich();
  const first = await exchange(user, null, 'one');
  expect(first).toMatchObject({ history_tokens: 1_000, request_limit: 20_000, dropped_exchanges: null });
  expect(await exchange(user, first.run_id, 'two')).toMatchObject({ history_tokens: 2_000, dropped_exchanges: null });
  const failed = await start(user, { session: first.run_id });
  expect(failed.history_tokens).toBe(2_000);
  expect(await world.release(user, failed.begun_run_id)).toMatchObject({ history_tokens: 2_000 });
  await world.ops`update settings set max_request_tokens = 15000`;
  expect(await exchange(user, first.run_id, 'three')).toMatchObject({ history_tokens: 3_000, request_limit: 15_000 });
});

it('refuses a conversation that has become too long with the ways to go on (spec 10.1, fault 29)', async () => {
  const user = await rich();
  const session = await talk(user, 5, 3_592); // 5 × 4,000 tokens
  const refusal = await world.refusal(user, { session });
  expect(refusal).toMatchObject({
    ...{ code: 'request_too_large', status: 413 },
    details: { history_tokens: 20_000, ways_on: ['drop_oldest', 'summarise', 'new_session'] },
  });
  expect(refusal.message).toMatch(/drop_oldest.*summarise.*new session/s);
  const alone = await world.refusal(user, { tokens: 30_000 });
  expect(alone.details).not.toHaveProperty('ways_on');
  expect(alone.message).not.toMatch(/conversation/);
});

it('holds a comparison to the conversations that it was reckoned with, though short answers leave room for more (spec 5.8)', async () => {
  const user = await world.person({ credits: 16, tier: 'unlimited' });
  const sessions = [await talk(user, 5, 3_592), await talk(user, 5, 3_592)]; // 10 credits
  const sides = await world.compare(
    user,
    sessions.map((session) => ({ session, history: 'fit' as const })),
  );
  for (const { begun } of sides) {
    expect(begun).toMatchObject({ outcome: 'started', dropped_exchanges: 2, hold_credits: 3 });
    expect(begun.output_cap).toBe(2_500);
    expect(answersIn(begun.history)).toEqual(['answer 3', 'answer 4', 'answer 5']);
  }
});

it('leaves out the oldest exchanges where asked to, so that the answer has room, and says how many (spec 10.1)', async () => {
  const user = await rich();
  const session = await talk(user, 5, 3_592);
  const begun = await start(user, { session, history: 'fit' });
  // 20,000 less 500 of prompt and question leave 15,404 beside an answer of 4,096: three exchanges of 4,000.
  expect(answersIn(begun.history)).toEqual(['answer 3', 'answer 4', 'answer 5']);
  expect(begun).toMatchObject({
    dropped_exchanges: 2,
    history_tokens: 12_000,
    estimated_input: 12_500,
    output_cap: 4_096,
  });
  expect(await world.settle(user, begun.begun_run_id, { answer: 'six' })).toMatchObject({ dropped_exchanges: 2 });
  expect(await world.readRun(user, begun.begun_run_id)).toMatchObject({ dropped_exchanges: 2, request_limit: 20_000 });
  // Nothing is lost: the whole is still there to read, and who asks for less of an answer brings more.
  const [session_] =
    await world.app`select json_array_length(exchanges) as n from api.read_session(${user}, ${session})`;
  expect(session_?.n).toBe(6);
  const short = await start(user, { session, history: 'fit', wish: 500 });
  expect(short.dropped_exchanges).toBe(1);
  await world.release(user, short.begun_run_id);
});

it('leaves out nothing that fits, and everything but the question where it must (spec 10.1)', async () => {
  const user = await rich();
  const session = await talk(user, 2);
  const whole = await start(user, { session, history: 'fit' });
  expect(whole).toMatchObject({ dropped_exchanges: 0, history_tokens: 2_000 });
  await world.release(user, whole.begun_run_id);
  const none = await start(user, { session, history: 'fit', tokens: 19_500 });
  expect(none).toMatchObject({ dropped_exchanges: 2, history_tokens: 0, history: null, output_cap: 400 });
  await world.release(user, none.begun_run_id);
  expect(await world.refusal(user, { session, history: 'fit', tokens: 20_000 })).toMatchObject({
    code: 'request_too_large',
  });
  // Half of what a prompt and question leave is for the conversation, though the longest answer would take more.
  const tight = await start(user, { session, history: 'fit', tokens: 15_900 });
  expect(tight).toMatchObject({ dropped_exchanges: 0, history_tokens: 2_000, output_cap: 2_000 });
  await world.release(user, tight.begun_run_id);
});

it('holds and charges for what it brings, and no more (spec 1.5)', async () => {
  const user = await world.person({ credits: 20, tier: 'unlimited' });
  const session = await talk(user, 5, 3_592);
  const before = await world.figures(user);
  const begun = await start(user, { session, history: 'fit', wish: 400 });
  expect(begun.hold_credits).toBe(Math.ceil((begun.estimated_input + 400) / 5_000));
  await world.settle(user, begun.begun_run_id, { input: begun.estimated_input, output: 100 });
  expect(await world.figures(user)).toMatchObject({ held: 0, balance: before.balance - 4 });
});

it('a summary is a run with its own price, from which the conversation goes on (spec 10.1)', async () => {
  const user = await rich();
  const session = await talk(user, 4, 3_592);
  const [row] = await world.app`
    select api.estimate_run(${user}, ${newId()}, 'plain', null, ${session}, 'plain', true, 50, 'o200k_base', null, null, 'summarise') as it`;
  expect(row?.it).toMatchObject({
    tokens_input: 16_057,
    history_tokens: 16_000,
    dropped_exchanges: 0,
    output_cap: 1_024,
    credits_most: 4,
  });

  const begun = await start(user, { session, history: 'summarise', baseline: true, tokens: 50 });
  expect(begun).toMatchObject({ system_prompt: null, output_cap: 1_024, hold_credits: 4, dropped_exchanges: 0 });
  const receipt = await world.settle(user, begun.begun_run_id, { answer: 'in short', input: 16_057, output: 342 });
  expect(receipt).toMatchObject({ credits_spent: 4, history_tokens: 400 });

  const next = await start(user, { session });
  expect(next.history).toEqual([
    { role: 'user', content: 'question' },
    { role: 'assistant', content: 'in short' },
  ]);
  expect(next.estimated_input).toBe(900);
  await world.settle(user, next.begun_run_id, { answer: 'goes on' });
  const after = await start(user, { session });
  expect(answersIn(after.history)).toEqual(['in short', 'goes on']);
  await world.release(user, after.begun_run_id);
  const [read] = await world.app`select exchanges from api.read_session(${user}, ${session})`;
  expect(read?.exchanges.map((x: { is_summary: boolean }) => x.is_summary)).toEqual(
    [1, 2, 3, 4, 5, 6, 7].map((n) => n === 5),
  );
});

it('a summary leaves out the oldest where the whole does not fit, and is itself the last to go (spec 10.1)', async () => {
  const user = await rich();
  const session = await talk(user, 5, 3_592);
  const begun = await start(user, { session, history: 'summarise', baseline: true, tokens: 50 });
  expect(answersIn(begun.history)).toEqual(['answer 2', 'answer 3', 'answer 4', 'answer 5']);
  await world.settle(user, begun.begun_run_id, { answer: 'in short', output: 342 });
  for (let n = 0; n < 5; n++) await exchange(user, session, `later ${n}`, 3_592, { history: 'fit' });
  const next = await start(user, { session, history: 'fit' });
  expect(answersIn(next.history)).toEqual(['in short', 'later 2', 'later 3', 'later 4']);
  expect(next.dropped_exchanges).toBe(2);
  await world.release(user, next.begun_run_id);
});

it.each([
  ['stopped half-way', { ending: 'stopped', answer: 'in sh', output: 3 }],
  ['cut off at its cap', { ending: 'length', answer: 'in sho', output: 1_024 }],
  ['failed half-way', { ending: 'failed', answer: 'in', output: 1, error: 'provider_error' }],
])('a summary that was %s takes the place of nothing (spec 10.1)', async (_, ended) => {
  const user = await rich();
  const session = await talk(user, 2);
  const begun = await start(user, { session, history: 'summarise', baseline: true, tokens: 50 });
  await world.settle(user, begun.begun_run_id, ended);
  const next = await start(user, { session });
  expect(answersIn(next.history).slice(0, 2)).toEqual(['answer 1', 'answer 2']);
  await world.release(user, next.begun_run_id);
});

it('a summary whose server was taken for dead counts when it comes back after all (spec 5.3)', async () => {
  const user = await rich();
  const session = await talk(user, 2);
  const begun = await start(user, { session, history: 'summarise', baseline: true, tokens: 50 });
  await world.pass('10 minutes');
  await world.expireHolds();
  expect(await world.readRun(user, begun.begun_run_id)).toMatchObject({ status: 'expired', history_tokens: 2_000 });
  const between = await exchange(user, session, 'between');
  expect(between.history_tokens).toBe(3_000);
  await world.settle(user, begun.begun_run_id, { answer: 'in short', output: 342 });
  const next = await start(user, { session });
  expect(answersIn(next.history)).toEqual(['in short', 'between']);
  await world.release(user, next.begun_run_id);
});

it('a summary of nothing, or of another person, is refused and costs nothing (spec 10.1)', async () => {
  const [user, stranger] = [await rich(), await rich()];
  const { begun_run_id } = await start(user);
  await world.release(user, begun_run_id);
  const asked = { session: begun_run_id, history: 'summarise', baseline: true };
  expect(await world.refusal(user, asked)).toMatchObject({ code: 'nothing_to_summarise', status: 409 });
  expect(await world.refusal(stranger, asked)).toMatchObject({ code: 'session_not_found' });
  expect((await world.figures(user)).balance).toBe(1_000);
});

it('a session is summarised twice at once: one begins, the other is told that it is busy (spec 10.1)', async () => {
  const user = await rich();
  const session = await talk(user, 2);
  const both = await Promise.all(
    [1, 2].map(() => world.begin(user, { run: uuidv7(), session, history: 'summarise', baseline: true })),
  );
  expect(both.map(({ outcome, refusal }) => refusal?.code ?? outcome).sort()).toEqual(['session_busy', 'started']);
  for (const { outcome, begun_run_id } of both) if (outcome === 'started') await world.release(user, begun_run_id);
});
