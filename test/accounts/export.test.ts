// Everything about a person, as one file. Spec 10.8.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kindOf, readTables } from '../database/catalog.ts';
import { call, type House, openHouse } from '../http/house.ts';

const path = '/api/v1/account/export';
let house: House;

beforeAll(async () => {
  house = await openHouse();
});
afterAll(() => house.close());

type Part = { part: string; owner: string; hidden: string[]; left_out: string | null };
const parts = () => house.database.owner<Part[]>`select part, owner, hidden, left_out from core.export_parts()`;

describe('an export', () => {
  it('has every table that has something of a person, or says why not (spec 10.8)', async () => {
    const { owner } = house.database;
    const listed = await parts();
    const tables = await readTables(owner);
    const columns = await owner<{ table: number; column: string }[]>`
      select attrelid::int8::float8 as table, attname as column from pg_attribute where attnum > 0 and not attisdropped`;
    const has = (oid: number, column: string) => columns.some((one) => one.table === oid && one.column === column);
    const personal = tables.filter(
      (table) =>
        kindOf(table) === 'per-user' ||
        ['user_id', 'author_id', 'published_by', 'created_by'].some((column) => has(table.oid, column)),
    );
    expect(listed.map(({ part }) => part)).toEqual(expect.arrayContaining(personal.map(({ name }) => name)));
    const wide = await owner`
      select i.indrelid::regclass from pg_index i where i.indisprimary and i.indnkeyatts > 4
        and i.indrelid::regclass::text in (select part from core.export_parts() where left_out is null)`;
    expect(wide).toEqual([]);
    for (const { part, owner: whose, hidden, left_out } of listed) {
      const table = tables.find(({ name }) => name === part);
      expect(table, part).toBeDefined();
      for (const column of [whose, ...hidden]) expect(has(table?.oid ?? 0, column), `${part}.${column}`).toBe(true);
      if (left_out !== null) expect(left_out.length).toBeGreaterThan(10);
    }
  });

  it('is one JSON object with all rows of each table, whatever many, and nothing of anybody else (spec 10.8)', async () => {
    const { ada, bob, url, database } = house;
    for (const [person, word] of [
      [ada, 'zebra'],
      [bob, 'yak'],
    ] as const) {
      const { json } = await call(url, 'POST', '/api/v1/playground/run', {
        token: person.token,
        body: { package_id: 'haiku', input: `a ${word}` },
      });
      await call(url, 'PATCH', `/api/v1/playground/sessions/${json.session_id}`, {
        token: person.token,
        body: { title: `The ${word}` },
      });
      await database.owner`
        insert into run_texts (user_id, session_id, run_id, question, answer)
        select ${person.userId}, ${json.session_id}, gen_random_uuid(), ${word} || n, ${'"]}\\ ☃'} from generate_series(1, 250) n`;
    }
    const { status, headers, text, json } = await call(url, 'GET', path, { token: ada.token });
    expect(status).toBe(200);
    expect(headers['content-disposition']).toBe('attachment; filename="prpm-playground-export.json"');
    expect(headers['content-type']).toBe('application/json');
    expect(Object.keys(json)).toEqual([
      'exported_at',
      ...(await parts()).filter((one) => one.left_out === null).map((one) => one.part),
    ]);
    expect(json.users).toMatchObject([{ id: ada.userId, email: 'ada@example.com' }]);
    expect(json.run_texts).toHaveLength(251);
    expect(new Set(json.run_texts.map(({ run_id }: { run_id: string }) => run_id)).size).toBe(251);
    expect(json.sessions[0].title).toBe('The zebra');
    expect(json.credit_lots.length).toBeGreaterThan(0);
    expect(json.packages[0].name).toBe('haiku');
    expect(text).not.toMatch(/yak|token_hash|request_hash/);
    expect(text).not.toContain(bob.userId);
    await database.owner`delete from run_texts where question ~ '^(zebra|yak)'`;
  });

  it('needs a token that may read, and takes no cursor but its own (spec 2.2)', async () => {
    expect((await call(house.url, 'GET', path)).status).toBe(401);
    const [runner] = await house.database
      .ops`select token from ops.create_token(${house.ada.userId}, 'x', array['run'])`;
    expect((await call(house.url, 'GET', path, { token: runner?.token })).json.error).toBe('insufficient_scope');
    for (const cursor of ['nonsense', '', 'WyI5OTkiLG51bGxd', 'WyI4IiwiWzFdIl0']) {
      await expect(house.database.app`select api.export_page(${house.ada.userId}, ${cursor})`).rejects.toMatchObject({
        ...{ code: 'PR400', detail: 'cursor' },
      });
    }
  });
});
