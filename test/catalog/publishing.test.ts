// Authors publish by HTTP: fields, a prpm.json with its files, or a Markdown file; and change what they published.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, call, type House, openHouse, type Person } from '../http/house.ts';

let house: House;
let ada: Person;
let bob: Person;
beforeAll(async () => {
  house = await openHouse();
  ({ ada, bob } = house);
});
afterAll(() => house.close());

const asWritten = { 'text.md': 'Be brief.' };

function ask(method: string, path: string, body?: unknown, person: Person | null = ada): Promise<Answer> {
  return call(house.url, method, `/api/v1/packages${path}`, { token: person?.token, body });
}
const publish = (body: object, person = ada) => ask('POST', '', body, person);
const manifest = (body: object, files: object = asWritten) =>
  ask('POST', '/manifest', { manifest: { name: 'brief', version: '1.0.0', files: ['text.md'], ...body }, files });
const markdown = (text: string) => ask('POST', '/markdown', { markdown: text });
const read = async (name: string, person: Person | null = ada) =>
  (await ask('GET', `/${name}`, undefined, person)).json;

/** The prompt of a version as a run would have it. */
async function promptOf(name: string, version: string | null = null) {
  const [row] = await house.database.app`
    select version, prompt from api.read_version(${ada.userId}, ${name}, ${version})`;
  return row;
}

describe('a prpm.json', () => {
  it('is published with the files that it names, their front matter left out (spec 10.6)', async () => {
    const { status, json } = await manifest(
      {
        name: '@ada/skill',
        description: 'Two files.',
        author: 'Somebody <else@example.com>',
        license: 'MIT',
        format: 'claude',
        subtype: 'skill',
        keywords: ['brief'],
        files: ['.claude/skills/a_skill/SKILL.md', { path: 'more.md', format: 'claude' }],
        suggested_inputs: [{ title: 'Try', suggested_input: 'This' }],
      },
      { '.claude/skills/a_skill/SKILL.md': '---\r\nname: skill\r\n---\r\nFirst.\r\n', 'more.md': 'Second.\n' },
    );
    expect([status, json]).toEqual([201, { package_id: expect.any(String), name: '@ada/skill', versions: ['1.0.0'] }]);
    expect(await promptOf('@ada/skill')).toEqual({ version: '1.0.0', prompt: 'First.\n\nSecond.' });
    expect(await read('@ada/skill', null)).toMatchObject({
      ...{ author: 'ada', tags: ['brief'], description: 'Two files.', visibility: 'public' },
      suggested_inputs: [{ title: 'Try' }],
    });
  });

  it('may describe several versions, and may be sent again (spec 10.6)', async () => {
    const many = {
      name: 'several',
      files: undefined,
      version: undefined,
      versions: [
        { version: '1.0.0', file: 'text.md', changelog: 'First.' },
        { version: '1.1.0', file: 'b.md' },
      ],
    };
    const files = { ...asWritten, 'b.md': 'Be briefer.' };
    for (let time = 0; time < 2; time += 1) {
      expect((await manifest(many, files)).json).toMatchObject({ versions: ['1.0.0', '1.1.0'] });
    }
    expect((await read('several')).versions).toMatchObject([
      { version: '1.1.0', changelog: '' },
      { version: '1.0.0', changelog: 'First.' },
    ]);
  });

  it('with private: true is for its author alone (spec 5.5)', async () => {
    expect((await manifest({ name: 'hidden', private: true })).status).toBe(201);
    expect(await read('hidden')).toMatchObject({ visibility: 'private' });
    for (const person of [bob, null])
      expect(await read('hidden', person)).toMatchObject({ error: 'package_not_found' });
  });

  it('of an organization is published for it, by its name (spec 2.3)', async () => {
    await house.database.ops`select from ops.create_organization('Poets')`;
    expect((await manifest({ name: 'ours', organization: 'Poets' })).json).toMatchObject({ error: 'forbidden' });
    await house.database.ops`select from ops.add_member('Poets', 'ada', 'maintainer')`;
    expect((await manifest({ name: 'ours', organization: 'Poets', private: true })).status).toBe(201);
    await house.database.ops`select from ops.add_member('Poets', 'bob', 'member')`;
    expect(await read('ours', bob)).toMatchObject({ organization: 'Poets', may_publish: false });

    // Whoever made it cannot carry it away when they have left, nor who maintains it.
    await house.database.ops`select from ops.create_organization('Others')`;
    await house.database.ops`select from ops.add_member('Others', 'ada', 'owner')`;
    const carry = () => manifest({ name: 'ours', version: '9.0.0', organization: 'Others' });
    expect(await carry()).toMatchObject({
      status: 403,
      json: { message: expect.stringContaining('another organization') },
    });
    await house.database.ops`select from ops.remove_member('Poets', 'ada')`;
    expect((await carry()).status).toBe(403);
    expect(await read('ours', bob)).toMatchObject({ organization: 'Poets', latest_version: '1.0.0' });
    await house.database.ops`select from ops.add_member('Poets', 'ada', 'admin')`;
    expect((await carry()).status).toBe(201);
    expect((await ask('GET', '/ours', undefined, bob)).status).toBe(404);
  });

  it.each([
    [{ version: 'one' }, asWritten, 'version', /1\.2\.3/],
    [{ name: 'No Spaces' }, asWritten, 'name', /lower-case/],
    [{ name: undefined }, asWritten, 'name', /required/],
    [{ tags: 'one' }, asWritten, 'tags', /array/],
    [{ description: 'x'.repeat(2001) }, asWritten, 'description', /2000/],
    [{ private: 'yes' }, asWritten, 'manifest.private', /boolean/],
    [{ files: [] }, asWritten, 'manifest.files', /name the file/],
    [{ files: ['../secret'] }, asWritten, 'files.../secret', /was not sent/],
    [{ files: ['__proto__'] }, asWritten, 'files.__proto__', /was not sent/],
    [{ main: 'other.md' }, asWritten, 'files.other.md', /was not sent/],
    [{}, { 'text.md': '---\nname: x\n---\n' }, 'prompt', /1/],
    [{}, { 'text.md': 7 }, 'files.text.md', /string/],
    [{ packages: [] }, asWritten, 'manifest.packages', /of its own/],
    [{ suggested_inputs: [{ title: '' }] }, asWritten, 'suggested_inputs.0.title', /1 to 100/],
    [{ visibility: 'secret' }, asWritten, 'visibility', /public/],
  ])('that is wrong names the field: %j', async (body, files, field, message) => {
    const { status, json } = await manifest({ name: 'wrong', ...body }, files);
    expect([status, json.error, json.errors?.[0].field]).toEqual([400, 'validation_error', field]);
    expect(json.errors[0].message).toMatch(message);
    expect(await read('wrong')).toMatchObject({ error: 'package_not_found' });
  });
});

describe('a Markdown file', () => {
  it('is published by its front matter; the rest is the prompt (spec 10.6)', async () => {
    const text =
      '\uFEFF---\nname: sea-shanty\nversion: 0.2.0\ndescription: Sings.\ntags: [verse, sea]\n---\n\nSing it.\n---\nLoud.\n';
    expect((await markdown(text)).json).toMatchObject({ version: '0.2.0' });
    expect(await promptOf('sea-shanty')).toEqual({ version: '0.2.0', prompt: 'Sing it.\n---\nLoud.' });
    expect(await read('sea-shanty')).toMatchObject({ description: 'Sings.', tags: ['verse', 'sea'] });
    expect((await markdown(text)).status).toBe(201);
    const other = await markdown(text.replace('Loud', 'Soft'));
    expect([other.status, other.json.error]).toEqual([409, 'conflict']);
    expect(other.json.message).toContain('next version');
  });

  it.each([
    ['Just a prompt.', 'markdown', /front matter/],
    ['---\nname: a\nversion: 1.0.0\nno end', 'markdown', /front matter/],
    ['---\n- a\n---\nText', 'markdown', /fields/],
    ['---\nname: [a\n---\nText', 'markdown', /no YAML/],
    ['---\nname: &a [x]\ntags: [*a, *a]\n---\nText', 'markdown', /no YAML/],
    ['---\nname: "a\\0b"\n---\nText', 'markdown', /NUL/],
    ['---\nname: a\n---\nText', 'version', /required/],
    ['---\nname: a\nversion: 1.0\n---\nText', 'version', /string/],
    ['---\nname: a\nversion: 1.0.0\n---\n', 'prompt', /1/],
  ])('that is wrong names what: %j', async (text, field, message) => {
    const { status, json } = await markdown(text);
    expect([status, json.error, json.errors?.[0].field]).toEqual([400, 'validation_error', field]);
    expect(json.errors[0].message).toMatch(message);
  });
});

describe('variables', () => {
  const prompt = 'Write about {{topic}} in {{ lineCount }} lines.';
  const variables = {
    type: 'object',
    properties: {
      topic: { type: 'string', description: 'Of what.', maxLength: 100 },
      lineCount: { type: 'integer', minimum: 1, maximum: 20, default: 4 },
    },
    required: ['topic'],
  };

  it('are described by a JSON schema, which comes back as it was sent (spec 5.5)', async () => {
    expect((await publish({ name: 'lines', version: '1.0.0', prompt, variables })).status).toBe(201);
    expect((await read('lines')).versions[0].variables).toEqual(variables);
    const again = await publish({ name: 'lines', version: '1.0.0', prompt, variables: { ...variables, required: [] } });
    expect([again.status, again.json.error]).toEqual([409, 'conflict']);
  });

  it('are none where the version describes none: braces are text then (spec 5.5)', async () => {
    expect((await publish({ name: 'braces', version: '1.0.0', prompt: 'Keep {{this}}.' })).status).toBe(201);
    expect((await read('braces')).versions[0].variables).toBeNull();
  });

  it.each([
    [{ properties: {} }, 'variables.properties', /1 to 50/],
    [{ properties: { topic: { type: 'string' } } }, 'prompt', /{{lineCount}}/],
    [
      { ...variables, properties: { ...variables.properties, mood: { type: 'string' } } },
      'variables.properties.mood',
      /not used/,
    ],
    [{ ...variables, required: ['Topic'] }, 'variables.required', /Topic/],
    [
      { ...variables, properties: { ...variables.properties, topic: { type: 'object' } } },
      'variables.properties.topic.type',
      /./,
    ],
    [
      { ...variables, properties: { ...variables.properties, topic: { type: 'string', pattern: '(a+)+$' } } },
      'variables.properties.topic',
      /pattern/,
    ],
    [
      { ...variables, properties: { ...variables.properties, lineCount: { type: 'integer', default: 1.5 } } },
      'variables.properties.lineCount.default',
      /whole/,
    ],
    [
      { ...variables, properties: { ...variables.properties, topic: { type: 'string', enum: ['a'], default: 'b' } } },
      'variables.properties.topic.default',
      /one of a/,
    ],
    [{ ...variables, allOf: [] }, 'variables', /allOf/],
    [[], 'variables', /./],
  ])('that are described wrongly name the field: %j', async (wrong, field, message) => {
    const { status, json } = await publish({ name: 'lines', version: '2.0.0', prompt, variables: wrong });
    expect([status, json.error, json.errors?.[0].field]).toEqual([400, 'validation_error', field]);
    expect(json.errors[0].message).toMatch(message);
  });
});

describe('what is published', () => {
  it('is changed by its author: who sees it, from the next request on (spec 5.5)', async () => {
    await publish({ name: '@ada/open', version: '1.0.0', prompt: 'Open.' });
    const changed = await ask('PATCH', '/@ada/open', { visibility: 'private', description: 'Closed.' });
    expect(changed.json).toMatchObject({ name: '@ada/open', visibility: 'private', description: 'Closed.', tags: [] });
    expect(await read('@ada/open', bob)).toMatchObject({ error: 'package_not_found' });
    const run = await call(house.url, 'POST', '/api/v1/playground/run', {
      token: bob.token,
      body: { package_id: '@ada/open', input: 'hello' },
    });
    expect([run.status, run.json.error]).toEqual([404, 'package_not_found']);
    expect((await ask('PATCH', '/@ada/open', { visibility: 'unlisted' })).status).toBe(200);
    expect(await read('@ada/open', bob)).toMatchObject({ visibility: 'unlisted' });
    const wrong = await ask('PATCH', '/@ada/open', { visibility: 'nowhere' });
    expect([wrong.status, wrong.json.errors[0].field]).toEqual([400, 'visibility']);
  });

  it('is not changed by others: 403 where they see it, 404 where not (spec 10.6)', async () => {
    await publish({ name: 'mine', version: '1.0.0', prompt: 'Mine.' });
    for (const [path, body] of [
      ['/mine', { description: 'Theirs.' }],
      ['/mine/versions/1.0.0', { yanked: true }],
    ] as const) {
      expect((await ask('PATCH', path, body, bob)).json).toMatchObject({ error: 'forbidden' });
      expect((await ask('PATCH', path, body, null)).json).toMatchObject({ error: 'authentication_required' });
    }
    await ask('PATCH', '/mine', { visibility: 'private' });
    expect((await ask('PATCH', '/mine', { description: 'Theirs.' }, bob)).json).toMatchObject({
      error: 'package_not_found',
    });
    expect((await ask('PATCH', '/mine/versions/1.0.0', { yanked: true }, bob)).json).toMatchObject({
      error: 'version_not_found',
    });
    expect((await ask('PATCH', '/mine/versions/9.0.0', { yanked: true })).json).toMatchObject({
      error: 'version_not_found',
    });
  });

  it('is yanked: the newest no longer, but there for who asks for it by its number (spec 5.5)', async () => {
    for (const version of ['1.0.0', '1.1.0'])
      await publish({ name: '@ada/slip', version, prompt: `Text of ${version}.` });
    const yanked = await ask('PATCH', '/@ada/slip/versions/1.1.0', { yanked: true });
    expect(yanked.json).toMatchObject({ version: '1.1.0', yanked: true, deprecated: null, latest_version: '1.0.0' });
    expect(await promptOf('@ada/slip')).toMatchObject({ version: '1.0.0' });
    expect(await promptOf('@ada/slip', '1.1.0')).toMatchObject({ prompt: 'Text of 1.1.0.' });
    await publish({ name: '@ada/slip', version: '1.1.0', prompt: 'Text of 1.1.0.' });
    expect(await read('@ada/slip')).toMatchObject({ latest_version: '1.0.0' });

    await ask('PATCH', '/@ada/slip/versions/1.0.0', { yanked: true });
    const run = await call(house.url, 'POST', '/api/v1/playground/run', {
      token: bob.token,
      body: { package_id: '@ada/slip', input: 'hello' },
    });
    expect([run.status, run.json.error]).toEqual([404, 'version_not_found']);
    const back = await ask('PATCH', '/@ada/slip/versions/1.1.0', { yanked: false });
    expect(back.json).toMatchObject({ yanked: false, latest_version: '1.1.0' });
  });

  it('is deprecated with a reason, and runs all the same (spec 10.6)', async () => {
    await publish({ name: 'old', version: '1.0.0', prompt: 'Old.' });
    await ask('PATCH', '/old/versions/1.0.0', { deprecated: 'Use new.' });
    await ask('PATCH', '/old/versions/1.0.0', { yanked: false });
    expect((await read('old')).versions).toMatchObject([{ deprecated: 'Use new.', yanked: false }]);
    expect(await promptOf('old')).toMatchObject({ prompt: 'Old.' });
    await ask('PATCH', '/old/versions/1.0.0', { deprecated: null });
    expect((await read('old')).versions).toMatchObject([{ deprecated: null }]);
    const long = await ask('PATCH', '/old/versions/1.0.0', { deprecated: 'x'.repeat(501) });
    expect([long.status, long.json.errors[0].field]).toEqual([400, 'deprecated']);
  });

  it('takes a token that may publish (spec 2.2)', async () => {
    const [made] = await house.database
      .ops`select token from ops.create_token(${ada.userId}, 'reader', array['read', 'run'])`;
    const reader = { userId: ada.userId, token: String(made?.token) };
    for (const answer of [
      await publish({ name: 'not', version: '1.0.0', prompt: 'No.' }, reader),
      await ask('PATCH', '/haiku', { description: 'No.' }, reader),
    ]) {
      expect([answer.status, answer.json.error]).toEqual([403, 'insufficient_scope']);
    }
  });
});
