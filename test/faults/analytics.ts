// What authors and administrators see of it. Faults 38 to 45.
import { expect } from 'vitest';
import type { Person } from '../http/house.ts';
import { good, type Place, type Room, said } from './place.ts';

/** An author with packages of their own. */
async function author(place: Place, ...packages: string[]): Promise<Person> {
  const who = await place.somebody();
  for (const name of packages) await place.publish(who, name);
  return who;
}
async function suggest(place: Place, who: Person, package_id: string, title: string): Promise<string> {
  const answer = await place.ask('POST', '/suggested-inputs', who, { package_id, title, suggested_input: title });
  expect(answer.status, answer.text).toBe(201);
  return answer.json.id;
}
const figures = async (place: Place, who: Person, name: string) => {
  const { total_playground_sessions, total_runs, total_credits_spent, unique_users, total_share_views } =
    await place.get(`/analytics/package/${name}`, who);
  return {
    ...{ sessions: total_playground_sessions, runs: total_runs, credits: total_credits_spent },
    ...{ users: unique_users, views: total_share_views },
  };
};
const written = (of: Record<string, unknown>) =>
  Object.entries(of)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ');

export const analytics: Room = {
  name: 'Analytics',
  faults: [
    {
      number: 38,
      there: 'A package’s sums are multiplied by the number of its suggested inputs',
      async ours(place) {
        const who = await author(place, 'heron');
        const inputs = ['Fish', 'Reeds', 'Dawn'];
        for (const title of inputs) await suggest(place, who, 'heron', title);
        const users = [await place.somebody(), await place.somebody()];
        for (const user of users) {
          const { session_id } = good(await place.run(user, 'hello', { package_id: 'heron', model: 'gpt-4o' }));
          good(await place.run(user, 'more', { package_id: 'heron', session_id, model: 'gpt-4o' }));
          const { share_token } = good(await place.ask('POST', `/playground/sessions/${session_id}/share`, user));
          await place.get(`/playground/shared/${share_token}`, who);
        }
        const shown = await figures(place, who, 'heron');
        expect(shown).toEqual({ sessions: 2, runs: 4, credits: 8, users: 2, views: 2 });
        return `with ${inputs.length} inputs: ${written(shown)}`;
      },
    },
    {
      number: 39,
      there: 'One person who tries three packages of an author’s counts as three',
      async ours(place) {
        const who = await author(place, 'duck', 'swan', 'goose');
        const user = await place.somebody();
        for (const package_id of ['duck', 'swan', 'goose']) good(await place.run(user, 'hello', { package_id }));
        const { total_packages, total_playground_sessions, total_unique_users } = await place.get(
          '/analytics/author/summary',
          who,
        );
        expect([total_packages, total_playground_sessions, total_unique_users]).toEqual([3, 3, 1]);
        return `${total_packages} packages, ${total_playground_sessions} sessions, ${total_unique_users} person`;
      },
    },
    {
      number: 40,
      there: 'Both reports for authors fail: what the functions return is not what they declare',
      async ours(place) {
        const who = await author(place, 'stork');
        good(await place.run(await place.somebody(), 'hello', { package_id: 'stork' }));
        await place.ops`select refresh_user_cost_analytics()`;
        const [summary, one] = [
          await place.ask('GET', '/analytics/author/summary', who),
          await place.ask('GET', '/analytics/package/stork', who),
        ];
        expect([summary.status, one.status]).toEqual([200, 200]);
        expect([summary.json.total_credits_spent, one.json.total_credits_spent]).toEqual([1, 1]);
        return `summary ${summary.status} with ${summary.json.total_credits_spent} credit, package ${one.status} with ${one.json.total_playground_sessions} session`;
      },
    },
    {
      number: 41,
      there: 'The dashboard breaks on a number that arrives as text',
      async ours(place) {
        const who = await author(place, 'crane');
        const id = await suggest(place, who, 'crane', 'Dance');
        for (const user of [await place.somebody(), await place.somebody(), null])
          good(await place.ask('POST', '/suggested-inputs/record-usage', user, { suggested_input_id: id }));
        const { suggested_inputs, summary } = await place.get('/analytics/suggested-inputs/package/crane', who);
        const numbers = { ...suggested_inputs[0], ...summary };
        const names = Object.keys(numbers).filter((name) =>
          /^(total|completed|unique|conversion|clicks|avg)/.test(name),
        );
        const kinds = names.map((name) => typeof numbers[name]);
        expect(new Set(kinds)).toEqual(new Set(['number']));
        return `${kinds.length} figures, all of type ${[...new Set(kinds)].join(', ')}; conversion_rate ${numbers.conversion_rate} of ${numbers.total_clicks} clicks`;
      },
    },
    {
      number: 42,
      there: 'Figures are refreshed by nobody, or by anybody, as often as they like',
      async ours(place) {
        const who = await author(place, 'gull');
        const refused = await place.ask('POST', '/admin/cost-analytics/refresh', who);
        const before = await figures(place, who, 'gull');
        good(await place.run(who, 'hello', { package_id: 'gull' }));
        const after = await figures(place, who, 'gull');
        const jobs = await place.ops`select job from ops.jobs where job = 'refresh-analytics'`;
        expect([refused.status, before.runs, after.runs, jobs.length]).toEqual([403, 0, 1, 1]);
        return `asked by an author: ${said(refused)}; without a refresh runs ${before.runs} → ${after.runs}; ${jobs.length} job does it each hour all the same`;
      },
    },
    {
      number: 43,
      there: 'Completions need no sign-in, are reported by no page, and take any ids; clicks are inflated by anybody',
      async ours(place) {
        const who = await author(place, 'finch');
        const user = await place.somebody();
        const id = await suggest(place, who, 'finch', 'Sing');
        const click = (one: Person | null) =>
          place.ask('POST', '/suggested-inputs/record-usage', one, { suggested_input_id: id });
        const { usage_id } = good(await click(user));
        for (let again = 0; again < 5; again += 1) await click(user);
        const complete = (one: Person | null, session_id: string) =>
          place.ask('POST', '/suggested-inputs/mark-complete', one, { usage_id, session_id });
        const { session_id: other } = good(await place.run(user, 'something else', { package_id: 'finch' }));
        const unsigned = await complete(null, other);
        const [foreign, unlike] = [await complete(who, other), await complete(user, other)];
        const { session_id } = good(await place.run(user, 'Sing', { package_id: 'finch' }));
        const [first, again] = [await complete(user, session_id), await complete(user, session_id)];
        expect([unsigned.status, foreign.status, unlike.status, first.status]).toEqual([401, 404, 409, 200]);
        const category = (name: string) =>
          place.ask('POST', '/suggested-inputs', who, {
            package_id: 'finch',
            title: 'x',
            suggested_input: 'x',
            category: name,
          });
        const [unknown, known] = [await category('bug-fix'), await category('refactoring')];
        expect([unknown.status, known.status]).toEqual([400, 201]);
        const { suggested_inputs } = await place.get('/analytics/suggested-inputs/package/finch', who);
        const { total_clicks, completed_tests } = suggested_inputs.find(
          ({ title }: { title: string }) => title === 'Sing',
        );
        expect([total_clicks, completed_tests]).toEqual([1, 1]);
        return `completing: without a token ${said(unsigned)}, by another ${said(foreign)}, another input ${said(unlike)}, as it was ${said(first)}, again ${said(again)}; 6 clicks of one person count ${total_clicks}, completed ${completed_tests}; category bug-fix ${unknown.status} (${unknown.json.errors[0].field})`;
      },
    },
    {
      number: 44,
      there: 'Runs without a package’s prompt, and people’s own prompts, are booked to a package’s author',
      async ours(place) {
        const who = await author(place, 'robin');
        const user = await place.somebody();
        await place.ops`select from ops.set_user(${user.userId}, verified_author => true, reason => 'a fault')`;
        good(await place.run(user, 'hello', { package_id: 'robin' }));
        const before = await figures(place, who, 'robin');
        good(await place.run(user, 'hello', { package_id: 'robin', use_no_prompt: true }));
        good(
          await place.ask('POST', '/custom-prompt/run', user, { custom_prompt: 'Answer as a robin.', input: 'hello' }),
        );
        const after = await figures(place, who, 'robin');
        const [row] = await place.owner`select count(*)::int as runs from runs where user_id = ${user.userId}`;
        expect(after).toEqual(before);
        return `${row?.runs} runs, two of them baseline and own prompt: the author sees runs ${after.runs}, credits ${after.credits}`;
      },
    },
    {
      number: 45,
      there: 'A session’s tokens, time and model are those of its first run',
      async ours(place) {
        const user = await place.somebody();
        const first = good(await place.run(user, 'one', { model: 'gpt-4o' }));
        const second = good(await place.run(user, 'two', { session_id: first.session_id, model: 'gpt-4o-mini' }));
        const shown = await place.get(`/playground/sessions/${first.session_id}`, user);
        expect([shown.total_tokens, shown.credits_spent, shown.model]).toEqual([
          first.tokens_used + second.tokens_used,
          first.credits_spent + second.credits_spent,
          'gpt-4o-mini',
        ]);
        expect(shown.total_duration_ms).toBe(first.duration_ms + second.duration_ms);
        return `${first.tokens_used} + ${second.tokens_used} tokens: ${shown.total_tokens}; ${first.duration_ms} + ${second.duration_ms} ms: ${shown.total_duration_ms}; ${first.credits_spent} + ${second.credits_spent} credits: ${shown.credits_spent}; model ${shown.model}, of the last`;
      },
    },
  ],
};
