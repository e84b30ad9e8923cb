// A demo moves to three nodes while people use it, and back, as docs/scale.md says; each with its own command in another terminal.
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { refuseWithoutCitus } from '../../sandbox/demo/nodes.ts';
import { blocksOf, statementsOf } from '../guide/blocks.ts';
import { type Demo, demoDirectory, removeDemo, root, scaleDemo, startDemo } from '../guide/demo.ts';
import { needs } from '../harness/tools.ts';
import { type Asker, askPages, askPsql, refused } from './asks.ts';

const patient = 180_000;

async function ask(url: string | undefined, statement: string): Promise<Record<string, unknown>[]> {
  const sql = postgres(url ?? '', { max: 1, onnotice: () => {} });
  try {
    return [...(await sql.unsafe(statement))];
  } finally {
    await sql.end();
  }
}

const operator = (demo: Demo, statement: string) => ask(demo.env.DATABASE_URL, statement);

async function call({ env }: Demo, token: string, path: string, body?: object) {
  const headers = { authorization: `Bearer ${token}` };
  const how = body === undefined ? { headers } : { headers, method: 'POST', body: JSON.stringify(body) };
  const answer = await fetch(`${env.BASE_URL}/api/v1/playground/${path}`, how);
  return { status: answer.status, body: JSON.parse(await answer.text()) };
}

/** A run by a client that asks again, by the same key, until it has an answer. */
async function runOnce(demo: Demo, token: string): Promise<{ key: string; run_id: string; credits_spent: number }> {
  const key = randomUUID();
  for (;;) {
    const answer = await fetch(`${demo.env.BASE_URL}/api/v1/playground/execute`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'idempotency-key': key },
      body: JSON.stringify({
        package_id: demo.env.PACKAGE_ID,
        input: 'We will utilize it. [[sandbox: pace=1 slow=50]]',
      }),
    }).catch(() => undefined);
    if (answer?.status === 200) return { key, ...JSON.parse(await answer.text()) };
    if (answer !== undefined && answer.status !== 503 && answer.status !== 409)
      throw new Error(`${answer.status} ${await answer.text()}`);
    await sleep(100);
  }
}

/** Of the history, which ended yesterday, and of whoever does not run anything now. */
async function history(demo: Demo, token: string) {
  const queries = [
    `select * from ops.margin_by_day where day < current_date order by day`,
    `select id, email, included_credits, purchased_credits, lifetime_api_cost, total_requests, plan_tier from users where username <> 'mover' order by id`,
    `select count(*), sum(amount) from credit_transactions where created_at < current_date`,
    `select u.email, r.* from users u join runs r on r.user_id = u.id where r.started_at < current_date order by r.id`,
    `select * from subscriptions order by id`,
    `select * from ops.stripe_drift order by 1`,
    `select id, applied_at, status from stripe_events order by id`,
  ];
  const answers: unknown[] = [];
  for (const query of queries) answers.push(await operator(demo, query));
  for (const path of ['credits', 'credits/history?limit=100', 'sessions?limit=100', 'subscription'])
    answers.push((await call(demo, token, path)).body);
  return JSON.parse(JSON.stringify(answers));
}

describe.skipIf(needs('citus', 'pg_dump', 'pg_restore'))('npm run demo:scale', () => {
  const directory = demoDirectory();
  let demo: Demo;
  let mover: { id: string; token: string };
  let asker: Asker;
  /** What each query and view answered on three nodes. */
  let pages: Record<string, unknown>;
  let views: Record<string, unknown>;
  const runs: Awaited<ReturnType<typeof runOnce>>[] = [];

  beforeAll(async () => {
    demo = await startDemo(directory);
    await operator(demo, 'update settings set reads_per_minute = 10000');
    const [made] = await operator(
      demo,
      "select user_id as id, token from ops.create_user('mover@example.com', 'mover')",
    );
    mover = { id: String(made?.id), token: String(made?.token) };
    await operator(demo, `select ops.set_user('${mover.id}', tier_override => 'unlimited', reason => 'a test')`);
    await operator(demo, `select ops.grant_credits('${mover.id}', 100000, 'a test')`);
    await runOnce(demo, demo.env.TOKEN ?? '');
    asker = await findAsker();
  }, patient);
  afterAll(async () => {
    await demo?.stop();
    removeDemo(directory);
  });

  const stateOf = () => JSON.parse(readFileSync(join(directory, 'state.json'), 'utf8'));
  const tokenOf = (name: string) =>
    String(stateOf().seeded.people.find(({ username }: { username: string }) => username === name)?.token);

  /** Somebody with all that can be asked about. */
  async function findAsker(): Promise<Asker> {
    const user = tokenOf('plus-user');
    const [person] = await operator(demo, "select id from users where username = 'plus-user'");
    const [author] = await operator(demo, "select id from users where username = 'prpm'");
    const [token] = await operator(
      demo,
      `select token from ops.create_token('${author?.id}', 'a test', '{run,read,billing,publish}')`,
    );
    const [input] = await operator(
      demo,
      "select i.id, i.package_id from suggested_inputs i join packages p on p.id = i.package_id and p.visibility = 'public' order by i.id limit 1",
    );
    const [run] = await operator(
      demo,
      `select id, session_id from runs where user_id = '${person?.id}' and status = 'completed' order by id limit 1`,
    );
    const share = await call(demo, user, `sessions/${run?.session_id}/share`, {});
    const compared = await call(demo, user, 'compare', {
      input: 'We will utilize it. [[sandbox: pace=1 slow=1]]',
      package_id: demo.env.PACKAGE_ID,
      sides: [{}, { use_no_prompt: true }],
    });
    await call(demo, user, 'credits/purchase', {
      ...{ package: 'small', successUrl: `${demo.env.BASE_URL}/a`, cancelUrl: `${demo.env.BASE_URL}/b` },
    });
    return {
      ...{ user, userId: String(person?.id), admin: demo.env.ADMIN_TOKEN ?? '' },
      ...{ author: String(token?.token), authorId: String(author?.id) },
      ...{ packageId: String(input?.package_id), suggestedInputId: String(input?.id) },
      ...{ sessionId: String(run?.session_id), runId: String(run?.id) },
      ...{ comparisonId: compared.body.comparison_id, shareToken: share.body.share_token },
    };
  }

  it('refuses where there is no Citus, and says what to install', () => {
    process.env.PRPM_POSTGRES = 'embedded';
    try {
      expect(refuseWithoutCitus).toThrow(/^Three nodes need Citus, .* Install .* Nothing was changed\.$/);
    } finally {
      delete process.env.PRPM_POSTGRES;
    }
  });

  it(
    'leaves the demo where it was when something refuses, and says what',
    async () => {
      const owner = (statement: string) => ask(demo.env.MIGRATE_DATABASE_URL, statement);
      await owner('create table wrong (id uuid primary key, user_id uuid not null)');
      await owner("comment on table wrong is 'per-user'");
      const { code, output } = await scaleDemo(directory, [], demo);
      await owner('drop table wrong');
      expect([code, output]).toEqual([
        1,
        expect.stringContaining(
          'Not moved; the demo goes on where it was. These keys do not begin with the person: wrong_pkey.',
        ),
      ]);
      expect(existsSync(join(directory, 'nodes'))).toBe(false);
      runs.push(await runOnce(demo, mover.token));
    },
    patient,
  );

  it(
    'is where it was, with all that it had, after a kill -9 in the middle of a move',
    async () => {
      const before = await history(demo, asker.user);
      const moving = scaleDemo(directory);
      await expect.poll(() => demo.output(), { timeout: patient }).toContain('Closing the page');
      await demo.stop('SIGKILL');
      expect((await moving).output).toContain('The demo ended before it was done.');
      demo = await startDemo(directory);
      expect(existsSync(join(directory, 'nodes'))).toBe(false);
      expect(await history(demo, asker.user)).toEqual(before);
      runs.push(await runOnce(demo, mover.token));
    },
    patient,
  );

  it(
    'moves a demo that people use, loses no run and doubles none, and leaves the history as it was',
    async () => {
      const before = await history(demo, asker.user);
      let isOver = false;
      const clients = Array.from({ length: 2 }, async () => {
        while (!isOver) runs.push(await runOnce(demo, mover.token));
      });
      const moving = scaleDemo(directory, [], demo);
      await expect.poll(() => demo.output()).toContain('Starting a coordinator');
      expect(await scaleDemo(directory)).toEqual({ code: 1, output: 'It is being moved already.\n' });
      const { code, output } = await moving;
      isOver = true;
      await Promise.all(clients);
      expect([code, output]).toEqual([0, expect.stringMatching(/^The page is back\. It was away for \d+\.\d s\.$/m)]);
      expect(output).toMatch(/^\d+ rows of \d+ tables copied in .* each the same there; the books balance\.$/m);
      expect(await history(demo, asker.user)).toEqual(before);

      for (let n = 0; n < 4; n++) runs.push(await runOnce(demo, mover.token));
      expect(new Set(runs.map(({ run_id }) => run_id)).size).toBe(runs.length);
      const [booked] = await operator(
        demo,
        `select count(*)::int as n, sum(credits)::int as credits from runs where user_id = '${mover.id}'`,
      );
      expect(booked).toEqual({
        n: runs.length,
        credits: runs.reduce((sum, { credits_spent }) => sum + credits_spent, 0),
      });
      expect(await operator(demo, 'select * from ops.audit_books()')).toEqual([]);
    },
    patient,
  );

  it('has people on both workers, and carries out runs at the one that has the person', async () => {
    const { DATABASE_URL: url = '' } = demo.env;
    const [, query = ''] =
      /psql \$DATABASE_URL -c "(SELECT .* AS people .*)"/.exec((await scaleDemo(directory)).output) ?? [];
    const people = await operator(demo, query);
    const workers = await operator(demo, 'select nodeport as port from pg_dist_node where groupid <> 0 order by 1');
    expect(people.map(({ port }) => Number(port)).sort()).toEqual(workers.map(({ port }) => port));
    const homes = await operator(
      demo,
      `select n.nodeport as port from pg_dist_placement p join pg_dist_node n on n.groupid = p.groupid
       where p.shardid = get_shard_id_for_distribution_column('public.users', '${mover.id}'::uuid)`,
    );
    for (const { port } of homes) {
      const worker = new URL(url);
      [worker.port, worker.username, worker.password] = [String(port), 'prpm_app', stateOf().passwords.prpm_app];
      const carried = await ask(
        worker.href,
        "select from pg_stat_activity where query ~ 'api\\.\\w+_run' and application_name = 'prpm-playground'",
      );
      expect(carried.length).toBeGreaterThan(0);
    }
  });

  it('says that it is there already when it is told again, and changes nothing', async () => {
    const before = readFileSync(join(directory, 'env'), 'utf8');
    const { code, output } = await scaleDemo(directory);
    expect([code, output]).toEqual([0, expect.stringMatching(/^It is there already: three nodes of its own/)]);
    expect(readFileSync(join(directory, 'env'), 'utf8')).toBe(before);
  });

  it(
    'goes on with three nodes and the same data at the next start, on other ports if it must',
    async () => {
      await operator(demo, 'select refresh_user_cost_analytics()');
      const before = await history(demo, asker.user);
      const port = Number(new URL(demo.env.DATABASE_URL ?? '').port);
      await demo.stop();
      await expect(operator(demo, 'select')).rejects.toThrow(/ECONNREFUSED/);
      const taken = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1');
      demo = await startDemo(directory);
      taken.close();
      expect(new URL(demo.env.DATABASE_URL ?? '').port).not.toBe(String(port));
      expect(await history(demo, asker.user)).toEqual(before);
      runs.push(await runOnce(demo, mover.token));
      expect(await operator(demo, 'select * from ops.audit_books()')).toEqual([]);
    },
    patient,
  );

  it(
    'so it does after a kill -9 of all of it',
    async () => {
      await demo.stop('SIGKILL');
      demo = await startDemo(directory);
      runs.push(await runOnce(demo, mover.token));
      expect(await operator(demo, 'select * from ops.audit_books()')).toEqual([]);
    },
    patient,
  );

  it('answers each query of its pages and of the guides on three nodes', async () => {
    await operator(demo, 'select refresh_user_cost_analytics()');
    pages = await askPages(demo, asker);
    views = await askPsql(demo, printed());
    expect({ ...refused(pages), ...refused(views) }).toEqual({});
  });

  it(
    'goes back to one server with --back, where everything answers the same',
    async () => {
      const { code, output } = await scaleDemo(directory, ['--back'], demo);
      expect([code, output]).toEqual([0, expect.stringMatching(/^The page is back\./m)]);
      expect(existsSync(join(directory, 'nodes'))).toBe(false);
      expect(still(await askPages(demo, asker))).toEqual(still(pages));
      expect(still(await askPsql(demo, printed()))).toEqual(still(views));
      expect(await operator(demo, 'select * from ops.audit_books()')).toEqual([]);
    },
    patient,
  );

  it('says what to type where no demo runs, and moves nothing', async () => {
    await demo.stop();
    const { code, output } = await scaleDemo(directory);
    expect([code, output.trim()]).toEqual([
      1,
      `No demo runs in ${directory}. Start one in another terminal, and type this again when it shows its screen: npm run demo -- --dir ${directory}`,
    ]);
  });
});

/** What changes by the minute or by being asked is left out, and so are times since the history ended: answers say of when they are. */
function still(answers: Record<string, unknown>): unknown {
  const restless = /^(jobs\.list|select \* from (public\.(rate_windows|job_runs|jobs)|ops\.jobs)|.* FROM ops\.jobs;)$/;
  const kept = Object.fromEntries(Object.entries(answers).filter(([name]) => !restless.test(name)));
  const today = new Date().setUTCHours(0, 0, 0, 0);
  const times = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00(:00)?)/g;
  return JSON.parse(
    JSON.stringify(kept).replaceAll(times, (time) => (new Date(time).getTime() < today ? time : 'today')),
  );
}

/** What the README and the operator's guide have people ask. */
function printed(): string[] {
  return ['README.md', 'docs/deployment.md']
    .flatMap((name) => blocksOf(readFileSync(resolve(root, name), 'utf8')))
    .filter(({ language }) => language === 'sql')
    .flatMap(({ text }) => statementsOf(text.replaceAll(/; *--.*$/gm, ';')))
    .filter((statement) => /^(--.*\n)*SELECT/.test(statement))
    .filter((statement) => !/test_alert|reconcile_stripe|refresh_user|NOW\(\)/.test(statement));
}
