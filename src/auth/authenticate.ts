import { hash } from 'node:crypto';
import { authenticateLogin, authenticateToken, type Scope, scopeSchema, signIn } from '../calls/accounts.ts';
import type { Sql } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import type { ErrorCode } from '../errors/registry.ts';
import { identityOf } from './identity.ts';
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
  /**
   * Who sent an Authorization header, or else is signed in on the page with this text in the cookie; null where there is
   * neither. A bad one is a Failure, never nobody. Spec 2.2.
   */
  (header: string | undefined, login?: string): Principal | null | Promise<Principal>;
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

  const askForLogin = async (digest: Buffer, key: string) => {
    const found = await authenticateLogin(sql, digest);
    if (found.outcome !== 'ok') throw new Failure(found.outcome === 'closed' ? 'account_closed' : 'login_expired');
    const { outcome: _, ...person } = found;
    const principal = { ...person, tokenId: null, scopes: ALL_SCOPES };
    return remember(key, principal, Date.now() + Math.min(TRUST_MS, person.lastsSeconds * 1_000));
  };

  const ask = async (token: string, digest: Buffer, key: string) => {
    if (token.startsWith('prpm_')) return remember(key, await byApiToken(sql, digest), Date.now() + TRUST_MS);
    if (verifyJwt === undefined) throw new Failure('invalid_token');
    const { principal, expires } = await byJwt(sql, verifyJwt, token);
    return remember(key, principal, Math.min(Date.now() + TRUST_MS, expires));
  };

  const recall = (text: string, kind: '' | 'login ', find: (digest: Buffer, key: string) => Promise<Principal>) => {
    const digest = hash('sha256', text, 'buffer');
    const key = kind + digest.toString('base64');
    const known = remembered.get(key);
    if (known !== undefined && known.until > Date.now()) return known.principal;

    const asked = underWay.get(key) ?? find(digest, key).finally(() => underWay.delete(key));
    underWay.set(key, asked);
    return asked;
  };

  const authenticate = (header: string | undefined, login?: string) => {
    if (header === undefined || header === '') return login === undefined ? null : recall(login, 'login ', askForLogin);
    const token = /^Bearer +([\w.~+/=-]{1,8192})$/i.exec(header)?.[1];
    if (token === undefined)
      return Promise.reject(new Failure('invalid_token', 'Authorization is not "Bearer" and a token.'));
    return recall(token, '', (digest, key) => ask(token, digest, key));
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
  const found = await signIn(sql, identityOf(claims.iss ?? '', claims.sub, claims));
  if (found.outcome !== 'ok') throw new Failure('account_closed');
  const { userId, username, email, isAdmin } = found;
  const principal = { userId, username, email, isAdmin, tokenId: null, scopes: ALL_SCOPES };
  return { principal, expires: claims.exp * 1_000 };
}
