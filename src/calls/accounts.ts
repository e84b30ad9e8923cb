import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow, parseRows } from '../database/rows.ts';
import { refusalSchema } from '../errors/refusal.ts';

/** What a token may be used for. A JWT has all of them. Spec 2.2. */
export const scopeSchema = z.enum(['run', 'read', 'billing', 'publish', 'admin']);
export type Scope = z.output<typeof scopeSchema>;

const person = {
  userId: z.string(),
  username: z.string(),
  email: z.string().nullable(),
  isAdmin: z.boolean(),
};

const authenticatedSchema = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('ok'), ...person, scopes: z.array(scopeSchema), tokenId: z.string() }),
  z.object({ outcome: z.enum(['unknown', 'expired', 'revoked', 'closed']) }),
]);

/** Whose API token this is, by its SHA-256. */
export async function authenticateToken(sql: Sql, tokenHash: Buffer): Promise<z.output<typeof authenticatedSchema>> {
  const rows = await sql`
    select outcome, user_id, username, email, is_admin, scopes, token_id from api.authenticate_token(${tokenHash})`;
  return parseRow(authenticatedSchema, rows);
}

const loginSchema = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('ok'), ...person, lastsSeconds: z.number() }),
  z.object({ outcome: z.enum(['unknown', 'expired', 'closed']) }),
]);

/** Who is signed in on the page, by the SHA-256 of what the cookie holds. Moves the end of the sign-in on. */
export async function authenticateLogin(sql: Sql, tokenHash: Buffer): Promise<z.output<typeof loginSchema>> {
  const rows = await sql`
    select outcome, user_id, username, email, is_admin, lasts_seconds from api.authenticate_login(${tokenHash})`;
  return parseRow(loginSchema, rows);
}

/** Signs a person in on the page who has proved who they are. */
export async function beginLogin(sql: Sql, userId: string, tokenHash: Buffer): Promise<{ lastsSeconds: number }> {
  const rows = await sql`select lasts_seconds from api.begin_login(${userId}, ${tokenHash})`;
  return parseRow(z.object({ lastsSeconds: z.number() }), rows);
}

export async function endLogin(sql: Sql, userId: string, tokenHash: Buffer): Promise<void> {
  await sql`select from api.end_login(${userId}, ${tokenHash})`;
}

const signedInSchema = z.discriminatedUnion('outcome', [
  z.object({ outcome: z.literal('ok'), ...person, created: z.boolean(), emailTaken: z.boolean() }),
  z.object({ outcome: z.literal('closed') }),
]);

/** What an issuer says of a person; `newUserId` is used at first sight. */
export type Identity = {
  issuer: string;
  subject: string;
  email: string | null;
  emailVerified: boolean;
  username: string | null;
  newUserId: string;
};

/** The user that an issuer's subject is; made at first sight. */
export async function signIn(sql: Sql, identity: Identity): Promise<z.output<typeof signedInSchema>> {
  const rows = await sql`
    select outcome, user_id, username, email, is_admin, created, email_taken
    from api.sign_in(
      ${identity.issuer}, ${identity.subject}, ${identity.email}, ${identity.emailVerified}, ${identity.username},
      ${identity.newUserId}
    )`;
  return parseRow(signedInSchema, rows);
}

/** A token without its secret. */
export const tokenSchema = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(scopeSchema),
  expiresAt: z.string().nullable(),
  lastUsedAt: z.string().nullable(),
  revokedAt: z.string().nullable(),
  createdAt: z.string(),
});

export type NewToken = { id: string; tokenHash: Buffer; name: string; scopes: Scope[]; expiresAt: string | null };

const createdSchema = z.object({ endsAt: z.string().nullable(), refusal: refusalSchema.nullable() });

/** Keeps a token that was asked for with the token `madeWith` (null: a sign-in), or says why not. */
export async function createToken(
  sql: Sql,
  userId: string,
  token: NewToken,
  madeWith: string | null,
): Promise<z.output<typeof createdSchema>> {
  const rows = await sql`
    select ends_at, refusal
    from api.create_token(
      user_id => ${userId}, token_hash => ${token.tokenHash}, id => ${token.id}, name => ${token.name},
      scopes => ${token.scopes}, expires_at => ${token.expiresAt}, made_with => ${madeWith}
    )`;
  return parseRow(createdSchema, rows);
}

export async function listTokens(sql: Sql, userId: string): Promise<z.output<typeof tokenSchema>[]> {
  const rows = await sql`
    select id, name, scopes, expires_at, last_used_at, revoked_at, created_at from api.list_tokens(${userId})`;
  return parseRows(tokenSchema, rows);
}

/** False where this user has no such token. */
export async function revokeToken(sql: Sql, userId: string, id: string): Promise<boolean> {
  return (await sql`select id from api.revoke_token(${userId}, ${id})`).length > 0;
}

const exportPageSchema = z.object({ part: z.string(), rows: z.string(), nextCursor: z.string().nullable() });

/** One page of all that is kept of a user: rows of the table `part`, as the text of a JSON array, so that no figure is rounded. Spec 10.8. */
export async function exportPage(
  sql: Sql,
  userId: string,
  cursor: string | null,
): Promise<z.output<typeof exportPageSchema>> {
  const rows = await sql`select part, rows::text as rows, next_cursor from api.export_page(${userId}, ${cursor})`;
  return parseRow(exportPageSchema, rows);
}

/** What operators and administrators changed, newest first. */
export const changesPageSchema = z.object({
  changes: z.array(
    z.object({
      id: z.number(),
      at: z.string(),
      role: z.string(),
      by: z.string().nullable(),
      what: z.string(),
      action: z.string(),
      about: z.string().nullable(),
      reason: z.string().nullable(),
      fields: z.array(z.object({ field: z.string(), was: z.unknown(), becomes: z.unknown() })),
    }),
  ),
  nextCursor: z.string().nullable(),
});

/** The audit log, for an administrator. Spec 12. */
export async function listChanges(
  sql: Sql,
  userId: string,
  { limit, cursor }: { limit: number; cursor: string | null },
): Promise<z.output<typeof changesPageSchema>> {
  const rows = await sql`select changes, next_cursor from api.list_changes(${userId}, ${limit}, ${cursor})`;
  return parseRow(changesPageSchema, rows);
}
