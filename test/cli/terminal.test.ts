import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, describe, expect, it } from 'vitest';
import { openScreen } from '../../cli/terminal.ts';
import { openHouse } from '../http/house.ts';
import { startCli } from './house.ts';

const house = await openHouse();
const scratch = mkdtempSync(join(tmpdir(), 'prpm-cli-'));
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await house.close();
});
const file = join(scratch, 'prpm-playground/account.json');
const kept = { XDG_CONFIG_HOME: scratch };
const cli = (args: string[], environment: NodeJS.ProcessEnv = kept, stdin = '') =>
  startCli(args, environment, stdin).ended;

describe('login', () => {
  it('tries the token, and keeps it for this user alone', async () => {
    const { code, out, err } = await cli(['login', '--url', `${house.url}/`], kept, `${house.ada.token}\n`);
    expect([code, out]).toEqual([0, '']);
    expect(err).toContain(`Signed in to ${house.url} as ada (ada@example.com).`);
    expect(err).not.toContain(house.ada.token);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(scratch, 'prpm-playground')).mode & 0o777).toBe(0o700);
    expect((await cli(['credits'])).out).toMatch(/^available {2}100005 credits\n/);
  });

  it('with a bad token, or none, keeps what there was', async () => {
    const before = readFileSync(file, 'utf8');
    const bad = await cli(['login'], kept, 'prpm_bad');
    expect([bad.code, bad.err]).toEqual([1, expect.stringContaining('(invalid_token)')]);
    expect((await cli(['login'], kept, '\n')).code).toBe(2);
    expect(readFileSync(file, 'utf8')).toBe(before);
  });

  it('makes a file that others may read its own', async () => {
    writeFileSync(file, readFileSync(file, 'utf8'), { mode: 0o644 });
    await cli(['login'], kept, house.ada.token);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('is overruled by PRPM_TOKEN, and its token goes to no other server', async () => {
    const bob = await cli(['credits', '--json'], { ...kept, PRPM_TOKEN: house.bob.token });
    expect(bob.code).toBe(0);
    const other = await house.another();
    const elsewhere = await cli(['credits'], { ...kept, PRPM_URL: other.url });
    expect([elsewhere.code, elsewhere.err]).toEqual([1, expect.stringContaining('(authentication_required)')]);
    const there = await cli(['credits', '--url', other.url], { ...kept, PRPM_URL: house.url });
    expect(there.code).toBe(1);
  });

  it('that cannot be read says how it is written anew', async () => {
    const broken = join(scratch, 'broken');
    mkdirSync(join(broken, 'prpm-playground'), { recursive: true });
    writeFileSync(join(broken, 'prpm-playground/account.json'), '{');
    const { code, err } = await cli(['credits'], { XDG_CONFIG_HOME: broken });
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/account.json cannot be read.\n {2}what to do: .*login --url/),
    ]);
    const mended = await cli(['login', '--url', house.url], { XDG_CONFIG_HOME: broken }, house.ada.token);
    expect(mended.code).toBe(0);
  });

  it('is forgotten by logout; who is not signed in is told how', async () => {
    expect((await cli(['logout'])).code).toBe(0);
    expect((await cli(['logout'])).code).toBe(0);
    const { code, err } = await cli(['credits']);
    expect([code, err]).toEqual([1, expect.stringContaining('what to do: prpm-playground login')]);
  });
});

describe('a screen', () => {
  function screenOn(isTTY: boolean, environment: NodeJS.ProcessEnv = {}) {
    const stream = () => Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY, columns: 60 });
    const [stdout, stderr] = [stream(), stream()];
    const terminal = { stdin: process.stdin, stdout, stderr, environment } as unknown as Parameters<
      typeof openScreen
    >[0];
    return { screen: openScreen(terminal), out: () => String(stdout.read()), err: () => String(stderr.read()) };
  }
  const hostile = 'red \u001b[31malert\u0007\u009b2J\r\nnext\ttab';

  it('has colour on a terminal, and none in a pipe, with NO_COLOR, or on a dumb one', () => {
    const shown = (isTTY: boolean, environment = {}) => {
      const { screen, err } = screenOn(isTTY, environment);
      screen.fail('x');
      return err();
    };
    expect(shown(true)).toContain('\u001b[31m');
    expect(shown(false)).toBe('error: x\n');
    expect(shown(true, { NO_COLOR: '1' })).toBe('error: x\n');
    expect(shown(true, { TERM: 'dumb' })).toBe('error: x\n');
  });

  it('lets nobody else move its cursor; a pipe gets an answer as it is', () => {
    const terminal = screenOn(true);
    terminal.screen.write(hostile);
    expect(terminal.out()).toBe('red [31malert2J\nnext\ttab');
    const pipe = screenOn(false);
    pipe.screen.write(hostile);
    expect(pipe.out()).toBe(hostile);
  });

  it('keeps a table to lines of one row each, figures to the right', () => {
    const { screen, out } = screenOn(false);
    screen.table(
      ['what', 'n'],
      [
        ['a\nb', 5],
        ['\u001b[2Jc', 1000],
        ['d', null],
      ],
    );
    expect(out()).toBe('what     n\na b      5\n[2Jc  1000\nd        -\n');
    const narrow = screenOn(true, { NO_COLOR: '1' });
    narrow.screen.table(['what'], [['x'.repeat(100)]]);
    expect(narrow.out().split('\n')[1]).toBe(`${'x'.repeat(59)}…`);
  });
});

describe('completion', () => {
  const complete = (script: string, words: string[]) => {
    const line = words.map((word) => `'${word}'`).join(' ');
    const typed = `${script}\nCOMP_WORDS=(${line}); COMP_CWORD=${words.length - 1}; _prpm_playground; echo "\${COMPREPLY[@]}"`;
    return spawnSync('bash', ['--norc', '-c', typed], { encoding: 'utf8' }).stdout.trim().split(' ').sort();
  };

  it('completes commands, those inside them, and options', async () => {
    const { out, code } = await cli(['completion', 'bash']);
    expect(code).toBe(0);
    expect(complete(out, ['prpm-playground', 'su'])).toEqual(['subscribe']);
    expect(complete(out, ['prpm-playground', 'admin', 'a'])).toEqual(['alerts']);
    expect(complete(out, ['prpm-playground', '--json', 'admin', 'users', '--s'])).toEqual(['--search', '--sort']);
    expect(complete(out, ['prpm-playground', 'run', '--max'])).toEqual(['--max-credits', '--max-output-tokens']);
  });

  it.each(['zsh', 'fish'])('has a script for %s', async (shell) => {
    const { out, code } = await cli(['completion', shell]);
    expect([code, out]).toEqual([0, expect.stringContaining('subscribe')]);
    const parsed = spawnSync(shell, ['-n'], { input: out });
    if (parsed.error === undefined) expect(parsed.status).toBe(0);
  });
});

describe('help', () => {
  it('tells about each command, and shows how it is typed', async () => {
    const { out } = await cli(['--help']);
    const commands = [...out.matchAll(/^ {2}(\w+) .*[A-Z]/gm)].map(([, name = '']) => name);
    expect(commands).toEqual(expect.arrayContaining(['login', 'run', 'estimate', 'credits', 'admin', 'completion']));
    for (const name of ['login', 'run', 'estimate', 'packages', 'sessions', 'share', 'history', 'buy', 'admin']) {
      const help = await cli([name, '--help']);
      expect([name, help.code, help.err]).toEqual([name, 0, '']);
      expect(help.out).toContain('Examples:\n  ');
    }
  });
});
