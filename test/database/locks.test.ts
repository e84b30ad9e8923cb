// Who locks two rows takes them in the order in which all others do: nobody waits for somebody who waits for them.
import postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { converse, publishPackage, signUp } from '../sessions/people.ts';

let database: TestDatabase;
let others: postgres.Sql;
let ann: string;
beforeAll(async () => {
  database = await createDatabase();
  others = postgres(database.ownerUrl, { max: 2, onnotice: () => {} });
  await publishPackage(database);
  ann = await signUp(database, 'ann');
});
afterAll(async () => {
  await others.end();
  await database.drop();
});

/** While a transaction holds `first`, somebody else does `work` and waits; then it goes on with `then`. What `work` came to. */
async function meanwhile<T>(
  first: (sql: postgres.TransactionSql) => Promise<unknown>,
  work: () => Promise<T>,
  then: (sql: postgres.TransactionSql) => Promise<unknown>,
): Promise<T> {
  const { working } = await others.begin(async (sql) => {
    await first(sql);
    let isOver = false;
    const working = work().finally(() => {
      isOver = true;
    });
    working.catch(() => {});
    while (!isOver && (await database.countWaiting()) === 0);
    await then(sql);
    return { working };
  });
  return working;
}

it('deleting a session leaves nothing in the index, though somebody is indexing it (spec 10.1)', async () => {
  await converse(database, ann);
  const session = await converse(database, ann);
  await database.app`select from api.list_sessions(${ann}, 1, null, 0, null)`;
  await converse(database, ann, { session });
  const deleted = await meanwhile(
    (sql) => sql`select from session_marks where user_id = ${ann} for update`,
    () => database.app`select id from api.delete_session(${ann}, ${session})`.then((rows) => [...rows]),
    (sql) => sql`select core.put_session_index(${ann}, ${[session]}::uuid[])`,
  );
  expect(deleted).toEqual([{ id: session }]);
  expect(await database.owner`select from session_index where session_id = ${session}`).toHaveLength(0);
  const [marks] = await database.owner`select session_count::int as n from session_marks where user_id = ${ann}`;
  expect(marks?.n).toBe(1);
});

it('one visitor who looks and votes at once is one view and one vote (spec 10.2)', async () => {
  const session = await converse(database, ann);
  const [share] = await database.app`select share_token as token from api.share_session(${ann}, ${session})`;
  const token = share?.token;
  const looked = await meanwhile(
    (sql) => sql`select from shared_sessions where token = ${token} for update`,
    () => database.app`select view_count from api.read_shared(null, ${token}, '192.0.2.1')`.then((rows) => [...rows]),
    (sql) => sql`select from api.vote_shared(null, ${token}, '192.0.2.1', true, null)`,
  );
  expect(looked).toEqual([{ view_count: '1' }]);
});

it('an event is replayed by hand while a server applies news of its user (spec 6.5)', async () => {
  await database.owner`insert into stripe_customers (user_id, livemode, customer_id, created_at) values (${ann}, false, 'cus_ann', core.now())`;
  const body = JSON.stringify({ data: { object: { object: 'customer', id: 'cus_ann' } } });
  await database.owner`
    insert into stripe_events (id, type, created, livemode, body, status, same_version, user_id, received_at)
    values ('evt_1', 'customer.updated', 1, false, ${body}, 'applied', true, ${ann}, core.now())`;
  const replayed = await meanwhile(
    (sql) => sql`select from users where id = ${ann} for no key update`,
    () => database.ops`select status from ops.replay_stripe_event('evt_1', 'test')`.then((rows) => [...rows]),
    (sql) => sql`update stripe_events set applied_at = core.now() where id = 'evt_1'`,
  );
  expect(replayed).toEqual([{ status: 'applied' }]);
});
