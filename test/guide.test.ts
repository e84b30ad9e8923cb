// Types what the guides say, block by block, against a demo: `. DIR/env`, placeholders filled in, nothing else changed.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sign } from '../sandbox/stripe/webhooks/signature.ts';
import { environmentSchema, readEnvironment } from '../src/config/environment.ts';
import { type Block, blocksOf, splitExpected, statementsOf, tableRows } from './guide/blocks.ts';
import { type Demo, demoDirectory, hasCurl, payAt, removeDemo, root, scaleDemo, startDemo } from './guide/demo.ts';
import { needs, psql } from './harness/tools.ts';

const guides = ['docs/deployment.md', '../shared/deployment-guide.md'].map((name) => ({
  name,
  path: resolve(root, name),
}));

describe.each(guides)('$name', ({ path }) => {
  describe.skipIf(!existsSync(path) || needs('psql') || !hasCurl)('typed as printed', () => {
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const blocks = blocksOf(text);
    let directory: string;
    let demo: Demo;
    beforeAll(async () => {
      directory = demoDirectory();
      demo = await startDemo(directory);
      if (process.env.PRPM_SCALE === '1') await moveToNodes(directory, demo);
      mkdirSync(join(directory, 'var'));
    }, 480_000);
    afterAll(async () => {
      await demo?.stop();
      removeDemo(directory);
    });

    const bash = blocks.filter(({ language }) => language === 'bash');
    it.each(bash)('bash, line $line', async (block) => {
      const example = theOne(shellExamples, block.text, block.line);
      await example.run({ block, blocks, demo, shell: (commands) => shell(commands, demo, directory) });
    });

    const sql = blocks
      .filter(({ language }) => language === 'sql')
      .flatMap(({ text, line }) => statementsOf(text).map((statement) => ({ statement, line })));
    it.each(sql)(
      'sql, line $line: $statement',
      async ({ statement, line }) => {
        const example = theOne(sqlExamples, statement, line);
        await example.run(await query(demo, statement), (other) => query(demo, other));
      },
      90_000,
    ); // a server looks once a minute at what is to be asked of Stripe

    it('has a webhook where the guide says, for the events that it lists, which takes what is signed', async () => {
      const { BASE_URL: base = '', STRIPE_API_BASE: stripe = '', TEST_USER_ID: user } = demo.env;
      const [printed = ''] = /https:\/\/yourdomain\.com\S+\/webhooks\/[\w/]+/.exec(text) ?? [];
      const url = printed.replace('https://yourdomain.com', base);
      const events = [...new Set(text.match(guideEvents))].sort();
      expect(events).toHaveLength(5);
      const [endpoint, ...others] = JSON.parse(await (await fetch(`${stripe}/sandbox/endpoints`)).text());
      expect([endpoint.url, endpoint.status, others]).toEqual([url, 'enabled', []]);
      expect(endpoint.enabled_events).toEqual(expect.arrayContaining(events));

      // The blocks before this one have paid; now the rest of what the events tell of.
      const steer = async (name: string, body: object) => {
        const answer = await fetch(`${stripe}/sandbox/${name}`, { method: 'POST', body: JSON.stringify(body) });
        expect(answer.status).toBe(200);
      };
      const id = async (what: string) => Object.values((await query(demo, what)).rows[0] ?? {})[0];
      await steer('refund', { id: await id(`SELECT id FROM payments WHERE kind = 'pack' AND user_id = '${user}'`) });
      await steer('cancel-now', { id: await id(`SELECT id FROM subscriptions WHERE user_id = '${user}'`) });
      const arrived = `SELECT DISTINCT type FROM stripe_events WHERE status = 'applied' AND type ~ '${guideEvents.source}' ORDER BY 1`;
      await expect.poll(async () => (await query(demo, arrived)).rows.map(({ type }) => type), wait).toEqual(events);

      const authorization = `Bearer ${demo.env.STRIPE_SECRET_KEY}`;
      const listed = await fetch(`${stripe}/v1/events?type=payment_intent.succeeded`, { headers: { authorization } });
      const [event] = JSON.parse(await listed.text()).data;
      const body = JSON.stringify({ ...event, id: 'evt_once_more' });
      const secret = demo.env.STRIPE_PLAYGROUND_WEBHOOK_SECRET ?? '';
      const send = async (signature: string) => {
        const headers = { 'stripe-signature': signature };
        const answer = await fetch(url, { method: 'POST', body, headers });
        return [answer.status, JSON.parse(await answer.text())];
      };
      const fifty = await Promise.all(Array.from({ length: 50 }, () => send(sign(body, secret))));
      expect(fifty).toEqual(fifty.map(() => [200, { received: true }]));
      const effects = await query(demo, "SELECT count(*) FROM stripe_effects WHERE event_id = 'evt_once_more'");
      expect(effects.rows).toEqual([{ count: '1' }]);
      const refused = { error: 'webhook_signature_invalid' };
      expect(await send(sign(body, `${secret}x`))).toMatchObject([400, refused]);
      expect(await send('')).toMatchObject([400, refused]);
    });

    it('covers each example that the tests know, so that none is lost', () => {
      const all = blocks.map(({ text }) => text).join('\n');
      const missing = [...shellExamples, ...sqlExamples].filter(({ says, own }) => !own && !says.test(all));
      expect(missing.map(({ says }) => String(says))).toEqual([]);
    });

    it('leaves books that balance', async () => {
      expect((await query(demo, 'SELECT * FROM ops.audit_books();')).rows).toEqual([]);
    });
  });
});

/** Where the tests run on a cluster, so does the demo. */
async function moveToNodes(directory: string, demo: Demo): Promise<void> {
  const { code, output } = await scaleDemo(directory, [], demo);
  if (code !== 0) throw new Error(output);
}

const guideEvents = /customer\.subscription\.(created|updated|deleted)|payment_intent\.succeeded|charge\.refunded/g;
/** For what arrives by webhook. */
const wait = { timeout: 10_000, interval: 100 };

type Shell = (commands: string) => Promise<{ output: string; log: string }>;
type ShellExample = {
  says: RegExp;
  /** Only our own guide has it. */
  own?: true;
  run(typed: { block: Block; blocks: Block[]; demo: Demo; shell: Shell }): Promise<void>;
};

/** A crontab's line whose call answers which job it was about, and whether it was due. */
const doesJob = (job: string) => async (typed: { block: Block; shell: Shell }) => {
  const { log } = await typed.shell(typed.block.text);
  expect(JSON.parse(/\{.*\}/.exec(log)?.[0] ?? '')).toEqual({
    ...{ job, ran: expect.any(Boolean), affected: expect.any(Number) },
  });
};

const shellExamples: ShellExample[] = [
  {
    says: /^STRIPE_SECRET_KEY=/m,
    async run({ block, demo }) {
      const given = [...block.text.matchAll(/^(\w+)=(\S+)/gm)].map(([, name = '', value = '']) => [name, value]);
      expect(Object.keys(environmentSchema.shape)).toEqual(expect.arrayContaining(given.map(([name]) => name)));
      const read = readEnvironment({ APP_DATABASE_URL: 'postgres://unused', ...Object.fromEntries(given) });
      expect([read.STRIPE_SECRET_KEY, read.ANTHROPIC_API_KEY, read.OPENAI_API_KEY]).toEqual([
        undefined,
        undefined,
        undefined,
      ]);
      // With what the sandbox has in the place of each of Stripe's placeholders it is what a server takes.
      const stripe = given.map(([name = '']) => name).filter((name) => name.startsWith('STRIPE_'));
      const filled = Object.fromEntries(stripe.map((name) => [name, demo.env[name]]));
      const { STRIPE_PLAYGROUND_WEBHOOK_SECRET: secret, ...ids } = filled;
      expect(stripe).toHaveLength(7);
      expect(readEnvironment({ APP_DATABASE_URL: 'postgres://unused', ...filled })).toMatchObject({
        ...ids,
        STRIPE_PLAYGROUND_WEBHOOK_SECRET: [secret],
      });
    },
  },
  {
    says: /^npm run stripe:setup/m,
    own: true,
    async run({ block, shell }) {
      const { output } = await shell(block.text);
      expect(output).toMatch(/test mode; nothing is changed/);
      expect(output.match(/^there {7}/gm)).toHaveLength(7);
      expect(output).not.toMatch(/^(would|DIFFERS)/m);
    },
  },
  {
    says: /subscribe-ten/,
    own: true,
    async run({ block, shell }) {
      const { output } = await shell(block.text);
      expect(output.match(/^ *\d+\/10 .* active, tier prpm_plus_individual, 105 credits$/gm)).toHaveLength(10);
      expect(output).toMatch(/^10 of 10 subscriptions without errors; the books balance\.$/m);
    },
  },
  {
    says: /^npm run migrate$/m,
    async run({ block, blocks, shell }) {
      const { output } = await shell(block.text);
      const expected = blocks.find(
        ({ text }) => /tier_name.*\|.*monthly_cost_limit/.test(text) && !/SELECT/.test(text),
      );
      expect(output).toMatch(/up to date/);
      expect(tableRows(output).map((row) => row.slice(0, 4))).toEqual(tableRows(expected?.text ?? ''));
    },
  },
  {
    says: /^[\d* ]+psql .*reset_monthly_api_costs/m,
    async run({ block, shell }) {
      expect((await shell(block.text)).log).toMatch(/reset_monthly_api_costs\s+-+\s+\d+\s+\(1 row\)/);
    },
  },
  {
    says: /^[\d* ]+psql .*refresh_user_cost_analytics/m,
    async run({ block, shell }) {
      expect((await shell(block.text)).log).toMatch(/refreshed \d+ users/);
    },
  },
  { says: /^[\d* ]+curl .*credits\/cron\/reset/m, run: doesJob('reset-credits') },
  { says: /^[\d* ]+curl .*credits\/cron\/expire/m, run: doesJob('expire-rollover') },
  {
    says: /playground\/execute/,
    async run({ block, demo, shell }) {
      const { output } = await shell(block.text);
      const answer = JSON.parse(output.slice(0, output.lastIndexOf('}') + 1));
      expect(answer).toMatchObject({ status: 'completed', credits_spent: 1, credits_remaining: 4 });
      expect(answer.response).not.toBe('');
      const [, cost = ''] = /current_month_api_cost\s+-+\s+([\d.]+)/.exec(output) ?? [];
      expect(Number(cost)).toBeGreaterThan(0);
      expect(Number(cost)).toBeLessThan(0.005);
      // By the book: what the run reports, at the prices that an operator sees.
      const { rows } = await query(
        demo,
        `SELECT trim_scale((${answer.tokens.input} * p.input + ${answer.tokens.output} * p.output) / 1e6) AS cost
         FROM model_prices p WHERE p.model = '${answer.model}' AND p.valid @> now()`,
      );
      expect(Number(rows[0]?.cost)).toBe(Number(cost));
    },
  },
  {
    says: /playground\/subscribe/,
    async run({ block, demo, shell }) {
      const { checkoutUrl } = JSON.parse((await shell(block.text)).output);
      expect(await payAt(checkoutUrl)).toBe(`${demo.env.BASE_URL}/success`);
      const status = `SELECT prpm_plus_status, plan_tier, included_credits > 100 AS has_credits FROM users WHERE id = '${demo.env.TEST_USER_ID}'`;
      const active = { prpm_plus_status: 'active', plan_tier: 'prpm_plus_individual', has_credits: 't' };
      await expect.poll(async () => (await query(demo, status)).rows, wait).toEqual([active]);
      expect(await read(demo, 'subscription')).toMatchObject({ isActive: true, status: 'active', price: '6.00' });
    },
  },
  {
    says: /credits\/purchase/,
    async run({ block, demo, shell }) {
      const { checkoutUrl, ...purchase } = JSON.parse((await shell(block.text)).output);
      expect(purchase).toEqual({ purchaseId: expect.stringMatching(/^[\da-f-]{36}$/), credits: 100, price: 500 });
      expect(await payAt(checkoutUrl)).toBe(`${demo.env.BASE_URL}/back`);
      const bought = `SELECT status, purchased_credits FROM purchases p JOIN users u ON u.id = p.user_id WHERE p.id = '${purchase.purchaseId}'`;
      const paid = { status: 'paid', purchased_credits: '100' };
      await expect.poll(async () => (await query(demo, bought)).rows, wait).toEqual([paid]);
    },
  },
  {
    says: /admin\/cost-analytics\/summary/,
    async run({ block, demo, shell }) {
      const { commands, expected } = splitExpected(block.text);
      const printed = Object.entries(JSON.parse(expected));
      expect(printed).toHaveLength(6);
      const answer = JSON.parse((await shell(commands)).output);
      for (const [field, value] of printed) expect([field, typeof answer[field]]).toEqual([field, typeof value]);
      // Of the demo's people, by what an operator sees in psql.
      const month = "date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'";
      const { rows } = await query(
        demo,
        `SELECT (SELECT sum(monthly_amount) FROM subscriptions s JOIN users u ON u.id = s.user_id
           WHERE u.entitled_until > now() AND s.status = 'active')
           + coalesce((SELECT sum(paid_amount - refunded_amount) FROM purchases WHERE paid_at >= ${month}), 0) AS revenue,
           (SELECT round(sum(cost), 6) FROM runs WHERE started_at >= ${month}) AS cost,
           (SELECT count(*) FROM ops.throttled_now) AS throttled`,
      );
      expect(answer.totalMonthlyRevenue).toBe(Number(rows[0]?.revenue));
      expect(answer.totalMonthlyCost).toBe(Number(rows[0]?.cost));
      expect(answer.throttledUsers).toBe(Number(rows[0]?.throttled));
      expect(answer.totalMonthlyRevenue).toBeGreaterThan(0);
      expect(answer.activeUsers).toBeGreaterThan(0);
    },
  },
  {
    says: /admin\/cost-analytics\/users\?/,
    own: true,
    async run({ block, demo, shell }) {
      const [users, user] = (await shell(block.text)).output.split(/(?<=\})(?=\{)/).map((text) => JSON.parse(text));
      expect(users.users).toHaveLength(5);
      const costs = users.users.map(({ currentMonthApiCost }: { currentMonthApiCost: number }) => currentMonthApiCost);
      expect(costs).toEqual([...costs].sort((a, b) => b - a));
      expect(user).toMatchObject({ userId: demo.env.TEST_USER_ID, tier: expect.any(String), isThrottled: false });
      expect(user.lots.length).toBeGreaterThan(0);
    },
  },
];

type Answer = { tag: string; columns: string[]; rows: Record<string, string>[] };
type SqlExample = {
  says: RegExp;
  own?: true;
  run(answer: Answer, ask: (sql: string) => Promise<Answer>): Promise<void>;
};

const sqlExamples: SqlExample[] = [
  {
    says: /FROM ops\.provider_drift/,
    own: true,
    async run({ rows }, ask) {
      expect(rows.length).toBeGreaterThan(20);
      const { rows: booked } = await ask(`
        SELECT to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS period, model, sum(cost) AS our_dollars,
          sum(input_tokens + output_tokens) AS our_tokens
        FROM runs WHERE status <> 'running' GROUP BY 1, 2`);
      const days = rows.filter(({ period = '' }) => period?.length === 10);
      expect(days.length).toBeGreaterThan(20);
      for (const { period, model, our_dollars, our_tokens } of days)
        expect(booked).toContainEqual({ period, model, our_dollars, our_tokens });
    },
  },
  {
    says: /FROM ops\.alerts_now/,
    own: true,
    async run({ columns }, ask) {
      expect(columns).toEqual(['severity', 'what', 'raised_at', 'what_to_do']);
      await ask('SELECT ops.check_alerts()');
      const { rows } = await ask("SELECT kind FROM ops.alerts_now WHERE kind ~ '^(job|audit|check)_'");
      expect(rows).toEqual([]);
    },
  },
  { says: /FROM ops\.undelivered_messages/, own: true, run: async ({ rows }) => expect(rows).toEqual([]) },
  {
    says: /FROM ops\.test_alert/,
    own: true,
    async run({ rows }) {
      expect(rows.map(({ channel }) => channel)).toEqual(['operator_email', 'webhook']);
      for (const { what } of rows) expect(what).toContain('no server has it');
    },
  },
  { says: /FROM ops\.audit_books/, own: true, run: async ({ rows }) => expect(rows).toEqual([]) },
  {
    says: /FROM ops\.jobs/,
    own: true,
    async run({ rows }) {
      expect(rows.length).toBeGreaterThan(10);
      expect(rows.filter(({ is_late, has_failed }) => is_late !== 'f' || has_failed !== 'f')).toEqual([]);
    },
  },
  {
    says: /FROM ops\.stripe_review/,
    own: true,
    async run({ columns, rows }) {
      expect(columns).toEqual(expect.arrayContaining(['kind', 'why', 'what_to_do']));
      expect(rows).toEqual([]);
    },
  },
  {
    says: /FROM ops\.reconcile_stripe/,
    own: true,
    async run({ rows }, ask) {
      expect(rows.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['list_events', 'list_refunds']));
      const lists = async () => (await ask("SELECT kind FROM stripe_work WHERE kind LIKE 'list%'")).rows;
      await expect.poll(lists, { timeout: 70_000, interval: 500 }).toEqual([]);
    },
  },
  // Five weeks of history and all that was bought since: nothing is unknown here, but what was subscribed a moment ago, whose two
  // events of one second have to be fetched.
  {
    says: /FROM ops\.stripe_drift/,
    own: true,
    run: async ({ rows }) =>
      expect(rows.filter(({ kind, ours }) => kind !== 'subscription' || !ours?.includes('incomplete'))).toEqual([]),
  },
  {
    says: /FROM subscription_states/,
    own: true,
    async run({ rows }) {
      expect(rows.find(({ status }) => status === 'active')).toMatchObject({ entitles: 'while_paid', is_open: 't' });
      expect(rows).toHaveLength(8);
    },
  },
  {
    says: /FROM ops\.explain_balance/,
    own: true,
    run: async ({ rows }) => expect(rows.at(-1)).toMatchObject({ type: 'balance', balance: '204' }),
  },
  { says: /FROM ops\.checks/, own: true, run: async ({ rows }) => expect(rows).toEqual([]) },
  {
    says: /^SELECT email, current_month_api_cost, tier_name/m,
    async run({ columns, rows }, ask) {
      expect(columns).toEqual(['email', 'current_month_api_cost', 'tier_name', 'monthly_cost_limit']);
      // It takes a tier given by hand for free, and counts what purchased credits paid for; we list no fewer.
      const ours = await ask('SELECT email FROM ops.users_at_risk');
      expect(rows.map(({ email }) => email)).toEqual(expect.arrayContaining(ours.rows.map(({ email }) => email)));
    },
  },
  {
    says: /risk_level = 'high_risk'/,
    async run({ columns, rows }, ask) {
      expect(columns).toEqual(expect.arrayContaining(['email', 'current_month_api_cost', 'risk_level', 'created_at']));
      const dear = await ask('SELECT email FROM users WHERE current_month_api_cost > 5');
      expect(rows).toHaveLength(dear.rows.length);
    },
  },
  {
    says: /as total_users/,
    async run({ rows }, ask) {
      const sums = await ask(`
        SELECT count(DISTINCT r.user_id) AS total_users, round(sum(r.cost), 2) AS total_cost,
          count(DISTINCT r.user_id) FILTER (WHERE u.is_throttled) AS throttled
        FROM runs r JOIN users u ON u.id = r.user_id WHERE r.cost > 0 AND r.started_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'`);
      expect(rows).toEqual([{ ...sums.rows[0], avg_cost: expect.stringMatching(/^\d+\.\d{4}$/) }]);
    },
  },
  {
    says: /FROM ops\.users_at_risk/,
    own: true,
    run: async ({ columns }) => expect(columns).toContain('percent_of_limit'),
  },
  {
    says: /FROM ops\.throttled_now/,
    own: true,
    run: async ({ columns }) => expect(columns).toContain('throttled_until'),
  },
  { says: /FROM ops\.refusals/, own: true, run: async ({ rows }) => expect(rows).not.toEqual([]) },
  { says: /FROM ops\.open_holds/, own: true, run: async ({ rows }) => expect(rows).toEqual([]) },
  {
    says: /^UPDATE users SET is_throttled = FALSE;/m,
    async run({ tag }, ask) {
      expect(tag).toMatch(/^UPDATE \d+$/);
      expect((await ask('SELECT email FROM users WHERE is_throttled')).rows).toEqual([]);
    },
  },
  {
    says: /^UPDATE cost_limits_config SET throttle_on_exceed = FALSE;/m,
    run: async ({ tag }) => expect(tag).toBe('UPDATE 4'),
  },
  {
    says: /^UPDATE cost_limits_config SET monthly_cost_limit = 10/m,
    async run({ tag }, ask) {
      expect(tag).toBe('UPDATE 4');
      const { rows } = await ask('SELECT DISTINCT monthly_cost_limit FROM cost_limits_config');
      expect(rows).toEqual([{ monthly_cost_limit: '10.00' }]);
    },
  },
  {
    says: /^SELECT current_month_api_cost, is_throttled, throttled_reason/m,
    async run({ rows }) {
      expect(rows).toEqual([
        { current_month_api_cost: expect.stringMatching(/^0\.00\d+$/), is_throttled: 'f', throttled_reason: '' },
      ]);
    },
  },
  { says: /^UPDATE users SET is_throttled = FALSE WHERE email/m, run: async ({ tag }) => expect(tag).toBe('UPDATE 1') },
  {
    says: /^SELECT refresh_user_cost_analytics\(\);/m,
    run: async ({ rows }) =>
      expect(Object.values(rows[0] ?? {})).toEqual([expect.stringMatching(/^refreshed \d+ users$/)]),
  },
  {
    says: /^SELECT NOW\(\) - created_at FROM user_cost_analytics/m,
    run: async ({ rows }) => expect(Object.values(rows[0] ?? {})).toEqual([expect.stringMatching(/^00:0\d:\d\d/)]),
  },
];

/** An example that no test knows is one that nobody has tried. */
function theOne<T extends { says: RegExp }>(examples: T[], text: string, line: number): T {
  const [example, ...more] = examples.filter(({ says }) => says.test(text));
  if (example === undefined || more.length > 0)
    throw new Error(`line ${line}: ${example ? 'several tests' : 'no test'} for this block`);
  return example;
}

/** Runs commands as a person would in a terminal after `. DIR/env`; of a crontab's line what stands after its time. */
async function shell(commands: string, { env }: Demo, directory: string): Promise<{ output: string; log: string }> {
  const log = join(directory, 'var', 'prpm.log');
  const typed = commands
    .replaceAll('https://yourdomain.com', env.BASE_URL ?? '')
    .replaceAll('"package_id":"..."', `"package_id":"${env.PACKAGE_ID}"`)
    .replaceAll('Url":"..."', `Url":"${env.BASE_URL}/back"`)
    .replaceAll(/\/var\/log\/prpm-[\w-]+\.log/g, log)
    .replace(/^cd .*$/m, '')
    .replace(/^([\d*]+ ){5}/gm, '');
  const { code, output, errors } = await run('bash', ['-c', `set -eu\nrm -f '${log}'\n. '${directory}/env'\n${typed}`]);
  if (code !== 0) throw new Error(`exit code ${code}:\n${typed}\n${output}\n${errors}`);
  return { output, log: existsSync(log) ? readFileSync(log, 'utf8') : '' };
}

/** One statement in psql, as the operator's role. The demo's user has the e-mail that the guides print. */
async function query({ env }: Demo, statement: string): Promise<Answer> {
  const { code, output, errors } = await run('psql', [
    env.DATABASE_URL ?? '',
    '-v',
    'ON_ERROR_STOP=1',
    '--csv',
    '-c',
    statement,
  ]);
  if (code !== 0) throw new Error(`${statement}\n${errors}`);
  const [head = '', ...lines] = output.trim().split('\n');
  const columns = head.split(',');
  const rows = lines.map((line) => Object.fromEntries(line.split(',').map((value, i) => [columns[i] ?? '', value])));
  return { tag: head, columns, rows };
}

/** What the API answers the guide's user. */
async function read({ env }: Demo, path: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${env.TOKEN}` };
  return (await fetch(`${env.BASE_URL}/api/v1/playground/${path}`, { headers })).json();
}

function run(program: string, args: string[]): Promise<{ code: number | null; output: string; errors: string }> {
  const path = [dirname(psql ?? ''), process.env.PATH].join(':');
  const child = spawn(program, args, {
    cwd: root,
    env: { ...process.env, PATH: path, PSQLRC: '/dev/null', PAGER: 'cat' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (errors += chunk));
  return new Promise((settle, fail) => {
    child.once('error', fail);
    child.once('close', (code) => settle({ code, output, errors }));
  });
}
