import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startTemporaryCluster } from '../../sandbox/postgres/cluster.ts';
import { blocksOf } from '../guide/blocks.ts';
import { type Demo, demoDirectory, failDemo, hasCurl, payAt, removeDemo, root, startDemo } from '../guide/demo.ts';
import { has, needs, psql } from '../harness/tools.ts';

const patient = 120_000;

async function ask(url: string | undefined, statement: string): Promise<Record<string, unknown>[]> {
  const sql = postgres(url ?? '', { max: 1, onnotice: () => {} });
  try {
    return await sql.unsafe(statement);
  } finally {
    await sql.end();
  }
}

/** What a shell prints that was given these lines after `. DIR/env`. */
function typed(lines: string, directory: string): string {
  const env = { ...process.env, PATH: [dirname(psql ?? ''), process.env.PATH].join(':'), PSQLRC: '/dev/null' };
  const { stdout, stderr, status } = spawnSync('bash', ['-c', `set -eu\n. '${directory}/env'\n${lines}`], {
    ...{ cwd: directory, env, encoding: 'utf8' },
  });
  if (status !== 0) throw new Error(`${lines}\n${stdout}${stderr}`);
  return stdout;
}

/** The line of the demo's screen with that word. */
function printedLine(demo: Demo, word: string): string {
  const line = demo
    .output()
    .split('\n')
    .find((one) => one.includes(word));
  if (line === undefined) throw new Error(`the screen has no line with ${word}:\n${demo.output()}`);
  return line;
}

async function askApi({ env }: Demo, path: string, body?: object) {
  const headers = { authorization: `Bearer ${env.TOKEN}` };
  const how = body === undefined ? { headers } : { headers, method: 'POST', body: JSON.stringify(body) };
  return (await fetch(`${env.BASE_URL}/api/v1/playground/${path}`, how)).json();
}

async function execute({ env }: Demo): Promise<Response> {
  return fetch(`${env.BASE_URL}/api/v1/playground/execute`, {
    method: 'POST',
    headers: { authorization: `Bearer ${env.TEST_USER_TOKEN}` },
    body: JSON.stringify({ package_id: env.PACKAGE_ID, input: 'test' }),
  });
}

describe('a demo in a directory of its own', () => {
  const directory = demoDirectory();
  let demo: Demo;
  beforeAll(async () => {
    demo = await startDemo(directory, [], { ANTHROPIC_API_KEY: 'sk-ant-never-used-by-a-demo' });
  }, patient);
  afterAll(async () => {
    await demo?.stop();
    removeDemo(directory);
  });

  it('prints one screen: where it is, who is there, what to try', async () => {
    for (const word of [
      demo.env.BASE_URL,
      demo.env.TEST_USER_TOKEN,
      demo.env.ADMIN_TOKEN,
      'acme-owner',
      `. ${directory}/env`,
    ]) {
      await expect.poll(() => demo.output()).toContain(word);
    }
    expect(demo.output().trim().split('\n').length).toBeLessThan(40);
  });

  it('exports what the guide needs, readable by its owner only', () => {
    expect(Object.keys(demo.env)).toEqual([
      ...[
        'BASE_URL',
        'DATABASE_URL',
        'MIGRATE_DATABASE_URL',
        'TEST_USER_TOKEN',
        'TEST_USER_ID',
        'TOKEN',
        'ADMIN_TOKEN',
      ],
      ...['PACKAGE_ID', 'PRPM_URL', 'PRPM_TOKEN', 'METRICS_TOKEN'],
      ...['STRIPE_SECRET_KEY', 'STRIPE_API_BASE', 'STRIPE_PRPM_PLUS_PRICE_ID'],
      ...['STRIPE_PRPM_PLUS_ORG_MEMBER_PRICE_ID', 'STRIPE_SMALL_PACK_PRICE_ID', 'STRIPE_MEDIUM_PACK_PRICE_ID'],
      ...['STRIPE_LARGE_PACK_PRICE_ID', 'STRIPE_PORTAL_CONFIGURATION_ID', 'STRIPE_PLAYGROUND_WEBHOOK_SECRET'],
    ]);
    expect(['env', 'state.json', 'log'].map((name) => statSync(join(directory, name)).mode & 0o077)).toEqual([0, 0, 0]);
    expect(statSync(join(directory, 'stripe.json')).mode & 0o077).toBe(0);
  });

  it('begins with packages, people and weeks of history that end yesterday, in books that balance', async () => {
    const { DATABASE_URL: url } = demo.env;
    expect(await ask(url, 'select * from ops.audit_books()')).toEqual([]);
    expect(await ask(url, 'select * from ops.checks()')).toEqual([]);
    const [history] = await ask(
      url,
      `select count(*) > 200 as is_long, max(finished_at) < date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' as is_over,
         max(finished_at) > now() - interval '2 days' as reaches_yesterday, min(started_at) < now() - interval '4 weeks' as has_weeks,
         count(distinct model) = (select count(*) from models) as has_all_models,
         array_agg(distinct status order by status) as statuses
       from runs`,
    );
    const statuses = ['completed', 'failed', 'released', 'stopped'];
    expect(history).toEqual({
      is_long: true,
      is_over: true,
      reaches_yesterday: true,
      has_weeks: true,
      has_all_models: true,
      statuses,
    });
    expect(await ask(url, 'select from refusals')).not.toEqual([]);
    expect(
      await ask(
        url,
        "select p.visibility, count(distinct p.id)::int packages, count(v.*)::int versions from packages p join package_versions v on v.package_id = p.id where p.name not like '@playground/%' group by 1 order by 1",
      ),
    ).toEqual([
      { visibility: 'private', packages: 1, versions: 2 },
      { visibility: 'public', packages: 10, versions: 20 },
    ]);
  });

  it('has a free user with unused credits and windows, and an administrator', async () => {
    const { DATABASE_URL: url, TEST_USER_ID: id } = demo.env;
    expect(
      await ask(
        url,
        `select included_credits::int as credits, total_requests::int as runs, current_month_api_cost::float as cost, email from users where id = '${id}'`,
      ),
    ).toEqual([{ credits: 5, runs: 0, cost: 0, email: 'user@example.com' }]);
    expect(await ask(url, 'select username from users where is_admin')).toEqual([{ username: 'admin' }]);
    expect(
      await ask(
        url,
        "select username from users where prpm_plus_status = 'active' and plan_tier = 'prpm_plus_individual' and entitled_until > now() + interval '7 days' order by 1",
      ),
    ).toEqual([{ username: 'night-shift' }, { username: 'plus-user' }]);
  });

  it('has a Stripe that knows what the history paid, so that its people can change it', async () => {
    const { DATABASE_URL: url, STRIPE_API_BASE: stripe, STRIPE_SECRET_KEY: key } = demo.env;
    const subscriptions = await ask(
      url,
      'select id, status, extract(epoch from paid_until)::int as until from subscriptions order by 1',
    );
    const atStripe = subscriptions.map(async ({ id }) => {
      const answer = await fetch(`${stripe}/v1/subscriptions/${id}`, { headers: { authorization: `Bearer ${key}` } });
      const { status, items } = JSON.parse(await answer.text());
      return { id, status, until: items.data[0].current_period_end };
    });
    expect(subscriptions).toHaveLength(4);
    expect(await Promise.all(atStripe)).toEqual(subscriptions);
    const [, token = ''] = / plus-user +(\S+)/.exec(demo.output()) ?? [];
    const changed = (what: string) => askApi({ ...demo, env: { ...demo.env, TOKEN: token } }, what, {});
    expect(await changed('subscription/cancel')).toMatchObject({ cancelAtPeriodEnd: true });
    expect(await changed('subscription/resume')).toMatchObject({ cancelAtPeriodEnd: false });
    expect(await ask(url, 'select * from ops.stripe_review')).toEqual([]);
    expect(await ask(url, 'select stripe_max_rps from settings')).toEqual([{ stripe_max_rps: 10 }]);
  });

  it('keeps its clock, and its moves out of the audit log', async () => {
    const { DATABASE_URL: url } = demo.env;
    expect(await ask(url, 'select extract(epoch from clock_offset)::int as seconds from settings')).toEqual([
      { seconds: 0 },
    ]);
    expect(await ask(url, "select from audit_log where table_name = 'settings' and new ? 'clock_offset'")).toEqual([]);
  });

  it.skipIf(needs('psql') || !hasCurl)('runs what the README has people paste first', () => {
    const pasted = blocksOf(readFileSync(resolve(root, 'README.md'), 'utf8')).find(({ text }) =>
      text.includes('. .demo/env'),
    );
    const stdout = typed(pasted?.text.replace('. .demo/env', '') ?? '', directory);
    expect(stdout).toContain('"status":"completed"');
    expect(stdout).toMatch(/current_month_api_cost\s+-+\s+0\.00\d+/);
  });

  const wait = { timeout: 10_000, interval: 100 };
  const mine = (columns: string, table: string) =>
    ask(demo.env.DATABASE_URL, `select ${columns} from ${table} where user_id = '${demo.env.TEST_USER_ID}'`);

  it.skipIf(!hasCurl)('subscribes whoever types the guide’s command and pays at the URL that it prints', async () => {
    const guide = blocksOf(readFileSync(resolve(root, 'docs/deployment.md'), 'utf8'));
    const command = guide.find(({ text }) => text.includes('playground/subscribe'))?.text ?? '';
    const user = (columns: string) =>
      ask(demo.env.DATABASE_URL, `select ${columns} from users where id = '${demo.env.TEST_USER_ID}'`);
    const [before] = await user('included_credits::int as credits, plan_tier as tier');
    const { checkoutUrl } = JSON.parse(
      typed(command.replace('https://yourdomain.com/api', '$BASE_URL/api'), directory),
    );
    expect(await payAt(checkoutUrl)).toBe('https://yourdomain.com/success');
    await expect
      .poll(() => user('included_credits::int as credits, prpm_plus_status as status, plan_tier as tier'), wait)
      .toEqual([{ credits: Number(before?.credits) + 100, status: 'active', tier: 'prpm_plus_individual' }]);
    expect(before?.tier).not.toBe('prpm_plus_individual');
    expect(await askApi(demo, 'subscription')).toMatchObject({ isActive: true, told: 'Your subscription is active.' });
  });

  it.skipIf(needs('psql') || !hasCurl)('sells a pack and refunds half of it, by the lines of its screen', async () => {
    const { checkoutUrl } = JSON.parse(typed(printedLine(demo, '/credits/purchase'), directory));
    await payAt(checkoutUrl);
    await expect.poll(() => mine('status', 'purchases'), wait).toEqual([{ status: 'paid' }]);
    typed(printedLine(demo, '/sandbox/refund'), directory);
    await expect
      .poll(() => mine('status, refunded_amount::float as refunded', 'purchases'), wait)
      .toEqual([{ status: 'partly_refunded', refunded: 2.5 }]);

    const rows = await ask(demo.env.DATABASE_URL, `select * from ops.explain_balance('${demo.env.TEST_USER_ID}')`);
    const story = rows
      .filter(({ type }) => type !== 'spend')
      .map(({ type, change, explanation }) => ({
        ...{ type, change: Number(change), explanation },
      }));
    expect(story).toEqual([
      { type: 'signup', change: 5, explanation: 'Sign-up credits' },
      {
        type: 'monthly',
        change: 100,
        explanation: expect.stringMatching(/^Monthly credits of prpm_plus_individual; subscription sub_/),
      },
      { type: 'purchase', change: 100, explanation: expect.stringMatching(/^Bought pack small; purchase /) },
      {
        type: 'refund',
        change: -50,
        explanation: expect.stringMatching(/^Refund of 2\.50 dollars of pack small; purchase /),
      },
      {
        type: 'balance',
        change: 0,
        explanation: expect.stringMatching(/included and 50 purchased\. Of that 0 have expired/),
      },
    ]);
    expect(typed(printedLine(demo, 'ops.explain_balance'), directory)).toContain(
      'Refund of 2.50 dollars of pack small',
    );
    expect(await ask(demo.env.DATABASE_URL, 'select * from ops.audit_books()')).toEqual([]);
    expect(await ask(demo.env.DATABASE_URL, 'select * from ops.stripe_review')).toEqual([]);
  });

  it('is not started twice in one directory', async () => {
    const { code, output } = await failDemo(directory);
    expect(code).not.toBe(0);
    expect(output).toMatch(/is running in .* already \(process \d+\)/);
    expect((await execute(demo)).status).toBe(200);
  });

  it('ends with Ctrl-C, and leaves nothing that runs', async () => {
    const { pid, env } = demo;
    await demo.stop('SIGINT');
    const left = () => {
      try {
        return process.kill(-pid, 0);
      } catch (error) {
        return (error as NodeJS.ErrnoException).code;
      }
    };
    await expect.poll(left).toBe('ESRCH'); // who builds the page is told to end, and not waited for
    await expect(ask(env.DATABASE_URL, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
    await expect(fetch(`${env.BASE_URL}/healthz`)).rejects.toThrow();
    expect(() => statSync(join(directory, 'env'))).toThrow(/ENOENT/);
  });

  it(
    'goes on with the same data, on another port if it must, even if its own DATABASE_URL is exported still',
    async () => {
      const before = demo.env;
      const taken = createServer().listen(0, '127.0.0.1');
      await once(taken, 'listening');
      const address = taken.address();
      const port = String(typeof address === 'object' && address?.port);
      demo = await startDemo(directory, ['--port', port], { DATABASE_URL: before.DATABASE_URL });
      taken.close();
      expect(demo.env.BASE_URL).not.toContain(port);
      expect(demo.env).toEqual({
        ...before,
        BASE_URL: demo.env.BASE_URL,
        PRPM_URL: demo.env.BASE_URL,
        DATABASE_URL: demo.env.DATABASE_URL,
        MIGRATE_DATABASE_URL: demo.env.MIGRATE_DATABASE_URL,
      });
      expect(
        await ask(
          demo.env.DATABASE_URL,
          `select total_requests::int as runs from users where id = '${demo.env.TEST_USER_ID}'`,
        ),
      ).toEqual([{ runs: has.psql && hasCurl ? 2 : 1 }]);
    },
    patient,
  );

  it.skipIf(!hasCurl)('goes on with the same Stripe, whose webhooks find the new port', async () => {
    expect(await askApi(demo, 'subscription/cancel', {})).toMatchObject({ cancelAtPeriodEnd: true });
    const [subscription] = await mine('id', 'subscriptions');
    const undone = await fetch(`${demo.env.STRIPE_API_BASE}/sandbox/undo-cancel`, {
      ...{ method: 'POST', body: JSON.stringify(subscription) },
    });
    expect(undone.status).toBe(200);
    await expect.poll(() => askApi(demo, 'subscription'), wait).toMatchObject({ cancelAtPeriodEnd: false });
  });

  it(
    'sells nothing with --real unless there are keys of Stripe’s, and then goes on as before',
    async () => {
      await demo.stop();
      const keys = { ANTHROPIC_API_KEY: 'sk-ant-not-called', STRIPE_SECRET_KEY: demo.env.STRIPE_SECRET_KEY };
      demo = await startDemo(directory, ['--real'], keys);
      expect(Object.keys(demo.env).filter((name) => name.startsWith('STRIPE_'))).toEqual([]);
      expect(demo.output()).not.toContain('/sandbox/refund');
      await expect.poll(() => demo.output()).toMatch(/Note .*STRIPE_SECRET_KEY is that of a demo's stand-in/);
      const urls = { successUrl: `${demo.env.BASE_URL}/a`, cancelUrl: `${demo.env.BASE_URL}/b` };
      expect(await askApi(demo, 'subscribe', urls)).toMatchObject({ status: 503, error: 'billing_not_configured' });
      await demo.stop();
      demo = await startDemo(directory);
    },
    patient,
  );

  it(
    'starts again after a kill -9 of all of it',
    async () => {
      await demo.stop('SIGKILL');
      demo = await startDemo(directory);
      expect((await execute(demo)).status).toBe(200);
      expect(await askApi(demo, 'subscription/cancel', {})).toMatchObject(
        hasCurl ? { cancelAtPeriodEnd: true } : { status: 404 },
      );
      expect(await ask(demo.env.DATABASE_URL, 'select * from ops.audit_books()')).toEqual([]);
    },
    patient,
  );

  it(
    'starts over with --reset',
    async () => {
      const before = demo.env;
      await demo.stop('SIGTERM');
      demo = await startDemo(directory, ['--reset']);
      expect(demo.env.TEST_USER_ID).not.toBe(before.TEST_USER_ID);
      expect(demo.env.TEST_USER_TOKEN).not.toBe(before.TEST_USER_TOKEN);
      expect(demo.env.STRIPE_SMALL_PACK_PRICE_ID).not.toBe(before.STRIPE_SMALL_PACK_PRICE_ID);
    },
    patient,
  );

  it(
    'refuses what it does not understand, in one line',
    async () => {
      const elsewhere = demoDirectory();
      const wrong = [['--port', 'many'], ['--real'], ['--fast']].map((args) =>
        failDemo(elsewhere, args, { ANTHROPIC_API_KEY: 'sk-ant-xxxxxxxxxxxxx', OPENAI_API_KEY: '' }),
      );
      const [port, real, fast] = await Promise.all(wrong);
      expect(port?.output.trim()).toBe('"many" is no port: choose a number from 0 to 65535.');
      expect(real?.output.trim()).toBe('--real needs ANTHROPIC_API_KEY or OPENAI_API_KEY in the environment.');
      expect(fast?.output).toMatch(/^Unknown option '--fast'/);
      removeDemo(elsewhere);
    },
    patient,
  );
});

describe('a demo on the server that DATABASE_URL names', () => {
  const [directory, other] = [demoDirectory(), demoDirectory()];
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startTemporaryCluster();
  }, patient);
  afterAll(async () => {
    await cluster.stop();
    removeDemo(directory);
    removeDemo(other);
  });

  it(
    'has a database there, which another demo does not take, nor one that is no superuser',
    async () => {
      const variables = { DATABASE_URL: cluster.url };
      const demo = await startDemo(directory, [], variables);
      try {
        expect(new URL(demo.env.DATABASE_URL ?? '').pathname).toBe('/prpm_demo');
        expect(new URL(demo.env.DATABASE_URL ?? '').username).toBe('prpm_ops');
        expect((await execute(demo)).status).toBe(200);
        expect((await failDemo(other, [], variables)).output).toMatch(/holds the data of another demo/);
        await ask(cluster.url, "create role someone login password 'someone'");
        const someone = new URL(cluster.url);
        someone.username = someone.password = 'someone';
        expect((await failDemo(other, [], { DATABASE_URL: someone.href })).output).toMatch(/is not a superuser/);
      } finally {
        await demo.stop();
      }
    },
    patient,
  );

  it(
    'takes away no data but a demo’s',
    async () => {
      await ask(cluster.url, 'create database precious');
      const precious = new URL(cluster.url);
      precious.pathname = '/precious';
      await ask(precious.href, 'create table kept (id int)');
      await ask(cluster.url, 'drop database prpm_demo with (force)');
      const { output } = await failDemo(other, ['--reset'], { DATABASE_URL: precious.href });
      expect(output).toMatch(/holds data that is no demo's/);
      expect(await ask(precious.href, 'select * from kept')).toEqual([]);
    },
    patient,
  );
});
