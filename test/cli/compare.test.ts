import { afterAll, describe, expect, it } from 'vitest';
import { openHouse } from '../http/house.ts';
import { startCli } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { database, ada } = house;
const cli = (args: string[], stdin = '', url = house.url, token = ada.token) =>
  startCli(args, { PRPM_URL: url, PRPM_TOKEN: token }, stdin).ended;
const run = ['run', '-p', 'haiku', '-m', 'gpt-4o-mini'];
const slow = '[[sandbox: tokens=300 pace=10]]';
/** The newest comparison's sides. */
const newest = async () => {
  const sides = await database.owner<{ id: string; status: string; answer: string; session_id: string }[]>`
    select r.id, r.status, t.answer, r.session_id
    from (select * from comparisons order by id desc limit 1) c
    cross join unnest(c.run_ids) with ordinality i (run_id, place)
    join runs r on r.id = i.run_id left join run_texts t on t.user_id = r.user_id and t.run_id = r.id order by i.place`;
  return [...sides];
};
const count = async () => (await database.owner`select from runs`).length;

describe('run --compare (spec 10.9)', () => {
  it('prints each side under its name, one after the other, and what each and all were charged', async () => {
    const { code, out, err } = await cli([...run, '--compare', `side by side ${slow}`]);
    const [first, second] = await newest();
    expect(out).toBe(
      `## haiku 1.0.0, gpt-4o-mini\n\n${first?.answer}\n\n## without the prompt, gpt-4o-mini\n\n${second?.answer}\n`,
    );
    expect(code).toBe(0);
    expect(err).toContain('side 1: gpt-4o-mini, at most 1 credit\n');
    expect(err.match(/^1 credit \(/gm)).toHaveLength(2);
    expect(err).toMatch(/\ntogether 2 credits, \d+ tokens · comparison [\da-f-]{36}\n$/);
  });

  it('--against names models, packages and versions', async () => {
    const body = { name: '@verse/ode', version: '1.0.0', prompt: 'Write an ode.' };
    await fetch(`${house.url}/api/v1/packages`, {
      ...{ method: 'POST', headers: { authorization: `Bearer ${ada.token}` }, body: JSON.stringify(body) },
    });
    const against = ['--against', 'model:gpt-4o', '--against', '@verse/ode@1.0.0', '--against', 'baseline'];
    const { code, out } = await cli([...run, ...against, 'hello']);
    expect(code).toBe(0);
    expect(out.match(/^## .*$/gm)).toEqual([
      ...['## haiku 1.0.0, gpt-4o-mini', '## haiku 1.0.0, gpt-4o', '## @verse/ode 1.0.0, gpt-4o-mini'],
      '## without the prompt, gpt-4o-mini',
    ]);
  });

  it('answers --json with one object', async () => {
    const { code, out } = await cli([...run, '-c', '--json', 'hello']);
    const sides = await newest();
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      question: 'hello',
      sides: sides.map(({ id, answer }, place) => ({ side: place + 1, runId: id, response: answer, failure: null })),
    });
  });

  it('is shared by one link, which ends at once', async () => {
    const { err } = await cli([...run, '-c', 'hello']);
    const [, id = ''] = /comparison ([\da-f-]{36})/.exec(err) ?? [];
    const { out, code } = await cli(['share', '--comparison', id]);
    expect([code, out]).toEqual([0, expect.stringMatching(/\/playground\/shared\/\w+\n$/)]);
    expect((await cli(['share', '-c', id, '--off'])).out).toBe('Its link has ended.\n');
    expect((await cli(['share', id])).err).toContain('(session_not_found)');
    expect((await cli(['share', '-c', crypto.randomUUID()])).err).toContain('(comparison_not_found)');
  });

  it('with --interactive sends each line to all sides, each in its own session', async () => {
    const { code, err } = await cli([...run, '--compare', '--interactive'], 'one\ntwo\nexit\n');
    expect([code, err]).toEqual([0, expect.stringMatching(/\n2 runs, 4 credits\n$/)]);
    for (const { session_id } of await newest()) {
      const said =
        await database.owner`select question from run_texts where session_id = ${session_id} order by run_id`;
      expect(said.map(({ question }) => question)).toEqual(['one', 'two']);
    }
  });

  it('compares one’s own prompt with none', async () => {
    await database.ops`select from ops.set_user(${ada.userId}, verified_author => true, reason => 'test')`;
    const { code, out } = await cli(['run', '--custom', 'Name the colour teal in your answer.', '--compare', 'hello']);
    expect([code, out]).toEqual([
      0,
      expect.stringMatching(/^## your prompt, sonnet\n[\s\S]*\n## without the prompt, sonnet\n/),
    ]);
  });

  it('of which a side fails prints the other, says which failed, and ends with 1', async () => {
    const lame = await house.another({ OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' });
    const { code, out, err } = await cli([...run, '--against', 'model:sonnet', 'hello'], '', lame.url);
    const [, second] = await newest();
    expect(code).toBe(1);
    expect(out).toContain(`## haiku 1.0.0, sonnet\n\n${second?.answer}\n`);
    expect(err).toContain('(provider_unavailable)');
    expect(err).toContain('Not charged.');
    expect(err).toMatch(/\ntogether 1 credit, /);
  });

  it('--max-credits refuses before it spends, for all sides together', async () => {
    const before = await count();
    const { code, err } = await cli([...run, '--against', 'model:opus', '--max-credits', '5', 'x']);
    expect([code, err]).toEqual([
      4,
      expect.stringMatching(/^error: It may cost up to \d+ credits, more than --max-credits 5\./),
    ]);
    expect(await count()).toBe(before);
    expect((await cli([...run, '-c', '--max-credits', '2', 'x'])).code).toBe(0);
  });

  it.each([
    ['five sides', ['--against', 'a', '--against', 'b', '--against', 'c', '--against', 'd'], /At most four sides/],
    ['a session', ['-c', '-s', crypto.randomUUID()], /leave --session out/],
  ])('2: %s', async (_, args, said) => {
    const { code, err } = await cli([...run, ...args, 'x']);
    expect([code, err]).toEqual([2, expect.stringMatching(said)]);
  });

  it('names the side that is refused', async () => {
    const { code, err } = await cli([...run, '--against', 'nowhere', 'x']);
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/^error: Side 2: There is no package nowhere\. \(package_not_found\)/),
    ]);
  });

  it('Ctrl-C stops all sides, and prints the receipts of what was made', async () => {
    const { process: running, ended } = startCli([...run, '-c', 'stop [[sandbox: tokens=2000 pace=10]]'], {
      PRPM_URL: house.url,
      PRPM_TOKEN: ada.token,
    });
    await new Promise((resolve) => running.stdout?.once('data', resolve));
    running.kill('SIGINT');
    const { code, err } = await ended;
    expect((await newest()).map(({ status }) => status)).toEqual(['stopped', 'stopped']);
    expect([code, err.match(/^stopped: 1 credit /gm)?.length]).toEqual([130, 2]);
    expect(await house.audit()).toEqual([]);
  });
});
