// The demo's database: in a PostgreSQL of its own, or on the server that DATABASE_URL names.
import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { connect } from '../../src/database/connection.ts';
import { migrate } from '../../src/database/migrate.ts';
import {
  createDatabase,
  createRoles,
  type RoleName,
  roleNames,
  roleUrl,
  withDatabase,
} from '../../src/database/roles.ts';
import { startCluster } from '../postgres/cluster.ts';
import type { Memory } from './home.ts';

export type Server = {
  /** For the screen. */
  shown: string;
  superuserUrl: string;
  /** Where the data is spread over nodes, those of its workers. */
  workerUrls: string[];
  database: string;
  isPrivate: boolean;
  stop(): Promise<void>;
};

/** The superuser URL that the environment gives, if it gives one: a URL of our own roles is a demo's, or serves, and cannot. */
export function externalUrl(environment: NodeJS.ProcessEnv): string | undefined {
  const url = environment.DATABASE_URL;
  if (!url) return undefined;
  if (!URL.canParse(url))
    throw new Error('DATABASE_URL is no URL. Unset it, or write postgres://ROLE:PASSWORD@HOST:PORT/DATABASE.');
  return roleNames.some((role) => role === new URL(url).username) ? undefined : url;
}

/** The one server of a demo, which it comes from and may go back to. */
export type Single = {
  /** What a demo remembers of where its data is, or came from. */
  id: string;
  open(): Promise<Server>;
};

export function privateServer(directory: string): Single {
  const open = async () => {
    const cluster = await startCluster({ directory });
    const shown = `PostgreSQL 15 of its own (${cluster.kind}), port ${cluster.port}`;
    const stop = () => cluster.stop();
    return { shown, superuserUrl: cluster.url, workerUrls: [], database: 'prpm', isPrivate: true, stop };
  };
  return { id: 'private', open };
}

export async function externalServer(url: string): Promise<Single> {
  const { host, pathname } = new URL(url);
  const named = decodeURIComponent(pathname.slice(1));
  // The maintenance database is everybody's.
  const database = named === '' || named === 'postgres' ? 'prpm_demo' : named;
  const superuserUrl = withDatabase(url, 'postgres');
  await using sql = connect(superuserUrl);
  const [role] = await sql<{ is_superuser: boolean }[]>`
    select rolsuper as is_superuser from pg_roles where rolname = current_user`;
  if (!role?.is_superuser) {
    throw new Error(
      'DATABASE_URL is not a superuser’s. The demo makes roles and a database: unset it, or name a superuser.',
    );
  }
  const id = `${host}/${database}`;
  const server = { shown: `DATABASE_URL, ${id}`, superuserUrl, workerUrls: [], database, isPrivate: false };
  return { id, open: async () => ({ ...server, stop: async () => {} }) };
}

/** `workers`: of the server's role. */
export type Urls = { owner: string; app: string; operator: string; workers: string[] };

export function urlsOf({ superuserUrl, workerUrls, database }: Server, { passwords }: Memory): Urls {
  const as = (role: RoleName, url = superuserUrl) => roleUrl(url, role, passwords[role], database);
  const workers = workerUrls.map((url) => as('prpm_app', url));
  return { owner: as('prpm_owner'), app: as('prpm_app'), operator: as('prpm_ops'), workers };
}

/**
 * Roles, database, schema. Begins with an empty database unless `memory` says that a seeded one is there; `mayReplace`
 * when one that is there is this demo's own.
 */
export async function prepareDatabase(server: Server, memory: Memory, mayReplace: boolean): Promise<Urls> {
  const { superuserUrl, database } = server;
  const isNew = memory.seeded === null;
  if (!server.isPrivate) await refuseForeign(server, isNew, mayReplace);
  await createRoles(superuserUrl, memory.passwords);
  if (isNew) await dropDatabase(superuserUrl, database);
  await allowWrites(server); // a move that was killed has refused them
  await createDatabase(superuserUrl, database);
  const urls = urlsOf(server, memory);
  await migrate(urls.owner, { current: true });
  return urls;
}

/** What `db/` makes of a database, in short: it differs where any of its files does. */
export function schemaFiles(): string {
  const root = resolve(import.meta.dirname, '../../db');
  const hash = createHash('sha256');
  for (const name of globSync('**/*.sql', { cwd: root }).sort())
    hash.update(`${name}\0`).update(readFileSync(join(root, name)));
  return hash.digest('hex');
}

/** Nobody changes it who does not insist, and who was in it is out: what is changed on a database that is being left would be lost. */
export async function refuseWrites({ superuserUrl, database }: Server): Promise<void> {
  await using sql = connect(superuserUrl);
  await sql`alter database ${sql(database)} set default_transaction_read_only = on`;
  await sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = ${database} and backend_type = 'client backend' and pid <> pg_backend_pid()`;
}

export async function allowWrites({ superuserUrl, database }: Server): Promise<void> {
  await using sql = connect(superuserUrl);
  const [existing] = await sql`select from pg_database where datname = ${database}`;
  if (existing) await sql`alter database ${sql(database)} reset default_transaction_read_only`;
}

/** On a server that is not ours alone: takes away no data but a demo's, and no other installation's passwords. */
async function refuseForeign({ superuserUrl, database }: Server, isNew: boolean, mayReplace: boolean): Promise<void> {
  await using sql = connect(superuserUrl);
  const ours = await sql<{ name: string }[]>`
    select datname as name from pg_database where datdba = to_regrole('prpm_owner')::oid`;
  const others = ours.filter(({ name }) => name !== database).map(({ name }) => `"${name}"`);
  if (others.length > 0) {
    throw new Error(
      `The server of DATABASE_URL serves ${others.join(', ')} too, with the roles whose passwords a demo sets. ` +
        'Use a server without them, or unset DATABASE_URL.',
    );
  }
  const [existing] = await sql`select from pg_database where datname = ${database}`;
  if (!existing || !isNew) return;
  await using inside = connect(withDatabase(superuserUrl, database));
  const [settings] = await inside<
    { has_table: boolean }[]
  >`select to_regclass('public.settings') is not null as has_table`;
  const [demo] = settings?.has_table
    ? await inside`select from public.settings where clock_offset_allowed`
    : await inside`select where not exists (select from pg_class where relnamespace = 'public'::regnamespace)`;
  if (demo && settings?.has_table && !mayReplace) {
    throw new Error(
      `Database "${database}" of DATABASE_URL holds the data of another demo. --reset starts it over; or name another database.`,
    );
  }
  if (!demo) {
    throw new Error(
      `Database "${database}" of DATABASE_URL holds data that is no demo's. Name another database, or unset DATABASE_URL.`,
    );
  }
}

async function dropDatabase(superuserUrl: string, database: string): Promise<void> {
  await using sql = connect(superuserUrl);
  await sql`drop database if exists ${sql(database)} with (force)`;
}
