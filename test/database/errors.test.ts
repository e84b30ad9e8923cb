// docs/errors.md is the registry of what a caller can meet. The database is one of those who raise it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { bareCode, readFixtures, root } from './catalog.ts';

const documentation = readFileSync(join(root, 'docs/errors.md'), 'utf8');
const documented = [...documentation.matchAll(/^\| `(\w+)` \|/gm)].map(([, code = '']) => code);
const fixtures = readFixtures();

/** Raised and caught again in the same function, so that nobody ever meets it. */
const caught = [
  'runs/estimate_run',
  'runs/probe_run',
  'runs/begin_comparison',
  'runs/estimate_comparison',
  'limits/change_config',
].map((name) => ({ path: `db/fixtures/${name}.sql`, code: 'PR001' }));

function matches(pattern: RegExp): { path: string; code: string }[] {
  return fixtures.flatMap(({ path, text }) => [...text.matchAll(pattern)].map(([, code = '']) => ({ path, code })));
}

describe('what the database raises', () => {
  const raised = matches(/errcode = '(\w+)'/g).filter(
    ({ path, code }) => !caught.some((one) => one.path === path && one.code === code),
  );

  it('is listed in docs/errors.md, every code (style: SQL)', () => {
    expect(raised.length).toBeGreaterThan(50);
    expect(raised.filter(({ code }) => !documented.includes(code))).toEqual([]);
  });

  it('is caught by its very code: one that ends in 000 would catch all of its class', () => {
    expect(matches(/when sqlstate '(\w+)'/g).length).toBeGreaterThan(4);
    expect(matches(/when sqlstate '(\w+)'/g).filter(({ code }) => code.endsWith('000'))).toEqual([]);
  });

  it('has codes of our own alone, and none without one (style: SQL)', () => {
    expect(raised.filter(({ code }) => !/^PR\d{3}$/.test(code))).toEqual([]);
    const bare = fixtures.flatMap(({ path, text }) =>
      [...bareCode(text).matchAll(/\braise exception\b[^;]*/g)]
        .filter(([statement]) => !statement.includes('errcode'))
        .map(([statement]) => `${path}: ${statement}`),
    );
    expect(bare).toEqual([]);
  });

  it('is all that docs/errors.md lists of it', () => {
    const codes = new Set(raised.map(({ code }) => code));
    expect(documented.filter((code) => code.startsWith('PR') && !codes.has(code))).toEqual([]);
  });

  it('and catches nowhere else', () => {
    for (const { path, code } of caught) {
      const text = fixtures.find((fixture) => fixture.path === path)?.text;
      expect(text).toContain(`errcode = '${code}'`);
      expect(text).toContain(`exception when sqlstate '${code}'`);
    }
  });
});

it('every refusal that the database can answer is listed in docs/errors.md (spec 11.3)', () => {
  const refusals = matches(/describe_refusal\(\s*'(\w+)'/g);
  expect(refusals.length).toBeGreaterThan(15);
  expect(refusals.filter(({ code }) => !documented.includes(code))).toEqual([]);
});
