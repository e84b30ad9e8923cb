// The server's own reckoning of where a person is on a cluster.
import { randomUUID } from 'node:crypto';
import { afterAll, expect, it } from 'vitest';
import { uuidHash } from '../../src/database/workers.ts';
import { createDatabase } from '../harness/database.ts';

const { owner, drop } = await createDatabase();
afterAll(drop);

it('hashes ids as PostgreSQL does', async () => {
  const ids = [
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    ...Array.from({ length: 500 }, () => randomUUID()),
  ];
  const rows = await owner<{ hash: number }[]>`
    select uuid_hash(id) as hash from unnest(${ids}::uuid[]) with ordinality u (id, n) order by n`;
  expect(ids.map(uuidHash)).toEqual(rows.map(({ hash }) => hash));
});

it('has none for what is no id', () => {
  expect(['', 'nobody', '00000000-0000-0000-0000-0000000000'].map(uuidHash)).toEqual([
    Number.NaN,
    Number.NaN,
    Number.NaN,
  ]);
});
