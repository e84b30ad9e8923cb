import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readEnvironment } from '../../src/config/environment.ts';
import { environmentExample, examplePath } from '../../src/config/write-example.ts';
import { registry } from '../../src/errors/registry.ts';
import { docsPath, errorsPage } from '../../src/errors/write-docs.ts';

const root = resolve(import.meta.dirname, '../..');
const files = (directory: string, ending: string) =>
  readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => readFileSync(join(root, directory, name), 'utf8'));

describe('docs/errors.md', () => {
  it('is the registry (node src/errors/write-docs.ts writes it)', () => {
    expect(readFileSync(docsPath, 'utf8')).toBe(errorsPage());
  });

  it('has every code that the database refuses with, with its status', () => {
    const refusals = files('db/fixtures', '.sql').flatMap((sql) => [
      ...sql.matchAll(/describe_refusal\('([a-z_]+)', (\d{3})/g),
    ]);
    expect(refusals.length).toBeGreaterThan(15);
    for (const [, code = '', status] of refusals)
      expect(registry, code).toHaveProperty(code, expect.arrayContaining([Number(status)]));
  });

  it('has every SQLSTATE of our own that leaves the database', () => {
    const raised = new Set(files('db/fixtures', '.sql').flatMap((sql) => sql.match(/'PR[1-9]\d\d'/g) ?? []));
    expect(raised.size).toBeGreaterThan(3);
    const page = errorsPage();
    for (const code of raised) expect(page).toContain(code.replaceAll("'", '`'));
  });

  it('has every code that the server writes, and the server writes none beside it', () => {
    const written = files('src', '.ts').flatMap((code) => [...code.matchAll(/new Failure\(\s*'([a-z_]+)'/g)]);
    expect(written.length).toBeGreaterThan(10);
    for (const [, code = ''] of written) expect(Object.keys(registry)).toContain(code);
  });
});

describe('the environment (spec 11.5)', () => {
  const good = { APP_DATABASE_URL: 'postgres://prpm_app:x@localhost/prpm' };

  it('.env.example is its schema (node src/config/write-example.ts writes it)', () => {
    expect(readFileSync(examplePath, 'utf8')).toBe(environmentExample());
  });

  it('needs one variable; the rest has defaults or is optional', () => {
    expect(readEnvironment(good)).toMatchObject({
      PORT: 3000,
      HOST: '0.0.0.0',
      DATABASE_POOL: 3,
      LOG_LEVEL: 'info',
      TRUSTED_PROXIES: [],
    });
    expect(() => readEnvironment({})).toThrow(/^APP_DATABASE_URL is missing/);
  });

  it("takes the guide's placeholders for missing keys", () => {
    const environment = readEnvironment({
      ...good,
      STRIPE_SECRET_KEY: 'sk_live_xxxxxxxxxxxxx',
      STRIPE_PRPM_PLUS_PRICE_ID: 'price_xxxxxxxxxxxxx',
      STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID: 'price_yyyyyyyyyyy',
      STRIPE_PLAYGROUND_WEBHOOK_SECRET: 'whsec_zzzzzzzzzzzzzz',
      STRIPE_SMALL_PACK_PRICE_ID: 'price_aaaaaaaaaaaa',
      STRIPE_MEDIUM_PACK_PRICE_ID: 'price_bbbbbbbbbbbb',
      STRIPE_LARGE_PACK_PRICE_ID: 'price_cccccccccccc',
      ANTHROPIC_API_KEY: 'sk-ant-xxxxxxxxxxxxx',
      OPENAI_API_KEY: 'sk-xxxxxxxxxxxxx',
    });
    const keys = Object.keys(environment).filter((name) => /KEY|PRICE|SECRET/.test(name));
    expect(keys.filter((name) => Reflect.get(environment, name) !== undefined)).toEqual([]);
    expect(readEnvironment({ ...good, STRIPE_SECRET_KEY: 'sk_test_51Hx9' }).STRIPE_SECRET_KEY).toBe('sk_test_51Hx9');
  });

  it.each([
    [{ APP_DATABASE_URL: 'mysql://x' }, /^APP_DATABASE_URL .*postgres:\/\//],
    [{ ...good, PORT: 'eighty' }, /^PORT is not a whole number; choose one from 0 to 65535/],
    [{ ...good, PORT: '70000' }, /^PORT is out of range/],
    [{ ...good, NODE_ENV: 'prod' }, /^NODE_ENV is none of development, test, production/],
    [{ ...good, STRIPE_SECRET_KEY: 'pk_live_123' }, /^STRIPE_SECRET_KEY does not look like such a key/],
    [{ ...good, ANTHROPIC_BASE_URL: 'localhost:8080' }, /^ANTHROPIC_BASE_URL is not a URL/],
    [{ ...good, AUTH_ISSUER: 'https://x.example.com' }, /^AUTH_AUDIENCE is missing, but AUTH_ISSUER is set/],
    [
      { ...good, ALLOWED_RETURN_ORIGINS: 'https://x.example.com/path' },
      /^ALLOWED_RETURN_ORIGINS has an entry that is no origin/,
    ],
    [{ ...good, TRUSTED_PROXIES: 'proxy' }, /^TRUSTED_PROXIES has an entry/],
  ])('%o stops the start and says why', (variables, message) => {
    expect(() => readEnvironment(variables)).toThrow(message);
    try {
      readEnvironment(variables);
    } catch (error) {
      expect(String(error)).not.toContain('pk_live_123');
    }
  });
});
