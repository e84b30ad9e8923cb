// Sessions found by their words, and a list that is whole at every moment.
import { uuidv7 } from 'uuidv7';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, converse, publishPackage, settle, signUp, subscribe, wait } from './people.ts';

let database: TestDatabase;
let ann: string;
const made: Record<string, string> = {};

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  ann = await signUp(database, 'ann');
  await subscribe(database, ann);
  made.apple = await converse(database, ann, { question: 'An apple a day', answer: 'keeps the doctor away' });
  made.pear = await converse(database, ann, { question: 'A pear', answer: 'is no apple', model: 'gpt-4o' });
  made.plum = await converse(database, ann, { question: 'Plums', usage: { input: 15_000, output: 3000 } });
});
afterAll(() => database.drop());

async function find(query: string | null, limit = 20, cursor: string | null = null) {
  const [page] = await database.app`select * from api.list_sessions(${ann}, ${limit}, ${cursor}, 0, ${query})`;
  const names = Object.fromEntries(Object.entries(made).map(([name, id]) => [id, name]));
  return {
    found: page?.sessions.map(({ id }: { id: string }) => names[id] ?? id),
    next: page?.next_cursor,
    total: page?.total,
    complete: page?.complete,
  };
}

test.each([
  ['apple', ['pear', 'apple']],
  ['APPLE doctor', ['apple']],
  ['apple -doctor', ['pear']],
  ['pear or plums', ['plum', 'pear']],
  ['"doctor keeps"', ['apple']],
  ['model:gpt-4o', ['pear']],
  ['apple model:gpt-4o-mini', ['apple']],
  ['package:notes', ['plum', 'pear', 'apple']],
  ['package:other', []],
  ['cost:>1', ['plum', 'pear']],
  ['cost:1', ['apple']],
  ['cost:<2 apple', ['apple']],
  ['zebra', []],
  ["'; drop table users; --", []],
  [':* & | ! ( ', ['plum', 'pear', 'apple']],
])('%s finds %s (spec 10.1)', async (query, expected) => {
  expect((await find(query)).found).toEqual(expected);
});

test('cost without a number is refused, and says how it is written (spec 10.1)', async () => {
  await expect(find('cost:cheap')).rejects.toMatchObject({ code: 'PR400', detail: 'query' });
});

test('what is found comes in pages, too', async () => {
  const first = await find('package:notes', 2);
  expect(first.found).toEqual(['plum', 'pear']);
  expect(await find('package:notes', 2, first.next)).toMatchObject({ found: ['apple'], next: null });
});

describe('the list', () => {
  test('has a session while its first run goes on, and finds its words when that has ended', async () => {
    const running = await begin(database, ann);
    made.fig = running;
    expect((await find(null)).found[0]).toBe('fig');
    await converse(database, ann, { question: 'later' }).then((id) => {
      made.later = id;
    });
    expect((await find('figs')).found).toEqual([]);
    await settle(database, ann, running, { question: 'Figs' });
    expect((await find('figs')).found).toEqual(['fig']);
  });

  test('has a session that another server began with a clock a little behind', async () => {
    const late = uuidv7().replace(/^(.{8})-(.{4})/, (_, high, low) => {
      const at = (Number.parseInt(high + low, 16) - 20_000).toString(16).padStart(12, '0');
      return `${at.slice(0, 8)}-${at.slice(8)}`;
    });
    await database.app`
      select outcome from api.begin_run(${ann}, ${late}, 'notes', null, null, 'gpt-4o-mini', false, 100, 'o200k_base', null, null, null, null)`;
    await settle(database, ann, late, { question: 'Quince' });
    made.quince = late;
    expect((await find('quince')).found).toEqual(['quince']);
  });

  test('moves a session to the top when it is continued, and finds its new words', async () => {
    await converse(database, ann, { session: made.apple, question: 'And cider' });
    expect((await find(null)).found[0]).toBe('apple');
    expect((await find('cider')).found).toEqual(['apple']);
    expect((await find('doctor')).found).toEqual(['apple']);
  });

  test('finds a name that was given, and forgets it with the session (spec 10.1)', async () => {
    const before = Number((await find(null)).total);
    const rename = (title: string | null) =>
      database.app`select renamed_title from api.rename_session(${ann}, ${made.pear ?? ''}, ${title})`;
    expect(await rename('  Orchard ')).toEqual([{ renamed_title: 'Orchard' }]);
    expect((await find('orchard')).found).toEqual(['pear']);
    expect(await rename('')).toEqual([{ renamed_title: null }]);
    expect((await find('orchard')).found).toEqual([]);
    await expect(rename('x'.repeat(201))).rejects.toMatchObject({ code: 'PR400', detail: 'title' });
    await database.app`select from api.delete_session(${ann}, ${made.pear ?? ''})`;
    expect((await find('model:gpt-4o')).found).toEqual([]);
    expect(Number((await find(null)).total)).toBe(before - 1);
  });

  test('is the same whoever brings the index up to date: ten at once, the job, one run at a time', async () => {
    const [twin] = await database.owner`select * from session_marks where user_id = ${ann}`;
    await database.owner`delete from session_index where user_id = ${ann}`;
    await database.owner`delete from session_marks where user_id = ${ann}`;
    await Promise.all(Array.from({ length: 10 }, () => find('apple')));
    await database.ops`select ops.index_sessions()`;
    const [again] = await database.owner`select * from session_marks where user_id = ${ann}`;
    expect(again).toEqual(twin);
    const [count] = await database.owner`
      select count(*) from sessions where user_id = ${ann} and deleted_at is null`;
    expect(again?.session_count).toBe(count?.count);
    expect((await find(null)).found).toHaveLength(Number(count?.count));
  });
});

test('who has more that is new than a look can take is told so, sees the newest, and gets all in the end (spec 10.1)', async () => {
  const cleo = await signUp(database, 'cleo');
  await database.ops`select from ops.set_user(${cleo}, tier_override => 'unlimited', reason => 'test')`;
  await database.ops`select from ops.grant_credits(${cleo}, 1000, 'test')`;
  const list = async (query: string | null = null) =>
    (await database.app`select * from api.list_sessions(${cleo}, 1, null, 0, ${query})`)[0];
  // What runs has no words yet, so the index waits for it, with all behind it.
  const running = await begin(database, cleo);
  let newest = '';
  for (let n = 0; n < 230; n++) newest = await converse(database, cleo, { question: `Number ${n}` });
  expect(await list()).toMatchObject({ complete: false, total: null, sessions: [{ id: newest }] });
  expect(await list('229')).toMatchObject({ complete: false, sessions: [{ id: newest }] });
  await settle(database, cleo, running, { question: 'First' });
  let whole = await list();
  while (!whole?.complete) whole = await list(); // a look takes a tenth of a second at most, the rest comes with the next
  expect(whole).toMatchObject({ complete: true, total: '231', sessions: [{ id: newest }] });
  expect(await list('first')).toMatchObject({ complete: true, sessions: [{ id: running }] });
});

test('a look costs nothing where nothing is new: the mark is at the newest run', async () => {
  await find(null);
  const marks = () => database.owner`
    select m.*, u.last_run_id, (select max(xmin::text::bigint) from session_index x where x.user_id = m.user_id) as touched
    from session_marks m join users u on u.id = m.user_id where m.user_id = ${ann}`;
  const [before] = await marks();
  expect(before?.through_run_id).toBe(before?.last_run_id);
  await find('apple');
  expect(await marks()).toEqual([before]);
});

test('words whose texts have gone with age are found no more, but in what is shared (spec 7.1)', async () => {
  await database.app`select from api.share_session(${ann}, ${made.apple ?? ''})`;
  await wait(database, '91 days');
  await database.ops`call ops.run_job('apply-retention')`;
  expect((await find('plums')).found).toEqual([]);
  expect((await find('cost:>1')).found).toContain('plum');
  expect((await find('cider')).found).toEqual(['apple']);
});

test('a session that runs is not deleted', async () => {
  const running = await begin(database, ann);
  await expect(database.app`select from api.delete_session(${ann}, ${running})`).rejects.toMatchObject({
    code: 'PR409',
  });
  await settle(database, ann, running);
});

test('the books balance', async () => {
  expect(await audit(database.ops)).toEqual([]);
});
