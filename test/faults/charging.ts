// What a run costs, and when: parallel runs, failures, tokens, versions, private packages. Faults 12 to 19.
import { expect } from 'vitest';
import type { Person } from '../http/house.ts';
import { good, type Place, type Room, said, tally } from './place.ts';

const calls = ({ house: { standIns } }: Place) => standIns.calls.openai.calls + standIns.calls.anthropic.calls;

/** Somebody with so many credits of the free tier, and no more. */
async function poor(place: Place, credits: number): Promise<Person> {
  const who = await place.newcomer();
  await place.ops`select from ops.revoke_credits(${who.userId}, ${5 - credits}, 'a fault')`;
  return who;
}

/** Dollars of every run of a user's, by the price book and what the provider reported. */
async function priced(place: Place, who: Person) {
  const [row] = await place.owner`
    select count(*)::int as runs, trim_scale(sum(
      ((r.input_tokens - r.cached_tokens - r.cache_write_tokens) * p.input + r.cached_tokens * coalesce(p.cached_read, p.input)
        + r.cache_write_tokens * coalesce(p.cache_write, p.input) + r.output_tokens * p.output) / 1e6))::text as dollars,
      (select trim_scale(current_month_api_cost)::text from users where id = ${who.userId}) as booked
    from runs r join model_prices p on p.id = r.price_id where r.user_id = ${who.userId} and r.status = 'completed'`;
  return row ?? expect.fail('there are no runs');
}

export const charging: Room = {
  name: 'Charging',
  faults: [
    {
      number: 12,
      there: 'Charged after the model was called: parallel runs on one credit all get their answers, most for free',
      async ours(place) {
        const who = await poor(place, 1);
        const before = calls(place);
        const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => place.run(who, `${n}`)));
        const { total } = await place.get('/playground/sessions', who);
        const called = calls(place) - before;
        const succeeded = answers.filter(({ status }) => status === 200).length;
        expect([succeeded, called, total, (await place.credits(who)).balance]).toEqual([1, 1, 1, 0]);
        return `10 at once on 1 credit: ${tally(answers)}; ${called} call of the provider, ${total} session`;
      },
    },
    {
      number: 13,
      there: 'What the losing runs cost at the provider is written down nowhere',
      async ours(place) {
        const who = await poor(place, 3);
        const { tokens } = place.house.standIns.calls.openai;
        const before = { ...tokens };
        const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => place.run(who, `cost ${n}`)));
        const { runs, dollars, booked } = await priced(place, who);
        const reported = tokens.input - before.input + (tokens.output - before.output);
        const [row] = await place.owner`
          select sum(input_tokens + output_tokens)::int as tokens from runs where user_id = ${who.userId}`;
        expect([row?.tokens, booked]).toEqual([reported, dollars]);
        return `8 at once on 3 credits (${tally(answers)}): the provider reported ${reported} tokens, ${row?.tokens} are booked in ${runs} runs, at ${booked} dollars`;
      },
    },
    {
      number: 14,
      there: 'A failure after the charge keeps the charge, and a second try charges again',
      async ours(place) {
        const who = await place.newcomer();
        const once = { headers: { 'idempotency-key': 'fault 14' } };
        const first = good(await place.run(who, 'twice', {}, once));
        const second = good(await place.run(who, 'twice', {}, once));
        const between = (await place.credits(who)).balance;
        const failed = await place.run(who, 'x [[sandbox: status=500]]');
        const after = (await place.credits(who)).balance;
        const spends = (await place.movements(who)).filter(({ type }) => type === 'spend').length;
        expect([second.run_id, between, after, spends, failed.status]).toEqual([first.run_id, 4, 4, 1, 503]);
        return `twice under one key: ${spends} charge, balance 5 → ${between}; then the provider fails (${said(failed)}): balance ${after}`;
      },
    },
    {
      number: 15,
      there: 'Failed runs leave no row, so that all have always succeeded',
      async ours(place) {
        const who = await place.newcomer();
        good(await place.run(who, 'good'));
        const failed = await place.run(who, 'bad [[sandbox: status=400]]');
        const stored = await place.get(`/playground/runs/${failed.json.details.run_id}`, who);
        const [rate] = await place.owner`
          select count(*) filter (where error is not null)::int as failed, count(*)::int as runs, sum(credits)::int as credits
          from runs where user_id = ${who.userId}`;
        expect([stored.error, stored.credits_spent, rate?.failed, rate?.runs]).toEqual(['provider_error', 0, 1, 2]);
        return `the failed run is kept: ${stored.status}, ${stored.error}, ${stored.credits_spent} credits; ${rate?.failed} of ${rate?.runs} failed`;
      },
    },
    {
      number: 16,
      there: 'Output is never charged: a short question costs the minimum however long the answer is',
      async ours(place) {
        const who = await place.somebody();
        const ask = async (output: number) =>
          good(
            await place.run(who, `Tell me. [[sandbox: usage=input:1000,cached:0,cache_write:0,output:${output}]]`, {
              model: 'opus',
            }),
          ).credits_spent;
        const [short, long, longer] = [await ask(100), await ask(4_096), await ask(12_000)];
        expect([short, long, longer]).toEqual([5, 10, 15]);
        return `opus, 1,000 tokens in: ${short} credits for 100 out, ${long} for 4,096, ${longer} for 12,000`;
      },
    },
    {
      number: 17,
      there: 'Tokens are guessed by a fixed split, though the provider reports them',
      async ours(place) {
        const who = await place.somebody();
        for (const model of ['sonnet', 'gpt-4o-mini'])
          good(
            await place.run(
              who,
              `x [[sandbox: usage=input:1234,cached:200,cache_write:${model === 'sonnet' ? 34 : 0},output:567]]`,
              {
                model,
              },
            ),
          );
        const rows = await place.owner`
          select model, input_tokens as i, cached_tokens as c, cache_write_tokens as w, output_tokens as o
          from runs where user_id = ${who.userId} order by started_at`;
        const { dollars, booked } = await priced(place, who);
        expect(rows.map(({ i, c, w, o }) => [i, c, w, o])).toEqual([
          [1234, 200, 34, 567],
          [1234, 200, 0, 567],
        ]);
        expect(booked).toBe(dollars);
        return `reported and booked: ${rows.map(({ model, i, c, w, o }) => `${model} ${i} in (${c} cached, ${w} written), ${o} out`).join('; ')}; ${booked} dollars, by the price book ${dollars}`;
      },
    },
    {
      number: 18,
      there: 'Whatever version is asked for, the newest text is run',
      async ours(place) {
        const who = await place.somebody();
        await place.publish(who, 'parrot', { prompt: 'Answer as a green parrot.' });
        await place.publish(who, 'parrot', { version: '2.0.0', prompt: 'Answer as a red parrot.' });
        const said: string[] = [];
        for (const package_version of ['1.0.0', '2.0.0', null]) {
          const { response } = good(await place.run(who, 'hello', { package_id: 'parrot', package_version }));
          said.push(/green|red/.exec(response)?.[0] ?? '?');
        }
        expect(said).toEqual(['green', 'red', 'red']);
        return `1.0.0 speaks as the ${said[0]} parrot, 2.0.0 as the ${said[1]} one, and so does no version`;
      },
    },
    {
      number: 19,
      there: 'Private packages run for anybody, or later not even for their owners',
      async ours(place) {
        const [author, member, outsider] = [await place.somebody(), await place.somebody(), await place.somebody()];
        const [team] = await place.ops`select id from ops.create_organization('aviary')`;
        await place.ops`select from ops.add_member(${team?.id}, ${author.userId}, 'owner')`;
        await place.ops`select from ops.add_member(${team?.id}, ${member.userId}, 'member')`;
        await place.publish(author, 'owl', { visibility: 'private', organization: 'aviary' });
        await place.publish(author, 'wren', { visibility: 'private' });
        const ask = async (who: Person, package_id: string) => said(await place.run(who, 'hello', { package_id }));
        const [his, theirs] = [await ask(author, 'wren'), await ask(member, 'owl')];
        const [first, second] = [await ask(outsider, 'wren'), await ask(outsider, 'owl')];
        expect([his, theirs]).toEqual(['200', '200']);
        expect([first, second]).toEqual(['404 package_not_found', '404 package_not_found']);
        return `its author ${his}, a member of the organization ${theirs}, an outsider ${first}`;
      },
    },
  ],
};
