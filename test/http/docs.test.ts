import { hash } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { registry } from '../../src/errors/registry.ts';
import { routes } from '../../src/http/routes.ts';
import { call, openHouse } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { text, status, headers } = await call(house.url, 'GET', '/docs');

describe('/docs (spec 11.2)', () => {
  it('is a page for anybody, of every route and every error', () => {
    expect(status).toBe(200);
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    for (const { path, summary } of routes) {
      expect(text).toContain(`<code>/api/v1${path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}')}</code>`);
      expect(text).toContain(summary.replaceAll("'", '&#39;'));
    }
    for (const code of Object.keys(registry)) expect(text).toContain(`<code>${code}</code>`);
  });

  it('says of each field what it may be', () => {
    const row = /<tr><th scope="row"><code>input<\/code><\/th>.*?<\/tr>/.exec(text)?.[0];
    expect(row).toMatch(/<td>required<\/td><td>The text to run the package on. 1 to 10,000 characters.<\/td>/);
    expect(text).toContain('<code>limits.daily.used</code>');
    expect(text).toContain('<h4><code>output.delta</code></h4>');
    expect(text).not.toMatch(/undefined|\[object|NaN/);
  });

  it('shows a call of each route with as many entries as it takes', () => {
    const call = /<pre[^>]*>curl[^<]*\/playground\/compare&quot;[^<]*<\/pre>/.exec(text)?.[0];
    expect(call).toContain('&quot;sides&quot;:[{},{}]');
  });

  it('runs no script, loads nothing, and may be framed by nobody', () => {
    const policy = headers['content-security-policy'];
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(text).not.toMatch(/<script|<link|<img|\son\w+=|style="|src=/);
    const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(text) ?? [];
    expect(policy).toContain(`'sha256-${hash('sha256', style, 'base64')}'`);
  });

  it('has no name twice', () => {
    const ids = [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(ids.length).toBeGreaterThan(routes.length);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('takes GET and no other method', async () => {
    expect((await call(house.url, 'POST', '/docs')).status).toBe(405);
  });
});
