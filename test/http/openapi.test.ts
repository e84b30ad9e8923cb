import { afterAll, expect, it } from 'vitest';
import { z } from 'zod';
import { routes } from '../../src/http/routes.ts';
import { call, openHouse } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { ada, bob, url } = house;
const { json: document } = await call(url, 'GET', '/api/v1/openapi.json');

it('is OpenAPI 3.1 and has every route of the table, each operation with a name of its own', () => {
  expect(document.openapi).toBe('3.1.0');
  for (const { method, path } of routes) {
    const there = document.paths[`/api/v1${path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`];
    expect(there?.[method.toLowerCase()], `${method} ${path}`).toBeDefined();
  }
  const names = Object.values<Record<string, Operation>>(document.paths).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  );
  const named = names.filter((name) => name !== undefined);
  expect(new Set(named).size).toBe(named.length);
});

it('names fields in snake_case', () => {
  const { properties, required } =
    document.paths['/api/v1/playground/execute'].post.requestBody.content['application/json'].schema;
  expect(Object.keys(properties)).toEqual(
    expect.arrayContaining([
      'package_id',
      'input',
      'package_version',
      'session_id',
      'use_no_prompt',
      'max_output_tokens',
      'stream',
    ]),
  );
  expect(required).toEqual(['input']);
  const plain = Object.entries(document.paths).filter(([path]) => !path.includes('/admin/'));
  expect(JSON.stringify(plain)).not.toMatch(/"(packageId|creditsSpent|nextCursor)"/);
});

it('names every field of an admin answer in both cases (spec 11.2)', () => {
  const { content } = document.paths['/api/v1/admin/cost-analytics/users'].get.responses[200];
  const { properties, required } = content['application/json'].schema;
  expect(Object.keys(properties).sort()).toEqual(['asOf', 'as_of', 'nextCursor', 'next_cursor', 'total', 'users']);
  expect([...required].sort()).toEqual(Object.keys(properties).sort());
});

it('tells the truth: every route answers what the document says', async () => {
  const run = await call(url, 'POST', '/api/v1/playground/execute', {
    token: ada.token,
    body: { package_id: 'haiku', input: 'hello' },
  });
  await house.database
    .ops`select from ops.set_user(${ada.userId}, is_admin => true, verified_author => true, reason => 'test')`;
  const [made] = await house.database.ops`
    select token from ops.create_token(${ada.userId}, 'test', ${['run', 'read', 'billing', 'publish', 'admin']})`;
  const token = String(made?.token);
  const [alert] = await house.database.owner`
    insert into alerts (kind, key, level, severity, subject, body, details, raised_at)
    values ('test', '', 1, 'warning', 'A test', 'Nothing', '{}', core.now()) returning id`;
  const [spare] = await house.database.ops`select id from ops.create_token(${ada.userId}, 'spare')`;
  const share = await call(url, 'POST', `/api/v1/playground/sessions/${run.json.session_id}/share`, {
    token: ada.token,
  });
  const ids: Record<string, string> = {
    shared: share.json.share_token,
    user: ada.userId,
    models: 'gpt-4o',
    alerts: String(alert?.id),
    runs: run.json.run_id,
    sessions: run.json.session_id,
    packages: house.packageId,
    tokens: String(spare?.id),
  };
  const bodies: Record<string, unknown> = {
    '/api/v1/packages': { name: 'limerick', version: '1.0.0', prompt: 'A limerick.' },
    '/api/v1/account/erase': {},
    '/api/v1/account/tokens': { name: 'laptop', scopes: ['read'] },
    '/api/v1/account/email-preferences': { credits: false },
    '/api/v1/custom-prompt/run': { custom_prompt: 'Write a limerick about it.', input: 'hello' },
    '/api/v1/playground/sessions/{id}/continue': { input: 'more' },
    '/api/v1/admin/cost-analytics/user/{id}/unthrottle': { reason: 'asked' },
    '/api/v1/admin/cost-analytics/alerts/{id}/acknowledge': { reason: 'at it' },
    '/api/v1/playground/sessions/{id}': { title: 'A poem' },
    '/api/v1/playground/sessions/{id}/feature': { is_featured: true },
    '/api/v1/playground/shared/{token}/feedback': { is_helpful: true },
    '/api/v1/playground/feedback': { session_id: run.json.session_id, exchange_index: 0, is_effective: true },
  };
  const all = Object.entries<Record<string, Operation>>(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ path, method, operation })),
  );
  // What deletes comes last, the deepest path first.
  const isLast = ({ path, method }: (typeof all)[number]) => (method === 'delete' ? 100 - path.length : -1000);
  for (const { path, method, operation } of all.sort((a, b) => isLast(a) - isLast(b))) {
    const there = path.replace(
      /\{\w+\}/,
      ids[path.split('/').at(-2) ?? ''] ?? ids[path.split('/').at(-3) ?? ''] ?? 'x',
    );
    const body =
      operation.requestBody === undefined ? {} : { body: bodies[path] ?? { package_id: 'haiku', input: 'hello' } };
    const { status, json, headers } = await call(url, method.toUpperCase(), there, {
      ...(!path.endsWith('/anonymous-run') && {
        token: path.endsWith('/feedback') && path.includes('shared') ? bob.token : token,
      }),
      ...body,
    });
    const described = operation.responses[status];
    expect(described, `${method} ${path} answered ${status}`).toBeDefined();
    const type = headers['content-type']?.split(';')[0] ?? '';
    const schema = described?.content?.[type]?.schema;
    expect(schema, `${method} ${path} answered ${type}`).toBeDefined();
    if (path.includes('/admin/')) expect(status, `${method} ${path}`).toBe(200);
    if (type === 'application/json')
      expect(() => z.fromJSONSchema(schema ?? {}).parse(json), `${method} ${path}`).not.toThrow();
  }
});

type Operation = {
  operationId?: string;
  requestBody?: unknown;
  responses: Record<string, { content?: Record<string, { schema: z.core.JSONSchema.JSONSchema }> }>;
};
