import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openHouse } from '../http/house.ts';
import { startCli } from './house.ts';

const house = await openHouse();
const scratch = mkdtempSync(join(tmpdir(), 'prpm-cli-'));
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await house.close();
});
const environment = { PRPM_URL: house.url, PRPM_TOKEN: house.ada.token };
const publish = (path: string) => startCli(['packages', 'publish', path], environment).ended;

function folder(name: string, files: Record<string, string>): string {
  const path = join(scratch, name);
  mkdirSync(path);
  for (const [file, text] of Object.entries(files)) writeFileSync(join(path, file), text);
  return path;
}
const manifest = (fields: object) => JSON.stringify({ name: 'limerick', version: '1.0.0', ...fields });

describe('packages publish (spec 10.6)', () => {
  it('publishes a folder with its prpm.json, and again without harm; then it can be run', async () => {
    const path = folder('limerick', {
      'prpm.json': manifest({ description: 'Limericks', files: ['prompt.md'] }),
      'prompt.md': 'Answer as a limerick.',
    });
    expect(await publish(path)).toEqual({ code: 0, out: 'Published limerick: 1.0.0\n', err: '' });
    expect((await publish(join(path, 'prpm.json'))).code).toBe(0);
    expect((await startCli(['run', '-p', 'limerick', 'tea'], environment).ended).code).toBe(0);

    writeFileSync(join(path, 'prompt.md'), 'Answer as a sonnet.');
    const changed = await publish(path);
    expect([changed.code, changed.err]).toEqual([1, expect.stringMatching(/^error: .*1\.0\.0/)]);
  });

  it('publishes several versions, each from its file, and a Markdown file with front matter', async () => {
    const path = folder('many', {
      'prpm.json': JSON.stringify({
        name: 'many',
        versions: [
          { version: '1.0.0', file: '1.md' },
          { version: '1.1.0', file: '2.md' },
        ],
      }),
      '1.md': 'First.',
      '2.md': 'Second.',
    });
    expect((await publish(path)).out).toBe('Published many: 1.0.0, 1.1.0\n');
    writeFileSync(join(path, 'one.md'), '---\nname: one-file\nversion: 2.0.0\n---\nBe brief.\n');
    expect((await publish(join(path, 'one.md'))).out).toMatch(/^Published one\.md: 2\.0\.0\n$/);
  });

  it('sends nothing that lies outside of the folder, by its name or by a link', async () => {
    writeFileSync(join(scratch, 'secret.txt'), 'a key');
    const sneaky = folder('sneaky', { 'prpm.json': manifest({ name: 'sneaky', files: ['../secret.txt'] }) });
    expect(await publish(sneaky)).toMatchObject({ code: 2, err: expect.stringContaining('not in its folder') });
    const linked = folder('linked', { 'prpm.json': manifest({ name: 'linked', files: ['prompt.md'] }) });
    symlinkSync(join(scratch, 'secret.txt'), join(linked, 'prompt.md'));
    expect(await publish(linked)).toMatchObject({ code: 2, err: expect.stringContaining('not in its folder') });
    expect((await startCli(['packages', 'show', 'sneaky'], environment).ended).code).toBe(1);
  });

  it.each([
    ['nothing there', 'nowhere', /There is no .*nowhere/],
    ['no prpm.json', folder('empty', {}), /prpm\.json is not there/],
    ['no JSON', folder('broken', { 'prpm.json': '{' }), /no JSON object/],
    [
      'a file that is not there',
      folder('lacks', { 'prpm.json': manifest({ main: 'x.md' }) }),
      /x\.md, which is not there/,
    ],
    [
      'a field that is wrong',
      folder('wrong', { 'prpm.json': manifest({ version: 'one', main: 'a.md' }), 'a.md': 'A' }),
      /version/,
    ],
  ])('says what is wrong: %s', async (_, path, said) => {
    expect(await publish(path)).toMatchObject({ code: 2, out: '', err: expect.stringMatching(said) });
  });
});
