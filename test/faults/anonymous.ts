// Limits of how often, visitors without an account, time-outs, and what the guide prints. Faults 64 to 68.
import { expect } from 'vitest';
import { call } from '../http/house.ts';
import { good, type Place, type Room, said, tally } from './place.ts';

const from = (address: string) => ({ 'x-forwarded-for': address });
/** Somebody who is nobody, at an address. */
const visit = (place: Place, address: string, headers: Record<string, string> = {}, more: object = {}) =>
  call(place.url, 'POST', '/api/v1/playground/run', {
    body: { package_id: 'haiku', input: 'hello', ...more },
    headers: { ...from(address), ...headers },
  });

export const anonymous: Room = {
  name: 'Limits and visitors',
  faults: [
    {
      number: 64,
      there: 'The limit of a session stands in a header that callers leave out, and fits anybody',
      async ours(place) {
        const who = await place.somebody(100, null);
        const other = await place.another();
        const headers = [
          {},
          { 'x-session-id': 'a' },
          { 'x-session-token': 'b' },
          {},
          { 'x-playground-session': 'c' },
          {},
          {},
          {},
        ];
        const answers = await place.under(
          "update cost_limits_config set minute_request_limit = 5 where tier_name = 'free'",
          'update cost_limits_config set minute_request_limit = null',
          () =>
            Promise.all(
              headers.map((more, n) =>
                call(n % 2 === 0 ? place.url : other.url, 'POST', '/api/v1/playground/run', {
                  ...{ token: who.token, headers: more },
                  body: { package_id: 'haiku', input: `${n}`, model: 'gpt-4o-mini' },
                }),
              ),
            ),
        );
        await other.close();
        const refused = answers.find(({ status }) => status === 429);
        expect(tally(answers)).toBe('5× 200, 3× 429 rate_limited');
        return `there is no such header here: 8 runs in a minute with and without one, at two servers: ${tally(answers)}, Retry-After ${refused?.headers['retry-after']}`;
      },
    },
    {
      number: 65,
      there: 'A visitor’s run always fails, with a message of SQL, and so is never counted',
      async ours(place) {
        const [first, second] = [await visit(place, '192.0.2.1'), await visit(place, '192.0.2.1')];
        const [use] = await place.ops`select runs from ops.anonymous_use`;
        expect([said(first), said(second), use?.runs]).toEqual(['200', '403 anonymous_quota_exceeded', 1]);
        for (const { text } of [first, second]) expect(text).not.toMatch(/uuid|syntax|relation/);
        const { details } = second.json;
        return `the first ${said(first)} with ${first.json.tokens_used} tokens, the second ${said(second)} (${details.usageCount} of ${details.quotaLimit} in ${details.currentMonth}); ${use?.runs} run is counted`;
      },
    },
    {
      number: 66,
      there:
        'Names in Origin, Referer or User-Agent pass the limiter; without Redis the next one lets everything through',
      async ours(place) {
        const disguises: Record<string, string>[] = [
          {},
          { origin: 'https://prpm.dev' },
          { referer: 'https://app.prpm.dev/playground' },
          { 'user-agent': 'prpm-cli/1.0' },
          { 'user-agent': 'Googlebot' },
        ];
        const answers = [];
        for (const headers of disguises) answers.push(await visit(place, '192.0.2.2', headers));
        const who = await place.somebody();
        const reads = await place.under(
          'update settings set reads_per_minute = 3',
          'update settings set reads_per_minute = 100000',
          () =>
            Promise.all(
              disguises.map((headers) => place.ask('GET', '/playground/credits', who, undefined, { headers })),
            ),
        );
        const blind = await place.outage(() => Promise.all([visit(place, '192.0.2.3'), place.run(who, 'hello')]));
        expect(tally(answers)).toBe('1× 200, 4× 403 anonymous_quota_exceeded');
        expect(tally(blind)).toBe('2× 503 database_unavailable');
        expect(tally(reads)).toBe('3× 200, 2× 429 rate_limited');
        return `one visitor, five disguises: ${tally(answers)}; one user, 3 reads a minute: ${tally(reads)}; there is no Redis, and with the database away, which counts: ${tally(blind)}`;
      },
    },
    {
      number: 67,
      there: 'Limits of own prompts are said and not kept, and nothing waits less than for ever for a provider',
      async ours(place) {
        const who = await place.somebody();
        await place.ops`select from ops.set_user(${who.userId}, verified_author => true, reason => 'a fault')`;
        const own = (input: string) =>
          place.ask('POST', '/custom-prompt/run', who, {
            custom_prompt: 'Answer as a parrot.',
            input,
            max_output_tokens: 4000,
          });
        const { limits } = await place.get('/custom-prompt/info', who);
        const long = good(await own('x [[sandbox: tokens=2000 pace=0]]'));
        const before = (await place.credits(who)).balance;
        const began = Date.now();
        const hanging = await place.under(
          'update settings set first_token_timeout_ms = 300',
          'update settings set first_token_timeout_ms = default',
          () => Promise.all([own('x [[sandbox: hang]]'), place.run(who, 'x [[sandbox: hang]]')]),
        );
        const took = Date.now() - began;
        const [{ usual } = {}] = await place.owner`select first_token_timeout_ms / 1000 as usual from settings`;
        const after = (await place.credits(who)).balance;
        expect(long.tokens.output).toBe(limits.max_tokens_output);
        expect([tally(hanging), after - before, took < 25_000]).toEqual(['2× 504 provider_timeout', 0, true]);
        expect([limits.max_conversation_turns, usual]).toEqual([null, 30]);
        return `said ${limits.max_tokens_output} tokens out, 4,000 asked for, ${long.tokens.output} written; nothing said of turns: ${limits.max_conversation_turns}; a provider that hangs, after 0.3 s in place of ${usual}: ${tally(hanging)} in ${(took / 1000).toFixed(1)} s, charged ${before - after}`;
      },
    },
    {
      number: 68,
      there:
        'The guide’s own commands fail: a column that is not there, jobs that are not served, a margin that is another',
      async ours(place) {
        const who = await place.newcomer();
        const execute = await call(place.url, 'GET', '/api/v1/playground/execute', {
          ...{ token: who.token, body: '{"package_id":"haiku", "input":"test"}' },
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        });
        await place.ops.unsafe('SELECT refresh_user_cost_analytics();');
        const [age] = await place.ops.unsafe('SELECT NOW() - created_at AS age FROM user_cost_analytics LIMIT 1;');
        const jobs = [await place.cron('reset'), await place.cron('expire')];
        const config = await place.ops`
          select tier_name, alert_at_percent as percent, monthly_cost_limit::float8 as dollars from cost_limits_config
          where tier_name <> 'unlimited' order by monthly_cost_limit`;
        const alerts = config.map(({ tier_name, percent, dollars }) => `${tier_name} ${(dollars * percent[0]) / 100}`);
        const [atLimit] = await place.ops`
          select margin_percent::float8 as margin from ops.project_margin(array[1], array[5.00], array[6.00], array['prpm_plus_individual']) order by plan nulls last`;
        expect([execute.status, age?.age !== undefined, atLimit?.margin]).toEqual([200, true, 16.67]);
        expect(alerts).toEqual(['free 0.4', 'prpm_plus_org 2.25', 'prpm_plus_individual 4.5']);
        return `GET with a body ${execute.status}; age of the figures ${age?.age}; ${jobs.map(({ job, ran }) => `${job} ran ${ran}`).join(', ')}; alerts at ${alerts.join(', ')} dollars; 5 of 6 dollars spent is a margin of ${atLimit?.margin} %`;
      },
    },
  ],
};
