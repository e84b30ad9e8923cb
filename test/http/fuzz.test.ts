// Hostile values in every place of every request: routes, procedures, the webhook, and the functions that the server may call.
import fc from 'fast-check';
import type postgres from 'postgres';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { appRouter } from '../../src/trpc/_app.ts';
import { openShop } from '../stripe/shop.ts';
import { type Answer, call, openHouse } from './house.ts';
import { openWalk, type Step } from './walk.ts';

const soak = process.env.SOAK === '1';
const tries = soak ? 100 : 5;
/** The short form tries the same values each time: what is new is found by the long one, and not by who changed something else. */
const seed = soak ? {} : { seed: 20_261_127 };

const shop = await openShop({ now: new Date() });
const house = await openHouse();
const { url } = await house.another({
  STRIPE_SECRET_KEY: shop.stripe.secretKey,
  STRIPE_API_BASE: shop.stripe.url,
  STRIPE_PLAYGROUND_WEBHOOK_SECRET: 'whsec_fuzz',
  ALLOWED_RETURN_ORIGINS: 'http://localhost:3000',
});
const { ada, bob, database } = house;
await database.owner`update settings set purchases_per_minute = 100000`;
const { steps, token, tokenFor } = await openWalk({ ...house, url });
const counts = new Map<string, number>();
function count(what: string): void {
  counts.set(what, (counts.get(what) ?? 0) + 1);
}
afterAll(async () => {
  console.log([...counts].map(([what, n]) => `${what} ${n}`).join(', '));
  await house.close();
  await shop.stripe.stop();
});
afterEach(async () => {
  expect(await house.audit()).toEqual([]);
  expect((await call(url, 'GET', '/healthz')).status).toBe(200);
});

// ── values ──

const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);
const text = fc.oneof(
  fc.constantFrom(
    ...[
      '',
      ' ',
      '\u0000',
      'a\u0000b',
      '\ud800',
      "' or 1=1 --",
      "'; drop table users; --",
      '$1',
      '%s%n',
      '../../etc/passwd',
    ],
    ...[
      '<script>alert(1)</script>',
      '{{constructor}}',
      '__proto__',
      '\u202e\u200b',
      'NaN',
      'Infinity',
      '-infinity',
      '1e400',
    ],
    ...[
      '0',
      '-1',
      '9223372036854775808',
      '2027-13-45',
      '[2020-01-01,)',
      '{}',
      '{"',
      'x'.repeat(70_000),
      '🧨'.repeat(3_000),
    ],
  ),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.uuid(),
);
const value: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 3, arbitrary: text },
  fc.constantFrom(null, true, false, 0, -0, -1, 0.5, 1e308, -1e308, 2 ** 31, 2 ** 53, 2 ** 63, [], {}, [[]], deep(300)),
  fc.array(text, { maxLength: 3 }),
  fc.dictionary(text, text, { maxKeys: 3 }),
  fc.jsonValue(),
);
const bodyOf = (good: unknown): fc.Arbitrary<unknown> => {
  const fields = Object.keys(Object(good));
  if (fields.length === 0) return value;
  return fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constantFrom(...fields), value).map(([field, bad]) => ({ ...Object(good), [field]: bad })),
    },
    fc.tuple(text, value).map(([field, bad]) => ({ ...Object(good), [field]: bad })),
    fc.constantFrom(...fields).map((field) => ({ ...Object(good), [field]: undefined })),
    value,
  );
};

// ── what every answer must be ──

/** Nothing that was refused tells how the inside is made. */
function expectFit(asked: string, { status, text: said, json, headers }: Answer): void {
  count(String(status));
  const shown = `${asked} → ${status} ${said.slice(0, 400)}`;
  expect(status === 503 ? json?.error : status < 500, shown).toSatisfy(
    (fine) => fine === true || /_not_configured$|^billing_/.test(String(fine)),
  );
  if (status < 400) return;
  expect(said, shown).not.toMatch(/\bat \S+:\d+|PostgresError|syntax error|relation "|core\.|plpgsql|node_modules/);
  if (!headers['content-type']?.includes('problem+json')) return;
  expect(json, shown).toMatchObject({
    status,
    error: expect.stringMatching(/^[a-z_]+$/),
    message: expect.stringMatching(/\S/),
  });
}

const dangerous = /erase|\/tokens\/|unthrottle/;
const walked = steps.filter(
  ({ path, method }) => !dangerous.test(path) && !(method === 'DELETE' && /sessions\/\{id\}$/.test(path)),
);
const names = (step: Step, at: 'query' | 'path') => (step.operation.parameters ?? []).filter((one) => one.in === at);

describe('hostile values', () => {
  it.each(walked.map((step) => [step.method, step.path, step] as const))(
    '%s %s: in the body, the path and the query',
    async (method, path, step) => {
      const queries = names(step, 'query').map(({ name }) => name);
      const one = fc.record({
        body:
          step.body === undefined ? fc.constant(undefined) : fc.option(bodyOf(step.body), { nil: step.body, freq: 4 }),
        query:
          queries.length === 0 ? fc.constant({}) : fc.dictionary(fc.constantFrom(...queries), text, { maxKeys: 2 }),
        there: path.includes('{') ? fc.option(text, { nil: null, freq: 3 }) : fc.constant(null),
        raw: fc.option(
          fc.constantFrom(
            '{',
            '[',
            '"',
            '{"a":1}}',
            '\ufeff{}',
            'null',
            '{"input":1,"input":2}',
            '['.repeat(100_000),
            Buffer.from([0xff, 0xfe]),
          ),
          { nil: null, freq: 8 },
        ),
      });
      await fc.assert(
        fc.asyncProperty(one, async ({ body, query, there, raw }) => {
          const search = new URLSearchParams(JSON.parse(JSON.stringify(query).toWellFormed())).toString();
          const place =
            there === null
              ? step.there
              : path.replace(/\{\w+\}/g, encodeURIComponent(there.slice(0, 1_000).toWellFormed()));
          const sent = raw ?? (body === undefined ? undefined : JSON.stringify(body));
          const answer = await call(url, method, `${place}${search === '' ? '' : `?${search.slice(0, 6_000)}`}`, {
            ...(sent !== undefined && step.body !== undefined && { body: sent }),
            token: tokenFor(path),
          });
          expectFit(`${method} ${place} ${String(sent).slice(0, 300)}`, answer);
        }),
        { ...seed, numRuns: tries, endOnFailure: true },
      );
    },
    60_000,
  );

  const procedures = Object.entries<{ _def: { type: string } }>(appRouter._def.procedures as never).filter(
    ([name, { _def }]) => _def.type !== 'subscription' && !/erase|revoke/i.test(name),
  );
  it.each(procedures.map(([name, { _def }]) => [name, _def.type] as const))(
    '%s over tRPC (%s)',
    async (name, type) => {
      const input = fc.oneof(
        value,
        fc.dictionary(
          fc.constantFrom(
            'id',
            'packageId',
            'input',
            'sessionId',
            'cursor',
            'limit',
            'userId',
            'model',
            'runId',
            'reason',
            'name',
          ),
          value,
          { maxKeys: 4 },
        ),
      );
      await fc.assert(
        fc.asyncProperty(input, async (given) => {
          const json = JSON.stringify(given);
          const isQuery = type === 'query';
          const path = isQuery
            ? `/trpc/${name}?input=${encodeURIComponent(json.slice(0, 4_000).toWellFormed())}`
            : `/trpc/${name}`;
          const answer = await call(url, isQuery ? 'GET' : 'POST', path, {
            token,
            ...(!isQuery && { body: json, headers: { 'content-type': 'application/json' } }),
          });
          expectFit(`${name} ${json.slice(0, 300)}`, answer);
        }),
        { ...seed, numRuns: tries, endOnFailure: true },
      );
    },
    60_000,
  );

  it('the webhook: whatever is sent without a good signature is 400 or 413 and is kept nowhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          value.map((one) => Buffer.from(JSON.stringify(one))),
        ),
        text,
        async (bytes, signature) => {
          const answer = await call(url, 'POST', '/api/v1/playground/webhooks/stripe/credits', {
            body: Buffer.from(bytes),
            headers: { 'stripe-signature': signature.replace(/[^\x20-\x7e]/g, '').slice(0, 500) },
          });
          expect([400, 413]).toContain(answer.status);
        },
      ),
      { ...seed, numRuns: tries * 5, endOnFailure: true },
    );
    expect(await database.owner`select from stripe_events`).toHaveLength(0);
  });
});

// ── the functions ──

type Routine = { schema: string; name: string; arguments: string[]; types: string[] };
const routines = await database.owner<Routine[]>`
  select p.proname as name, p.pronamespace::regnamespace::text as schema,
    coalesce(p.proargnames[1:p.pronargs], '{}') as arguments,
    coalesce((select array_agg(format_type(t, null) order by n) from unnest(p.proargtypes) with ordinality x (t, n)), '{}') as types
  from pg_proc p where p.prokind = 'f' and p.pronamespace in ('api'::regnamespace, 'ops'::regnamespace) order by 1`;

const some = (...values: unknown[]) => fc.constantFrom(...values);
const clean = text.map((one) => one.replaceAll('\u0000', '').toWellFormed());
const [mine] = await database.owner`
  select r.id as run, r.session_id as session, r.package_id as package from runs r where r.user_id = ${ada.userId} limit 1`;
const ids = some(
  null,
  ada.userId,
  bob.userId,
  mine?.run,
  mine?.session,
  mine?.package,
  crypto.randomUUID(),
  '00000000-0000-0000-0000-000000000000',
);
const numbers = some(null, 0, 1, -1, 2, 100, 2 ** 31 - 1, -(2 ** 31));
const byType: Record<string, fc.Arbitrary<unknown>> = {
  text: fc.oneof(clean, some(null, 'haiku', 'sonnet', 'small', 'free', 'cancel', 'completed', '1.0.0')),
  uuid: ids,
  bigint: fc.oneof(numbers, some('9223372036854775807', '-9223372036854775808')),
  integer: numbers,
  smallint: some(null, 0, 1, -1, 32_767),
  numeric: some(null, '0', '-1', '0.0000001', '1e300', 'NaN', 'Infinity'),
  'double precision': some(null, 0, -1, 1e308, 'NaN', 'Infinity'),
  boolean: some(null, true, false),
  json: some(null, '{}', '[]', 'null', '1', '"x"', '{"a":[{}]}', JSON.stringify(deep(500))),
  jsonb: some(
    null,
    '{}',
    '[]',
    'null',
    '1',
    '"x"',
    '{"a":[{}]}',
    '{"id":"x","status":"active"}',
    JSON.stringify(deep(500)),
  ),
  'timestamp with time zone': some(null, 'infinity', '-infinity', '2027-01-01', '0001-01-01', '290000-01-01'),
  date: some(null, 'infinity', '2027-01-01', '0001-01-01'),
  interval: some(null, '0', '-1 day', '1000 years'),
  bytea: some(null, '\\x', '\\xdeadbeef'),
  inet: some(null, '0.0.0.0', '::1'),
  tstzrange: some(null, 'empty', '(,)'),
};
const byArray = (type: string) =>
  some(
    null,
    '{}',
    '{null}',
    ...(type === 'text[]' ? ['{x}', '{run}', '{"",a}'] : type === 'uuid[]' ? [`{${ada.userId}}`] : ['{0}', '{-1,2}']),
  );

/** Operators are told in our own words. What a server asks has been read by a schema, so that a value out of its kind will do. */
const isClear = (schema: string, code: string) => (schema === 'ops' ? /^PR/ : /^(PR|22|23)/).test(code);

describe('the functions that may be called', () => {
  const called = routines.filter(({ name }) => !/erase_user|close_user/.test(name));
  it.each(called.map((routine) => [`${routine.schema}.${routine.name}`, routine] as const))(
    '%s',
    async (_, { name, schema, arguments: args, types }) => {
      const arbitraries = types.map(
        (type) => (type.endsWith('[]') ? byArray(type) : byType[type]) ?? expect.fail(`no values of type ${type}`),
      );
      const slots = types.map((type, i) => `"${args[i]}" => $${i + 1}::text::${type}`).join(', ');
      await fc.assert(
        fc.asyncProperty(fc.tuple(...arbitraries), async (values) => {
          const parameters = values.map((one) => (one === null ? null : String(one)));
          await database[schema === 'api' ? 'app' : 'ops']
            .unsafe(`select * from ${schema}.${name}(${slots})`, parameters as postgres.ParameterOrJSON<never>[])
            .then(
              () => count('done'),
              (error: { code: string; message: string }) => {
                count(error.code);
                expect(error.code, `${name}(${JSON.stringify(parameters).slice(0, 500)}): ${error.message}`).toSatisfy(
                  (code: string) => isClear(schema, code),
                );
              },
            );
        }),
        { ...seed, numRuns: tries * 4, endOnFailure: true },
      );
    },
    60_000,
  );
});
