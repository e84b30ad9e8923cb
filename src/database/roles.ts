// `npm run db:roles`: makes the roles and the database, once, as a superuser. Runs as often as you like.
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { withSecretFiles } from '../config/secret-files.ts';
import { connect, explainConnectionError } from './connection.ts';

export const roleNames = ['prpm_owner', 'prpm_app', 'prpm_ops', 'prpm_cron', 'prpm_readonly'] as const;
export type RoleName = (typeof roleNames)[number];
export type Passwords = Partial<Record<RoleName, string>>;

/** Makes the roles of db/roles.sql and sets the passwords given. Roles without one keep the one they have, if any. */
export async function createRoles(superuserUrl: string, passwords: Passwords): Promise<void> {
  await using sql = connect(superuserUrl);
  await sql.unsafe(await readFile(new URL('../../db/roles.sql', import.meta.url), 'utf8'));
  for (const [role, password] of Object.entries(passwords)) {
    await sql.unsafe(`alter role ${role} password '${scramVerifier(password)}'`);
  }
}

/** Makes a database owned by prpm_owner, or sets right who owns and enters one that is there. True when it was made. */
export async function createDatabase(superuserUrl: string, name: string, template = 'template0'): Promise<boolean> {
  await using sql = connect(superuserUrl);
  const existing = await sql`select from pg_database where datname = ${name}`;
  const made = existing.length === 0;
  if (made) await sql`create database ${sql(name)} owner prpm_owner template ${sql(template)}`;
  else await sql`alter database ${sql(name)} owner to prpm_owner`;
  await sql`revoke all on database ${sql(name)} from public`;
  // The owner may create extensions that are marked as trusted, such as btree_gist and pg_trgm.
  await sql`grant all on database ${sql(name)} to prpm_owner`;
  await sql`grant connect on database ${sql(name)} to prpm_app, prpm_ops, prpm_cron, prpm_readonly`;
  if (made && template !== 'template0') return made; // a copy has its template's schema privileges
  await using inside = connect(withDatabase(superuserUrl, name));
  await inside`revoke create on schema public from public`;
  return made;
}

/** The URL of `role` for `database`, on the server that `url` names. */
export function roleUrl(url: string, role: RoleName, password: string, database: string): string {
  const changed = new URL(withDatabase(url, database));
  changed.username = role;
  changed.password = encodeURIComponent(password);
  return changed.href;
}

export function withDatabase(url: string, database: string): string {
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(database)}`;
  return changed.href;
}

export function randomPassword(): string {
  return randomBytes(24).toString('base64url');
}

/** A new one for each role. */
export function randomPasswords(): Record<RoleName, string> {
  const [owner, app, ops, cron, readonly] = roleNames;
  return {
    [owner]: randomPassword(),
    [app]: randomPassword(),
    [ops]: randomPassword(),
    [cron]: randomPassword(),
    [readonly]: randomPassword(),
  };
}

/** The form in which PostgreSQL stores a password, so that the password itself reaches neither its log nor its statistics. */
function scramVerifier(password: string): string {
  const iterations = 4096;
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256');
  const sign = (key: string) => createHmac('sha256', salted).update(key).digest();
  const storedKey = createHash('sha256').update(sign('Client Key')).digest('base64');
  const serverKey = sign('Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

type Login = { variable: string; role: string; password: string; database: string };

/** What the environment's URLs say about our roles; a URL of another user is left to whoever made that user. */
function loginsFrom(environment: Record<string, string | undefined>): Login[] {
  return ['DATABASE_URL', 'MIGRATE_DATABASE_URL', 'APP_DATABASE_URL'].flatMap((variable) => {
    const value = environment[variable];
    if (!value) return [];
    const { username, password, pathname } = new URL(value);
    const database = decodeURIComponent(pathname.slice(1));
    return [{ variable, role: decodeURIComponent(username), password: decodeURIComponent(password), database }];
  });
}

async function main(variables: NodeJS.ProcessEnv): Promise<void> {
  const environment = withSecretFiles(variables);
  const superuserUrl = environment.SUPERUSER_DATABASE_URL;
  const logins = loginsFrom(environment);
  const databases = new Set(logins.map(({ database }) => database).filter((name) => name !== ''));
  if (!superuserUrl || databases.size === 0) {
    throw new Error(
      'Set SUPERUSER_DATABASE_URL to a superuser, and DATABASE_URL (prpm_ops), MIGRATE_DATABASE_URL (prpm_owner) and ' +
        'APP_DATABASE_URL (prpm_app) to what they shall be, with passwords and the database in them.',
    );
  }
  const passwords: Passwords = {};
  for (const { variable, role, password } of logins) {
    const name = roleNames.find((known) => known === role);
    if (name === undefined) console.log(`${variable} is for "${role}", which is none of our roles: left alone.`);
    else if (password === '') console.log(`${variable} holds no password: that of ${name} stays as it is.`);
    else if (passwords[name] !== undefined && passwords[name] !== password) {
      throw new Error(`${variable} gives ${name} another password than a URL before it.`);
    } else passwords[name] = password;
  }
  await createRoles(superuserUrl, passwords);
  console.log(
    `Roles are there: ${roleNames.join(', ')}. Passwords set: ${Object.keys(passwords).join(', ') || 'none'}.`,
  );
  for (const name of databases) {
    const made = await createDatabase(superuserUrl, name);
    console.log(`Database "${name}" ${made ? 'made' : 'was there'}, owned by prpm_owner. Next: npm run migrate`);
  }
}

if (import.meta.main) {
  await main(process.env).catch((error: unknown) => {
    console.error(explainConnectionError(error, process.env.SUPERUSER_DATABASE_URL ?? ''));
    process.exitCode = 1;
  });
}
