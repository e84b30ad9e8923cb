// What a machine may lack, and which tests need it.
import { spawnSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { hasServerLibrary } from '../../sandbox/postgres/cluster.ts';
import { findClientProgram } from '../../src/database/programs.ts';

export const psql = findClientProgram('psql');
export const pgDump = findClientProgram('pg_dump');
export const pgRestore = findClientProgram('pg_restore');
const pgBaseBackup = findClientProgram('pg_basebackup');
const pgBench = findClientProgram('pgbench');
/** Whole, as the browser's driver wants it. */
export const chromiumPath = ['chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome']
  .map((name) => spawnSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim())
  .find((path) => path !== '');

export const has = {
  psql: psql !== undefined,
  pg_dump: pgDump !== undefined,
  pg_restore: pgRestore !== undefined,
  pg_basebackup: pgBaseBackup !== undefined,
  pgbench: pgBench !== undefined,
  pg_cron: hasServerLibrary('pg_cron'),
  plpgsql_check: hasServerLibrary('plpgsql_check'),
  citus: hasServerLibrary('citus'),
  Chromium: chromiumPath !== undefined,
};
export type Tool = keyof typeof has;

/**
 * For `describe.skipIf(needs('psql'))` and `it.skipIf(needs('psql', 'pg_cron'))`: true when one of them is absent. What is
 * missed goes to the list that the test run prints at its end.
 */
export function needs(...tools: Tool[]): boolean {
  const absent = tools.filter((tool) => !has[tool]);
  const list = process.env.PRPM_ABSENT_TOOLS_FILE;
  if (list) for (const tool of absent) appendFileSync(list, `${tool}\n`);
  return absent.length > 0;
}

/** For `it.skipIf(differsOnCluster('there are no triggers'))`: true where the tests run on a cluster. docs/scale.md says each reason. */
export function differsOnCluster(_reason: string): boolean {
  return process.env.PRPM_SCALE === '1';
}
