// What was said: whose it is, sharing, votes, lists. Faults 20 to 30.
import { expect } from 'vitest';
import { call, type Person } from '../http/house.ts';
import { voteOnPage } from './page.ts';
import { good, type Place, type Room, said } from './place.ts';

/** A run of somebody's in a session of its own. */
async function session(place: Place, who: Person, input = 'An old silent pond'): Promise<string> {
  return good(await place.run(who, input)).session_id;
}
async function share(place: Place, who: Person, id: string): Promise<{ share_token: string; share_url: string }> {
  return good(await place.ask('POST', `/playground/sessions/${id}/share`, who));
}
const counts = async (place: Place, token: string) => {
  const { helpful_count, not_helpful_count } = await place.get(`/playground/shared/${token}`);
  return `${helpful_count}/${not_helpful_count}`;
};
const vote = (place: Place, token: string, is_helpful: boolean, who: Person | null = null) =>
  place.ask('POST', `/playground/shared/${token}/feedback`, who, { is_helpful });
const results = async (place: Place): Promise<string[]> =>
  (await place.get('/playground/packages/haiku/top-results?limit=50')).results.map(
    ({ share_token }: { share_token: string }) => share_token,
  );

export const sessions: Room = {
  name: 'Sessions',
  faults: [
    {
      number: 20,
      there: 'Anybody writes into a stranger’s public session, at its owner’s expense',
      async ours(place) {
        const [owner, stranger] = [await place.somebody(), await place.somebody()];
        const id = await session(place, owner);
        await share(place, owner, id);
        const before = await place.get(`/playground/sessions/${id}`, owner);
        const intruded = await place.run(stranger, 'mine now', { session_id: id });
        const after = await place.get(`/playground/sessions/${id}`, owner);
        expect([said(intruded), after]).toEqual(['404 session_not_found', before]);
        return `a stranger’s run in a shared session: ${said(intruded)}; it still has ${after.run_count} run and ${after.credits_spent} credit`;
      },
    },
    {
      number: 21,
      there: 'Feedback on a shared result always fails: the database cannot tell a parameter’s type',
      async ours(place) {
        const owner = await place.somebody();
        const { share_token } = await share(place, owner, await session(place, owner));
        const before = await counts(place, share_token);
        const answer = await place.ask('POST', `/playground/shared/${share_token}/feedback`, null, {
          ...{ is_helpful: true, feedback_text: 'It rhymes.' },
        });
        const after = await counts(place, share_token);
        expect([answer.status, before, after]).toEqual([200, '0/0', '1/0']);
        return `looked at, then voted for with a text: ${answer.status}, helpful ${before} → ${after}`;
      },
    },
    {
      number: 22,
      there: 'Counters of votes never move, since the old vote is read after it was overwritten',
      async ours(place) {
        const owner = await place.somebody();
        const { share_token } = await share(place, owner, await session(place, owner));
        const seen: string[] = [await counts(place, share_token)];
        for (const isHelpful of [true, false, false, true]) {
          good(await vote(place, share_token, isHelpful));
          seen.push(await counts(place, share_token));
        }
        expect(seen).toEqual(['0/0', '1/0', '0/1', '0/1', '1/0']);
        return `yes, no, no again, yes: ${seen.join(' → ')}`;
      },
    },
    {
      number: 23,
      there: 'The page thanks for a vote that it never sends',
      async ours(place) {
        const owner = await place.somebody();
        const { share_token } = await share(place, owner, await session(place, owner));
        const how = await voteOnPage(place, share_token);
        const seen = await counts(place, share_token);
        expect(seen).toBe('1/0');
        return `${how}; the next visitor sees ${seen}`;
      },
    },
    {
      number: 24,
      there: 'Sharing again kills the link given out before, nothing unshares, and deleted texts stay on show',
      async ours(place) {
        const owner = await place.somebody();
        const [one, two] = [await session(place, owner), await session(place, owner)];
        const [first, again] = [await share(place, owner, one), await share(place, owner, one)];
        const other = await share(place, owner, two);
        expect(again.share_url).toBe(first.share_url);
        const shown = (await results(place)).filter((token) => [first.share_token, other.share_token].includes(token));
        good(await place.ask('DELETE', `/playground/sessions/${one}/share`, owner));
        good(await place.ask('DELETE', `/playground/sessions/${two}`, owner));
        const gone = await Promise.all(
          [first, other].map(({ share_token }) => place.ask('GET', `/playground/shared/${share_token}`)),
        );
        const left = (await results(place)).filter((token) => [first.share_token, other.share_token].includes(token));
        expect([shown.length, left.length, gone.map(({ status }) => status)]).toEqual([2, 0, [404, 404]]);
        return `shared twice: the same link; unshared ${gone[0]?.status}, deleted ${gone[1]?.status} at once; in the top results ${shown.length}, then ${left.length}`;
      },
    },
    {
      number: 25,
      there: 'Sharing a comparison fails half way, when one side is already public; and sides are never linked',
      async ours(place) {
        const owner = await place.somebody();
        const body = {
          package_id: 'haiku',
          input: 'Frogs',
          model: 'gpt-4o-mini',
          sides: [{}, { use_no_prompt: true }],
        };
        const compared = good(await place.ask('POST', '/playground/compare', owner, body));
        const shared = await place.ask('POST', `/playground/compare/${compared.comparison_id}/share`, owner);
        const { share_token } = good(shared);
        const shown = await place.get(`/playground/shared/${share_token}`);
        const again = good(await place.ask('POST', `/playground/compare/${compared.comparison_id}/share`, owner));
        const responses = shown.sides.map(({ answer }: { answer: string }) => answer);
        expect(responses).toEqual(compared.sides.map(({ response }: { response: string }) => response));
        expect(again.share_token).toBe(share_token);
        return `one link (${shared.status}, the same when asked again) shows ${responses.length} sides`;
      },
    },
    {
      number: 26,
      there: 'A shared result tells who shared it, and internal ids',
      async ours(place) {
        const owner = await place.somebody();
        const id = await session(place, owner);
        const [{ username, email } = {}] =
          await place.owner`select username, email from users where id = ${owner.userId}`;
        const { share_token } = await share(place, owner, id);
        const shown = await place.ask('GET', `/playground/shared/${share_token}`);
        const secrets = [owner.userId, id, username, email, (await place.newest(owner)).id];
        const told = secrets.filter((secret) => shown.text.includes(secret));
        expect([told, /(user|org|organization|owner|session|run)_id/.exec(shown.text)]).toEqual([[], null]);
        return `of ${secrets.length} ids and names of its owner’s ${told.length} are in the ${shown.text.length} characters shown`;
      },
    },
    {
      number: 27,
      there:
        'An author features a stranger’s private session; maintainers cannot feature at all; {} is a syntax error in SQL',
      async ours(place) {
        const [author, maintainer, user] = [await place.somebody(), await place.somebody(), await place.somebody()];
        const [team] = await place.ops`select id from ops.create_organization('pond')`;
        await place.ops`select from ops.add_member(${team?.id}, ${author.userId}, 'owner')`;
        await place.ops`select from ops.add_member(${team?.id}, ${maintainer.userId}, 'maintainer')`;
        await place.publish(author, 'frog', { organization: 'pond' });
        const { session_id } = good(await place.run(user, 'hello', { package_id: 'frog' }));
        const feature = (who: Person, what: string, body: object = { is_featured: true }) =>
          place.ask('PATCH', `/playground/sessions/${what}/feature`, who, body);
        const hidden = await feature(author, session_id);
        const { share_token } = await share(place, user, session_id);
        const [empty, byMaintainer] = [await feature(author, share_token, {}), await feature(maintainer, share_token)];
        const byUser = await feature(user, share_token);
        expect([hidden.status, empty.status, byMaintainer.status, byUser.status]).toEqual([404, 400, 200, 403]);
        return `private: ${said(hidden)}; {}: ${said(empty)}; by a maintainer, once shared: ${said(byMaintainer)}; by its owner: ${said(byUser)}`;
      },
    },
    {
      number: 28,
      there: 'A limit or offset that is none becomes a 500',
      async ours(place) {
        const who = await place.newcomer();
        const wrong = ['limit=-5', 'offset=-1', 'limit=1.5', 'limit=0', 'limit=many'];
        const answers = await Promise.all(wrong.map((query) => place.ask('GET', `/playground/sessions?${query}`, who)));
        expect(answers.map(({ status }) => status)).toEqual(wrong.map(() => 400));
        return wrong
          .map((query, n) => `${query}: ${answers[n]?.status} (${answers[n]?.json.errors[0].field})`)
          .join(', ');
      },
    },
    {
      number: 29,
      there: 'The list brings whole conversations, and one that has grown too long is dead without a word',
      async ours(place) {
        const who = await place.somebody();
        const words = 'old silent pond '.repeat(600);
        const id = await session(place, who, words);
        const list = await place.ask('GET', '/playground/sessions', who);
        const { response } = await place.get(`/playground/runs/${(await place.newest(who)).id}`, who);
        expect(list.text).not.toContain(response);
        expect(list.text.length).toBeLessThan(words.length / 10);
        const [refused, went] = await place.under(
          'update settings set max_request_tokens = 2000',
          'update settings set max_request_tokens = default',
          async () => [
            await place.run(who, 'And now?', { session_id: id }),
            await place.run(who, 'And now?', { session_id: id, drop_oldest: true }),
          ],
        );
        expect([said(refused), went.status]).toEqual(['413 request_too_large', 200]);
        return `a list of ${list.json.total} session with ${words.length} characters has ${list.text.length}; too long: ${said(refused)}, ways on ${refused.json.details.ways_on.join(', ')}; taking the first: ${went.status}`;
      },
    },
    {
      number: 30,
      there: 'Unknown, throttled, too large, provider away: all are the same 400, or a 500',
      async ours(place) {
        const who = await place.somebody();
        await place.ops`select from ops.set_user(${who.userId}, verified_author => true, reason => 'a fault')`;
        const unknown = `/playground/sessions/${crypto.randomUUID()}`;
        const own = (input: string, more = {}) =>
          place.ask('POST', '/custom-prompt/run', who, { custom_prompt: 'Answer as a parrot.', input, ...more });
        const answers = {
          'DELETE of unknown': await place.ask('DELETE', unknown, who),
          'GET of unknown': await place.ask('GET', unknown, who),
          ...(await place.under(
            'update settings set max_request_tokens = 300',
            'update settings set max_request_tokens = default',
            async () => ({
              'too large': await place.run(who, 'pond '.repeat(500)),
              'own prompt too large': await own('pond '.repeat(500)),
            }),
          )),
          'provider refuses': await place.run(who, 'x [[sandbox: status=400]]'),
          'provider away': await place.run(who, 'x [[sandbox: reset]]'),
          'own prompt, provider refuses': await own('x [[sandbox: status=400]]'),
          throttled: await throttled(place, who),
        };
        expect(Object.values(answers).map(({ status }) => status)).toEqual([404, 404, 413, 413, 502, 503, 502, 403]);
        return Object.entries(answers)
          .map(([what, answer]) => `${what} ${said(answer)}`)
          .join(', ');
      },
    },
  ],
};

async function throttled(place: Place, who: Person) {
  await place.ops`select from ops.throttle_user(${who.userId}, null, 'a fault')`;
  return call(place.url, 'POST', '/api/v1/playground/run', {
    ...{ token: who.token, body: { package_id: 'haiku', input: 'hello' } },
  });
}
