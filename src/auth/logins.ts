// Who is signed in on the page: a cookie for /trpc, never for /api/v1. Spec 2.2.
import { hash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { parse, serialize } from 'hono/utils/cookie';
import { beginLogin, endLogin } from '../calls/accounts.ts';
import type { Sql } from '../database/client.ts';

export type Logins = ReturnType<typeof openLogins>;

/** `origin` is the page's own, as people see it: known when the server listens. */
export function openLogins(sql: Sql, origin: () => string) {
  // Cookies know no ports: servers beside each other on one machine would sign each other's people out.
  const name = () => {
    const { protocol, port } = new URL(origin());
    return protocol === 'https:' ? '__Host-prpm_login' : `prpm_login_${port || '80'}`;
  };
  const cookie = (value: string, maxAge: number) =>
    serialize(name(), value, {
      ...{ httpOnly: true, sameSite: 'Lax', path: '/', maxAge },
      secure: origin().startsWith('https:'),
    });

  return {
    /** What the cookie of a request holds. */
    read({ headers }: IncomingMessage): string | undefined {
      const value = headers.cookie === undefined ? undefined : parse(headers.cookie, name())[name()];
      return value === '' ? undefined : value;
    },

    /** Signs in whoever has proved to be this user. Returns the cookie to set, as all of these do. */
    async begin(userId: string): Promise<string> {
      const login = randomBytes(32).toString('base64url');
      const { lastsSeconds } = await beginLogin(sql, userId, hash('sha256', login, 'buffer'));
      return cookie(login, lastsSeconds);
    },

    renewed: cookie,

    async end(userId: string, login: string): Promise<string> {
      await endLogin(sql, userId, hash('sha256', login, 'buffer'));
      return cookie('', 0);
    },

    cleared: () => cookie('', 0),

    /** Whether a request that brings the cookie was made by the page itself, not by another site in its name. */
    isFromPage({ headers }: IncomingMessage): boolean {
      const { origin: from, host, 'sec-fetch-site': site } = headers;
      if (site !== undefined && site !== 'same-origin') return false;
      if (from === undefined || !URL.canParse(from)) return false;
      return from === new URL(origin()).origin || new URL(from).host === host;
    },
  };
}
