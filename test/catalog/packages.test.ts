import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';

let database: TestDatabase;
let author: string;
let colleague: string;
let outsider: string;
let organization: string;
beforeAll(async () => {
  database = await createDatabase();
  author = await createUser('author');
  colleague = await createUser('colleague');
  outsider = await createUser('outsider');
  const [row] = await database.ops`select id from ops.create_organization('Example')`;
  organization = row?.id;
  await database.ops`select * from ops.add_member('Example', 'author', 'maintainer')`;
  await database.ops`select * from ops.add_member('Example', 'colleague', 'member')`;
});
afterAll(() => database.drop());

async function createUser(username: string): Promise<string> {
  const [row] = await database.ops`select user_id from ops.create_user(${`${username}@example.com`}, ${username})`;
  return row?.user_id;
}

type Release = {
  by?: string;
  name: string;
  version?: string;
  prompt?: string;
  description?: string | null;
  tags?: string[] | null;
  visibility?: string | null;
  organization?: string | null;
  inputs?: object[] | null;
};

async function publish(release: Release) {
  const {
    by = author,
    name,
    version = '1.0.0',
    prompt = 'You are helpful.',
    description = null,
    tags = null,
  } = release;
  const { visibility = null, organization = null, inputs = null } = release;
  const [row] = await database.app`
    select package_id, version from api.publish_version(
      ${by}, ${name}, ${description}, ${tags}, ${visibility}, ${organization}, ${version}, ${prompt}, 4, 4, 6,
      'First.', ${inputs === null ? null : database.app.json(inputs as never)}::json
    )`;
  return row;
}

async function read(user: string, name: string) {
  const [row] = await database.app`select * from api.read_package(${user}, ${name})`;
  return row;
}

async function prompt(user: string, name: string, version: string | null = null) {
  const [row] = await database.app`select version, prompt from api.read_version(${user}, ${name}, ${version})`;
  return row;
}

async function search(user: string, query: string | null, limit = 20, cursor: string | null = null) {
  const [row] = await database.app`
    select packages, next_cursor, total from api.search_packages(${user}, ${query}, ${limit}, ${cursor})`;
  return { names: row?.packages.map(({ name }: { name: string }) => name), next: row?.next_cursor, total: row?.total };
}

describe('publishing', () => {
  it('makes a package that anyone can read by name or id (spec 10.6)', async () => {
    const made = await publish({ name: 'code-helper', description: 'Helps with code.', tags: ['code'] });
    for (const key of ['code-helper', 'Code-Helper', made?.package_id]) {
      expect(await read(outsider, key)).toMatchObject({
        id: made?.package_id,
        name: 'code-helper',
        description: 'Helps with code.',
        author: 'author',
        visibility: 'public',
        latest_version: '1.0.0',
        may_publish: false,
        versions: [
          { version: '1.0.0', changelog: 'First.', tokens: { o200k_base: 4, cl100k_base: 4, approximate: 6 } },
        ],
        suggested_inputs: [],
      });
    }
    expect(await read(author, 'code-helper')).toMatchObject({ may_publish: true });
  });

  it('never changes the prompt of a version, but may be repeated (spec 5.5)', async () => {
    const first = await publish({ name: 'fixed', prompt: 'First text.' });
    await expect(publish({ name: 'fixed', prompt: 'Second text.' })).rejects.toMatchObject({
      code: 'PR409',
      detail: 'version',
    });
    expect(await publish({ name: 'fixed', prompt: 'First text.' })).toEqual(first);
    expect(await prompt(outsider, 'fixed', '1.0.0')).toEqual({ version: '1.0.0', prompt: 'First text.' });
  });

  it("keeps each version's own text, and the highest release is the newest (spec 5.5)", async () => {
    const versions = ['1.9.0', '1.10.0', '2.0.0-beta.1', '1.9.1'];
    for (const version of versions) await publish({ name: 'many', version, prompt: `Text of ${version}.` });
    for (const version of versions)
      expect((await prompt(outsider, 'many', version))?.prompt).toBe(`Text of ${version}.`);
    expect(await prompt(outsider, 'many')).toEqual({ version: '1.10.0', prompt: 'Text of 1.10.0.' });
    expect(await prompt(outsider, 'many', '3.0.0')).toBeUndefined();
    const listed = (await read(outsider, 'many'))?.versions.map(({ version }: { version: string }) => version);
    expect(listed).toEqual(['1.10.0', '1.9.1', '1.9.0', '2.0.0-beta.1']);
  });

  it('of one version by many at once keeps one prompt (spec 5.5)', async () => {
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, (_, i) => publish({ name: 'contested', prompt: `Text ${i}.` })),
    );
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect((await read(author, 'contested'))?.versions).toHaveLength(1);
  });

  it("under another's name is refused, also to a plain member (spec 10.6)", async () => {
    await publish({ name: 'owned', organization });
    for (const by of [outsider, colleague]) {
      await expect(publish({ by, name: 'owned', version: '2.0.0' })).rejects.toMatchObject({ code: 'PR403' });
    }
    await database.ops`select * from ops.add_member('Example', 'colleague', 'maintainer')`;
    expect(await publish({ by: colleague, name: 'owned', version: '2.0.0' })).toMatchObject({ version: '2.0.0' });
    await database.ops`select * from ops.add_member('Example', 'colleague', 'member')`;
  });

  it('for an organization is for those who may (spec 10.6)', async () => {
    await expect(publish({ by: outsider, name: 'intruder', organization })).rejects.toMatchObject({ code: 'PR403' });
    await expect(publish({ by: randomUUID(), name: 'ghost' })).rejects.toMatchObject({ code: 'PR403' });
    expect(await read(author, 'intruder')).toBeUndefined();
  });

  it('names the field that is wrong (spec 10.6)', async () => {
    const wrong: [Partial<Release>, string][] = [
      [{ name: 'With Space' }, 'name'],
      [{ version: '1.0' }, 'version'],
      [{ prompt: '' }, 'prompt'],
      [{ prompt: 'x'.repeat(50_001) }, 'prompt'],
      [{ visibility: 'secret' }, 'visibility'],
      [{ tags: [''] }, 'tags'],
      [{ description: 'x'.repeat(2001) }, 'description'],
      [{ inputs: [{ title: 'No text' }] }, 'suggested_inputs'],
      [{ inputs: [{ title: 'T', suggested_input: 'S', recommended_model: 'none' }] }, 'suggested_inputs'],
      [{ inputs: [{ title: 'T', suggested_input: 'S', estimated_credits: 'many' }] }, 'suggested_inputs'],
    ];
    for (const [field, detail] of wrong) {
      await expect(publish({ name: 'wrong', ...field }), JSON.stringify(field).slice(0, 80)).rejects.toMatchObject({
        code: 'PR400',
        detail,
      });
    }
    expect(await read(author, 'wrong')).toBeUndefined();
  });

  it('keeps suggested inputs by their title (spec 10.4)', async () => {
    const input = { title: 'Try this', suggested_input: 'Hello', category: 'general', recommended_model: 'opus' };
    await publish({ name: 'inviting', inputs: [input, { title: 'And this', suggested_input: 'Hi' }] });
    const before = (await read(outsider, 'inviting'))?.suggested_inputs;
    expect(before).toMatchObject([
      { ...input, difficulty: 'beginner', display_order: 0 },
      { title: 'And this', display_order: 1 },
    ]);
    await publish({ name: 'inviting', version: '1.1.0', inputs: [{ ...input, suggested_input: 'Good day' }] });
    const after = (await read(outsider, 'inviting'))?.suggested_inputs;
    expect(after).toMatchObject([{ id: before[0].id, suggested_input: 'Good day' }, { id: before[1].id }]);
  });
});

describe('a private package', () => {
  it('is seen by its author and organization, and by nobody else (spec 5.5)', async () => {
    const made = await publish({ name: 'secret-sauce', visibility: 'private', organization });
    for (const key of ['secret-sauce', made?.package_id]) {
      for (const user of [author, colleague]) {
        expect(await read(user, key)).toMatchObject({ name: 'secret-sauce' });
        expect(await prompt(user, key)).toMatchObject({ prompt: 'You are helpful.' });
      }
      expect(await read(outsider, key)).toBeUndefined();
      expect(await prompt(outsider, key)).toBeUndefined();
    }
    expect((await search(colleague, 'secret-sauce')).names).toEqual(['secret-sauce']);
    expect((await search(outsider, 'secret-sauce')).names).toEqual([]);
  });

  it("without an organization is its author's alone (spec 5.5)", async () => {
    await publish({ name: 'diary', visibility: 'private' });
    expect(await read(author, 'diary')).toMatchObject({ name: 'diary' });
    expect(await read(colleague, 'diary')).toBeUndefined();
  });

  it('is out of sight for one who left the organization (spec 5.5)', async () => {
    const leaver = await createUser('leaver');
    await database.ops`select * from ops.add_member('Example', 'leaver')`;
    await publish({ name: 'house-rules', visibility: 'private', organization });
    expect(await read(leaver, 'house-rules')).toMatchObject({ name: 'house-rules' });
    await database.app`select * from api.leave_organization(${leaver}, ${organization})`;
    expect(await read(leaver, 'house-rules')).toBeUndefined();
  });
});

describe('search', () => {
  it('finds by name, tag and description, best match first (spec 10.6)', async () => {
    await publish({ name: 'sql', description: 'Explains.' });
    await publish({ name: 'sql-explainer' });
    await publish({ name: 'my-sql' });
    await publish({ name: 'databases', tags: ['sql'] });
    await publish({ name: 'queries', description: 'Writes SQL for you.' });
    expect((await search(outsider, 'SQL')).names).toEqual(['sql', 'sql-explainer', 'my-sql', 'databases', 'queries']);
    expect((await search(outsider, 'sql-explaner')).names).toContain('sql-explainer');
    expect((await search(outsider, '%')).names).toEqual([]);
  });

  it.each([
    ['cod-reveiw', 'code-review'],
    ['code reviwe', 'code-review'],
    ['haikku', 'haiku'],
    ['grafitti', 'paints-graffiti-on-walls-of-old-towns'],
    ['comit-mesage', 'commit-message'],
    ['@lnguist/transaltor', '@linguist/translator'],
  ])('finds a name in spite of a typing error: %s (spec 10.6)', async (query, name) => {
    await publish({ name });
    await publish({ name: 'unlike' });
    expect((await search(outsider, query)).names[0]).toBe(name);
  });

  it('finds words by their stems, all of them, the last one begun alone (spec 10.6)', async () => {
    await publish({ name: 'release-notes', description: 'Summarises changes for customers.', tags: ['writing'] });
    await publish({ name: 'changelog', description: 'Lists what changed.', tags: ['release'] });
    for (const [query, names] of [
      ['notes release', ['release-notes']],
      ['release', ['release-notes', 'changelog']],
      ['rele', ['release-notes', 'changelog']],
      ['summarising customer', ['release-notes']],
      ['writing change', ['release-notes']],
      ['angelo', ['changelog']],
      ['release & (notes', ['release-notes']],
      ["release:*A | 'n", ['release-notes']],
      ["' & | ! :", []],
      ['the', []],
    ] as const) {
      expect((await search(outsider, query)).names, query).toEqual(names);
    }
    await database.app`select from api.change_package(${author}, 'changelog', 'Zymurgy.')`;
    expect((await search(outsider, 'zymurgy')).names).toEqual(['changelog']);
    expect((await search(outsider, 'changed')).names).not.toContain('changelog');
  });

  it('goes page by page over all ranks, and over names that are much alike (spec 10.7)', async () => {
    await publish({ name: 'topaz' });
    for (let i = 0; i < 3; i++) await publish({ name: `topaz-${i}` });
    for (let i = 0; i < 3; i++) await publish({ name: `blue-topaz-${i}` });
    for (let i = 0; i < 3; i++) await publish({ name: `gem-${i}`, tags: ['topaz'], description: 'A stone.' });
    for (let i = 0; i < 3; i++) await publish({ name: `ring-${i}`, description: 'With a topaz.' });
    for (const [query, count] of [
      ['topaz', 13],
      ['topazz', 7],
    ] as const) {
      const whole = await search(outsider, query, 100);
      expect([whole.names.length, whole.total], query).toEqual([count, String(count)]);
      for (const limit of [1, 2, 5]) {
        const names: string[] = [];
        let cursor: string | null = null;
        do {
          const page = await search(outsider, query, limit, cursor);
          expect(page.total).toBe(whole.total);
          names.push(...page.names);
          cursor = page.next;
        } while (cursor !== null);
        expect(names).toEqual(whole.names);
      }
    }
  });

  it('goes page by page without loss or repetition (spec 10.7)', async () => {
    for (let i = 0; i < 7; i++) await publish({ name: `paged-${i}` });
    const names: string[] = [];
    let cursor: string | null = null;
    do {
      const page = await search(outsider, 'paged', 3, cursor);
      expect(page.total).toBe('7');
      names.push(...page.names);
      cursor = page.next;
    } while (cursor !== null);
    expect(names).toEqual(Array.from({ length: 7 }, (_, i) => `paged-${i}`));
  });

  it('finds an unlisted package only for those whose it is; its name is enough to read it (spec 10.6)', async () => {
    await publish({ name: 'quiet', visibility: 'unlisted' });
    expect((await search(outsider, 'quiet')).names).toEqual([]);
    expect((await search(author, 'quiet')).names).toEqual(['quiet']);
    expect(await read(outsider, 'quiet')).toMatchObject({ name: 'quiet' });
  });

  it('refuses a wrong page (spec 10.7)', async () => {
    await expect(search(outsider, null, 0)).rejects.toMatchObject({ code: 'PR400', detail: 'limit' });
    await expect(search(outsider, null, 101)).rejects.toMatchObject({ code: 'PR400', detail: 'limit' });
    await expect(search(outsider, null, 5, 'nonsense')).rejects.toMatchObject({ code: 'PR400', detail: 'cursor' });
  });
});
