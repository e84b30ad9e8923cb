// Comparisons over HTTP: one answer, or one stream in which each event names its side. Spec 5.8.
import { afterAll, describe, expect, it } from 'vitest';
import { type Answer, all, type CallOptions, call, events, openHouse, type SentEvent, until } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { url, ada, bob, database } = house;
const path = '/api/v1/playground/compare';

type Body = Record<string, unknown>;
const both = [{}, { use_no_prompt: true }];
const asked = (input: string, more: Body = {}): CallOptions => ({
  token: ada.token,
  body: { package_id: 'haiku', input, sides: both, ...more },
});
const compare = (input: string, more: Body = {}, where = url): Promise<Answer> =>
  call(where, 'POST', path, asked(input, more));
const slow = (words: string) => `${words} [[sandbox: tokens=200 pace=10]]`;
const calls = () => house.standIns.calls.anthropic.calls + house.standIns.calls.openai.calls;
const textOf = (list: SentEvent[], side: number) =>
  list
    .filter(({ event, data }) => event === 'output.delta' && data.side === side)
    .map(({ data }) => data.text)
    .join('');
const lastOf = (list: SentEvent[], side: number) => list.findLast(({ data }) => data.side === side);
const firstOf = (list: SentEvent[]) => {
  if (list[0] === undefined) throw new Error('there was no event');
  return list[0].data;
};
const running = async () => (await database.owner`select from runs where status = 'running'`).length;

describe('a comparison (spec 5.8)', () => {
  it('answers with what each side said, and what each was charged', async () => {
    const { status, json, headers } = await compare('hello', { model: 'gpt-4o-mini' });
    expect(status).toBe(200);
    expect(json.sides).toMatchObject([
      {
        side: 1,
        failure: null,
        receipt: { status: 'completed', credits_spent: 1, baseline: false, model: 'gpt-4o-mini' },
      },
      { side: 2, failure: null, receipt: { status: 'completed', credits_spent: 1, baseline: true } },
    ]);
    for (const { response, receipt, run_id, session_id } of json.sides) {
      expect([response.length > 10, receipt.run_id, receipt.session_id]).toEqual([true, run_id, session_id]);
      expect(receipt).not.toHaveProperty('cost');
    }
    const least = Math.min(...json.sides.map((side: Body & { receipt: Body }) => side.receipt.credits_remaining));
    expect(headers['prpm-credits-remaining']).toBe(String(least));
    const read = await call(url, 'GET', `${path}/${json.comparison_id}`, { token: ada.token });
    expect(read.json).toMatchObject({ comparison_id: json.comparison_id, question: 'hello', share_token: null });
    const texts = (list: { response: string }[]) => list.map(({ response }) => response);
    expect(texts(read.json.sides)).toEqual(texts(json.sides));
    expect(await house.audit()).toEqual([]);
  });

  it('is of packages, versions or models; what a side does not say is that of all', async () => {
    for (const version of ['1.0.0', '2.0.0']) {
      const body = { name: 'song', version, prompt: `Sing version ${version}.` };
      await call(url, 'POST', '/api/v1/packages', { token: ada.token, body });
    }
    const { json } = await compare('hello', {
      package_version: '1.0.0',
      model: 'gpt-4o',
      sides: [{}, { package_id: 'song' }, { package_id: 'song', package_version: '1.0.0', model: 'sonnet' }],
    });
    const what = json.sides.map(({ receipt }: { receipt: Body }) => [receipt.package_version, receipt.model]);
    expect(what).toEqual([
      ['1.0.0', 'gpt-4o'],
      ['2.0.0', 'gpt-4o'],
      ['1.0.0', 'sonnet'],
    ]);
    expect(json.sides[1].response).toContain('Sing version 2.0.0');
  });

  it('goes on, each side in its own session', async () => {
    const first = await compare('one');
    const sides = first.json.sides.map(({ session_id }: Body, place: number) => ({
      session_id,
      use_no_prompt: place === 1,
    }));
    const { json } = await call(url, 'POST', path, { token: ada.token, body: { input: 'two', sides } });
    for (const [place, side] of json.sides.entries()) {
      expect(side.session_id).toBe(sides[place].session_id);
      const session = await call(url, 'GET', `/api/v1/playground/sessions/${side.session_id}`, { token: ada.token });
      expect(session.json.exchanges.map(({ question }: Body) => question)).toEqual(['one', 'two']);
    }
  });

  it.each([
    ['no sides', { sides: undefined }, 'sides'],
    ['one side', { sides: [{}] }, 'sides'],
    ['five sides', { sides: [{}, {}, {}, {}, {}] }, 'sides'],
    ['a side that is none', { sides: [{}, 'baseline'] }, 'sides.1'],
    ['a session that is no id', { sides: [{}, { session_id: 'x' }] }, 'sides.1.session_id'],
    ['no package', { package_id: null, sides: [{ package_id: 'haiku' }, {}] }, 'sides.1.package_id'],
    ['no input', { input: '  ' }, 'input'],
  ])('with %s is 400 by the field', async (_, more, field) => {
    const before = calls();
    const { status, json } = await compare('hello', more);
    expect([status, json.error, json.errors?.[0]?.field]).toEqual([400, 'validation_error', field]);
    expect(calls()).toBe(before);
  });

  it('one of whose sides is refused runs nothing, and says which', async () => {
    const before = calls();
    const { status, json } = await compare('hello', { sides: [{}, { package_id: 'nowhere' }] });
    expect([status, json.error, json.message]).toEqual([
      404,
      'package_not_found',
      'Side 2: There is no package nowhere.',
    ]);
    expect(json.details).toEqual({ side: 2 });
    const poor = await house.person('poor', 'unlimited');
    await database.ops`select from ops.revoke_credits(${poor.userId}, 100004, 'test')`;
    const alone = await call(url, 'POST', path, { ...asked('hello'), token: poor.token });
    expect([alone.status, alone.json.error]).toEqual([402, 'insufficient_credits']);
    expect(alone.json).toMatchObject({ required_credits: 2, available_credits: 1 });
    expect(calls()).toBe(before);
    expect(await house.audit()).toEqual([]);
  });

  it('fills in variables of a side, and names the side whose variables are wrong', async () => {
    const variables = { type: 'object', properties: { topic: { type: 'string' } }, required: ['topic'] };
    const body = { name: 'topics', version: '1.0.0', prompt: 'Write about {{topic}}.', variables };
    await call(url, 'POST', '/api/v1/packages', { token: ada.token, body });
    const sides = [
      { package_id: 'topics', variables: { topic: 'the_sea' } },
      {},
      { package_id: 'topics', variables: { topic: 'frogs' } },
    ];
    const { json } = await compare('hello', { sides, model: 'gpt-4o-mini' });
    expect(json.sides[0].response).toContain('Write about the_sea.');
    expect(json.sides[2].response).toContain('Write about frogs.');
    const [size] =
      await database.owner`select estimated_input, input_tokens from runs where id = ${json.sides[0].run_id}`;
    expect(size?.estimated_input).toBe(size?.input_tokens);
    const wrong = await compare('hello', { sides: [{}, { package_id: 'topics', variables: { Topic: 'x' } }] });
    expect([wrong.status, wrong.json.errors[0].field]).toEqual([400, 'sides.1.variables.Topic']);
    const estimate = await call(url, 'POST', `${path}/estimate`, asked('hello', { sides, model: 'gpt-4o-mini' }));
    expect(estimate.json).toMatchObject({ credits_least: 3, credits_most: 3, can_afford: true, refused_side: null });
    expect(estimate.json.sides).toHaveLength(3);
  });

  it("of one's own prompt is against the model without it, and both are nobody's package (spec 10.5, fault 44)", async () => {
    await database.ops`select from ops.set_user(${ada.userId}, verified_author => true, reason => 'test')`;
    const custom = { custom_prompt: 'Always name the colour teal in your answer.' };
    const { json } = await compare('hello', {
      sides: [custom, { ...custom, use_no_prompt: true }],
      model: 'gpt-4o-mini',
    });
    expect(json.sides[0].response).toContain('teal');
    expect(json.sides[1].response).not.toContain('teal');
    expect(json.sides.map(({ receipt }: { receipt: Body }) => receipt.credits_spent)).toEqual([2, 1]);
    const booked = await database.owner`
      select distinct p.name from runs r join packages p on p.id = r.package_id
      where r.id in ${database.owner(json.sides.map(({ run_id }: Body) => run_id))}`;
    expect(booked).toEqual([{ name: '@playground/custom-prompt' }]);
  });
});

describe('a side that fails', () => {
  it.each([
    ['a provider that is not there', { OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }, 'provider_unavailable', 503],
    ['a provider without a key', { OPENAI_API_KEY: '' }, 'provider_not_configured', 503],
  ])('by %s costs the other nothing, nor itself', async (_, variables, code, status) => {
    const other = await house.another(variables);
    const sides = [{ model: 'gpt-4o' }, { model: 'sonnet' }];
    const answer = await compare('hello', { sides }, other.url);
    expect(answer.status).toBe(200);
    expect(answer.json.sides).toMatchObject([
      { side: 1, response: '', failure: { error: code, status }, receipt: { status: 'released', credits_spent: 0 } },
      { side: 2, failure: null, receipt: { status: 'completed', credits_spent: 1 } },
    ]);
    const list = await all(events(other.url, 'POST', path, asked('hello', { sides })));
    expect(lastOf(list, 1)).toMatchObject({
      event: 'run.failed',
      data: { side: 1, error: code, receipt: { credits_spent: 0 } },
    });
    expect(lastOf(list, 2)).toMatchObject({ event: 'run.completed' });
    const { comparison_id } = firstOf(list);
    const read = await call(url, 'GET', `${path}/${comparison_id}`, { token: ada.token });
    expect(read.json.sides).toMatchObject([{ failure: { error: code } }, { failure: null }]);
    expect(await house.audit()).toEqual([]);
  });
});

describe('a stream of all sides', () => {
  it('first says what they are, then tells of each as it comes, with its number', async () => {
    const list = await all(events(url, 'POST', path, asked(slow('two at once'))));
    expect(list[0]).toMatchObject({
      event: 'comparison.created',
      id: '0.0',
      data: { sides: [{ side: 1 }, { side: 2 }] },
    });
    const { comparison_id, sides } = firstOf(list);
    for (const side of [1, 2]) {
      const of = list.filter(({ data }) => data.side === side);
      expect(of[0]).toMatchObject({ event: 'run.created', data: { run_id: sides[side - 1].run_id, hold_credits: 1 } });
      expect(of.slice(-2).map(({ event }) => event)).toEqual(['usage', 'run.completed']);
    }
    // Neither waits for the other.
    const turns = list.filter(({ event }) => event === 'output.delta').map(({ data }) => data.side);
    expect(turns.indexOf(2)).toBeLessThan(turns.lastIndexOf(1));
    expect(turns.indexOf(1)).toBeLessThan(turns.lastIndexOf(2));
    const read = await call(url, 'GET', `${path}/${comparison_id}`, { token: ada.token });
    expect(read.json.sides.map(({ response }: Body) => response)).toEqual([textOf(list, 1), textOf(list, 2)]);
  });

  it.each([true, false])(
    'goes on where each side was, here or on another instance (%s), and runs nothing twice',
    async (here) => {
      const before = calls();
      const other = here ? house.server : await house.another();
      const seen: SentEvent[] = [];
      for await (const event of events(url, 'POST', path, asked(slow('cut in the middle')))) {
        seen.push(event);
        if (seen.length === 40) break;
      }
      const { comparison_id } = firstOf(seen);
      const follow = (last: string | null | undefined) =>
        all(
          events(other.url, 'GET', `${path}/${comparison_id}/stream`, {
            token: ada.token,
            ...(last && { headers: { 'last-event-id': last } }),
          }),
        );
      const rest = await follow(seen.at(-1)?.id);
      expect(rest.map(({ event }) => event)).not.toContain('comparison.created');
      const read = await call(url, 'GET', `${path}/${comparison_id}`, { token: ada.token });
      const whole = await follow(null);
      for (const side of [1, 2]) {
        const text = read.json.sides[side - 1].response;
        expect(textOf(seen, side) + textOf(rest, side)).toBe(text);
        expect(textOf(whole, side)).toBe(text);
        expect(
          [...seen, ...rest].filter(({ event, data }) => event === 'run.completed' && data.side === side),
        ).toHaveLength(1);
      }
      expect(await follow(whole.at(-1)?.id)).toEqual([]);
      expect(calls()).toBe(before + 2);
    },
  );

  it('tells of a side that is stopped, and the other goes on to its end', async () => {
    const list: SentEvent[] = [];
    for await (const event of events(url, 'POST', path, asked(slow('stop the first')))) {
      list.push(event);
      if (list.length !== 20) continue;
      await call(url, 'POST', `/api/v1/playground/runs/${list[0]?.data.sides[0].run_id}/stop`, { token: ada.token });
    }
    expect(lastOf(list, 1)).toMatchObject({ event: 'run.stopped', data: { status: 'stopped', credits_spent: 1 } });
    expect(lastOf(list, 2)).toMatchObject({ event: 'run.completed' });
    expect(textOf(list, 1).length).toBeLessThan(textOf(list, 2).length);
    expect(await house.audit()).toEqual([]);
  });

  it('that everybody leaves, or a JSON caller who hangs up, stops all sides', async () => {
    await database.owner`update settings set abandon_after_ms = 100`;
    for await (const _ of events(url, 'POST', path, asked(slow('left')))) break;
    await until(async () => (await running()) === 0);
    const hangUp = new AbortController();
    const calling = call(url, 'POST', path, { ...asked(slow('hung up')), signal: hangUp.signal }).catch(
      () => undefined,
    );
    await until(async () => (await running()) === 2);
    hangUp.abort();
    await calling;
    await until(async () => (await running()) === 0);
    const runs = await database.owner`select status from runs order by id desc limit 4`;
    expect(runs.map(({ status }) => status)).toEqual(['stopped', 'stopped', 'stopped', 'stopped']);
    await database.owner`update settings set abandon_after_ms = 10000`;
    expect(await house.audit()).toEqual([]);
  });

  it('that is refused is a problem, not a stream', async () => {
    const { status, json } = await compare('x', { stream: true, sides: [{}, { model: 'nothing' }] });
    expect([status, json.error]).toEqual([404, 'model_not_found']);
  });
});

it('the same key and request are the same comparison, on two instances at once (spec 5.3)', async () => {
  const other = await house.another();
  const before = calls();
  const keyed = (input: string, where = url) =>
    call(where, 'POST', path, { ...asked(input), headers: { 'idempotency-key': 'pair' } });
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      keyed('parallel [[sandbox: tokens=20 pace=20]]', i % 2 === 0 ? url : other.url),
    ),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
  expect(new Set(answers.map(({ json }) => json.comparison_id)).size).toBe(1);
  expect(
    new Set(answers.map(({ json }) => JSON.stringify(json.sides.map(({ response }: Body) => response)))).size,
  ).toBe(1);
  expect(calls()).toBe(before + 2);
  expect((await keyed('another')).json.error).toBe('idempotency_conflict');
  const single = await call(url, 'POST', '/api/v1/playground/run', {
    ...{ token: ada.token, body: { package_id: 'haiku', input: 'x' }, headers: { 'idempotency-key': 'pair' } },
  });
  expect(single.json.error).toBe('idempotency_conflict');
});

it('a stranger finds none of it: not to read, to follow, to share, nor to go on in (spec 10.1)', async () => {
  const { json } = await compare('mine');
  const id = json.comparison_id;
  const attempts: [string, string][] = [
    ['GET', `${path}/${id}`],
    ['GET', `${path}/${id}/stream`],
    ['POST', `${path}/${id}/share`],
  ];
  for (const [method, route] of attempts) {
    const { status, json: problem } = await call(url, method, route, { token: bob.token });
    expect([method, route, status, problem.error]).toEqual([method, route, 404, 'comparison_not_found']);
    expect((await call(url, method, route)).status).toBe(401);
  }
  expect((await call(url, 'DELETE', `${path}/${id}/share`, { token: bob.token })).json).toEqual({ ended: false });
  const sides = json.sides.map(({ session_id }: Body) => ({ session_id }));
  const body = { package_id: 'haiku', input: 'yours', sides };
  const grown = await call(url, 'POST', path, { token: bob.token, body });
  expect([grown.status, grown.json.error]).toEqual([404, 'session_not_found']);
  const [own] = await database.owner`select count(*)::int as n from run_texts where question = 'yours'`;
  expect(own?.n).toBe(0);
});

it('one link shares all sides, to anybody, and ends at once (spec 5.8, 10.2)', async () => {
  const { json } = await compare('to be shown');
  const route = `${path}/${json.comparison_id}/share`;
  const [share, again] = [
    await call(url, 'POST', route, { token: ada.token }),
    await call(url, 'POST', route, { token: ada.token }),
  ];
  expect(share.json.share_url).toMatch(/\/playground\/shared\/\w+$/);
  expect(again.json).toEqual(share.json);
  const shared = `/api/v1/playground/shared/${share.json.share_token}`;
  const shown = await call(url, 'GET', shared);
  expect(shown.json).toMatchObject({
    conversation: [],
    sides: [
      { question: 'to be shown', answer: json.sides[0].response, baseline: false },
      { question: 'to be shown', answer: json.sides[1].response, baseline: true },
    ],
  });
  for (const secret of [ada.userId, json.comparison_id, json.sides[0].run_id]) expect(shown.text).not.toContain(secret);
  expect((await call(url, 'POST', `${shared}/feedback`, { token: bob.token, body: { is_helpful: true } })).status).toBe(
    200,
  );
  const read = await call(url, 'GET', `${path}/${json.comparison_id}`, { token: ada.token });
  expect(read.json.share_token).toBe(share.json.share_token);
  expect((await call(url, 'DELETE', route, { token: ada.token })).json).toEqual({ ended: true });
  expect((await call(url, 'GET', shared)).status).toBe(404);
});
