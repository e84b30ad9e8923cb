// Signing in on the page: at an issuer, by authorization code with PKCE, and the cookie that follows.
import { OAuth2Server } from 'oauth2-mock-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readEnvironment } from '../../src/config/environment.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { type Answer, call, openHouse } from './house.ts';

const house = await openHouse();
const issuer = new OAuth2Server();
let server: RunningServer;
let demo: RunningServer;
/** What the issuer says of whoever signs in next. */
const grace = { sub: 'grace', email: 'grace@example.com', email_verified: true, name: 'Grace' };
let claims: Record<string, unknown> = grace;

beforeAll(async () => {
  await issuer.issuer.keys.generate('RS256');
  await issuer.start(0, '127.0.0.1');
  issuer.service.on('beforeTokenSigning', (token) => Object.assign(token.payload, claims));
  server = await house.another({
    ...{ AUTH_ISSUER: issuer.issuer.url ?? '', AUTH_AUDIENCE: 'api', AUTH_CLIENT_ID: 'page' },
  });
  demo = await startServer({
    environment: readEnvironment({ APP_DATABASE_URL: house.database.appUrl, HOST: '127.0.0.1', PORT: '0' }),
    log: createLog('silent'),
    jobs: false,
    people: [{ userId: house.ada.userId, username: 'ada', about: 'tries things' }],
  });
});
afterAll(async () => {
  await demo.close();
  await issuer.stop();
  await house.close();
});

const cookiesOf = ({ headers }: Answer) => (headers['set-cookie'] ?? []).map((one) => one.split(';')[0] ?? '');
const get = (path: string, cookie = '') => call(server.url, 'GET', path, { headers: cookie === '' ? {} : { cookie } });

/** As a browser does it: to the issuer and back. */
async function signIn(returnTo = '/credits?tab=history'): Promise<{ back: Answer; callback: string; flow: string }> {
  const away = await get(`/auth/sign-in?return=${encodeURIComponent(returnTo)}`);
  expect(away.status).toBe(302);
  const there = await fetch(String(away.headers.location), { redirect: 'manual' });
  const callback = new URL(there.headers.get('location') ?? '');
  const [flow = ''] = cookiesOf(away);
  return {
    back: await get(callback.pathname + callback.search, flow),
    callback: callback.pathname + callback.search,
    flow,
  };
}
const me = (url: string, cookie: string) => call(url, 'GET', '/trpc/accounts.me', { headers: { cookie } });
const viewer = (url: string, cookie: string) => call(url, 'GET', '/trpc/accounts.viewer', { headers: { cookie } });
const login = (answer: Answer) => cookiesOf(answer).find((one) => one.startsWith('prpm_login')) ?? '';
const post = (url: string, procedure: string, body: unknown, headers: Record<string, string>) =>
  call(url, 'POST', `/trpc/${procedure}`, { body, headers });

describe('at the issuer (spec 2.2)', () => {
  it('asks for a code with PKCE, state and nonce, and comes back to where one was', async () => {
    const away = await get('/auth/sign-in?return=%2Fcredits');
    const asked = new URL(String(away.headers.location)).searchParams;
    expect(Object.fromEntries(asked)).toMatchObject({
      ...{ response_type: 'code', code_challenge_method: 'S256', client_id: 'page', scope: 'openid profile email' },
      redirect_uri: `${server.url}/auth/callback`,
    });
    for (const name of ['state', 'nonce', 'code_challenge']) expect(asked.get(name)?.length).toBeGreaterThan(20);
    const { back } = await signIn();
    expect([back.status, back.headers.location]).toEqual([302, '/credits?tab=history']);
  });

  it('makes a user at first sight, and finds the same again', async () => {
    const [first, again] = [await signIn(), await signIn()];
    const [one, other] = [await me(server.url, login(first.back)), await me(server.url, login(again.back))];
    expect(one.json.result.data).toMatchObject({ username: 'Grace', email: 'grace@example.com', isAdmin: false });
    expect(other.json.result.data.userId).toBe(one.json.result.data.userId);
    const [credits] = await house.database.ops`
      select sum(remaining)::int as credits from credit_lots where user_id = ${one.json.result.data.userId}`;
    expect(credits).toEqual({ credits: 5 });
  });

  it('leads to no other site, whatever it is asked', async () => {
    for (const target of ['https://evil.example/', '//evil.example', '/\\evil.example', 'javascript:alert(1)', '']) {
      expect([target, (await signIn(target)).back.headers.location]).toEqual([target, '/playground']);
    }
  });

  it('takes a code once, and only in the browser that asked for it', async () => {
    const { callback, flow } = await signIn();
    expect((await get(callback)).headers.location).toBe('/sign-in?problem=expired');
    const [name = ''] = flow.split('=');
    const forged = `${name}=${encodeURIComponent(JSON.stringify({ state: 'x', nonce: 'x', verifier: 'x', returnTo: '/' }))}`;
    const answer = await get(callback, forged);
    expect(answer.headers.location).toContain('problem=refused');
    expect(login(answer)).toBe('');
  });

  it('tells somebody whose e-mail is taken, and gives them an account without it', async () => {
    claims = { sub: 'impostor', email: 'ada@example.com', email_verified: true, name: 'Ada' };
    const { back } = await signIn('/playground');
    expect(back.headers.location).toBe('/playground?notice=email-taken');
    expect((await me(server.url, login(back))).json.result.data.email).toBeNull();
    claims = grace;
  });

  it('says so where the issuer cannot be reached', async () => {
    const lonely = await house.another({
      ...{ AUTH_ISSUER: 'http://127.0.0.1:9', AUTH_AUDIENCE: 'api', AUTH_CLIENT_ID: 'page' },
    });
    const { headers } = await call(lonely.url, 'GET', '/auth/sign-in');
    expect(headers.location).toContain('/sign-in?problem=unavailable');
  });
});

describe('the cookie (spec 2.2)', () => {
  it('is kept from scripts and from other sites, lasts hours, and is renewed', async () => {
    const { back } = await signIn();
    const [set = ''] = (back.headers['set-cookie'] ?? []).filter((one) => one.startsWith('prpm_login'));
    expect(set).toMatch(/; Max-Age=43200; Path=\/; HttpOnly; SameSite=Lax$/);
    const again = await viewer(server.url, login(back));
    expect(again.headers['set-cookie']?.[0]).toContain(login(back));
    const [kept] = await house.database
      .owner`select token_hash::text as hash from logins order by created_at desc limit 1`;
    expect(kept?.hash).not.toContain(login(back).split('=')[1]);
  });

  it('is Secure and bound to its host where the page is https', async () => {
    const secure = await startServer({
      environment: readEnvironment({
        ...{ APP_DATABASE_URL: house.database.appUrl, HOST: '127.0.0.1', PORT: '0' },
        PUBLIC_URL: 'https://playground.example.com',
      }),
      ...{ log: createLog('silent'), jobs: false, people: [{ userId: house.ada.userId, username: 'ada', about: '' }] },
    });
    const headers = { origin: 'https://playground.example.com', 'sec-fetch-site': 'same-origin' };
    const answer = await post(secure.url, 'accounts.signInAs', { userId: house.ada.userId }, headers);
    expect(answer.headers['set-cookie']?.[0]).toMatch(/^__Host-prpm_login=.*; HttpOnly; Secure; SameSite=Lax$/);
    await secure.close();
  });

  it('opens /trpc and never /api/v1', async () => {
    const cookie = login((await signIn()).back);
    expect((await me(server.url, cookie)).status).toBe(200);
    const api = await call(server.url, 'GET', '/api/v1/playground/credits', { headers: { cookie } });
    expect([api.status, api.json.error]).toEqual([401, 'authentication_required']);
  });

  it('does nothing for a request of another site', async () => {
    const cookie = login((await signIn()).back);
    const own = { cookie, origin: server.url };
    for (const headers of [
      { cookie },
      { cookie, origin: 'https://evil.example' },
      { cookie, origin: 'null' },
      { ...own, 'sec-fetch-site': 'cross-site' },
      { ...own, 'sec-fetch-site': 'same-site' },
    ]) {
      const { status, json } = await post(
        server.url,
        'accounts.tokens.create',
        { name: 'x', scopes: ['run'] },
        headers,
      );
      expect([headers, status, json.error]).toEqual([headers, 403, 'cross_site_request']);
    }
    expect((await post(server.url, 'accounts.tokens.create', { name: 'x', scopes: ['run'] }, own)).status).toBe(200);
    expect((await call(server.url, 'GET', '/trpc/accounts.signOut', { headers: { cookie } })).status).toBe(405);
  });

  it('is over when its person signs out, is closed, or has not been there for long', async () => {
    const cookies = [];
    for (let i = 0; i < 2; i++) cookies.push(login((await signIn()).back));
    const [first = '', second = ''] = cookies;
    const out = await post(server.url, 'accounts.signOut', {}, { cookie: first, origin: server.url });
    expect(out.headers['set-cookie']?.[0]).toMatch(/^prpm_login_\d+=; Max-Age=0/);
    const over = await me(server.url, first);
    expect([over.status, over.json.error.data.problem.error]).toEqual([401, 'login_expired']);
    expect(over.headers['set-cookie']?.[0]).toMatch(/^prpm_login_\d+=; Max-Age=0/);
    const nobody = await viewer(server.url, first);
    expect([nobody.status, nobody.json.result.data]).toEqual([200, { viewer: null }]);
    expect(nobody.headers['set-cookie']?.[0]).toMatch(/^prpm_login_\d+=; Max-Age=0/);
    expect((await viewer(server.url, second)).json.result.data.viewer.username).toBe('Grace');

    const digest = `sha256(convert_to('${second.split('=')[1]}', 'UTF8'))`;
    const ends = async () =>
      (await house.database.owner.unsafe(`select expires_at from logins where token_hash = ${digest}`))[0]?.expires_at;
    const ask = async () =>
      (await house.database.app.unsafe(`select outcome from api.authenticate_login(${digest})`))[0]?.outcome;
    const age = (interval: string) =>
      house.database.owner.unsafe(`update logins set created_at = created_at - interval '${interval}',
        expires_at = expires_at - interval '${interval}' where token_hash = ${digest}`);
    await age('11 hours 50 minutes');
    expect(await ask()).toBe('ok');
    expect((await ends()) - Date.now()).toBeGreaterThan(11 * 3_600_000);
    await house.database.owner.unsafe(`update logins set created_at = core.now() - interval '14 days' + interval '1 hour'
      where token_hash = ${digest}`);
    expect(await ask()).toBe('ok');
    expect((await ends()) - Date.now()).toBeGreaterThan(11 * 3_600_000); // what was promised is kept
    await age('12 hours 1 minute');
    expect(await ask()).toBe('expired');
    await age('1 day');
    expect((await house.database.ops`select ops.forget_logins()::int as dropped`)[0]).toEqual({ dropped: 1 });
  });

  it('of somebody whose account is closed is no more', async () => {
    const person = await house.person('leaving');
    const text = 'a'.repeat(43);
    await house.database.app`select from api.begin_login(${person.userId}, sha256(convert_to(${text}, 'UTF8')))`;
    await house.database.ops`select from ops.close_user(${person.userId}, 'asked to leave')`;
    const { port } = new URL(server.url);
    const { status, json } = await me(server.url, `prpm_login_${port}=${text}`);
    expect([status, json.error.data.problem.error]).toEqual([403, 'account_closed']);
  });
});

describe('a demo', () => {
  it('lets anybody be one of its people, and nobody else', async () => {
    const options = await call(demo.url, 'GET', '/trpc/accounts.signInOptions');
    expect(options.json.result.data).toEqual({
      ...{ issuer: false, people: [{ userId: house.ada.userId, username: 'ada', about: 'tries things' }] },
    });
    const in_ = await post(demo.url, 'accounts.signInAs', { userId: house.ada.userId }, { origin: demo.url });
    expect((await me(demo.url, login(in_))).json.result.data.username).toBe('ada');
    const other = await post(demo.url, 'accounts.signInAs', { userId: house.bob.userId }, { origin: demo.url });
    expect([other.status, login(other)]).toEqual([404, '']);
  });

  it('is nowhere else: a server of its own asks the issuer', async () => {
    const answer = await post(server.url, 'accounts.signInAs', { userId: house.ada.userId }, { origin: server.url });
    expect(answer.status).toBe(404);
    const options = await call(server.url, 'GET', '/trpc/accounts.signInOptions');
    expect(options.json.result.data).toEqual({ issuer: true, people: [] });
  });
});
