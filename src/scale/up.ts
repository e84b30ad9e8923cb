// `npm run scale:up`: spreads a database over the servers of a Citus cluster. Runs as often as you like: with one more
// worker, or to bring changed functions to every node.
import postgres from 'postgres';
import { withSecretFiles } from '../config/secret-files.ts';
import { explainConnectionError } from '../database/connection.ts';
import { countRows, expectBalance, total } from './count.ts';
import { distribute } from './distribute.ts';
import { joinNodes } from './join.ts';

/**
 * `urls` are a superuser's for the database on each node, the coordinator's first, where all is now. Counts each row and audits
 * the books before and after, and throws where something differs. Where people are spread already, who runs things may go on:
 * then there are more rows afterwards.
 */
export async function scaleUp(urls: readonly [string, ...string[]], say: (line: string) => void): Promise<void> {
  const [coordinatorUrl, ...workers] = urls;
  if (workers.length === 0) throw new Error('Name at least one worker.');
  const sql = postgres(coordinatorUrl, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  try {
    await refuseKeys(sql);
    const wasSpread = await isSpread(sql);
    const before = await countRows(sql);
    await expectBalance(sql, 'before anything was moved');
    say(`${total(before)} rows in ${Object.keys(before).length} tables; the books balance.`);
    await joinNodes(urls);
    await distribute(coordinatorUrl, say);
    const after = await countRows(sql);
    const others = Object.keys(before).filter((table) => before[table] !== after[table]);
    if (others.length > 0 && !wasSpread)
      throw new Error(
        `Other rows than before in ${others.map((table) => `${table}: ${before[table]}, now ${after[table]}`).join('; ')}.`,
      );
    await expectBalance(sql, 'now');
    const [placed] = await sql<{ shards: number; nodes: number }[]>`
      select count(*)::int as shards, count(distinct nodename || ':' || nodeport)::int as nodes
      from citus_shards where table_name = 'public.users'::regclass`;
    say(
      `${others.length === 0 ? 'The same ' : ''}${total(after)} rows, people on ${placed?.shards} shards of ${placed?.nodes} nodes; the books balance.`,
    );
  } finally {
    await sql.end();
  }
}

async function isSpread(sql: postgres.Sql): Promise<boolean> {
  const [catalog] = await sql`select from pg_class where oid = to_regclass('pg_catalog.pg_dist_partition')`;
  if (catalog === undefined) return false;
  const [users] = await sql`select from pg_dist_partition where logicalrelid = 'public.users'::regclass`;
  return users !== undefined;
}

/** A row goes where its first key column says, so each table of people must begin its keys with the person. */
async function refuseKeys(sql: postgres.Sql): Promise<void> {
  const wrong = await sql<{ key: string }[]>`
    select i.indexrelid::regclass::text as key
    from pg_class c join pg_index i on i.indrelid = c.oid and (i.indisunique or i.indisexclusion)
    join pg_attribute a on a.attrelid = c.oid and a.attname = case c.relname when 'users' then 'id' else 'user_id' end
    where c.relkind = 'r' and obj_description(c.oid, 'pg_class') like 'per-user%' and (i.indkey[0] <> a.attnum or not a.attnotnull)`;
  if (wrong.length > 0)
    throw new Error(
      `These keys do not begin with the person: ${wrong.map(({ key }) => key).join(', ')}. Nothing was moved.`,
    );
}

async function main(variables: NodeJS.ProcessEnv): Promise<void> {
  const environment = withSecretFiles(variables);
  const urls = [environment.SUPERUSER_DATABASE_URL ?? '', ...(environment.SUPERUSER_WORKER_URLS ?? '').split(/[\s,]+/)];
  const [coordinator, ...workers] = urls.filter((url) => url !== '');
  if (!environment.SUPERUSER_DATABASE_URL || coordinator === undefined || workers.length === 0) {
    throw new Error(
      'Set SUPERUSER_DATABASE_URL to a superuser for the database on the coordinator, and SUPERUSER_WORKER_URLS to one for each worker, ' +
        'separated by commas. docs/scale.md says how to start them.',
    );
  }
  const wrong = [coordinator, ...workers].find((url) => !URL.canParse(url));
  if (wrong !== undefined) throw new Error('A URL is none. Write postgres://ROLE:PASSWORD@HOST:PORT/DATABASE.');
  const names = new Set([coordinator, ...workers].map((url) => new URL(url).pathname));
  if (names.size > 1)
    throw new Error(`The database has the same name on all nodes; here are ${[...names].join(', ')}.`);
  await scaleUp([coordinator, ...workers], console.log);
}

if (import.meta.main) {
  await main(process.env).catch((error: unknown) => {
    console.error(explainConnectionError(error, process.env.SUPERUSER_DATABASE_URL ?? ''));
    process.exitCode = 1;
  });
}
