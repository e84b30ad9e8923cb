// Money is never lost, however many ask at once: over HTTP, by one server process and by two.
import { afterAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { call } from '../http/house.ts';
import { answerTo, chance, openPlace, type Person, question, soak } from './place.ts';

const database = await createDatabase();
const place = await openPlace(database, { firstTokenMs: 20, tokenMs: 2, answers: 'composed' });
afterAll(async () => {
  await place.close();
  await database.drop();
});
const [first, second] = [await place.serve(), await place.serve()];
await database.ops`update cost_limits_config set minute_request_limit = null, hourly_request_limit = null`;
const parallel = soak ? 1_000 : 200;

/** So many runs of one user at once. Whatever becomes of them, who was let in and who was not leave what they should. */
async function askAtOnce(person: Person, processes: number, directives: () => string) {
  const asks = Array.from({ length: parallel }, () => question(person, directives()));
  const [callsBefore, balanceBefore] = [place.standIns.calls.anthropic.calls, await place.balance(person)];
  const answers = await Promise.all(
    asks.map(async (ask, i) => ({ ask, ...(await answerTo(i % processes === 0 ? first : second, ask)) })),
  );

  const letIn = answers.filter(({ status }) => status === 200);
  const refused = answers.filter(({ status }) => status !== 200);
  for (const { ask, json } of letIn) {
    expect(place.gate.callsFor(ask)).toBe(1);
    expect(json.response).not.toBe('');
  }
  for (const { ask, json, text } of refused) {
    expect(['insufficient_credits', 'held_by_other_runs', 'daily_cost_limit', 'throttled']).toContain(json.error);
    expect(place.gate.callsFor(ask)).toBe(0);
    expect(text).not.toMatch(/run_id|session_id/);
  }
  expect(place.standIns.calls.anthropic.calls - callsBefore).toBe(letIn.length);

  const runs = (await place.runs()).filter(({ user_id }) => user_id === person.userId);
  expect(runs.map(({ id }) => id).toSorted()).toEqual(letIn.map(({ json }) => json.run_id).toSorted());
  expect(runs.map(({ key }) => key).toSorted()).toEqual(letIn.map(({ ask }) => ask.name).toSorted());
  const read = (path: string) => call(first.url, 'GET', path, { token: person.token });
  const sessions = (await read('/api/v1/playground/sessions?limit=100')).json.sessions;
  expect(sessions.map((session: { id: string }) => session.id).toSorted()).toEqual(
    letIn.map(({ json }) => json.session_id).toSorted(),
  );
  const [kept] = await database.owner`
    select (select count(*) from run_texts where user_id = ${person.userId})::int as texts,
      (select coalesce(sum(count), 0) from refusals where user_id = ${person.userId})::int as refusals`;
  expect(kept).toEqual({ texts: letIn.length, refusals: refused.length });

  const spent = letIn.reduce((sum, { json }) => sum + json.credits_spent, 0);
  expect(runs.reduce((sum, { taken }) => sum + taken, 0)).toBe(spent);
  expect(await place.balance(person)).toBe(balanceBefore - spent);
  expect(await place.held()).toEqual([]);
  expect(await place.audit()).toEqual([]);
  return { letIn, refused, spent, runs };
}

describe.each([1, 2])(`${parallel} runs of one user at once, over %i server processes`, (processes) => {
  it('spend no more than the five credits there were (spec 3.2, 4.2)', async () => {
    const person = await place.person(5);
    const { letIn, spent } = await askAtOnce(person, processes, () => `tokens=${chance(1, 60)} pace=${chance(1, 5)}`);
    expect(letIn.length).toBeGreaterThan(0);
    expect(spent).toBeLessThanOrEqual(5);
  });

  it('cost no more than a window has, though each writes all that it may (spec 3.2)', async () => {
    const person = await place.person(100_000, 'free');
    const { letIn, runs } = await askAtOnce(person, processes, () => 'tokens=4096 pace=0');
    expect(letIn.length).toBeGreaterThan(1);
    const [windows] = await database.owner`
      select current_day_limited_cost as day, current_month_limited_cost as month, daily_cost_limit as limit
      from users u, cost_limits_config l where u.id = ${person.userId} and l.tier_name = 'free'`;
    expect(Number(windows?.day)).toBeLessThanOrEqual(Number(windows?.limit));
    expect(Number(windows?.day)).toBeGreaterThan(Number(windows?.limit) * 0.9);
    expect(windows?.month).toBe(windows?.day);
    expect(runs.reduce((sum, { cost }) => sum + Number(cost), 0)).toBeCloseTo(Number(windows?.day), 9);
  });

  it('make one run and one provider call where all carry one key (spec 5.3)', async () => {
    const person = await place.person(5);
    const ask = question(person, 'tokens=20 pace=5');
    const answers = await Promise.all(
      Array.from({ length: parallel / 4 }, (_, i) => answerTo(i % processes === 0 ? first : second, ask)),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ json }) => json.run_id)).size).toBe(1);
    expect(place.gate.callsFor(ask)).toBe(1);
    expect(await place.balance(person)).toBe(4);
    expect(await place.audit()).toEqual([]);
  });
});
