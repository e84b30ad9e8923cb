import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, converse, publishPackage, signUp, subscribe, wait } from './people.ts';

let database: TestDatabase;
let ann: string;
let bob: string;
let packageId: string;
const sessions: string[] = [];

beforeAll(async () => {
  database = await createDatabase();
  packageId = await publishPackage(database);
  ann = await signUp(database, 'ann');
  bob = await signUp(database, 'bob');
  await subscribe(database, ann);
  for (const question of ['first', 'second', 'third']) {
    sessions.push(await converse(database, ann, { question: question.repeat(40) }));
    await wait(database, '1 hour');
  }
  await converse(database, ann, {
    session: sessions[0],
    usage: { input: 6000, cached: 500, output: 1000 },
    question: 'more',
  });
  await wait(database, '1 hour');
});
afterAll(() => database.drop());

async function list(user: string, limit: number | null = 20, cursor: string | null = null, offset = 0) {
  const [page] = await database.app`select * from api.list_sessions(${user}, ${limit}, ${cursor}, ${offset})`;
  if (!page) throw new Error('no page');
  return page;
}

const ids = (page: { sessions?: { id: string }[] }) => page.sessions?.map(({ id }) => id);

test('sessions come newest run first, with sums over their runs and no texts but a title of 120 characters (spec 10.1)', async () => {
  const page = await list(ann);
  expect(ids(page)).toEqual([sessions[0], sessions[2], sessions[1]]);
  expect(page.total).toBe('3');
  expect(page.next_cursor).toBeNull();
  expect(page.sessions[0]).toMatchObject({
    title: 'first'.repeat(24),
    package_id: packageId,
    package_name: 'notes',
    model: 'gpt-4o-mini',
    last_status: 'completed',
    run_count: 2,
    credits_spent: 2,
    total_tokens: 8500,
    total_duration_ms: 1800,
  });
  expect(JSON.stringify(page.sessions)).not.toContain('A note.');
});

test('pages follow each other by cursor, whatever is added meanwhile, and by offset (spec 10.7)', async () => {
  const first = await list(ann, 2);
  expect(ids(first)).toEqual([sessions[0], sessions[2]]);
  const second = await list(ann, 2, first.next_cursor);
  expect(ids(second)).toEqual([sessions[1]]);
  expect(second.next_cursor).toBeNull();
  expect(ids(await list(ann, 2, null, 1))).toEqual([sessions[2], sessions[1]]);
  expect(ids(await list(ann, 1, null, 9))).toEqual([]);
});

test.each([
  [0, null, 0, 'limit'],
  [-5, null, 0, 'limit'],
  [101, null, 0, 'limit'],
  [null, null, 0, 'limit'],
  [20, null, -1, 'offset'],
  [20, 'nonsense', 0, 'cursor'],
  [20, 'WyIxIl0', 0, 'cursor'],
  [20, 'WzEsMl0', 0, 'cursor'],
  [20, '', 0, 'cursor'],
])('limit %s, cursor %s, offset %s is refused and %4$s named (spec 10.7)', async (limit, cursor, offset, field) => {
  await expect(list(ann, limit, cursor, offset)).rejects.toMatchObject({ code: 'PR400', detail: field });
});

test('a session is read with its exchanges in order, by its owner alone (spec 10.1)', async () => {
  const [session] = await database.app`select * from api.read_session(${ann}, ${sessions[0] ?? ''})`;
  expect(session).toMatchObject({ id: sessions[0], run_count: '2', credits_spent: '2' });
  expect(session?.exchanges).toMatchObject([
    { question: 'first'.repeat(40), answer: 'A note.', credits_spent: 1, tokens_used: 1500, status: 'completed' },
    { question: 'more', answer: 'A note.', credits_spent: 1, tokens_used: 7000, status: 'completed' },
  ]);
  expect(JSON.stringify(session)).not.toContain('cost');
  expect(await database.app`select * from api.read_session(${bob}, ${sessions[0] ?? ''})`).toHaveLength(0);
  expect(await database.app`select * from api.read_session(${ann}, ${randomUUID()})`).toHaveLength(0);
  expect(await list(bob)).toMatchObject({ sessions: [], next_cursor: null, total: '0' });
});

test('a session whose only run is going on, or whose texts are gone, keeps its header and its sums', async () => {
  const running = await begin(database, ann);
  expect((await list(ann, 1)).sessions[0]).toMatchObject({
    id: running,
    title: null,
    last_status: 'running',
    run_count: 1,
  });
  await database.owner`delete from run_texts where user_id = ${ann} and session_id = ${sessions[1] ?? ''}`;
  const [bare] = await database.app`select * from api.read_session(${ann}, ${sessions[1] ?? ''})`;
  expect(bare).toMatchObject({ title: null, run_count: '1', credits_spent: '1', exchanges: [] });
});

test('a deleted session is neither listed nor read', async () => {
  const gone = sessions[2] ?? '';
  expect(await database.app`select id from api.delete_session(${ann}, ${gone})`).toEqual([{ id: gone }]);
  expect(ids(await list(ann))).not.toContain(gone);
  expect((await list(ann)).total).toBe('3');
  expect(await database.app`select * from api.read_session(${ann}, ${gone})`).toHaveLength(0);
});

test('the books balance', async () => {
  expect(await audit(database.ops)).toEqual([]);
});
