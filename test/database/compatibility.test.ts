// What tells whoever commits a migration which calls of the version before it would break.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readCallable, whatBreaks } from '../../sandbox/postgres/compatibility.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

it('finds what a server of the version before calls and reads, and what a migration has taken from it', async () => {
  const { owner } = database;
  await owner.unsafe(`
    create function api.told(a integer) returns integer language sql return 1;
    create function api.kept(a integer) returns integer language sql return 1;
    create function api.widened(a integer) returns table (x integer) language sql begin atomic select 1; end;
    create function api.narrowed() returns table (x integer, y integer) language sql begin atomic select 1, 2; end;
    create function api.gone() returns integer language sql return 1;`);
  const before = await readCallable(owner);
  expect(whatBreaks(before, before)).toEqual([]);
  await owner.unsafe(`
    drop function api.told(integer), api.widened(integer), api.narrowed(), api.gone();
    create function api.told(a bigint) returns integer language sql return 1;
    create function api.widened(a integer, b text default null) returns table (z text, x integer) language sql begin atomic select '', 1; end;
    create function api.narrowed() returns table (y integer) language sql begin atomic select 2; end;`);
  expect(whatBreaks(before, await readCallable(owner))).toEqual([
    'api.gone()',
    'api.narrowed(): x',
    'api.told(integer)',
  ]);
  expect(before.find(({ name }) => name === 'settle_run')?.answers).toContain('credits_spent');
});
