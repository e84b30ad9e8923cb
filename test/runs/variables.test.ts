// Packages whose prompt has variables: what is given for them is checked, held for, charged, and seen by the model. Spec 5.5.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { call, openHouse } from '../http/house.ts';

const house = await openHouse();
const { url, ada, bob, database } = house;
const execute = '/api/v1/playground/run';

beforeAll(async () => {
  const prompt = '# About {{topic}}\n\nWrite {{ lineCount }} lines about {{topic}}{{ending}}';
  const variables = {
    type: 'object',
    properties: {
      topic: { type: 'string', minLength: 2, maxLength: 9_000 },
      lineCount: { type: 'integer', minimum: 1, maximum: 20, default: 4 },
      ending: { type: 'string', enum: ['.', '!'] },
    },
    required: ['topic'],
  };
  const all = { type: 'object', properties: { tone: { type: 'string', default: 'calm' } } };
  const packages = [
    { name: 'lines', version: '1.0.0', prompt, variables },
    { name: 'tones', version: '1.0.0', prompt: '# Tone {{tone}}', variables: all },
    { name: 'plain', version: '1.0.0', prompt: 'Keep {{this}} as it is.' },
  ];
  for (const body of packages) await call(url, 'POST', '/api/v1/packages', { token: ada.token, body });
});
afterAll(() => house.close());

type Body = Record<string, unknown>;
const run = (body: Body, person = bob, headers = {}) =>
  call(url, 'POST', execute, {
    token: person.token,
    headers,
    body: { package_id: 'lines', input: 'Please.', model: 'gpt-4o-mini', ...body },
  });
const estimate = (body: Body) =>
  call(url, 'POST', '/api/v1/playground/estimate', {
    token: bob.token,
    body: { package_id: 'lines', input: 'Please.', model: 'gpt-4o-mini', ...body },
  });

/** Tokens that were estimated and held for, and those that the provider counted in what it was sent. */
async function sizes(id: string) {
  const [row] = await database.owner`select estimated_input, input_tokens, package_version from runs where id = ${id}`;
  return row;
}

describe('a run', () => {
  it('shows the model the prompt with its variables filled in, and holds for its size (spec 5.5)', async () => {
    const short = await run({ variables: { topic: 'the sea' } });
    expect([short.status, short.json.status]).toEqual([200, 'completed']);
    expect(short.json.response).toContain('About the sea');
    const long = await run({ variables: { topic: 'sea '.repeat(2000), lineCount: 20, ending: '!' } });
    const [few, many] = [await sizes(short.json.run_id), await sizes(long.json.run_id)];
    for (const size of [few, many]) expect(size?.estimated_input).toBe(size?.input_tokens);
    expect(many?.estimated_input - few?.estimated_input).toBeGreaterThan(3000);
    expect(long.json.credits_spent).toBeGreaterThanOrEqual(short.json.credits_spent);
    expect(await house.audit()).toEqual([]);
  });

  it('takes what is filled in for text: braces in it are filled in by nobody (spec 5.5)', async () => {
    const { json } = await run({ variables: { topic: '{{lineCount}} $& {{topic}}' } });
    expect(json.response).toContain('About {{lineCount}} $& {{topic}}');
  });

  it.each([
    [{}, 'variables.topic', /is required/],
    [undefined, 'variables.topic', /is required/],
    [{ topic: 'a' }, 'variables.topic', /2 to 9,000/],
    [{ topic: 7 }, 'variables.topic', /text/],
    [{ topic: 'sea', Topic: 'sea' }, 'variables.Topic', /topic, lineCount, ending/],
    [{ topic: 'sea', line_count: 3 }, 'variables.line_count', /there is none/],
    [{ topic: 'sea', lineCount: '3' }, 'variables.lineCount', /whole number/],
    [{ topic: 'sea', lineCount: 1.5 }, 'variables.lineCount', /whole number/],
    [{ topic: 'sea', lineCount: 21 }, 'variables.lineCount', /20 or less/],
    [{ topic: 'sea', ending: '?' }, 'variables.ending', /one of/],
    [{ topic: 'sea', constructor: 'x' }, 'variables.constructor', /there is none/],
    [{ topic: ['sea'] }, 'variables.topic', /./],
    [{ topic: 'a\0b' }, 'variables.topic', /NUL/],
    ['sea', 'variables', /./],
  ])('that lacks one, or has another, is 400 and names it: %j', async (variables, field, message) => {
    const before = house.standIns.calls.openai.calls;
    for (const { status, json } of [await run({ variables }), await estimate({ variables })]) {
      expect([status, json.error, json.errors?.[0].field]).toEqual([400, 'validation_error', field]);
      expect(json.errors[0].message).toMatch(message);
    }
    expect(house.standIns.calls.openai.calls).toBe(before);
  });

  it('whose variables make the prompt too large is refused by the numbers (spec 1.5)', async () => {
    await database.ops`update settings set max_request_tokens = 1500`;
    const { status, json } = await run({ variables: { topic: 'sea '.repeat(2000) } });
    expect([status, json.error]).toEqual([413, 'request_too_large']);
    await database.ops`update settings set max_request_tokens = 20000`;
  });

  it('of a package without variables takes none, and its braces are text (spec 5.5)', async () => {
    const { json } = await run({ package_id: 'plain', variables: { this: 'that' } });
    expect([json.error, json.errors[0]]).toEqual([
      'validation_error',
      { field: 'variables.this', message: 'this package takes no variables' },
    ]);
    const fine = await run({ package_id: 'plain' });
    expect(fine.json.response).toContain('Keep {{this}}');
    expect((await run({ package_id: 'plain', variables: {} })).status).toBe(200);
  });

  it('without any given has the defaults (spec 5.5)', async () => {
    expect((await run({ package_id: 'tones' })).json.response).toContain('Tone calm');
    expect((await run({ package_id: 'tones', variables: { tone: 'wild' } })).json.response).toContain('Tone wild');
  });

  it('without the prompt needs none (spec 5.1)', async () => {
    const { status, json } = await run({ use_no_prompt: true });
    expect([status, json.baseline]).toEqual([200, true]);
  });

  it("of one's own prompt takes none (spec 10.5)", async () => {
    await database.ops`select from ops.set_user(${ada.userId}, verified_author => true, reason => 'test')`;
    const custom = { custom_prompt: 'Answer in one line.', variables: { topic: 'sea' } };
    const { status, json } = await run(custom, ada);
    expect([status, json.errors?.[0].field]).toEqual([400, 'variables']);
  });

  it('is of the version whose prompt was filled in, also when another is published meanwhile (spec 5.5)', async () => {
    const body = { name: 'moving', prompt: 'A {{thing}}', variables: { properties: { thing: { type: 'string' } } } };
    await call(url, 'POST', '/api/v1/packages', { token: ada.token, body: { ...body, version: '1.0.0' } });
    const [first] = await database.app`
      select outcome, version, template, refusal from api.begin_run(
        ${bob.userId}, gen_random_uuid(), 'moving', null, null, 'gpt-4o-mini', false, 1, 'o200k_base', null, null, null, null,
        variables => '{"thing": "boat"}')`;
    expect(first).toMatchObject({
      ...{ outcome: 'template', version: '1.0.0' },
      template: { variables: body.variables, given_variables: { thing: 'boat' } },
    });
    await call(url, 'POST', '/api/v1/packages', {
      token: ada.token,
      body: { ...body, version: '2.0.0', prompt: 'Two {{thing}}' },
    });
    const { json } = await run({ package_id: 'moving', package_version: '1.0.0', variables: { thing: 'boat' } });
    expect(await sizes(json.run_id)).toMatchObject({ package_version: '1.0.0' });
    expect((await run({ package_id: 'moving', variables: { thing: 'boat' } })).json.response).toContain('Two boat');
  });
});

describe('a session', () => {
  it('goes on with the variables that it had, until others are given (spec 5.5, 10.1)', async () => {
    const first = await run({ variables: { topic: 'rivers' } });
    const session = { session_id: first.json.session_id };
    const second = await run({ ...session, input: 'More.' });
    expect(second.json.response).toContain('About rivers');
    expect((await run({ ...session, variables: { topic: 'lakes' } })).json.response).toContain('About lakes');
    expect((await run(session)).json.response).toContain('About lakes');
    const [kept] = await database.owner`select variables from sessions where id = ${session.session_id}`;
    expect(kept?.variables).toEqual({ topic: 'lakes' });

    await call(url, 'DELETE', `/api/v1/playground/sessions/${session.session_id}`, { token: bob.token });
    const [gone] = await database.owner`select variables from sessions where id = ${session.session_id}`;
    expect(gone?.variables).toBeNull();
    expect(await house.audit()).toEqual([]);
  });

  it('of somebody else gives nobody its variables (design: who may do what)', async () => {
    const mine = await run({ variables: { topic: 'my secret' } });
    const theirs = await run({ session_id: mine.json.session_id }, ada);
    expect([theirs.status, theirs.json.error]).toEqual([404, 'session_not_found']);
  });
});

describe('the rules of every run', () => {
  it('hold: a key gives the same run for the same variables, whatever their order, and no other (spec 5.3)', async () => {
    const key = { 'idempotency-key': 'variables-1' };
    const first = await run({ variables: { topic: 'sea', lineCount: 2 } }, bob, key);
    const again = await run({ variables: { lineCount: 2, topic: 'sea' } }, bob, key);
    expect(again.json.run_id).toBe(first.json.run_id);
    const other = await run({ variables: { topic: 'sky', lineCount: 2 } }, bob, key);
    expect([other.status, other.json.error]).toEqual([409, 'idempotency_conflict']);
  });

  it('hold: a run is one attempt of the minute, and one with wrong variables is too (spec 3.6)', async () => {
    const carl = await house.person('carl', 'free');
    const attempts = async () => {
      const [row] = await database.owner`select minute_attempts, hour_requests from users where id = ${carl.userId}`;
      return [row?.minute_attempts, row?.hour_requests];
    };
    await run({ variables: { topic: 'sea' } }, carl);
    expect(await attempts()).toEqual([1, 1]);
    await run({}, carl);
    expect(await attempts()).toEqual([2, 1]);
    for (let n = 0; n < 3; n += 1) await run({}, carl);
    const { status, json } = await run({}, carl);
    expect([status, json.error]).toEqual([429, 'rate_limited']);
    expect(await house.audit()).toEqual([]);
  });

  it('hold: an estimate says what the run is then charged (spec 5.7)', async () => {
    const variables = { topic: 'sea '.repeat(1500) };
    const { json } = await estimate({ variables });
    const ran = await run({ variables });
    expect(json.tokens_input).toBe((await sizes(ran.json.run_id))?.estimated_input);
    expect(json.credits_least).toBeLessThanOrEqual(ran.json.credits_spent);
    expect(json.credits_most).toBeGreaterThanOrEqual(ran.json.credits_spent);
  });

  it('hold: a visitor fills them in, too, and a wrong one costs them no run (spec 5.9)', async () => {
    const visit = (variables: object) =>
      call(url, 'POST', '/api/v1/playground/anonymous-run', {
        body: { package_id: 'lines', input: 'Please.', variables },
      });
    expect((await visit({})).json.errors?.[0].field).toBe('variables.topic');
    const { status, json } = await visit({ topic: 'the moon' });
    expect([status, json.response]).toEqual([200, expect.stringContaining('About the moon')]);
  });
});
