import { hash } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import { authenticateToken, type Scope, scopeSchema, signIn } from '../calls/accounts.ts';
import type { Sql } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import type { ErrorCode } from '../errors/registry.ts';
import type { VerifyJwt } from './jwt.ts';
import type { Principal } from './principal.ts';

/** For how long an answer of the database is believed; a revoked token works no longer than that. */
const TRUST_MS = 5_000;
/** The oldest are forgotten first. */
const MOST_REMEMBERED = 10_000;

const REFUSALS: Record<'unknown' | 'expired' | 'revoked' | 'closed', ErrorCode> = {
  unknown: 'invalid_token',
  expired: 'token_expired',
  revoked: 'token_revoked',
  closed: 'account_closed',
};

export type Authenticate = {
  /** Who sent an Authorization header; null where there is none. A bad one is a Failure, never nobody. Spec 2.2. */
  (header: string | undefined): Principal | null | Promise<Principal>;
  /** Forgets what is remembered of a user. */
  forget(userId: string): void;
};

export function createAuthenticate(sql: Sql, verifyJwt: VerifyJwt | undefined): Authenticate {
  const remembered = new Map<string, { principal: Principal; until: number }>();
  const underWay = new Map<string, Promise<Principal>>();

  const remember = (key: string, principal: Principal, until: number) => {
    remembered.delete(key);
    remembered.set(key, { principal, until });
    if (remembered.size > MOST_REMEMBERED) {
      for (const oldest of remembered.keys()) {
        remembered.delete(oldest);
        break;
      }
    }
    return principal;
  };

  const ask = async (token: string, digest: Buffer, key: string) => {
    if (token.startsWith('prpm_')) return remember(key, await byApiToken(sql, digest), Date.now() + TRUST_MS);
    if (verifyJwt === undefined) throw new Failure('invalid_token');
    const { principal, expires } = await byJwt(sql, verifyJwt, token);
    return remember(key, principal, Math.min(Date.now() + TRUST_MS, expires));
  };

  const authenticate = (header: string | undefined) => {
    if (header === undefined || header === '') return null;
    const token = /^Bearer +([\w.~+/=-]{1,8192})$/i.exec(header)?.[1];
    if (token === undefined)
      return Promise.reject(new Failure('invalid_token', 'Authorization is not "Bearer" and a token.'));
    const digest = hash('sha256', token, 'buffer');
    const key = digest.toString('base64');
    const known = remembered.get(key);
    if (known !== undefined && known.until > Date.now()) return known.principal;

    const asked = underWay.get(key) ?? ask(token, digest, key).finally(() => underWay.delete(key));
    underWay.set(key, asked);
    return asked;
  };

  const forget = (userId: string) => {
    for (const [key, { principal }] of remembered) if (principal.userId === userId) remembered.delete(key);
  };
  return Object.assign(authenticate, { forget });
}

async function byApiToken(sql: Sql, digest: Buffer): Promise<Principal> {
  const found = await authenticateToken(sql, digest);
  if (found.outcome !== 'ok') throw new Failure(REFUSALS[found.outcome]);
  const { userId, username, email, isAdmin, tokenId } = found;
  return { userId, username, email, isAdmin, tokenId, scopes: new Set(found.scopes) };
}

const ALL_SCOPES: ReadonlySet<Scope> = new Set(scopeSchema.options);

async function byJwt(sql: Sql, verify: VerifyJwt, token: string): Promise<{ principal: Principal; expires: number }> {
  const claims = await verify(token);
  const found = await signIn(sql, {
    issuer: claims.iss ?? '',
    subject: claims.sub,
    email: text(claims.email),
    emailVerified: claims.email_verified === true,
    username: text(claims.preferred_username) ?? text(claims.nickname) ?? text(claims.name),
    newUserId: uuidv7(),
  });
  if (found.outcome !== 'ok') throw new Failure('account_closed');
  const { userId, username, email, isAdmin } = found;
  const principal = { userId, username, email, isAdmin, tokenId: null, scopes: ALL_SCOPES };
  return { principal, expires: claims.exp * 1_000 };
}

function text(claim: unknown): string | null {
  return typeof claim === 'string' && claim !== '' && claim.length <= 255 ? claim : null;
}
