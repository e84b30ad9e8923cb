import { Validator } from '@seriousme/openapi-schema-validator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openProject } from '../client/project.ts';
import { call, openHouse } from './house.ts';

const house = await openHouse();
const project = openProject();
afterAll(async () => {
  project.remove();
  await house.close();
});

it('openapi.json is valid OpenAPI 3.1, with every name in a path declared (spec 11.2)', async () => {
  const { json: document } = await call(house.url, 'GET', '/api/v1/openapi.json');
  const validator = new Validator();
  const { valid, errors } = await validator.validate(document);
  expect(errors ?? []).toEqual([]);
  expect([valid, validator.version]).toEqual([true, '3.1']);
  for (const [path, operations] of Object.entries<Record<string, Operation>>(document.paths)) {
    for (const { parameters = [] } of Object.values(operations)) {
      const declared = parameters.filter((one) => one.in === 'path').map(({ name }) => `{${name}}`);
      expect(declared.sort(), path).toEqual([...(path.match(/\{\w+\}/g) ?? [])].sort());
    }
  }
});

describe('a client that is generated from openapi.json (openapi-typescript, openapi-fetch)', () => {
  // With a TypeScript of before its rewrite, which the generator needs.
  const tsc = 'node_modules/typescript/bin/tsc';
  const options = ['--module', 'nodenext', '--moduleResolution', 'nodenext'];
  beforeAll(async () => {
    await project.install('openapi-typescript@7.13.0', 'openapi-fetch@0.17.0', 'typescript@5.9.3');
    const args = ['node_modules/openapi-typescript/bin/cli.js', `${house.url}/api/v1/openapi.json`, '-o', 'api.d.ts'];
    await project.run(process.execPath, args);
  }, 180_000);

  it('compiles and runs: estimate, run, what was charged, and a refusal', async () => {
    project.write('main.ts', PROGRAM);
    await project.compile('main.ts', options, tsc);
    const environment = { BASE_URL: house.url, TOKEN: house.ada.token };
    const printed = JSON.parse(await project.run(process.execPath, ['compiled/main.js'], environment));
    expect(printed).toEqual({
      ...{ likely: 1, status: 'completed', spent: 1, asked: 'hello', limit: 1 },
      ...{ refused: 'package_not_found', said: 'There is no package nowhere.' },
    });
    expect(await house.audit()).toEqual([]);
  });

  it.each([
    ['a field that there is none of', "await api.POST('/api/v1/playground/run', { body: { inputs: 'x' } })"],
    ['a route that there is none of', "await api.GET('/api/v1/playground/nothing')"],
    ['a field of an answer that has none', "(await api.GET('/api/v1/playground/credits')).data?.nonsense"],
  ])('does not compile with %s', async (_, expression) => {
    project.write('wrong.ts', `${HEAD}\nexport const wrong = ${expression};\n`);
    await expect(project.compile('wrong.ts', options, tsc)).rejects.toThrow(/error TS/);
  });
});

type Operation = { parameters?: { name: string; in: string }[] };

/** `application/…`: JSON and problems, and not the streams that a run can be answered with. */
const HEAD = `import createClient from 'openapi-fetch';
import type { paths } from './api.js';

const { BASE_URL: baseUrl = '', TOKEN } = process.env;
const api = createClient<paths, \`application/\${string}\`>({ baseUrl, headers: { authorization: \`Bearer \${TOKEN}\` } });
`;

const PROGRAM = `${HEAD}
const body = { package_id: 'haiku', input: 'hello' };
const estimate = await api.POST('/api/v1/playground/estimate', { body });
const run = await api.POST('/api/v1/playground/execute', { body });
if (run.data === undefined) throw new Error(run.error.message);
const stored = await api.GET('/api/v1/playground/runs/{id}', { params: { path: { id: run.data.run_id } } });
const history = await api.GET('/api/v1/playground/credits/history', { params: { query: { limit: 1 } } });
const refused = await api.POST('/api/v1/playground/run', { body: { package_id: 'nowhere', input: 'x' } });

console.log(
  JSON.stringify({
    likely: estimate.data?.credits_likely,
    status: run.data.status,
    spent: run.data.credits_spent,
    asked: stored.data?.question,
    limit: history.data?.transactions.length,
    refused: refused.error?.error,
    said: refused.error?.message,
  }),
);
`;
