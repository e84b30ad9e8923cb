import { afterAll, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { differsOnCluster } from '../harness/tools.ts';

const database = await createDatabase();
afterAll(() => database.drop());

it
  .skipIf(differsOnCluster('shards have no triggers for a whole statement'))
  .each([
    'update credit_transactions set amount = amount + 1',
    'delete from credit_transactions',
    'truncate credit_transactions',
  ])('refuses the owner too: %s (spec 4.2)', async (statement) => {
  await database.ops`select * from ops.create_user('append@example.com', 'append')`.catch(() => undefined);
  const before = await database.owner`select * from credit_transactions order by user_id, id`;
  expect(before.length).toBeGreaterThan(0);
  await expect(database.owner.unsafe(statement)).rejects.toMatchObject({ code: 'PR403' });
  expect(await database.owner`select * from credit_transactions order by user_id, id`).toEqual(before);
  expect(await database.owner`select * from ops.audit_books()`).toEqual([]);
});
