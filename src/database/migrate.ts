// `npm run migrate`: brings a database to the newest schema.
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as graphileMigrate from 'graphile-migrate';
import { clearAllPools } from 'graphile-migrate/dist/pg.js';
import postgres from 'postgres';
import { withSecretFiles } from '../config/secret-files.ts';
import { explainConnectionError } from './connection.ts';
import { roleNames } from './roles.ts';

const root = resolve(import.meta.dirname, '../..');
const owner = 'prpm_owner';

/** A migration that lets anyone wait longer for a lock is broken off, so that all in all nobody waits 100 ms. */
const PATIENCE_MS = 50;
/** How often that is looked at. */
const LOOK_MS = 10;
/** How often a migration that was broken off is tried again, and what is waited in between, times the attempt. */
const ATTEMPTS = 8;
const AGAIN_MS = 250;

/** The settings that graphile-migrate's own commands read too, with its folder made absolute. */
export async function migrationSettings(): Promise<{ migrationsFolder: string; blankMigrationContent: string }> {
  const settings = JSON.parse(await readFile(join(root, '.gmrc'), 'utf8'));
  return { ...settings, migrationsFolder: resolve(root, settings.migrationsFolder) };
}

export type MigrateOptions = {
  /** Apply db/current too, as development and tests do. Default false. */
  current?: boolean;
  /** Let others wait for as long as it takes. For when no server runs: runs could wait for the migration, and it for them. Default false. */
  hold?: boolean;
  /** Where the migrations are, if not in db/. */
  folder?: string;
};

export type Migrated = {
  /** File names of the committed migrations that this call applied, in order. */
  applied: string[];
  /** How many committed migrations there are. */
  committed: number;
  /** What became of db/current. */
  current: 'empty' | 'applied' | 'left out';
  /** Whether the database is spread over a cluster, to whose nodes npm run scale:up brings what is new. */
  isSpread: boolean;
};

/**
 * Applies the committed migrations that a database lacks. `url` is that of prpm_owner, or of a superuser, who then acts
 * as prpm_owner. Two at once wait for each other. A migration that others wait for is taken back and tried again, some times:
 * one that waits for a lock holds up all who come after it, so a time-out for its own waiting would not be enough. Throws a plain Error, its message meant for a person, when a role is
 * missing, the user may not migrate, or SQL fails; connection errors come as postgres.js throws them.
 */
export async function migrate(url: string, options: MigrateOptions = {}): Promise<Migrated> {
  const settings = await migrationSettings();
  if (options.folder !== undefined) settings.migrationsFolder = options.folder;
  const sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  const application = `prpm-migrate-${process.pid}-${Date.now()}`;
  try {
    await refuseWithoutRoles(sql);
    await sql`select pg_advisory_lock(hashtext('prpm-playground migrate'))`;
    const before = await appliedMigrations(sql);
    const hasCurrent = await isCurrentWritten(settings.migrationsFolder);
    const run = hasCurrent && options.current ? graphileMigrate.current : graphileMigrate.migrate;
    const connection = new URL(url);
    connection.searchParams.set('application_name', application);
    for (let attempt = 1; ; attempt++) {
      const complaints: string[] = [];
      const logger = new graphileMigrate.Logger(() => (level, line) => {
        if (level === 'error') complaints.push(line);
      });
      const guard = options.hold ? undefined : guardOthers(sql, application);
      try {
        await run({ ...settings, connectionString: connection.href, pgSettings: { role: owner }, logger });
        break;
      } catch (error) {
        await guard?.stop();
        if (!guard?.hasBrokenOff()) throw new Error(complaints.join('\n') || message(error), { cause: error });
        if (attempt === ATTEMPTS) throw new Error(stoodInTheWay, { cause: error });
        await sleep(AGAIN_MS * attempt);
      } finally {
        await guard?.stop();
      }
    }
    const after = await appliedMigrations(sql);
    return {
      applied: after.filter((name) => !before.includes(name)),
      committed: after.length,
      current: hasCurrent ? (options.current ? 'applied' : 'left out') : 'empty',
      isSpread: await isSpread(sql),
    };
  } finally {
    await closeConnections(sql, application);
    await sql.end();
  }
}

const stoodInTheWay =
  `Others would have waited longer than ${PATIENCE_MS} ms for what a migration locks, ${ATTEMPTS} times, so it was taken back; those before ` +
  'it are applied. Try again at a quiet hour, or stop the servers and then: npm run migrate -- --hold';

type Guard = { hasBrokenOff(): boolean; stop(): Promise<void> };

/** Breaks off the migration of `application` when somebody has waited too long for it, or behind it. */
function guardOthers(sql: postgres.Sql, application: string): Guard {
  let stopped = false;
  let broken = false;
  const watch = async () => {
    while (!stopped) {
      const found = await sql`
        select pg_cancel_backend(m.pid)
        from pg_stat_activity m
        where m.application_name = ${application} and m.state = 'active' and exists (
          select from pg_locks l
          where not l.granted and l.pid <> m.pid and l.waitstart < clock_timestamp() - make_interval(secs => ${PATIENCE_MS / 1000})
            and m.pid = any (pg_blocking_pids(l.pid))
        )`;
      if (found.length > 0) broken = true;
      await sleep(LOOK_MS);
    }
  };
  const watching = watch().catch(() => {}); // without a connection the migration itself fails, too
  return {
    hasBrokenOff: () => broken,
    stop: async () => {
      stopped = true;
      await watching;
    },
  };
}

/**
 * graphile-migrate keeps its connections for a moment, and ends the whole process if the server closes one meanwhile; an
 * open one also stands in the way of copying the database. Hence this waits until they are gone.
 */
async function closeConnections(sql: postgres.Sql, application: string): Promise<void> {
  clearAllPools();
  for (let attempt = 0; attempt < 100; attempt++) {
    const open = await sql`select from pg_stat_activity where application_name = ${application}`;
    if (open.length === 0) return;
    await sleep(10);
  }
}

async function refuseWithoutRoles(sql: postgres.Sql): Promise<void> {
  const found = await sql<{ rolname: string }[]>`select rolname from pg_roles where rolname in ${sql(roleNames)}`;
  const missing = roleNames.filter((name) => !found.some(({ rolname }) => rolname === name));
  if (missing.length > 0) {
    throw new Error(
      `This server lacks the role${missing.length > 1 ? 's' : ''} ${missing.join(', ')}. ` +
        'Make them once, as a superuser: SUPERUSER_DATABASE_URL=… npm run db:roles',
    );
  }
  const [user] = await sql<{ name: string; may: boolean }[]>`
    select current_user as name, pg_has_role(current_user, ${owner}, 'member') as may`;
  if (!user?.may) throw new Error(`"${user?.name}" may not migrate. Set MIGRATE_DATABASE_URL to the URL of ${owner}.`);
}

async function appliedMigrations(sql: postgres.Sql): Promise<string[]> {
  const [table] = await sql`select to_regclass('graphile_migrate.migrations') is not null as "exists"`;
  if (!table?.exists) return [];
  const rows = await sql<{ filename: string }[]>`select filename from graphile_migrate.migrations order by filename`;
  return rows.map(({ filename }) => filename);
}

async function isSpread(sql: postgres.Sql): Promise<boolean> {
  const [row] = await sql<{ isSpread: boolean }[]>`
    select exists (select from pg_extension where extname = 'citus') as "isSpread"`;
  return row?.isSpread === true;
}

/** Whether db/current holds anything but comments and blank lines. `--! include` is SQL in this sense. */
async function isCurrentWritten(migrationsFolder: string): Promise<boolean> {
  const folder = join(migrationsFolder, 'current');
  const names = await readdir(folder).catch(() => []);
  for (const name of names.filter((file) => /^\d.*\.sql$/.test(file))) {
    const text = await readFile(join(folder, name), 'utf8');
    if (text.split('\n').some((line) => line.trim() !== '' && !/^\s*--(?!! ?include)/.test(line))) return true;
  }
  return false;
}

const message = (error: unknown) => (error instanceof Error ? error.message : String(error));

async function main(variables: NodeJS.ProcessEnv, args: string[]): Promise<void> {
  const environment = withSecretFiles(variables);
  const url = environment.MIGRATE_DATABASE_URL || environment.DATABASE_URL;
  if (!url) throw new Error('Set MIGRATE_DATABASE_URL (or DATABASE_URL) to the URL of prpm_owner.');
  const { host, pathname } = new URL(url);
  const { applied, committed, current, isSpread } = await migrate(url, {
    current: args.includes('--current'),
    hold: args.includes('--hold'),
  });
  for (const name of applied) console.log(`applied ${name}`);
  if (current === 'applied') console.log('applied db/current');
  if (current === 'left out') console.log('left out db/current, which is not committed yet (--current applies it too)');
  const news = applied.length === 0 ? 'nothing was missing' : `${applied.length} of them new`;
  console.log(`Database "${pathname.slice(1)}" at ${host} is up to date: ${committed} migrations, ${news}.`);
  if (isSpread && (applied.length > 0 || current === 'applied'))
    console.log('It is spread over a cluster: now npm run scale:up, which brings what is new to every node.');
}

if (import.meta.main) {
  await main(process.env, process.argv.slice(2)).catch((error: unknown) => {
    console.error(explainConnectionError(error, process.env.MIGRATE_DATABASE_URL || process.env.DATABASE_URL || ''));
    process.exitCode = 1;
  });
}
