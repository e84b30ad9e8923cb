import { createTRPCClient, httpLink } from '@trpc/client';
import type { AnyProcedure } from '@trpc/server';
import { OAuth2Server } from 'oauth2-mock-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningServer } from '../../src/server.ts';
import { type AppRouter, appRouter } from '../../src/trpc/_app.ts';
import { call, openHouse } from './house.ts';

const house = await openHouse();
const issuer = new OAuth2Server();
const audience = 'prpm-playground';
let server: RunningServer;

beforeAll(async () => {
  await issuer.issuer.keys.generate('RS256');
  await issuer.start(0, '127.0.0.1');
  server = await house.another({ AUTH_ISSUER: issuer.issuer.url ?? '', AUTH_AUDIENCE: audience });
});
afterAll(async () => {
  await issuer.stop();
  await house.close();
});

type Claims = Record<string, unknown>;
const jwt = (claims: Claims = {}, expiresIn = 60) =>
  issuer.issuer.buildToken({
    expiresIn,
    scopesOrTransform: (_, payload) => Object.assign(payload, { aud: audience, sub: 'grace', ...claims }),
  });
const me = (token: string) => {
  const client = createTRPCClient<AppRouter>({
    links: [httpLink({ url: `${server.url}/trpc`, headers: { authorization: `Bearer ${token}` } })],
  });
  return client.accounts.me.query();
};
const credits = (token: string) => call(server.url, 'GET', '/api/v1/playground/credits', { token });

describe('a JWT of the issuer (spec 2.2)', () => {
  it('makes a user at first sight, with sign-up credits, and finds the same one again', async () => {
    const first = await me(
      await jwt({ email: 'grace@example.com', email_verified: true, preferred_username: 'grace' }),
    );
    const again = await me(await jwt({ iat: 1 }));
    expect(first).toMatchObject({ username: 'grace', email: 'grace@example.com', isAdmin: false });
    expect([...first.scopes].sort()).toEqual(['admin', 'billing', 'publish', 'read', 'run']);
    expect(again.userId).toBe(first.userId);
    expect((await credits(await jwt())).json.signup).toBe(5);
  });

  it('cannot make an administrator of anybody by a claim', async () => {
    expect((await me(await jwt({ sub: 'mallory', is_admin: true, admin: true }))).isAdmin).toBe(false);
  });

  it('runs a package', async () => {
    const { status } = await call(server.url, 'POST', '/api/v1/playground/execute', {
      token: await jwt(),
      body: { package_id: 'haiku', input: 'hello' },
    });
    expect(status).toBe(200);
  });

  it.each([
    ['of another audience', { aud: 'somebody-else' }, 60, 'invalid_token'],
    ['of another issuer', { iss: 'https://elsewhere.example.com' }, 60, 'invalid_token'],
    ['that has expired', {}, -60, 'token_expired'],
    ['without a subject', { sub: undefined }, 60, 'invalid_token'],
    ['that is not valid yet', { nbf: Math.floor(Date.now() / 1000) + 600 }, 60, 'invalid_token'],
  ])('%s is refused', async (_, claims, expiresIn, code) => {
    const { status, json } = await credits(await jwt(claims, expiresIn));
    expect([status, json.error]).toEqual([401, code]);
  });

  it('without a good signature is refused', async () => {
    const [head, payload, signature = ''] = (await jwt()).split('.');
    const forged = [head, payload, `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`].join('.');
    const none = [Buffer.from('{"alg":"none"}').toString('base64url'), payload, ''].join('.');
    for (const token of [forged, none, `${head}.${payload}`]) expect((await credits(token)).status).toBe(401);
  });

  it('is no token where no issuer is configured, and API tokens work where one is', async () => {
    expect((await call(house.url, 'GET', '/api/v1/playground/credits', { token: await jwt() })).status).toBe(401);
    expect((await credits(house.ada.token)).status).toBe(200);
  });

  it('cannot be checked while the issuer is away: 503, not 401', async () => {
    const lonely = await house.another({ AUTH_ISSUER: 'http://127.0.0.1:9', AUTH_AUDIENCE: audience });
    const { status, json } = await call(lonely.url, 'GET', '/api/v1/playground/credits', { token: await jwt() });
    expect([status, json.error]).toEqual([503, 'issuer_unavailable']);
  });
});

describe('an API token', () => {
  const token = async (scopes: string[], more = 'infinity') => {
    const [row] = await house.database.ops`
      select token from ops.create_token(${house.ada.userId}, 'test', ${scopes}, ${more === 'infinity' ? null : more})`;
    return String(row?.token);
  };
  const run = (one: string) =>
    call(house.url, 'POST', '/api/v1/playground/execute', {
      token: one,
      body: { package_id: 'haiku', input: 'hello' },
    });

  it('does what its scopes say and nothing else', async () => {
    const [reader, runner] = [await token(['read']), await token(['run'])];
    expect((await call(house.url, 'GET', '/api/v1/playground/credits', { token: reader })).status).toBe(200);
    const refused = await run(reader);
    expect([refused.status, refused.json.error]).toEqual([403, 'insufficient_scope']);
    expect(refused.json.message).toContain('run');
    expect((await run(runner)).status).toBe(200);
    expect((await call(house.url, 'GET', '/api/v1/playground/credits', { token: runner })).status).toBe(403);
    expect((await call(house.url, 'POST', '/api/v1/packages', { token: runner, body: {} })).status).toBe(403);
  });

  it('is made, listed and revoked over HTTP, and is in no answer but the first', async () => {
    const { url, ada } = house;
    const body = { name: 'robot', scopes: ['read'], expires_at: '2100-01-01T00:00:00Z' };
    const made = await call(url, 'POST', '/api/v1/account/tokens', { token: ada.token, body });
    expect([made.status, made.json.expires_at]).toEqual([201, '2100-01-01T00:00:00.000Z']);
    const { id, token: secret } = made.json;
    expect((await call(url, 'GET', '/api/v1/account', { token: secret })).json).toMatchObject({ scopes: ['read'] });
    const listed = await call(url, 'GET', '/api/v1/account/tokens', { token: secret });
    expect(listed.json.tokens).toContainEqual(expect.objectContaining({ id, name: 'robot' }));
    expect(listed.text).not.toContain(secret);
    const more = await call(url, 'POST', '/api/v1/account/tokens', {
      token: secret,
      body: { name: 'more', scopes: ['read', 'run'], expires_at: '2099-01-01T00:00:00Z' },
    });
    expect([more.status, more.json.error]).toEqual([403, 'insufficient_scope']);
    expect(more.json.message).toContain('run');
    const wrong = await call(url, 'POST', '/api/v1/account/tokens', {
      token: ada.token,
      body: { ...body, scopes: ['all'] },
    });
    expect([wrong.status, wrong.json.errors[0].field]).toEqual([400, 'scopes.0']);
    expect((await call(url, 'DELETE', `/api/v1/account/tokens/${id}`, { token: house.bob.token })).status).toBe(404);
    expect((await call(url, 'DELETE', `/api/v1/account/tokens/${id}`, { token: ada.token })).json).toEqual({ id });
    expect((await call(url, 'GET', '/api/v1/account', { token: secret })).json.error).toBe('token_revoked');
  });

  it('without the scope that a procedure asks for is refused by every one of them, by the name of that scope (spec 2.2)', async () => {
    const procedures = Object.entries<AnyProcedure>(appRouter._def.procedures as never);
    const asked = procedures.map(([name, { _def }]) => ({ name, scope: scopeOf(_def.meta), type: _def.type }));
    expect(new Set(asked.map(({ scope }) => scope))).toEqual(
      new Set(['run', 'read', 'billing', 'publish', 'admin', null]),
    );
    for (const { name, scope, type } of asked) {
      if (scope === null) continue;
      const others = ['run', 'read', 'billing', 'publish'].filter((one) => one !== scope);
      const ask = type === 'mutation' ? { method: 'POST', body: '{}' } : {};
      const headers = { authorization: `Bearer ${await token(others)}` };
      const response = await fetch(`${house.url}/trpc/${name}`, { ...ask, headers });
      const text = await response.text();
      expect(text, name).toContain('insufficient_scope');
      expect(text, name).toContain(`scope ${scope}`);
    }
  });

  it('works no longer than five seconds after it was revoked, and at once where it was revoked here', async () => {
    const client = (bearer: string) =>
      createTRPCClient<AppRouter>({
        links: [httpLink({ url: `${house.url}/trpc`, headers: { authorization: `Bearer ${bearer}` } })],
      });
    const ada = client(house.ada.token);
    const made = await ada.accounts.tokens.create.mutate({ name: 'laptop', scopes: ['read'] });
    expect(made.token).toMatch(/^prpm_/);
    expect((await client(made.token).accounts.me.query()).scopes).toEqual(['read']);
    const listed = await ada.accounts.tokens.list.query();
    expect(JSON.stringify(listed)).not.toContain(made.token);
    expect(listed.tokens.map(({ name }) => name)).toContain('laptop');
    await expect(
      client(made.token).accounts.tokens.create.mutate({ name: 'more', scopes: ['run'] }),
    ).rejects.toMatchObject({
      data: { httpStatus: 403, problem: { error: 'insufficient_scope' } },
    });
    await ada.accounts.tokens.revoke.mutate({ id: made.id });
    await expect(client(made.token).accounts.me.query()).rejects.toMatchObject({
      data: { code: 'UNAUTHORIZED', problem: { error: 'token_revoked' } },
    });
    await expect(client(house.bob.token).accounts.tokens.revoke.mutate({ id: made.id })).rejects.toMatchObject({
      data: { problem: { error: 'not_found' } },
    });
  });

  it('that is malformed is refused, never taken for nobody', async () => {
    for (const authorization of ['Basic abc', 'Bearer', 'Bearer a b', 'prpm_x', 'Bearer prpm_é']) {
      const { status } = await call(house.url, 'GET', '/api/v1/playground/credits', {
        headers: { authorization: Buffer.from(authorization).toString('latin1') },
      });
      expect(status).toBe(401);
    }
  });

  it('of a closed account is refused', async () => {
    const gone = await house.person('gone');
    await house.database.ops`select from ops.close_user(${gone.userId}, 'for tests')`;
    const { status, json } = await call(house.url, 'GET', '/api/v1/playground/credits', { token: gone.token });
    expect(status).toBeGreaterThanOrEqual(401);
    expect(['account_closed', 'token_revoked']).toContain(json.error);
  });
});

function scopeOf(meta: unknown): unknown {
  return typeof meta === 'object' && meta !== null && 'scope' in meta ? meta.scope : null;
}
