import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Answer, all, type CallOptions, call, events, hold, openHouse, type SentEvent, until } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { ada, bob, packageId, database } = house;
const execute = '/api/v1/playground/execute';
const body = (input: string) => ({ token: ada.token, body: { package_id: packageId, input } });
const running = async () => (await database.owner`select id from runs where status = 'running'`).length;

describe('a server that is told to stop', () => {
  it('lets runs end, answers them, and takes nothing new', async () => {
    const server = await house.another();
    const answer = call(server.url, 'POST', execute, body('finish [[sandbox: tokens=100 pace=20]]'));
    const stream = all(events(server.url, 'POST', execute, body('finish too [[sandbox: tokens=100 pace=20]]')));
    await until(async () => (await running()) === 2);
    const closed = server.close();
    await expect(call(server.url, 'GET', '/healthz')).rejects.toThrow();
    expect((await answer).json).toMatchObject({ status: 'completed' });
    expect((await stream).at(-1)?.event).toBe('run.completed');
    await closed;
    expect(await running()).toBe(0);
  });

  it('ends what takes too long, and settles it with what it has', async () => {
    const server = await house.another({ DRAIN_MS: '100' });
    const seen: SentEvent[] = [];
    const stream = (async () => {
      for await (const event of events(server.url, 'POST', execute, body('endless [[sandbox: tokens=2000 pace=20]]')))
        seen.push(event);
    })();
    const silent = call(server.url, 'POST', execute, body('silent [[sandbox: hang]]'));
    await until(async () => seen.length > 5 && (await running()) === 2);
    await server.close();
    await stream;
    expect(seen.at(-1)).toMatchObject({
      event: 'run.failed',
      data: { error: 'shutting_down', receipt: { status: 'failed', estimated: true } },
    });
    expect(seen.at(-1)?.data.receipt.credits_spent).toBeGreaterThanOrEqual(1);
    const { status, json } = await silent;
    expect([status, json.error, json.details.status, json.details.credits_spent]).toEqual([
      503,
      'shutting_down',
      'released',
      0,
    ]);
    expect(await running()).toBe(0);
    expect(await house.audit()).toEqual([]);
  });
});

describe('what is being let in when a server is told to stop', () => {
  const long = '[[sandbox: tokens=100 pace=20]]';
  const sides = [{}, { use_no_prompt: true }];
  const rows = () =>
    hold(database, async (sql) => {
      await sql`lock table anonymous_visits in access exclusive mode`;
      for (const { userId } of [ada, bob]) await sql`select from users where id = ${userId} for update`;
    });
  /** Asks each of a server of its own, stops all of these while they let it in, and answers what was answered. */
  const askThenStop = async (asked: [string, CallOptions][], variables: Record<string, string> = {}) => {
    const servers = await Promise.all(asked.map(() => house.another(variables)));
    const held = await rows();
    const answers: Promise<Answer>[] = [];
    for (const [place, [path, options]] of asked.entries()) {
      answers.push(call(servers[place]?.url ?? '', 'POST', `/api/v1/playground/${path}`, options));
      await until(async () => (await held.waiting()) === answers.length);
    }
    const closed = Promise.all(servers.map((server) => server.close()));
    await held.letGo();
    const answered = await Promise.all(answers);
    await closed;
    return answered;
  };

  it('is run to its end, answered and settled: a run, a comparison, a visitor’s run', async () => {
    const [run, comparison, visit] = await askThenStop([
      ['execute', body(`late ${long}`)],
      ['compare', { token: bob.token, body: { package_id: packageId, input: `late ${long}`, sides } }],
      ['anonymous-run', { body: { package_id: packageId, input: `late ${long}` } }],
    ]);
    expect([run?.status, run?.json.status]).toEqual([200, 'completed']);
    expect(comparison?.json.sides).toMatchObject(
      sides.map(() => ({ failure: null, receipt: { status: 'completed' } })),
    );
    expect([visit?.status, visit?.json.response]).toEqual([200, expect.stringMatching(/^word( word)+$/)]);
    expect(await running()).toBe(0);
    expect(await house.audit()).toEqual([]);
  });

  it('is ended and settled at once where it comes in too late', async () => {
    const silent = { package_id: packageId, input: 'silent [[sandbox: hang]]' };
    const [run, comparison] = await askThenStop(
      [
        ['execute', { token: ada.token, body: silent }],
        ['compare', { token: bob.token, body: { ...silent, sides } }],
      ],
      { DRAIN_MS: '0' },
    );
    expect([run?.status, run?.json.error, run?.json.details.status]).toEqual([503, 'shutting_down', 'released']);
    expect(comparison?.json.sides).toMatchObject(
      sides.map(() => ({ receipt: { status: 'released', credits_spent: 0 } })),
    );
    expect(await running()).toBe(0);
    expect(await house.audit()).toEqual([]);
  });
});

describe('npm start', () => {
  const start = (variables: Record<string, string>) =>
    spawn(process.execPath, [resolve(import.meta.dirname, '../../src/main.ts')], {
      cwd: '/',
      env: { PATH: process.env.PATH, PORT: '0', HOST: '127.0.0.1', ...variables },
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends by %s, once it has stopped', async (signal) => {
    const child = start({ APP_DATABASE_URL: database.appUrl, NODE_ENV: 'production' });
    let output = '';
    child.stdout.on('data', (text) => (output += text));
    await until(() => output.includes('listening'));
    child.kill(signal);
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    expect(output).toContain('stopped');
  });

  it.each([
    ['without a database', {}, /APP_DATABASE_URL is missing/],
    ['with a wrong value', { APP_DATABASE_URL: database.appUrl, PORT: 'x' }, /PORT is not a whole number/],
    [
      'where nobody answers',
      { APP_DATABASE_URL: 'postgres://prpm_app:x@127.0.0.1:9/prpm' },
      /Nothing answers at 127\.0\.0\.1:9/,
    ],
    [
      'as another role in production',
      { APP_DATABASE_URL: database.opsUrl, NODE_ENV: 'production' },
      /connects as "prpm_ops".*prpm_app only/,
    ],
  ])('%s says in one line what is wrong', async (_, variables, message) => {
    const child = start(variables);
    let errors = '';
    child.stderr.on('data', (text) => (errors += text));
    const [code] = await once(child, 'close');
    expect(code).toBe(1);
    expect(errors).toMatch(message);
    expect(errors).not.toMatch(/\n {4}at /);
  });
});
