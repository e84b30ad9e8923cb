// `npm run db:commit -- "message"`: turns db/current into the next file of db/committed, tried on a temporary cluster.
import { chmodSync, cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as graphileMigrate from 'graphile-migrate';
import { clearAllPools } from 'graphile-migrate/dist/pg.js';
import postgres from 'postgres';
import { migrate, migrationSettings } from '../../src/database/migrate.ts';
import { createDatabase, createRoles, randomPassword, roleUrl, withDatabase } from '../../src/database/roles.ts';
import { startTemporaryCluster } from './cluster.ts';
import { readCallable, whatBreaks } from './compatibility.ts';

const { migrationsFolder, ...settings } = await migrationSettings();
// On failure graphile-migrate leaves db/current with the files it includes in place of their names: so it gets a copy.
const copy = mkdtempSync(join(tmpdir(), 'prpm-commit-'));
process.once('exit', () => rmSync(copy, { recursive: true, force: true }));
cpSync(migrationsFolder, copy, { recursive: true });

const cluster = await startTemporaryCluster();
try {
  const password = randomPassword();
  await createRoles(cluster.url, { prpm_owner: password });
  await createDatabase(cluster.url, 'prpm');
  const owner = roleUrl(cluster.url, 'prpm_owner', password, 'prpm');
  const before = await readCallableAfter(owner);
  await graphileMigrate.commit(
    {
      ...settings,
      migrationsFolder: copy,
      connectionString: owner,
      // It drops and makes this one itself.
      shadowConnectionString: roleUrl(cluster.url, 'prpm_owner', password, 'prpm_shadow'),
      rootConnectionString: withDatabase(cluster.url, 'template1'),
      databaseOwner: 'prpm_owner',
    },
    process.argv[2] ?? null,
  );
  rmSync(join(migrationsFolder, 'current'), { recursive: true });
  cpSync(join(copy, 'current'), join(migrationsFolder, 'current'), { recursive: true });
  for (const name of readdirSync(join(copy, 'committed'))) {
    const target = join(migrationsFolder, 'committed', name);
    cpSync(join(copy, 'committed', name), target);
    chmodSync(target, 0o644); // it writes them for the owner and group alone, and git keeps no such mode
  }
  const broken = whatBreaks(before, await readCallableAfter(owner));
  if (broken.length > 0) {
    console.log(
      'Servers of the version before cannot do without, so stop them for this migration, or keep for a release:',
    );
    for (const line of broken) console.log(`  ${line}`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  clearAllPools(); // or graphile-migrate ends this process when the server closes its connections
  await cluster.stop();
}

/** What the server may call when all committed migrations are applied. */
async function readCallableAfter(url: string) {
  await migrate(url);
  const sql = postgres(url, { max: 1, onnotice: () => {} });
  try {
    return await readCallable(sql);
  } finally {
    await sql.end();
  }
}
