// Types what docs/cli.md shows, in its order, against a demo that has just been made, and compares by the rules that it states.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Demo, demoDirectory, hasCurl, removeDemo, root, startDemo } from '../guide/demo.ts';
import { alike, openShell, patternOf, typedIn, withoutFigures } from './transcript.ts';

const text = readFileSync(join(root, 'docs/cli.md'), 'utf8');
/** These change nothing, so they can be typed until what Stripe's stand-in tells has arrived. */
const isReading = /^prpm-playground (credits|history|subscribe status|admin (summary|users|alerts|jobs))/;

describe.skipIf(!hasCurl)('docs/cli.md (spec 10.9)', () => {
  const directory = demoDirectory();
  let demo: Demo;
  let shell: ReturnType<typeof openShell>;
  beforeAll(async () => {
    demo = await startDemo(directory);
    const home = join(directory, 'person');
    mkdirSync(home);
    const env = { ...demo.env, PATH: process.env.PATH, HOME: home, TZ: 'UTC' };
    shell = openShell(home, env, join(root, 'cli/main.ts'));
  }, 120_000);
  afterAll(async () => {
    shell?.close();
    await demo?.stop();
    removeDemo(directory);
  });

  it.each(typedIn(text))('line $line: $command', async ({ command, printed, heading }) => {
    const isLoose = heading === 'For administrators';
    const same = (output: string) => (isLoose ? withoutFigures(alike(output)) : alike(output));
    const type = async () => same(await shell.type(command));
    const pattern = patternOf(same(printed));
    if (isReading.test(command)) await expect.poll(type, { timeout: 15_000, interval: 300 }).toMatch(pattern);
    else expect(await type()).toMatch(pattern);
  });

  it('shows every command that there is', async () => {
    const help = await shell.type('prpm-playground --help');
    const names = [...help.matchAll(/^ {2}(\w+)(?: \[| {2}| <)/gm)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(10);
    for (const name of names) expect(text).toContain(`prpm-playground ${name}`);
  });
});
