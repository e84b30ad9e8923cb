import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openHouse, type Person, until } from '../http/house.ts';
import { startCli } from './house.ts';

const house = await openHouse();
const scratch = mkdtempSync(join(tmpdir(), 'prpm-cli-'));
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await house.close();
});
const { database, ada } = house;

const as = ({ token }: Person) => ({ PRPM_URL: house.url, PRPM_TOKEN: token });
const cli = (args: string[], stdin = '', who = ada) => startCli(args, as(who), stdin).ended;
const run = ['run', '-p', 'haiku'];
const slow = '[[sandbox: tokens=2000 pace=10]]';
/** The run that began last, with its texts. */
const newest = async () => {
  const [row] = await database.owner`
    select r.id, r.status, r.credits::int, r.session_id, t.question, t.answer
    from runs r left join run_texts t on t.user_id = r.user_id and t.run_id = r.id order by r.id desc limit 1`;
  return row ?? {};
};
const count = async () => (await database.owner`select from runs`).length;

describe('run (spec 10.9)', () => {
  it('writes the answer alone to stdout, and the receipt beside it', async () => {
    const { code, out, err } = await cli([...run, 'hello', 'there']);
    const { answer, question, session_id } = await newest();
    expect([code, question, out]).toEqual([0, 'hello there', `${answer}\n`]);
    expect(err).toMatch(/^sonnet, version 1\.0\.0, at most 1 credit\n/);
    expect(err).toMatch(
      new RegExp(
        `\n1 credit \\(1 signup\\), \\d+ left · \\d+ tokens \\(\\d+ written\\) · \\d\\.\\d s · session ${session_id}\n$`,
      ),
    );
  });

  it('takes its input from a pipe, whole, or from --input', async () => {
    await cli(run, 'from a pipe\nwith lines\n');
    expect((await newest()).question).toBe('from a pipe\nwith lines');
    await cli([...run, '--input', 'said'], 'not this');
    expect((await newest()).question).toBe('said');
  });

  it('answers --json with one object: the receipt and the response', async () => {
    const { out, code } = await cli([...run, '--json', 'json']);
    const { id, answer } = await newest();
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ runId: id, response: answer, creditsSpent: 1, status: 'completed' });
  });

  it('goes on in a session, and in a conversation of lines', async () => {
    await cli([...run, 'first']);
    const { session_id } = await newest();
    await cli(['run', '-s', session_id, 'second']);
    expect((await newest()).session_id).toBe(session_id);

    const { code, err } = await cli([...run, '-i'], 'one\n\ntwo\nexit\nnever\n');
    const rows = await database.owner`
      select t.question, r.session_id from runs r
      join run_texts t on t.user_id = r.user_id and t.run_id = r.id order by r.id desc limit 2`;
    expect(rows.map(({ question }) => question)).toEqual(['two', 'one']);
    expect(rows[0]?.session_id).toBe(rows[1]?.session_id);
    expect(code).toBe(0);
    expect(err).toMatch(/\n2 runs, 2 credits\n$/);
  });

  it("runs a verified author's own prompt, from the line or a file", async () => {
    await database.ops`select from ops.set_user(${ada.userId}, verified_author => true, reason => 'test')`;
    const file = join(scratch, 'prompt.md');
    writeFileSync(file, 'Answer in the voice of a parrot.');
    expect((await cli(['run', '--prompt-file', file, 'hello'])).code).toBe(0);
    expect((await newest()).credits).toBe(2);
    expect((await cli(['run', '--custom', 'Answer as a parrot does.', 'hello'])).code).toBe(0);
    const short = await cli(['run', '--custom', 'Too short', 'hello']);
    expect([short.code, short.err]).toEqual([2, expect.stringContaining('--custom must have 10 to 50,000 characters')]);
  });

  it('without an account is the one run of a visitor', async () => {
    const visitor = { PRPM_URL: house.url };
    const { code, out, err } = await startCli([...run, 'hi'], visitor).ended;
    expect([code, out.length > 5]).toEqual([0, true]);
    expect(err).toMatch(/free of charge\. Sign up/);
    const second = await startCli([...run, 'hi'], visitor).ended;
    expect([second.code, second.out]).toEqual([5, '']);
    expect(second.err).toContain('already used your free playground run');
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('%s stops it, and prints the receipt of what was made', async (signal) => {
    const { process: running, ended } = startCli([...run, `stop ${slow}`], as(ada));
    await new Promise((resolve) => running.stdout?.once('data', resolve));
    running.kill(signal);
    const { code, out, err } = await ended;
    const { status, answer } = await newest();
    expect([code, status, out]).toEqual([130, 'stopped', `${answer}\n`]);
    expect(err).toMatch(/\nstopped: 1 credit .*session/);
  });

  it('is stopped when whoever reads it has gone', async () => {
    const { process: running, ended } = startCli([...run, `gone ${slow}`], as(ada));
    await new Promise((resolve) => running.stdout?.once('data', resolve));
    running.stdout?.destroy();
    await ended;
    await until(async () => (await newest()).status === 'stopped');
  });
});

describe('exit codes and what is said (spec 10.9)', () => {
  it('1: what is not there, with what to do', async () => {
    const { code, out, err } = await cli(['run', '-p', 'nowhere', 'x']);
    expect([code, out]).toEqual([1, '']);
    expect(err).toBe(
      'error: There is no package nowhere. (package_not_found)\n  what to do: prpm-playground packages search\n',
    );
  });

  it('1: a run that failed was not charged', async () => {
    const { code, err } = await cli([...run, 'x [[sandbox: status=400]]']);
    expect([code, err]).toEqual([1, expect.stringContaining('Not charged.')]);
  });

  it.each([
    ['an unknown command', ['frobnicate'], /unknown command 'frobnicate'/],
    ['an unknown option', ['run', '--packge', 'x'], /Did you mean --package/],
    ['a value out of range', ['history', '--limit', '101'], /--limit <n>' argument '101' is invalid.*from 1 to 100/],
    ['no package', ['run', 'x'], /Which package\? Say -p NAME/],
    ['no input', [...run], /--input must have 1 to 10,000 characters/],
    ['a session that is none', ['run', '-s', 'nope', 'x'], /--session must be a uuid/],
    ['an input that is too long', [...run, 'x'.repeat(10_001)], /--input must have 1 to 10,000 characters/],
    ['a URL that is none', ['--url', 'nowhere', 'credits'], /"nowhere" is no URL/],
  ])('2: %s', async (_, args, said) => {
    const before = await count();
    const { code, err, out } = await cli(args);
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(said);
    expect(await count()).toBe(before);
  });

  it('4: --max-credits refuses before it spends; what fits is run', async () => {
    const before = await count();
    const { code, out, err } = await cli([...run, '-m', 'opus', '--max-credits', '4', 'x']);
    expect([code, out]).toEqual([4, '']);
    expect(err).toMatch(/^error: It may cost up to \d+ credits, more than --max-credits 4\. Nothing was run\.\n/);
    expect(await count()).toBe(before);
    expect((await cli([...run, '--max-credits', '4', 'x'])).code).toBe(0);
  });

  it('4: too few credits, with how many and how to get more', async () => {
    const [poor] = await database.ops`select token from ops.create_user('poor@example.com', 'poor')`;
    const environment = { PRPM_URL: house.url, PRPM_TOKEN: String(poor?.token) };
    expect((await startCli([...run, 'x'], environment).ended).code).toBe(0);
    const { code, err } = await startCli([...run, '-m', 'opus', 'x'], environment).ended;
    expect(code).toBe(4);
    expect(err).toMatch(/needs 5 credits, 4 are free\n {2}what to do: prpm-playground buy/);
  });

  it('5: a limit, with what is used and until when', async () => {
    const eve = await house.person('eve', 'free');
    await database.owner`update cost_limits_config set hourly_request_limit = 0 where tier_name = 'free'`;
    const { code, err } = await cli([...run, 'x'], '', eve);
    expect(code).toBe(5);
    expect(err).toMatch(
      /\(hourly_request_limit\)\n {2}limit 0, used 0 \(.*\)\n {2}try again at \d{4}-\d\d-\d\d \d\d:00\n/,
    );
  });

  it('leaves books that balance', async () => {
    await until(async () => (await database.owner`select from runs where status = 'running'`).length === 0);
    expect(await house.audit()).toEqual([]);
  });
});
