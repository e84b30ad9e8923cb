// Copies of shared sessions, and sessions taken away as files.
import { uuidv7 } from 'uuidv7';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, converse, publishPackage, settle, signUp } from './people.ts';

let database: TestDatabase;
let ann: string;
let ben: string;

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  await database.ops`update cost_limits_config set minute_request_limit = null, hourly_request_limit = null`;
  ann = await signUp(database, 'ann');
  ben = await signUp(database, 'ben');
  for (const user of [ann, ben]) {
    await database.ops`select from ops.grant_credits(${user}, 1000, 'test')`;
    await database.ops`select from ops.set_user(${user}, tier_override => 'unlimited', reason => 'test')`;
  }
});
afterAll(() => database.drop());

async function share(user: string, session: string): Promise<string> {
  const [row] = await database.app`select share_token from api.share_session(${user}, ${session})`;
  return row?.share_token;
}

async function fork(user: string, token: string): Promise<{ session_id: string; exchange_count: string } | undefined> {
  const [row] = await database.app<{ session_id: string; exchange_count: string }[]>`
    select * from api.fork_session(${user}, ${uuidv7()}, ${token})`;
  return row;
}

async function forked(user: string, token: string): Promise<string> {
  return (await fork(user, token))?.session_id ?? 'none';
}

async function read(user: string, session: string) {
  const [row] = await database.app`select * from api.read_session(${user}, ${session})`;
  return row;
}

const answers = (session: { exchanges: { answer: string }[] } | undefined) =>
  session?.exchanges.map(({ answer }) => answer);

/** All that is stored of a person, but for what somebody else's view counts. */
async function all(user: string): Promise<unknown[]> {
  const rows = await database.owner`
    select 'session' as kind, to_json(s) as it from sessions s where user_id = ${user}
    union all select 'run', to_json(r) from runs r where user_id = ${user}
    union all select 'text', to_json(t) from run_texts t where user_id = ${user}
    union all select 'share', to_json(h) from shared_sessions h where user_id = ${user}
    union all select 'user', to_json(u) from users u where id = ${user}
    order by 1`;
  return rows.map(({ kind, it }) => `${kind} ${JSON.stringify(it)}`).sort();
}

/** Two exchanges that are shared, and one that came later. */
async function conversation(user = ann): Promise<{ session: string; token: string }> {
  const session = await converse(database, user, { question: 'Which tree?', answer: 'An oak.' });
  await converse(database, user, { session, question: 'And which bird?', answer: 'A jay.' });
  const token = await share(user, session);
  await converse(database, user, { session, question: 'A secret', answer: 'Hidden.' });
  return { session, token };
}

describe('a fork', () => {
  test('is a copy as far as the link shows, goes on with the credits of who made it, and the owner notices nothing (spec 10.1)', async () => {
    const { session, token } = await conversation();
    const before = await all(ann);
    const id = await forked(ben, token);
    expect(id).not.toBe(session);
    const copy = await read(ben, id);
    expect(copy).toMatchObject({
      is_mine: true,
      run_count: '0',
      credits_spent: '0',
      package_name: 'notes',
      model: 'gpt-4o-mini',
    });
    expect(answers(copy as never)).toEqual(['An oak.', 'A jay.']);
    expect(JSON.stringify(copy)).not.toContain(session);
    expect(copy?.exchanges[0]).toMatchObject({ run_id: null, is_copy: true, credits_spent: 0, status: 'completed' });

    const run = await begin(database, ben, { session: id });
    const [{ history_tokens } = { history_tokens: 0 }] = await database.owner`
      select history_tokens from runs where user_id = ${ben} and id = ${run}`;
    expect(history_tokens).toBe(2 * (100 + 500 + 8));
    await settle(database, ben, run, { answer: 'A thrush, too.' });
    const went = await read(ben, id);
    expect(answers(went as never)).toEqual(['An oak.', 'A jay.', 'A thrush, too.']);
    expect(went).toMatchObject({ run_count: '1', credits_spent: '1' });
    expect(went?.exchanges[2]).toMatchObject({ run_id: run, is_copy: false });
    expect(await all(ann)).toEqual(before);
    expect(await read(ann, id)).toBeUndefined();
  });

  test('is sent along word for word when it goes on, and brings what its summary left (spec 10.1)', async () => {
    const { session, token } = await conversation();
    const [summary] = await database.app`
      select * from api.begin_run(${ann}, ${uuidv7()}, 'notes', null, ${session}, 'gpt-4o-mini', true, 50, 'o200k_base', null, null, null, null, 'summarise')`;
    await settle(database, ann, summary?.begun_run_id, { question: 'Summarise', answer: 'Oak, jay.' });
    const started = async (user: string, id: string, mode: string | null = null) => {
      const [row] = await database.app`
        select * from api.begin_run(${user}, ${uuidv7()}, 'notes', null, ${id}, 'gpt-4o-mini', false, 100, 'o200k_base', null, null, null, null, ${mode})`;
      await database.app`select from api.release_run(${user}, ${row?.begun_run_id}, false, null, null, null, null, null, 'provider_error', null, 1)`;
      return row;
    };
    const old = await started(ben, await forked(ben, token));
    expect(old?.history.map(({ content }: { content: string }) => content)).toEqual([
      'Which tree?',
      'An oak.',
      'And which bird?',
      'A jay.',
    ]);
    await share(ann, session);
    const fresh = await started(ben, await forked(ben, token));
    expect(fresh?.history.map(({ content }: { content: string }) => content)).toEqual(['Summarise', 'Oak, jay.']);
    expect(fresh?.history_tokens).toBe(50 + 500 + 8);

    await database.ops`update settings set max_request_tokens = 1000`;
    const tight = await started(ben, await forked(ben, token), 'fit');
    expect(tight).toMatchObject({ outcome: 'started', dropped_exchanges: 1, history: null });
    await database.ops`update settings set max_request_tokens = default`;
  });

  test('is made once however often and at once it is asked for, until it is gone on with (spec 10.1)', async () => {
    const { token } = await conversation();
    const made = await Promise.all(Array.from({ length: 10 }, () => forked(ben, token)));
    expect(new Set(made).size).toBe(1);
    const [first = ''] = made;
    const [count] = await database.owner`select count(*)::int as n from run_texts where session_id = ${first}`;
    expect(count?.n).toBe(2);
    await converse(database, ben, { session: first });
    const second = await forked(ben, token);
    expect(second).not.toBe(first);
    expect(await forked(ann, token)).not.toBe(second);
  });

  test('stays when the link ends, the original is deleted or its owner is erased (spec 10.1)', async () => {
    const { session, token } = await conversation();
    const id = await forked(ben, token);
    await database.app`select from api.unshare_session(${ann}, ${session})`;
    expect(await fork(ben, token)).toBeUndefined();
    await database.app`select from api.delete_session(${ann}, ${session})`;
    expect(answers((await read(ben, id)) as never)).toEqual(['An oak.', 'A jay.']);
    await converse(database, ben, { session: id });
    expect(answers((await read(ben, id)) as never)).toHaveLength(3);
  });

  test('is of nothing that is unknown, no longer shared, or of a private package of others (spec 10.1)', async () => {
    expect(await fork(ben, 'nothing')).toBeUndefined();
    const { token } = await conversation();
    await database.owner`update packages set visibility = 'private' where name = 'notes'`;
    try {
      expect(await fork(ben, token)).toBeUndefined();
    } finally {
      await database.owner`update packages set visibility = 'public' where name = 'notes'`;
    }
    expect(await fork(ben, token)).toBeDefined();
  });

  test('is listed, counted, found by its words, renamed and deleted as other sessions are (spec 10.1)', async () => {
    const carl = await signUp(database, 'carl');
    const { token } = await conversation();
    const id = await forked(carl, token);
    const list = async (query: string | null = null) =>
      (await database.app`select * from api.list_sessions(${carl}, 20, null, 0, ${query})`)[0];
    expect(await list()).toMatchObject({
      total: '1',
      complete: true,
      sessions: [{ id, title: 'Which tree?', last_status: 'completed' }],
    });
    expect((await list('jay'))?.sessions).toHaveLength(1);
    await database.app`select from api.rename_session(${carl}, ${id}, 'Trees')`;
    await converse(database, carl, { session: id, answer: 'A beech.' });
    expect(await list('beech trees jay')).toMatchObject({ sessions: [{ id, run_count: 1 }] });
    expect((await list())?.total).toBe('1');
    await database.app`select from api.delete_session(${carl}, ${id})`;
    expect(await list()).toMatchObject({ total: '0', sessions: [] });
    const [left] = await database.owner`
      select (select count(*) from run_texts where user_id = ${carl}) + (select count(*) from copied_exchanges where user_id = ${carl}) as n`;
    expect(left?.n).toBe('0');
  });

  test('takes feedback on what was answered there, and none on what was copied (spec 10.3)', async () => {
    const { token } = await conversation();
    const id = await forked(ben, token);
    await converse(database, ben, { session: id });
    const give = (index: number) =>
      database.app`select run_id from api.give_feedback(${ben}, ${id}, ${index}, true, null)`;
    expect(await give(0)).toEqual([]);
    expect(await give(2)).toHaveLength(1);
  });

  test('is shared and forked in turn, with what was copied, once something was answered there (spec 10.2)', async () => {
    const { token } = await conversation();
    const id = await forked(ben, token);
    await expect(share(ben, id)).rejects.toMatchObject({ code: 'PR409' });
    await converse(database, ben, { session: id, answer: 'A finch.' });
    const again = await share(ben, id);
    const [shown] = await database.app`select exchanges from api.read_shared(null, ${again}, '192.0.2.7')`;
    expect(answers(shown as never)).toEqual(['An oak.', 'A jay.', 'A finch.']);
    const third = await forked(ann, again);
    expect(answers((await read(ann, third)) as never)).toEqual(['An oak.', 'A jay.', 'A finch.']);
    await converse(database, ann, { session: third });
  });
});

describe('an export', () => {
  async function pages(user: string, session: string, limit: number) {
    const found = [];
    let cursor: string | null = null;
    do {
      const [page]: { exchanges: { answer: string }[]; next_cursor: string | null }[] = await database.app`
        select * from api.export_session(${user}, ${session}, ${cursor}, ${limit})`;
      if (page === undefined) return null;
      found.push(...page.exchanges);
      cursor = page.next_cursor;
    } while (cursor !== null);
    return found.map(({ answer }) => answer);
  }

  test('has every exchange once, however it is cut into pages, and nothing for anybody else (spec 10.1)', async () => {
    const { session } = await conversation();
    const whole = ['An oak.', 'A jay.', 'Hidden.'];
    for (const limit of [1, 2, 3, 100]) expect(await pages(ann, session, limit)).toEqual(whole);
    expect(await pages(ben, session, 100)).toBeNull();
    await expect(pages(ann, session, 0)).rejects.toMatchObject({ code: 'PR400', detail: 'limit' });
    await expect(pages(ann, session, 101)).rejects.toMatchObject({ code: 'PR400', detail: 'limit' });
    await database.app`select from api.delete_session(${ann}, ${session})`;
    expect(await pages(ann, session, 100)).toBeNull();
  });
});

test('the books balance', async () => {
  expect(await audit(database.ops)).toEqual([]);
});
