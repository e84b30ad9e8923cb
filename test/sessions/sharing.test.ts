// Links under which anybody may read a session: stable, ended at once, without a trace of their owner.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, converse, publishPackage, settle, signUp } from './people.ts';

let database: TestDatabase;
let ann: string;
let bob: string;
let author: string;
let session: string;

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  ann = await signUp(database, 'ann');
  bob = await signUp(database, 'bob');
  const [found] = await database.owner`select author_id from packages where name = 'notes'`;
  author = found?.author_id;
});
afterAll(() => database.drop());

async function share(user = ann, id = session): Promise<string> {
  const [row] = await database.app`select share_token from api.share_session(${user}, ${id})`;
  return row?.share_token;
}

async function look(token: string, user: string | null = null, address = '192.0.2.1') {
  const [row] = await database.app`select * from api.read_shared(${user}, ${token}, ${address})`;
  return row;
}

async function vote(token: string, isHelpful: boolean, user: string | null = null, address = '192.0.2.1') {
  const [row] = await database.app`
    select helpful_count, not_helpful_count from api.vote_shared(${user}, ${token}, ${address}, ${isHelpful}, null)`;
  return row;
}

async function results(user: string | null, sort: string, limit = 10) {
  const [row] = await database.app`select results, total from api.list_results(${user}, 'notes', ${sort}, ${limit})`;
  return row;
}

describe('a link', () => {
  test('is one and the same however often it is asked for, and shows what was said until then (spec 10.2, fault 24)', async () => {
    session = await converse(database, ann, { question: 'first' });
    const token = await share();
    await converse(database, ann, { session, question: 'private afterthought' });
    expect((await look(token))?.exchanges).toMatchObject([{ question: 'first', answer: 'A note.', credits_spent: 1 }]);
    expect(await share()).toBe(token);
    expect((await look(token))?.exchanges).toHaveLength(2);
  });

  test('shows nothing of its owner: neither ids nor name nor cost (spec 10.2, fault 26)', async () => {
    const shown = JSON.stringify(await look(await share()));
    for (const secret of [ann, session, 'ann', 'example.com', 'cost', 'run_id']) expect(shown).not.toContain(secret);
  });

  test('ends at once when it is taken back, everywhere; shared again it is another (spec 10.2, fault 24)', async () => {
    const token = await share();
    expect((await results(null, 'recent'))?.total).toBe('1');
    expect(await database.app`select ended from api.unshare_session(${ann}, ${session})`).toEqual([{ ended: true }]);
    expect(await look(token)).toBeUndefined();
    expect(await vote(token, true)).toBeUndefined();
    expect(await results(null, 'recent')).toMatchObject({ results: [], total: '0' });
    expect(await database.app`select * from api.read_session(${bob}, ${session})`).toHaveLength(0);
    expect(await database.app`select ended from api.unshare_session(${ann}, ${session})`).toEqual([{ ended: false }]);
    expect(await share()).not.toBe(token);
  });

  test('is not made where nothing was answered, nor of what is not the own own (spec 10.2)', async () => {
    const running = await begin(database, ann);
    await expect(share(ann, running)).rejects.toMatchObject({ code: 'PR409' });
    await settle(database, ann, running, { ending: 'failed' });
    await expect(share(ann, running)).rejects.toMatchObject({ code: 'PR409' });
    expect(await share(bob)).toBeUndefined();
  });

  test('ends with its session; texts are gone, the books stay (spec 10.1)', async () => {
    const other = await converse(database, ann, { question: 'to be forgotten' });
    const token = await share(ann, other);
    expect(await database.app`select id from api.delete_session(${ann}, ${other})`).toEqual([{ id: other }]);
    expect(await look(token)).toBeUndefined();
    expect(await database.owner`select from run_texts where session_id = ${other}`).toHaveLength(0);
    expect(await database.owner`select from runs where id = ${other}`).toHaveLength(1);
    expect(await database.app`select id from api.delete_session(${ann}, ${other})`).toEqual([]);
  });

  test('of a private package is seen by those alone who may see the package (spec 5.5)', async () => {
    const token = await share();
    await database.owner`update packages set visibility = 'private' where name = 'notes'`;
    const seen = await look(token, author);
    expect(seen).toBeDefined();
    expect(await look(token, bob)).toBeUndefined();
    expect(await vote(token, true, bob)).toBeUndefined();
    expect(await database.app`select from api.read_session(${bob}, ${session})`).toHaveLength(0);
    expect(await database.app`select from api.read_session(${author}, ${session})`).toHaveLength(1);
    expect(await look(token, author)).toMatchObject({ view_count: seen?.view_count, helpful_count: '0' });
    expect(await results(bob, 'recent')).toBeUndefined();
    await database.owner`update packages set visibility = 'public' where name = 'notes'`;
  });
});

describe('views and votes', () => {
  test('a view counts once a visitor, never the of the owner (spec 10.2)', async () => {
    await database.app`select from api.unshare_session(${ann}, ${session})`;
    const token = await share();
    await look(token);
    await look(token);
    await look(token, ann);
    await look(token, bob, '192.0.2.9');
    await look(token, bob, '192.0.2.10');
    await look(token, null, '2001:db8::1');
    expect(await look(token, null, '2001:db8::2')).toMatchObject({ view_count: '3' });
    const [kept] = await database.owner`select string_agg(visitor, ' ') as visitors from share_views`;
    expect(kept?.visitors).not.toContain('192.0.2.1');
  });

  test('ten visitors at once, each twice, are ten views', async () => {
    const token = await share();
    const before = Number((await look(token))?.view_count);
    await Promise.all(Array.from({ length: 20 }, (_, n) => look(token, null, `198.51.100.${n % 10}`)));
    expect(Number((await look(token))?.view_count)).toBe(before + 10);
  });

  test('a vote can be changed, and counts once; the owner has none (spec 10.2, fault 22)', async () => {
    const token = await share();
    expect(await vote(token, true)).toEqual({ helpful_count: '1', not_helpful_count: '0' });
    expect(await vote(token, true)).toEqual({ helpful_count: '1', not_helpful_count: '0' });
    expect(await vote(token, false)).toEqual({ helpful_count: '0', not_helpful_count: '1' });
    expect(await vote(token, true, bob)).toEqual({ helpful_count: '1', not_helpful_count: '1' });
    expect(await look(token)).toMatchObject({ my_vote: false });
    await expect(vote(token, true, ann)).rejects.toMatchObject({ code: 'PR403' });
    const [sums] = await database.owner`
      select s.view_count = count(*) as views, s.helpful_count = count(*) filter (where is_helpful) as helpful
      from shared_sessions s join share_views v using (token) where s.token = ${token} group by s.token`;
    expect(sums).toEqual({ views: true, helpful: true });
  });
});

describe('results of a package', () => {
  test('are ordered as asked: views, time, votes (spec 10.2)', async () => {
    const liked = await share(bob, await converse(database, bob, { question: 'liked' }));
    await vote(liked, true, null, '192.0.2.20');
    await vote(liked, true, null, '192.0.2.21');
    const first = async (sort: string) => (await results(null, sort))?.results[0];
    expect((await first('popular'))?.user_input).toBe('private afterthought');
    expect((await first('helpful'))?.user_input).toBe('liked');
    expect(await first('recent')).toMatchObject({ user_input: 'liked', helpfulness_ratio: 1, view_count: 2 });
    await expect(results(null, 'best')).rejects.toMatchObject({ code: 'PR400', detail: 'sort' });
    await expect(results(null, 'recent', 0)).rejects.toMatchObject({ code: 'PR400', detail: 'limit' });
  });

  test('authors feature what is shared, and nothing else; others do not (spec 10.2, fault 27)', async () => {
    const token = await share();
    const feature = (user: string, result: string, on: boolean | null = true, text: string | null = 'See this.') =>
      database.app`select * from api.feature_result(${user}, ${result}, ${on}, ${text}, null)`;
    expect(await feature(author, token)).toMatchObject([{ share_token: token, description: 'See this.' }]);
    expect((await results(null, 'featured'))?.results).toMatchObject([{ feature_description: 'See this.' }]);
    expect(await feature(author, session, false, null)).toMatchObject([{ featured_at: null }]);
    expect((await results(null, 'featured'))?.total).toBe('0');
    await expect(feature(bob, token)).rejects.toMatchObject({ code: 'PR403' });
    await expect(feature(author, token, null, null)).rejects.toMatchObject({ code: 'PR400' });
    // Of an organization's package, its maintainers do, whoever published it; other members do not.
    const [made] = await database.ops`select id from ops.create_organization('Notes')`;
    const [keeper, member] = [await signUp(database, 'keeper'), await signUp(database, 'member')];
    await database.ops`select from ops.add_member(${made?.id}, ${keeper}, 'maintainer')`;
    await database.ops`select from ops.add_member(${made?.id}, ${member}, 'member')`;
    await database.owner`update packages set organization_id = ${made?.id} where name = 'notes'`;
    expect(await feature(keeper, token)).toHaveLength(1);
    await expect(feature(member, token)).rejects.toMatchObject({ code: 'PR403' });
    await database.owner`update packages set organization_id = null where name = 'notes'`;
    const hidden = await converse(database, bob);
    expect(await feature(author, hidden)).toHaveLength(0);
  });
});

test('feedback is given once for an exchange, by who asked (spec 10.3)', async () => {
  const give = (user: string, index: number) =>
    database.app`select run_id from api.give_feedback(${user}, ${session}, ${index}, true, 'good')`;
  const again = (user: string, index: number, of = session) =>
    database.app`select run_id, is_new from api.give_feedback(${user}, ${of}, ${index}, false, 'bad')`;
  expect(await give(ann, 0)).toEqual([{ run_id: session }]);
  expect(await again(ann, 0)).toEqual([{ run_id: session, is_new: false }]);
  const fresh = await converse(database, ann, { question: 'fresh' });
  const all = await Promise.all(Array.from({ length: 10 }, () => again(ann, 0, fresh)));
  expect(all.flat().filter(({ is_new }) => is_new)).toHaveLength(1);
  await expect(give(ann, 9)).rejects.toMatchObject({ code: 'PR400', detail: 'exchange_index' });
  expect(await give(bob, 1)).toHaveLength(0);
  const [own] = await database.app`select exchanges from api.read_session(${ann}, ${session})`;
  expect(own?.exchanges[0].is_effective).toBe(true);
  const [other] = await database.app`select exchanges, is_mine from api.read_session(${bob}, ${session})`;
  expect(other).toMatchObject({ is_mine: false, exchanges: [{ is_effective: null, run_id: null }, {}] });
});

test('the books balance', async () => {
  expect(await audit(database.ops)).toEqual([]);
});
