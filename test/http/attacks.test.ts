// Those who mean harm: forged and guessed tokens, requests that are not quite HTTP, addresses that are not theirs, and patience.
import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { OAuth2Server } from 'oauth2-mock-server';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningServer } from '../../src/server.ts';
import { soak } from '../proof/place.ts';
import { call, hold, openHouse, until } from './house.ts';

const house = await openHouse();
const { url, ada, bob } = house;
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
  expect(await house.audit()).toEqual([]);
  await house.close();
});

const execute = '/api/v1/playground/execute';
const credits = '/api/v1/playground/credits';
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const text = (part = '') => JSON.parse(Buffer.from(part, 'base64url').toString());

describe('a forged JWT (spec 2.2)', () => {
  const genuine = () =>
    issuer.issuer.buildToken({
      expiresIn: 60,
      scopesOrTransform: (_, payload) => Object.assign(payload, { aud: audience, sub: 'mallory' }),
    });
  const seen = (token: string) => call(server.url, 'GET', credits, { token });

  it('is refused, however it was forged, and makes nobody', async () => {
    const [head, payload] = (await genuine()).split('.');
    const header = text(head);
    const claims = text(payload);
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const published = await fetch(`${issuer.issuer.url}/jwks`).then(
      (answer): Promise<{ keys: [{ n: string }] }> => answer.json() as never,
    );
    const signed = (more: object, body: object = claims) => {
      const start = `${encode({ ...header, ...more })}.${encode(body)}`;
      return `${start}.${sign('sha256', Buffer.from(start), privateKey).toString('base64url')}`;
    };
    const hashed = (key: string) => {
      const start = `${encode({ ...header, alg: 'HS256' })}.${encode(claims)}`;
      return `${start}.${createHmac('sha256', key).update(start).digest('base64url')}`;
    };
    const forged = {
      'no algorithm': `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`,
      'no algorithm, in capitals': `${encode({ ...header, alg: 'NONE' })}.${encode(claims)}.x`,
      "another's key under the name of the issuer's": signed({}),
      'a key of a name that is not published': signed({ kid: 'mine' }),
      'its own key brought along': signed({ jwk: publicKey.export({ format: 'jwk' }) }),
      'its own address of keys': signed({ jku: 'https://mallory.example/jwks', x5u: 'https://mallory.example/x' }),
      'the published key taken for a shared secret': hashed(JSON.stringify(published.keys[0])),
      'its modulus taken for a shared secret': hashed(published.keys[0].n),
      'an extension that must be understood': signed({ crit: ['exp'], exp: 1 }),
      'a signature of nothing': `${head}.${payload}.`,
      'claims that were changed': `${head}.${encode({ ...claims, sub: 'ada' })}.${(await genuine()).split('.')[2]}`,
    };
    for (const [how, token] of Object.entries(forged)) {
      const { status, json } = await seen(token);
      expect([how, status, json.error]).toEqual([how, 401, 'invalid_token']);
    }
    expect(await house.database.owner`select from identities where subject in ('mallory', 'ada')`).toHaveLength(0);
    expect((await seen(await genuine())).status).toBe(200);
  });

  it('of a key that the issuer has taken up beside the old one is genuine: keys can be rotated', async () => {
    await issuer.issuer.keys.generate('RS256');
    const fresh = await house.another({ AUTH_ISSUER: issuer.issuer.url ?? '', AUTH_AUDIENCE: audience });
    const kids = new Set<string>();
    for (let token = 0; token < 4; token++) {
      const jwt = await genuine();
      kids.add(text(jwt.split('.')[0]).kid);
      expect((await call(fresh.url, 'GET', credits, { token: jwt })).status).toBe(200);
    }
    expect(kids.size).toBe(2);
  });
});

describe('a guessed token (spec 2.2)', () => {
  it('is answered as any other wrong one, however near it comes, and a hash is none', async () => {
    const near = ada.token.slice(0, -1) + (ada.token.endsWith('A') ? 'B' : 'A');
    const digest = createHash('sha256').update(ada.token).digest();
    const guesses = [
      ...[near, ada.token.slice(0, -1), `${ada.token}A`, ada.token.toUpperCase(), `prpm_${'A'.repeat(43)}`],
      ...[
        `prpm_${digest.toString('base64url')}`,
        `prpm_${digest.toString('hex')}`,
        `prpm_${randomBytes(24).toString('base64url')}`,
      ],
      ...["prpm_'OR'1'='1", 'prpm_%00', 'prpm_', ada.userId],
    ];
    const answers = await Promise.all(guesses.map((token) => call(url, 'GET', credits, { token })));
    const said = answers.map(({ status, json: { request_id: _, ...problem } }) =>
      JSON.stringify([status, problem.error]),
    );
    expect(new Set(said)).toEqual(new Set(['[401,"invalid_token"]']));
    const whole = answers.slice(0, 8).map(({ json: { request_id: _, ...problem } }) => problem);
    for (const problem of whole) expect(problem).toEqual(whole[0]);
  });

  it("of another's id opens nothing: what is not one's own is not there", async () => {
    const { json } = await call(url, 'POST', execute, {
      token: ada.token,
      body: { package_id: 'haiku', input: 'mine' },
    });
    const answers = await Promise.all(
      [`runs/${json.run_id}`, `runs/${json.run_id}/charge`, `sessions/${json.session_id}`, `runs/${ada.userId}`].map(
        (path) => call(url, 'GET', `/api/v1/playground/${path}`, { token: bob.token }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 404]);
  });
});

/** Bytes as they are, and all that comes back until the server hangs up or has nothing more to say. */
function raw(bytes: string): Promise<string> {
  const { port } = new URL(url);
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(bytes, 'latin1'));
    const done = () => {
      socket.destroy();
      resolve(answer);
    };
    socket.on('data', (piece) => {
      answer += piece.toString('latin1');
      if (/\r\n\r\n[\s\S]*\}$/.test(answer)) done();
    });
    socket.on('end', done).on('error', done);
  });
}

const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);
const host = 'Host: x\r\n';

describe('a request that is not quite one', () => {
  it.each([
    ['a path upwards', `GET /api/v1/../../etc/passwd HTTP/1.1\r\n${host}\r\n`, 404],
    ['a path upwards, encoded', `GET /api/v1/%2e%2e/%2e%2e/metrics HTTP/1.1\r\n${host}\r\n`, 404],
    ['a path with a NUL', `GET /api/v1/playground/runs/%00 HTTP/1.1\r\n${host}\r\n`, 400],
    ['a path that is not encoded right', `GET /api/v1/playground/shared/%zz HTTP/1.1\r\n${host}\r\n`, 404],
    ['a path with a quote', `GET /api/v1/playground/shared/'or'1'='1 HTTP/1.1\r\n${host}\r\n`, 404],
    ['two slashes', `GET //api/v1/playground/credits HTTP/1.1\r\n${host}\r\n`, 404],
    ["another host's address", `GET http://metadata.internal/latest HTTP/1.1\r\n${host}\r\n`, 404],
    ['no host', 'GET /healthz HTTP/1.1\r\n\r\n', 400],
    ['two lengths', `POST ${execute} HTTP/1.1\r\n${host}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, 400],
    [
      'a length and chunks',
      `POST ${execute} HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
      400,
    ],
    ['chunks that are none', `POST ${execute} HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
    ['a header on two lines', `GET /healthz HTTP/1.1\r\n${host}X-A: b\r\n c: d\r\n\r\n`, 400],
    ['a header with a NUL', `GET /healthz HTTP/1.1\r\n${host}X-A: \0\r\n\r\n`, 400],
    ['headers of 20 kB', `GET /healthz HTTP/1.1\r\n${host}X-A: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['a method that is none', `PRPM /healthz HTTP/1.1\r\n${host}\r\n`, 400],
    ['another protocol', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
  ])('(%s) is refused, and tells nothing of the inside', async (_, bytes, expected) => {
    const answer = await raw(bytes);
    expect(statusOf(answer)).toBe(expected);
    expect(answer).not.toMatch(/node_modules|\.ts:\d|at .*\(|select |postgres:/i);
    expect((await call(url, 'GET', '/healthz')).status).toBe(200);
  });

  it('cannot put words into the answer or take over an id: what it names itself by is checked', async () => {
    const answer = await raw(
      `GET /healthz HTTP/1.1\r\n${host}X-Request-Id: <b>hello</b> hello\r\nX-Forwarded-Host: evil.example\r\n\r\n`,
    );
    expect(answer).toMatch(/x-request-id: [0-9a-f-]{36}\r\n/i);
    expect(answer).not.toMatch(/evil|<b>/);
  });

  it('cannot be another by headers: method, user and scheme are what they are', async () => {
    const headers = {
      'x-http-method-override': 'DELETE',
      'x-user-id': ada.userId,
      'x-original-url': '/metrics',
      forwarded: 'for=1.2.3.4',
    };
    expect((await call(url, 'GET', credits, { headers })).status).toBe(401);
    expect((await call(url, 'GET', '/healthz', { headers })).json).toEqual({ status: 'ok' });
    const two = await raw(
      `GET ${credits} HTTP/1.1\r\n${host}Authorization: Bearer ${ada.token}\r\nAuthorization: Bearer x\r\n\r\n`,
    );
    expect(statusOf(two)).toBe(200); // the first counts, and only the first
    expect(two).toContain('"balance"');
  });

  it.each([
    ['too large', JSON.stringify({ packageId: 'haiku', input: 'x'.repeat(300_000) }), 413],
    ['too deep', `${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}`, 400],
    ['too wide', JSON.stringify({ packageId: 'haiku', input: Array.from({ length: 60_000 }, () => 1) }), 400],
    ['no JSON', '{"packageId":', 400],
  ])('to tRPC (%s) is refused with our own words, too', async (_, body, expected) => {
    const { status, text: said } = await call(url, 'POST', '/trpc/runs.execute', { token: ada.token, body });
    expect(status).toBe(expected);
    expect(said).not.toMatch(/node_modules|\.ts:\d/);
  });
});

describe('a text that PostgreSQL does not take', () => {
  it('is refused by whatever door it comes, and costs nobody else an answer', async () => {
    const narrow = await house.another({ DATABASE_POOL: '1' });
    const asked = { token: ada.token, body: { package_id: 'haiku', input: 'mine' } };
    expect((await call(narrow.url, 'POST', execute, asked)).status).toBe(200);
    const doors = [
      () => call(narrow.url, 'POST', '/api/v1/unsubscribe?token=%00'),
      () =>
        call(narrow.url, 'POST', execute, {
          token: bob.token,
          body: { package_id: 'haiku', input: 'his', variables: { 'a\0b': 'x' } },
        }),
    ];

    const row = await hold(house.database, (sql) => sql`select from users where id = ${ada.userId} for update`);
    const mine = call(narrow.url, 'POST', execute, asked);
    const answers = [];
    // Before, beside and after the statement that waits, on the one connection that there is.
    do answers.push(...doors.map((open) => open()));
    while ((await row.waiting()) === 0);
    answers.push(...doors.map((open) => open()));
    await row.letGo();

    const answer = await mine;
    expect([answer.status, answer.json.status]).toEqual([200, 'completed']);
    for (const { status, json, headers } of await Promise.all(answers)) {
      expect([status, json.error, headers['content-type']]).toEqual([
        400,
        'validation_error',
        'application/problem+json',
      ]);
      expect(json.message).toMatch(/NUL/);
    }
  });
});

describe("an address that is not one's own (spec 5.9)", () => {
  it('counts for nothing where no proxy is trusted: one address, one count', async () => {
    await house.database.owner`update settings set visitor_reads_per_minute = 3`;
    const visit = (n: number) =>
      call(url, 'GET', `/api/v1/playground/packages/${house.packageId}/top-results`, {
        headers: {
          'x-forwarded-for': `203.0.113.${n}`,
          'x-real-ip': `203.0.113.${n}`,
          'cf-connecting-ip': `203.0.113.${n}`,
        },
      });
    const answers = [];
    for (let n = 1; n <= 8; n++) answers.push((await visit(n)).status);
    await house.database.owner`update settings set visitor_reads_per_minute = default`;
    // A minute may turn in between, once.
    expect(answers.filter((status) => status === 429).length).toBeGreaterThanOrEqual(2);
    expect(answers.filter((status) => status === 200).length).toBeLessThanOrEqual(6);
  });
});

describe('a client that takes its time', () => {
  const sockets: Socket[] = [];
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
  });
  const slow = (bytes: string) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(bytes));
    socket.on('error', () => {});
    sockets.push(socket);
    return socket;
  };

  it('holds up nobody: with hundreds of half requests open, others are answered and run things', async () => {
    for (let n = 0; n < 150; n++) slow(`POST ${execute} HTTP/1.1\r\n${host}X-Slow: `);
    for (let n = 0; n < 150; n++)
      slow(
        `POST ${execute} HTTP/1.1\r\n${host}Authorization: Bearer ${ada.token}\r\nContent-Length: 100\r\n\r\n{"package_id"`,
      );
    await until(() => sockets.every((socket) => !socket.connecting));
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        call(url, 'POST', execute, { token: bob.token, body: { package_id: 'haiku', input: 'hi' } }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(
      await house.database.owner`select from runs where user_id = ${ada.userId} and status = 'running'`,
    ).toHaveLength(0);
  });

  // A minute of waiting is for the long form.
  if (soak) {
    it('is cut off after a minute, and half another', async () => {
      const began = slow(`GET /healthz HTTP/1.1\r\n${host}X-Slow: `);
      await until(() => began.closed || began.readableEnded, 120_000);
    }, 150_000);
  }
});
