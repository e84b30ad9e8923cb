// `npm run db:cron [-- --remove]`: has pg_cron do the jobs, once, as a superuser. Runs as often as you like.
import { readFile } from 'node:fs/promises';
import postgres from 'postgres';
import { withSecretFiles } from '../config/secret-files.ts';
import { explainConnectionError } from '../database/connection.ts';
import { withDatabase } from '../database/roles.ts';

/** Makes pg_cron's schedules of `database` what db/cron.sql says, or removes them. Returns their names. */
export async function scheduleJobs(superuserUrl: string, database: string, remove = false): Promise<string[]> {
  const home = await homeOfCron(superuserUrl);
  const sql = postgres(withDatabase(superuserUrl, home), { max: 1, onnotice: () => {}, connect_timeout: 10 });
  try {
    await sql`select set_config('prpm.database', ${database}, false), set_config('prpm.cron', ${remove ? 'off' : 'on'}, false)`;
    await sql.unsafe(await readFile(new URL('../../db/cron.sql', import.meta.url), 'utf8'));
    const rows = await sql<{ jobname: string }[]>`
      select jobname from cron.job where starts_with(jobname, ${`prpm/${database}/`}) order by jobname`;
    return rows.map(({ jobname }) => jobname);
  } finally {
    await sql.end();
  }
}

/** The one database in which pg_cron keeps its schedules. */
async function homeOfCron(superuserUrl: string): Promise<string> {
  const sql = postgres(superuserUrl, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  try {
    const [row] = await sql<{ home: string | null }[]>`
      select current_setting('cron.database_name', true) as home
      where current_setting('shared_preload_libraries') ~ '\\ypg_cron\\y'`;
    if (row?.home) return row.home;
  } finally {
    await sql.end();
  }
  throw new Error(
    'pg_cron is not loaded there. Install it (Debian: postgresql-15-cron), put it into shared_preload_libraries with cron.use_background_workers = on, ' +
      'restart PostgreSQL, and try again. Without it the servers do the jobs.',
  );
}

async function main(variables: NodeJS.ProcessEnv, remove: boolean): Promise<void> {
  const environment = withSecretFiles(variables);
  const superuserUrl = environment.SUPERUSER_DATABASE_URL;
  const ours = environment.DATABASE_URL || environment.MIGRATE_DATABASE_URL || environment.APP_DATABASE_URL;
  const database = ours ? decodeURIComponent(new URL(ours).pathname.slice(1)) : '';
  if (!superuserUrl || database === '') {
    throw new Error(
      'Set SUPERUSER_DATABASE_URL to a superuser, and DATABASE_URL to the database whose jobs shall be done.',
    );
  }
  const names = await scheduleJobs(superuserUrl, database, remove);
  console.log(
    remove
      ? `No schedules are left for "${database}".`
      : `pg_cron does the jobs of "${database}": ${names.length} schedules.`,
  );
}

if (import.meta.main) {
  await main(process.env, process.argv.includes('--remove')).catch((error: unknown) => {
    console.error(explainConnectionError(error, process.env.SUPERUSER_DATABASE_URL ?? ''));
    process.exitCode = 1;
  });
}
