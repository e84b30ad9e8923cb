// One question on two to four sides: begun all or none on what there is, and from then on runs like any other.
import postgres from 'postgres';
import { afterAll, describe, expect, it } from 'vitest';
import { type Begun, newId, openWorld, type Side } from './world.ts';

const world = await openWorld();
const { app, owner, ops } = world;
const many = postgres(world.appUrl, { max: 20, onnotice: () => {} });
afterAll(() => many.end());

await ops`
  insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
  values ('cheap', 'openai', 'cheap-1', 1, 16384, 128000, 'o200k_base')`;
await ops`insert into model_prices (model, valid, input, output) values ('cheap', '[2025-01-01,)', 1, 2)`;

const { compare } = world;

async function started(user: string, sides: Side[], more: Parameters<typeof compare>[2] = {}) {
  const rows = await compare(user, sides, more);
  expect(rows.map(({ begun }) => begun.outcome)).toEqual(sides.map(() => 'started'));
  return { id: rows[0]?.id ?? '', runs: rows.map(({ begun }) => begun) };
}

async function refused(user: string, sides: Side[], more: Parameters<typeof compare>[2] = {}) {
  const rows = await compare(user, sides, more);
  expect(rows).toMatchObject([{ id: null, begun: { outcome: 'refused' } }]);
  return { side: rows[0]?.side, ...rows[0]?.begun.refusal };
}

const caps = (runs: { output_cap: number }[]) => runs.map(({ output_cap }) => output_cap);
const both: Side[] = [{}, { baseline: true }];
const finish = async (user: string, runs: Begun[]) => {
  for (const { begun_run_id } of runs) await world.settle(user, begun_run_id);
};
const countOf = async (user: string) => {
  const [row] = await owner`
    select (select count(*)::int from runs where user_id = ${user}) as runs,
      (select count(*)::int from comparisons where user_id = ${user}) as comparisons,
      (select count(*)::int from sessions where user_id = ${user}) as sessions`;
  return row;
};
const nothing = { runs: 0, comparisons: 0, sessions: 0 };

describe('a comparison', () => {
  it('is a run for each side, in a session of its own, held for together and charged alone (spec 5.8)', async () => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    const { id, runs } = await started(user, [{}, { baseline: true }, { model: 'vague' }]);
    expect(runs.map(({ system_prompt }) => system_prompt)).toEqual([
      'Prompt of plain 1.0.0',
      null,
      'Prompt of plain 1.0.0',
    ]);
    for (const run of runs) expect(run.begun_session_id).toBe(run.begun_run_id);
    expect(await world.figures(user)).toMatchObject({ held: 3, free: 7, hour: 3 });
    const [first, second, third] = runs.map(({ begun_run_id }) => begun_run_id);
    expect(await world.settle(user, first ?? '', { output: 6_000 })).toMatchObject({
      credits_spent: 2,
      status: 'completed',
    });
    expect(await world.release(user, second ?? '')).toMatchObject({ credits_spent: 0, status: 'released' });
    expect(
      await world.settle(user, third ?? '', { ending: 'failed', answer: 'ha', error: 'provider_error' }),
    ).toMatchObject({
      ...{ credits_spent: 1, status: 'failed' },
    });
    expect(await world.figures(user)).toMatchObject({ balance: 7, held: 0 });
    const [kept] = await app`select * from api.read_comparison(${user}, ${id})`;
    expect(kept).toMatchObject({ run_ids: [first, second, third], session_ids: [first, second, third] });
  });

  it('goes on in the sessions of its sides, which the one after it brings (spec 10.1)', async () => {
    const user = await world.person({ credits: 20, tier: 'unlimited' });
    const first = await started(user, both);
    await finish(user, first.runs);
    const next = both.map((side, place) => ({ ...side, session: first.runs[place]?.begun_session_id ?? '' }));
    const { runs } = await started(user, next);
    for (const run of runs) expect(run.history?.map(({ content }) => content)).toEqual(['question', 'answer']);
    expect((await refused(user, next)).code).toBe('session_busy');
    expect(await refused(user, [{ session: first.runs[0]?.begun_session_id ?? '' }, {}])).toMatchObject({ side: 1 });
    await finish(user, runs);
    const twice = { session: first.runs[0]?.begun_session_id ?? '' };
    expect(await refused(user, [twice, twice])).toMatchObject({ code: 'session_busy', side: 2 });
  });

  it.each([[[{}]], [[{}, {}, {}, {}, {}]]])('of one side, or of five, is none (spec 5.8)', async (sides) => {
    const user = await world.person();
    await expect(compare(user, sides)).rejects.toMatchObject({ code: 'PR400', detail: 'sides' });
  });
});

describe('what is left', () => {
  it('of a cost window is divided evenly above the least of each (spec 5.8)', async () => {
    await ops`update cost_limits_config set daily_cost_limit = 0.12 where tier_name = 'free'`;
    // 500 tokens read are 0.005 dollars; with 256 written 0.01012. What two leave above that is 0.09976, half of it each.
    const user = await world.person({ credits: 50 });
    const { runs } = await started(user, [{}, {}]);
    expect(caps(runs)).toEqual([2_750, 2_750]);
    expect((await world.figures(user)).day_held).toBe('0.12');
    const three = await world.person({ credits: 50 });
    expect(caps((await started(three, [{}, {}, {}])).runs)).toEqual([1_750, 1_750, 1_750]);
  });

  it('falls to the others where a side does not need its share, in whatever order they come (spec 5.8)', async () => {
    await ops`update cost_limits_config set daily_cost_limit = 0.09 where tier_name = 'free'`;
    for (const sides of [
      [{ model: 'cheap' }, {}],
      [{}, { model: 'cheap' }],
    ]) {
      const user = await world.person({ credits: 50 });
      const { runs } = await started(user, sides);
      // The cheap one takes 0.0005 and 0.008192 for its longest answer; the other has all the rest.
      const rest = Math.floor((0.09 - 0.0005 - 0.008192 - 0.005) / 0.00002);
      expect(caps(runs)).toEqual(sides.map(({ model }) => (model === undefined ? rest : 4_096)));
    }
  });

  it('of credits is divided, too: each side could be longer alone (spec 5.8)', async () => {
    const user = await world.person({ credits: 3, tier: 'unlimited' });
    expect((await world.begin(user, { tokens: 4_500 })).output_cap).toBe(4_096);
    const other = await world.person({ credits: 3, tier: 'unlimited' });
    const { runs } = await started(other, [{ tokens: 4_500 }, { tokens: 4_500 }]);
    expect(caps(runs).sort()).toEqual([400, 4_096]);
    expect(await world.figures(other)).toMatchObject({ held: 3, free: 0 });
  });

  it('of purchased credits pays where the windows are used up (spec 3.3)', async () => {
    await ops`update cost_limits_config set daily_cost_limit = 0.03 where tier_name = 'free'`;
    const user = await world.person({ credits: 5 });
    await world.buy(user);
    const { runs } = await started(user, [{}, {}]);
    expect(caps(runs)).toEqual([4_096, 4_096]);
    expect(await world.figures(user)).toMatchObject({ day_held: '0' });
    await finish(user, runs);
    expect(await world.lots(user)).toEqual([
      ['signup', 5],
      ['purchased', 98],
    ]);
  });
});

describe('all or none', () => {
  it.each([
    ['an unknown package', { package: 'nowhere' }, 'package_not_found'],
    ['an unknown model', { model: 'nothing' }, 'model_not_found'],
    ['an input that is too large', { tokens: 30_000 }, 'request_too_large'],
    ['a prompt of one’s own, of whom is no verified author', { custom: 100 }, 'verified_author_required'],
    ['a session that is nobody’s', { session: newId() }, 'session_not_found'],
  ])('%s on one side, and nothing is begun (spec 5.8)', async (_, side, code) => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    expect(await refused(user, [{}, side], { key: 'k' })).toMatchObject({ side: 2, code });
    expect(await countOf(user)).toEqual(nothing);
    expect(await world.figures(user)).toMatchObject({ held: 0, free: 10, hour: 0 });
    expect(await owner`select from idempotency_keys where user_id = ${user}`).toHaveLength(0);
    const [counted] =
      await owner`select sum(count)::int as n from refusals where user_id = ${user} and reason = ${code}`;
    expect(counted?.n).toBe(1);
  });

  it('one session on two sides is busy at the second, and the first is taken back (spec 5.8, 10.1)', async () => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    const { begun_run_id, begun_session_id: session } = await world.start(user);
    await world.settle(user, begun_run_id);
    const before = await world.figures(user);
    expect(await refused(user, [{ session }, { session }], { key: 'k' })).toMatchObject({ code: 'session_busy' });
    expect(await countOf(user)).toEqual({ runs: 1, comparisons: 0, sessions: 1 });
    expect(await world.figures(user)).toEqual(before);
    expect(await owner`select from idempotency_keys where user_id = ${user}`).toHaveLength(0);
  });

  it('credits for one side alone are too few, and it says for how many they are asked (spec 5.8)', async () => {
    const user = await world.person({ credits: 1, tier: 'unlimited' });
    expect(await refused(user, both)).toMatchObject({
      ...{ side: null, code: 'insufficient_credits', status: 402, required_credits: 2, available_credits: 1 },
    });
    expect(await countOf(user)).toEqual(nothing);
    expect((await world.begin(user)).outcome).toBe('started');
  });

  it('what other runs hold is asked for again later (spec 3.2)', async () => {
    const user = await world.person({ credits: 3, tier: 'unlimited' });
    const { runs } = await started(user, both);
    expect(await refused(user, both)).toMatchObject({ code: 'held_by_other_runs', side: null });
    for (const { begun_run_id } of runs) await world.release(user, begun_run_id);
    await started(user, both);
  });

  it('a window that cannot bear the least of all is refused by its name, and throttles nobody (spec 3.2)', async () => {
    await ops`update cost_limits_config set daily_cost_limit = 0.02 where tier_name = 'free'`;
    const user = await world.person({ credits: 10 });
    const sides = both.map((side) => ({ ...side, tokens: 800 }));
    expect(await refused(user, sides)).toMatchObject({ code: 'daily_cost_limit', side: null, limit: 0.02 });
    expect((await world.figures(user)).is_throttled).toBe(false);
    expect((await world.begin(user)).outcome).toBe('started');
  });

  it('each side is a run of its hour and an attempt of its minute (spec 3.2, 3.6)', async () => {
    await ops`update cost_limits_config 
      set hourly_request_limit = 3, minute_request_limit = null, daily_cost_limit = null, monthly_cost_limit = null where tier_name = 'free'`;
    const user = await world.person({ credits: 10 });
    await started(user, both);
    expect(await refused(user, both)).toMatchObject({ code: 'hourly_request_limit', limit: 3, used: 2 });
    expect((await world.begin(user)).outcome).toBe('started');
    await ops`update cost_limits_config set hourly_request_limit = null, minute_request_limit = 5 where tier_name = 'free'`;
    const other = await world.person({ credits: 10 });
    await started(other, both);
    await started(other, both);
    expect(await refused(other, both)).toMatchObject({ code: 'rate_limited', limit: 5, used: 4 });
    expect((await world.begin(other)).refusal?.code).toBe('rate_limited');
  });

  it('who asks again and again for prompts to fill in uses up the minute, too, and is not counted twice (spec 3.6)', async () => {
    await owner`
      with one as (insert into packages (name, author_id, latest_version) values ('blanks', ${world.author.id}, '1.0.0') returning id)
      insert into package_versions (package_id, version, prompt, variables, tokens_o200k, tokens_cl100k, tokens_approximate, published_by)
      select id, '1.0.0', 'Say {{this}}', '{"properties":{"this":{"type":"string"}}}', 5, 5, 5, ${world.author.id} from one`;
    await ops`update cost_limits_config set minute_request_limit = 4 where tier_name = 'free'`;
    const asked = { package: 'blanks' };
    const user = await world.person({ credits: 10 });
    const answer = await compare(user, [asked, { package: 'plain' }]);
    expect(answer).toMatchObject([
      { side: 1, begun: { outcome: 'template', version: '1.0.0', system_prompt: 'Say {{this}}' } },
    ]);
    expect(await countOf(user)).toEqual(nothing);
    await started(user, [{ ...asked, version: '1.0.0', prompt: 9 }, {}]);
    const [row] = await owner`select minute_attempts from users where id = ${user}`;
    expect(row?.minute_attempts).toBe(2);
    expect(await compare(user, [asked, asked])).toHaveLength(2);
    expect(await refused(user, [asked, asked])).toMatchObject({ code: 'rate_limited', limit: 4 });
  });

  it('parallel ones on 5 credits begin two, and never spend more (spec 3.2)', async () => {
    const user = await world.person({ credits: 5, tier: 'unlimited' });
    const answers = await Promise.all(Array.from({ length: 30 }, () => compare(user, both, {}, many)));
    const let_in = answers.filter((rows) => rows.length === 2);
    expect(let_in).toHaveLength(2);
    for (const rows of answers.filter((one) => one.length === 1)) {
      expect(rows[0]?.begun.refusal?.code).toBe('held_by_other_runs');
    }
    await Promise.all(
      let_in.flat().map(
        ({ begun }, place) =>
          many`select from api.settle_run(${user}, ${begun.begun_run_id}, 'completed', true, 500, 0, 0, ${place % 2 ? 6_000 : 50}, false,
          'question', 'answer', null, null, 1, 2)`,
      ),
    );
    expect(await world.figures(user)).toMatchObject({ balance: 0, held: 0 });
    expect(await countOf(user)).toEqual({ runs: 4, comparisons: 2, sessions: 4 });
  });
});

describe('the same again', () => {
  it('under its key or its id is the same comparison; another request under the key is none (spec 5.3)', async () => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    const { id, runs } = await started(user, both, { key: 'k' });
    const again = await compare(user, both, { key: 'k' });
    expect(again.map((row) => [row.id, row.side, row.begun.outcome, row.begun.begun_run_id])).toEqual(
      runs.map((run, place) => [id, place + 1, 'known', run.begun_run_id]),
    );
    expect((await compare(user, both, { id })).map(({ begun }) => begun.run_status)).toEqual(['running', 'running']);
    expect(await refused(user, both, { key: 'k', request: 'b' })).toMatchObject({ code: 'idempotency_conflict' });
    expect((await world.refusal(user, { key: 'k', request: 'single' })).code).toBe('idempotency_conflict');
    await world.start(user, { key: 'single', request: 'single' });
    expect(await refused(user, both, { key: 'single' })).toMatchObject({ code: 'idempotency_conflict' });
    expect((await countOf(user))?.comparisons).toBe(1);
    await world.pass('25 hours');
    await started(user, both, { key: 'k' });
  });

  it('in parallel is one comparison (spec 5.3)', async () => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    const answers = await Promise.all(Array.from({ length: 12 }, () => compare(user, both, { key: 'p' }, many)));
    expect(new Set(answers.flat().map(({ id }) => id)).size).toBe(1);
    expect(answers.filter(([row]) => row?.begun.outcome === 'started')).toHaveLength(1);
    expect(await countOf(user)).toEqual({ runs: 2, comparisons: 1, sessions: 2 });
  });
});

it('sides whose server dies are each ended by what they had delivered (spec 5.3)', async () => {
  const user = await world.person({ credits: 10, tier: 'unlimited' });
  const { id, runs } = await started(user, [{}, {}, {}]);
  const [first = '', second = '', third = ''] = runs.map(({ begun_run_id }) => begun_run_id);
  await world.settle(user, first);
  await world.checkpoint(user, second, 50);
  await world.pass('10 minutes');
  await world.expireHolds();
  const ended = await Promise.all([first, second, third].map((run) => world.readRun(user, run)));
  expect(ended.map((run) => [run?.status, run?.credits_spent])).toEqual([
    ['completed', 1],
    ['expired', 1],
    ['expired', 0],
  ]);
  expect(await world.figures(user)).toMatchObject({ balance: 8, held: 0 });
  expect(await app`select share_token from api.share_comparison(${user}, ${id})`).toHaveLength(1);
});

describe('an estimate', () => {
  const estimate = world.estimateComparison;

  it('says what all would hold and what each would alone, and begins nothing (spec 5.7, 5.8)', async () => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    const sides = [{}, { tokens: 6_000, baseline: true }];
    const said = await estimate(user, sides);
    expect(said).toMatchObject({
      credits_least: 3,
      credits_most: 4,
      can_afford: true,
      balance: 10,
      refusal: null,
      refused_side: null,
    });
    expect(said.sides).toMatchObject([{ credits_most: 1 }, { credits_most: 3, tokens_input: 6_007 }]);
    expect(await countOf(user)).toEqual(nothing);
    const { runs } = await started(user, sides);
    expect(runs.reduce((all, { hold_credits }) => all + Number(hold_credits), 0)).toBe(said.credits_most);
  });

  it('says the refusal, and whose it is (spec 5.7)', async () => {
    const user = await world.person({ credits: 1, tier: 'unlimited' });
    expect(await estimate(user, both)).toMatchObject({
      ...{ can_afford: false, refused_side: null, refusal: { code: 'insufficient_credits', required_credits: 2 } },
      sides: [{ refusal: null }, { refusal: null }],
    });
    expect(await estimate(user, [{}, { package: 'nowhere' }])).toMatchObject({
      ...{ can_afford: true, refused_side: 2, refusal: { code: 'package_not_found' } },
      sides: [{ refusal: null }, { refusal: { code: 'package_not_found' } }],
    });
  });
});

it("one's own prompt is compared with none: at its factor, and the other at the plain one (spec 1.7, 10.5)", async () => {
  const user = await world.person({ credits: 20, tier: 'unlimited', verifiedAuthor: true });
  const sides = [{ custom: 300 }, { custom: 300, baseline: true }, { custom: 300, model: 'vague' }];
  const { runs } = await started(user, sides);
  expect(runs.map(({ hold_credits }) => Number(hold_credits))).toEqual([2, 1, 2]);
  expect(runs.map(({ estimated_input }) => estimated_input)).toEqual([711, 407, 711]);
  expect(caps(runs)).toEqual([1_024, 1_024, 1_024]);
  const receipts = await Promise.all(runs.map(({ begun_run_id }) => world.settle(user, begun_run_id)));
  expect(receipts.map(({ credits_spent }) => credits_spent)).toEqual([2, 1, 2]);
  const poor = await world.person({ credits: 2, tier: 'unlimited', verifiedAuthor: true });
  expect(await refused(poor, [{ custom: 300 }, { custom: 300, baseline: true }])).toMatchObject({
    required_credits: 3,
  });
});

describe('a shared comparison', () => {
  const share = async (user: string, id: string) => {
    const [row] = await app`select share_token from api.share_comparison(${user}, ${id})`;
    return row?.share_token as string;
  };
  const look = async (token: string, user: string | null = null) => {
    const [row] = await app`select * from api.read_shared(${user}, ${token}, '192.0.2.1')`;
    return row;
  };

  it('has one link that shows all sides, whichever failed, and nothing of their owner (spec 5.8, fault 25)', async () => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    const { id, runs } = await started(user, both);
    const [first = '', second = ''] = runs.map(({ begun_run_id }) => begun_run_id);
    await world.release(user, first);
    await expect(share(user, id)).rejects.toMatchObject({ code: 'PR409' });
    await world.settle(user, second);
    const token = await share(user, id);
    expect(await share(user, id)).toBe(token);
    const shown = await look(token);
    expect(shown).toMatchObject({
      ...{ view_count: '1', exchanges: [] },
      sides: [
        { status: 'released', answer: '', baseline: false },
        { status: 'completed', answer: 'answer', question: 'question', baseline: true, credits_spent: 1 },
      ],
    });
    for (const secret of [user, first, second, id]) expect(JSON.stringify(shown)).not.toContain(secret);
    expect((await look(token, user))?.is_mine).toBe(true);
    expect((await look(token, user))?.view_count).toBe('1');
  });

  it('ends at once: taken back, or with the session of any side; its texts are kept while it is shared (spec 10.2)', async () => {
    const user = await world.person({ credits: 10, tier: 'unlimited' });
    const { id, runs } = await started(user, both);
    await finish(user, runs);
    const token = await share(user, id);
    expect(await app`select ended from api.unshare_comparison(${user}, ${id})`).toEqual([{ ended: true }]);
    expect(await look(token)).toBeUndefined();
    const again = await share(user, id);
    expect(again).not.toBe(token);
    await world.pass('100 days');
    await ops`call ops.run_job('apply-retention')`;
    expect((await look(again))?.sides).toMatchObject([{ answer: 'answer' }, { answer: 'answer' }]);
    await app`select from api.delete_session(${user}, ${runs[1]?.begun_session_id ?? ''})`;
    expect(await look(again)).toBeUndefined();
  });

  it('shows a private package to those alone who may see it (spec 5.5)', async () => {
    const [user, stranger] = [await world.person({ credits: 10 }), await world.person()];
    await world.publish(user, 'secret', '1.0.0', { visibility: 'private' });
    const { id, runs } = await started(user, [{}, { package: 'secret' }]);
    await finish(user, runs);
    const token = await share(user, id);
    expect(await look(token, stranger)).toBeUndefined();
    expect((await look(token, user))?.sides).toHaveLength(2);
  });
});
