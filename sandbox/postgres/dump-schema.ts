// `npm run db:schema` writes db/schema.sql, what the migrations really make. With --check it only compares.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { migrate } from '../../src/database/migrate.ts';
import { findClientProgram } from '../../src/database/programs.ts';
import { createDatabase, createRoles, withDatabase } from '../../src/database/roles.ts';
import { startTemporaryCluster } from './cluster.ts';

const schemaFile = new URL('../../db/schema.sql', import.meta.url);

/** The schema that the migrations, db/current among them, make on an empty database. `pgDump` is PostgreSQL 15's. */
async function dumpSchema(pgDump: string): Promise<string> {
  const cluster = await startTemporaryCluster();
  try {
    await createRoles(cluster.url, {});
    await createDatabase(cluster.url, 'prpm');
    const url = withDatabase(cluster.url, 'prpm');
    await migrate(url, { current: true });
    const { stdout } = await promisify(execFile)(pgDump, ['--schema-only', '--exclude-schema=graphile_migrate', url], {
      maxBuffer: 64 * 1024 * 1024,
    });
    return withoutVersions(stdout);
  } finally {
    await cluster.stop();
  }
}

/** What differs between two minor versions, or between two runs, says nothing about the schema. From 15.20 on, aliases have an AS. */
function withoutVersions(dump: string): string {
  const lines = dump.split('\n').filter((line) => !/^(\\(un)?restrict |-- Dumped (from|by) )/.test(line));
  return `${lines
    .join('\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .replaceAll(/\b(UPDATE|DELETE FROM) (\S+) AS (?=\w)/g, '$1 $2 ')
    .trim()}\n`;
}

async function main(isCheck: boolean): Promise<void> {
  const pgDump = findClientProgram('pg_dump');
  if (pgDump === undefined) throw new Error('There is no pg_dump of PostgreSQL 15 on this machine.');
  const schema = await dumpSchema(pgDump);
  if (!isCheck) await writeFile(schemaFile, schema);
  else if ((await readFile(schemaFile, 'utf8').catch(() => '')) !== schema) {
    throw new Error('db/schema.sql is not what the migrations make: run npm run db:schema and commit the difference.');
  }
}

await main(process.argv.includes('--check')).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
