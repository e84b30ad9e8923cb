import { afterAll, expect, it } from 'vitest';
import { z } from 'zod';
import { routes } from '../../src/http/routes.ts';
import { call, openHouse } from './house.ts';
import { type Operation, openWalk } from './walk.ts';

const house = await openHouse();
afterAll(() => house.close());
const { url } = house;
const { document, steps, tokenFor } = await openWalk(house);

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
  for (const { path, method, there, operation, body } of steps) {
    const token = tokenFor(path);
    const { status, json, headers } = await call(url, method, there, { ...(token && { token }), body });
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
