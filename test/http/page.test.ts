// How the page is served: what may be kept and for how long, in which form, and what it may do in a browser.
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildPage } from '../../web/build.ts';
import { call, type House, openHouse } from './house.ts';

let house: House;
let script: string;
beforeAll(async () => {
  await buildPage();
  house = await openHouse();
  script = /src="(\/assets\/index-[^"]+\.js)"/.exec((await get('/playground')).text)?.[1] ?? '';
}, 120_000);
afterAll(() => house.close());

const get = (path: string, headers: Record<string, string> = {}) => call(house.url, 'GET', path, { headers });

async function bytes(path: string, encoding: string): Promise<{ body: Buffer; encoding: string | null }> {
  // Without undoing what was done to it.
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const sent = request(`${house.url}${path}`, { headers: { 'accept-encoding': encoding } }, async (response) => {
      const pieces: Buffer[] = [];
      for await (const piece of response) pieces.push(piece);
      resolve({ body: Buffer.concat(pieces), encoding: response.headers['content-encoding'] ?? null });
    });
    sent.once('error', reject);
    sent.end();
  });
}

describe('the document', () => {
  it.each([
    '/playground',
    '/playground/shared/abc',
    '/packages/some/name',
    '/credits',
    '/account',
    '/admin/users',
    '/sign-in',
  ])('is answered at %s, and never kept without asking', async (path) => {
    const { status, headers, text } = await get(path);
    expect({ status, type: headers['content-type'], cache: headers['cache-control'] }).toEqual({
      ...{ status: 200, type: 'text/html; charset=utf-8', cache: 'no-cache' },
    });
    expect(text).toContain('<div id="root">');
  });

  it('runs scripts and styles of ours alone, by a nonce that is never the same', async () => {
    const [one, other] = await Promise.all([get('/playground'), get('/playground')]);
    const policy = String(one.headers['content-security-policy']);
    const nonce = /'nonce-([\w-]{20,})'/.exec(policy)?.[1] ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain(`script-src 'self' 'nonce-${nonce}'`);
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    const directives = policy.split('; ').map((one) => one.split(' '));
    // These do not fall back to default-src.
    expect(directives.map(([name]) => name)).toEqual(expect.arrayContaining(['base-uri', 'form-action']));
    for (const [name = '', ...sources] of directives) {
      const ours = ["'none'", "'self'", `'nonce-${nonce}'`, ...(name === 'img-src' ? ['data:'] : [])];
      for (const source of sources) expect([name, ours]).toEqual([name, expect.arrayContaining([source])]);
    }
    expect(one.text).toContain(`nonce="${nonce}"`);
    expect(one.text).not.toContain('__NONCE__');
    expect(other.headers['content-security-policy']).not.toBe(policy);
    expect(one.headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'same-origin' });
  });

  it('says that there is nothing, with 404, to a person who looks for a page that is none', async () => {
    const { status, text } = await get('/nonsense', { accept: 'text/html,*/*' });
    expect([status, text.includes('<div id="root">')]).toEqual([404, true]);
  });

  it('leads on from the paths of before (spec 11.2)', async () => {
    for (const [path, target] of [
      ['/', '/playground'],
      ['/playground/shared?token=a/b', '/playground/shared/a%2Fb'],
      ['/playground/credits/buy?package=medium', '/credits?buy=medium'],
      ['/playground/credits/subscribe', '/credits?subscribe=yes'],
      ['/playground?buyCredits=true', '/credits?buy=yes'],
      ['/playground?purchase=success', '/credits?checkout=latest'],
      ['/playground?subscription=success', '/credits?checkout=latest'],
      ['/pricing', '/credits'],
      ['/dashboard', '/author'],
      ['/login', '/sign-in'],
    ] as const) {
      const { status, headers } = await get(path);
      expect([path, status, headers.location]).toEqual([path, 302, target]);
    }
  });
});

describe('what the document loads', () => {
  it('is kept for ever: its name changes with what is in it', async () => {
    const { status, headers } = await get(script);
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      ...{ 'content-type': 'text/javascript; charset=utf-8', vary: 'accept-encoding' },
      'cache-control': 'public, max-age=31536000, immutable',
    });
  });

  it('comes as Brotli, as gzip or as it is, as the browser takes it', async () => {
    const [plain, br, gzip, refused] = await Promise.all(
      ['identity', 'gzip, deflate, br', 'gzip', 'br;q=0, gzip;q=0'].map((encoding) => bytes(script, encoding)),
    );
    expect([plain?.encoding, br?.encoding, gzip?.encoding, refused?.encoding]).toEqual([null, 'br', 'gzip', null]);
    expect(brotliDecompressSync(br?.body ?? '').equals(plain?.body ?? Buffer.alloc(0))).toBe(true);
    expect(gunzipSync(gzip?.body ?? '').equals(plain?.body ?? Buffer.alloc(0))).toBe(true);
    expect((br?.body.length ?? 0) * 3).toBeLessThan(plain?.body.length ?? 0);
  });

  it('is not there by another name, nor is anything else of the machine', async () => {
    for (const path of ['/assets/none.js', '/assets/../index.html', '/assets/%2e%2e/%2e%2e/package.json', '/assets/']) {
      expect([path, (await get(path, { accept: 'text/html' })).status]).toEqual([path, 404]);
    }
  });
});

describe('all else', () => {
  it('keeps its answers: unknown routes are 404 in JSON, whoever asks', async () => {
    for (const path of ['/api/v1/nothing', '/trpc/nothing', '/nonsense', '/auth/callback']) {
      const { status, headers, json } = await get(path, path === '/nonsense' ? {} : { accept: 'text/html' });
      expect([path, status, String(headers['content-type'])]).toEqual([path, 404, expect.stringContaining('json')]);
      expect(JSON.stringify(json)).toContain('route_not_found');
    }
    expect((await call(house.url, 'POST', '/playground', { body: {} })).status).toBe(404);
  });
});
