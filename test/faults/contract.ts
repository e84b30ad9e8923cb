// What answers say, and whether clients understand it. Faults 31 to 37.
import { expect } from 'vitest';
import { createPlaygroundClient, PlaygroundError } from '../../src/client/index.ts';
import { startCli } from '../cli/house.ts';
import { call, type Person } from '../http/house.ts';
import { good, type Place, type Room, said } from './place.ts';

/** A subscriber who has used 60 of the 100 credits of this month, and has `left` of the month before. */
async function subscriber(place: Place, left = 40): Promise<Person> {
  const who = await place.newcomer();
  await place.subscribe(who);
  await place.spend(who, 100 - left);
  await place.passPeriod(who);
  await place.settle();
  await place.spend(who, 60);
  return who;
}
const cli = (place: Place, who: Person, ...args: string[]) =>
  startCli(args, { PRPM_URL: place.url, PRPM_TOKEN: who.token }).ended;

export const contract: Room = {
  name: 'Contract',
  faults: [
    {
      number: 31,
      there: 'An estimate answers its model alone, since two layers spell the rest differently',
      async ours(place) {
        const who = await place.newcomer();
        const body = { package_id: 'haiku', input: 'hello', model: 'gpt-4o' };
        const answer = good(await place.ask('POST', '/playground/estimate', who, body));
        const five = ['estimated_credits', 'estimated_tokens', 'model', 'can_afford', 'current_balance'];
        expect(five.filter((name) => answer[name] === undefined || answer[name] === null)).toEqual([]);
        expect([answer.estimated_credits, answer.current_balance]).toEqual([2, 5]);
        return five.map((name) => `${name} ${answer[name]}`).join(', ');
      },
    },
    {
      number: 32,
      there: 'The balance drops the dates: when the month ends, when rollover expires',
      async ours(place) {
        const { monthly, rollover } = await place.credits(await subscriber(place));
        const now = place.stripe.clock.now().getTime();
        for (const date of [monthly.reset_at, rollover.expires_at]) expect(Date.parse(date)).toBeGreaterThan(now);
        return `monthly.reset_at ${monthly.reset_at}, rollover.expires_at ${rollover.expires_at}`;
      },
    },
    {
      number: 33,
      there: 'The page about own prompts has empty limits and prices, no sandbox, and is available to nobody',
      async ours(place) {
        const [author, other] = [await place.newcomer(), await place.newcomer()];
        await place.ops`select from ops.set_user(${author.userId}, verified_author => true, reason => 'a fault')`;
        const info = await place.get('/custom-prompt/info', author);
        const plain = await place.get('/custom-prompt/info', other);
        expect([info.available, plain.available]).toEqual([true, false]);
        expect([info.limits.max_prompt_length, info.pricing.credit_multiplier]).toEqual([50_000, 2]);
        return `${Object.keys(info.limits).length} limits (${info.limits.max_tokens_output} tokens out), ${Object.keys(info.pricing).length} of pricing (×${info.pricing.credit_multiplier}), sandbox.tools_enabled ${info.sandbox.tools_enabled}; available: a verified author ${info.available}, others ${plain.available}`;
      },
    },
    {
      number: 34,
      there: 'A margin that does not exist is shown as 0 %, and no status as an empty one',
      async ours(place) {
        const who = await place.somebody(100, null);
        const root = await place.administrator();
        await place.spend(who, 20);
        await place.ops`select refresh_user_cost_analytics()`;
        const { users } = await place.get(`/admin/cost-analytics/users?search=${await nameOf(place, who)}`, root);
        const [{ current_month_api_cost, current_margin_percent, prpm_plus_status, monthly_revenue }] = users;
        expect([current_margin_percent, prpm_plus_status, users.length]).toEqual([null, null, 1]);
        expect(current_month_api_cost).toBeGreaterThan(0);
        return `of the free tier, cost ${current_month_api_cost} and revenue ${monthly_revenue}: margin ${current_margin_percent}, status ${prpm_plus_status}`;
      },
    },
    {
      number: 35,
      there: 'In production a wrong field is “an unexpected error”, and what is no JSON a 500',
      async ours(place) {
        const server = await place.another({ NODE_ENV: 'production' });
        const { token } = await place.newcomer();
        const post = (body: unknown) => call(server.url, 'POST', '/api/v1/playground/run', { token, body });
        const wrong = await post({ package_id: 'haiku', input: 'hello', use_no_prompt: 'maybe' });
        const long = await post({ package_id: 'haiku', input: 'x'.repeat(10_001) });
        const broken = await post('{"package_id": ');
        await server.close();
        expect([said(wrong), said(long), said(broken)]).toEqual([
          ...['400 validation_error', '400 validation_error', '400 malformed_json'],
        ]);
        return `in production: ${[wrong, long].map(({ status, json }) => `${status} ${json.errors[0].field} ${json.errors[0].message}`).join('; ')}; no JSON: ${said(broken)}`;
      },
    },
    {
      number: 36,
      there: 'Clients read fields that no answer has: empty breakdowns, “Type: undefined”, wrong prices, lost feedback',
      async ours(place) {
        const who = await subscriber(place);
        const poor = await place.newcomer();
        const [credits, history, packs, status] = await Promise.all([
          cli(place, who, 'credits'),
          cli(place, who, 'history', '--type', 'spend', '--limit', '1'),
          cli(place, who, 'buy'),
          cli(place, who, 'subscribe', 'status'),
        ]);
        for (const { code, out, err } of [credits, history, packs, status]) {
          expect(code, err).toBe(0);
          expect(out).not.toMatch(/undefined|NaN|null/);
        }
        const monthly = /monthly\s+(\d+ of \d+)/.exec(credits.out)?.[1];
        const type = /spend\s+-\d+/.exec(history.out)?.[0].replace(/\s+/, ' ');
        const price = /small\s+\d+\s+(\$[\d.]+)/.exec(packs.out)?.[1];
        expect([monthly, type, price]).toEqual(['40 of 100', 'spend -60', '$5.00']);
        expect(status.out).toMatch(/active/);
        const { session_id } = good(await place.run(who, 'hello'));
        const feedback = await place.ask('POST', '/playground/feedback', who, {
          ...{ session_id, exchange_index: 0, is_effective: true },
        });
        const dear = await cli(place, poor, 'run', '-p', 'haiku', '-m', 'opus', 'x');
        const broke = await cli(place, poor, 'run', '-p', 'haiku', '-m', 'opus', 'x');
        expect([feedback.status, dear.code, broke.code]).toEqual([200, 0, 4]);
        const friendly = /needs \d+ credits?, \d+ (?:is|are) free/.exec(broke.err)?.[0];
        expect(friendly).toBeDefined();
        return `the command line shows monthly ${monthly}, ${type}, small pack ${price}, subscription active, and with too few credits “${friendly}” (exit ${broke.code}); feedback with its exchange: ${feedback.status}`;
      },
    },
    {
      number: 37,
      there:
        'What is left of a month is shown less what was used once more; one failed side discards the other’s answer',
      async ours(place) {
        const who = await subscriber(place);
        const client = createPlaygroundClient({ url: place.url, token: who.token });
        const { monthly } = await client.api.credits.balance.query();
        expect([monthly.allocated, monthly.used, monthly.remaining]).toEqual([100, 60, 40]);
        const ends: string[] = [];
        const sides = [{ model: 'gpt-4o-mini' }, { model: 'sonnet' }];
        const lame = await place.another({ ANTHROPIC_BASE_URL: 'http://127.0.0.1:9' });
        const there = createPlaygroundClient({ url: lame.url, token: who.token });
        for await (const part of there.compare({ packageId: 'haiku', input: 'hello', sides })) {
          if (part.type === 'receipt')
            ends.push(`side ${part.side} ${part.receipt.status}, ${part.receipt.creditsSpent} credit`);
          if (part.type === 'failure') {
            const { code, receipt } = PlaygroundError.from(part.error);
            ends.push(`side ${part.side} ${code}, ${receipt?.creditsSpent} credits`);
          }
        }
        await lame.close();
        expect(ends.sort()).toEqual(['side 1 completed, 1 credit', 'side 2 provider_unavailable, 0 credits']);
        return `the page’s client gets ${monthly.remaining} left of ${monthly.allocated} with ${monthly.used} used; a comparison with a provider away: ${ends.join('; ')}`;
      },
    },
  ],
};

async function nameOf(place: Place, { userId }: Person): Promise<string> {
  const [row] = await place.owner`select username from users where id = ${userId}`;
  return row?.username;
}
