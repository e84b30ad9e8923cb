// The operator's cockpit, typed into a real psql.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { roleUrl } from '../../src/database/roles.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { needs, psql } from '../harness/tools.ts';
import { converse, publishPackage, signUp } from '../sessions/people.ts';

const file = join(import.meta.dirname, '../../db/psqlrc');
const words = [...readFileSync(file, 'utf8').matchAll(/^\\set ([a-z]+) '/gm)].map(([, word]) => word ?? '');

describe.skipIf(needs('psql'))('psqlrc', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
    await publishPackage(database);
    await converse(database, await signUp(database, 'ann'));
    await database.ops`select refresh_user_cost_analytics()`;
  });
  afterAll(() => database.drop());

  const type = (line: string) => {
    const url = roleUrl(inject('superuserUrl'), 'prpm_ops', inject('passwords').prpm_ops, database.name);
    return execFileSync(psql ?? 'psql', ['-v', 'ON_ERROR_STOP=1', '-At', url], {
      input: `${line}\n`,
      encoding: 'utf8',
      env: { ...process.env, PSQLRC: file },
    });
  };

  it('has a word for each thing on its menu (spec 12)', () => {
    const menu = type(':menu')
      .split('\n')
      .flatMap((line) => /^:(\w+)/.exec(line)?.[1] ?? []);
    expect(menu.sort()).toEqual(words.filter((word) => word !== 'menu').sort());
    expect(menu.length).toBeGreaterThan(9);
  });

  it.each(words)(':%s answers the role of operators without an error (spec 12)', (word) => {
    expect(type(`:${word}`)).toContain(':menu');
  });

  it('shows what the views say: who costs most, and the margin of today (spec 12)', () => {
    expect(type(':top')).toContain('ann@example.com');
    expect(type(':margin')).toMatch(/^\d{4}-\d\d-\d\d/m);
  });
});
