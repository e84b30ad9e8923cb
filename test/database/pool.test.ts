import { afterAll, expect, it } from 'vitest';
import { openDatabase } from '../../src/database/client.ts';
import { createDatabase } from '../harness/database.ts';
import { hold, until } from '../http/house.ts';

const database = await createDatabase();
const { sql, close } = await openDatabase({ url: database.appUrl, pool: 1, production: true });
afterAll(async () => {
  await close();
  await database.drop();
});

it('a text with a NUL is refused before it is sent, alone or in a list, and disturbs no statement under way', async () => {
  const gate = await hold(database, (held) => held`select pg_advisory_xact_lock(4711)`);
  const ended = Promise.allSettled([
    sql`select 'mine' as whose from pg_advisory_xact_lock(4711)`,
    sql`select ${'a\0b'}::text`,
    sql`select ${['a', '\0'] as never}::text[]`, // as the type of texts takes it
  ]);
  await until(async () => (await gate.waiting()) === 1);
  await gate.letGo();
  const [mine, ...refused] = await ended;
  expect(mine).toMatchObject({ status: 'fulfilled', value: [{ whose: 'mine' }] });
  for (const one of refused) expect(one).toMatchObject({ status: 'rejected', reason: { code: '22021' } });
});
