// Many connections at once. Any error that is not asked for fails a test, deadlocks first of all.
import postgres from 'postgres';
import { afterAll, expect, inject, it } from 'vitest';
import { withDatabase } from '../../src/database/roles.ts';
import { type Begun, newId, openWorld, type ReceiptRow, receiptOf } from './world.ts';

const world = await openWorld();
const app = postgres(world.appUrl, { max: 20, onnotice: () => {} });
const others = postgres(world.ownerUrl, { max: 10, onnotice: () => {} });
/** On a cluster who waits does so on the node that has the rows. */
const nodes = inject('nodeUrls').map((url) => postgres(withDatabase(url, world.name), { max: 1, onnotice: () => {} }));
afterAll(() => Promise.all([app, others, ...nodes].map((sql) => sql.end())));

const begin = async (
  user: string,
  asked: { run?: string; model?: string; key?: string } = {},
  sql: postgres.ISql = app,
) => {
  const [row] = await sql<Begun[]>`
    select * from api.begin_run(${user}, ${asked.run ?? newId()}, 'plain', null, null, ${asked.model ?? 'plain'}, false, 400, 'o200k_base',
      null, null, ${asked.key ?? null}, ${asked.key ? Buffer.alloc(32) : null})`;
  if (row === undefined) throw new Error('begin_run answers one row');
  return row;
};

const settle = async (
  user: string,
  run: string,
  tokens: { input?: number; output?: number } = {},
  sql: postgres.ISql = app,
) => {
  const [row] = await sql<ReceiptRow[]>`
    select * from api.settle_run(${user}, ${run}, 'completed', true, ${tokens.input ?? 500}, 0, 0, ${tokens.output ?? 50}, false,
      'question', 'answer', null, null, 1, 2)`;
  if (row === undefined) throw new Error('settle_run answers one row');
  return receiptOf(row);
};

/**
 * Waits until so many sessions of this database wait for a lock, or until `otherwise` is over: who waits for a row for a tenth
 * of a second at most may have done so unseen.
 */
async function untilWaiting(sessions: number, otherwise?: Promise<unknown>) {
  let isOver = false;
  const end = () => {
    isOver = true;
  };
  otherwise?.then(end, end);
  while (!isOver) {
    const waiting = await Promise.all(
      nodes.map(
        (sql) => sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
      ),
    );
    if (waiting.flat().length >= sessions) return;
  }
}

/** Numbers that are the same in every run of the test. */
function dice(seed: number) {
  let state = seed;
  return (sides: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * sides);
  };
}

const inParallel = <T>(count: number, action: (place: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, place) => action(place)));

it('a run that begins while its price is being replaced keeps the one that it sees, and the audit knows (spec 1.3)', async () => {
  const user = await world.person({ credits: 50, tier: 'unlimited' });
  const publishing = await others.reserve();
  await publishing`begin`;
  await publishing`select from ops.publish_prices('vague', null, 11, 1, null, 21, 'operator', 'test')`;
  const [early, run] = [await begin(user, { model: 'vague' }), newId()];
  await publishing`commit`;
  publishing.release();
  await begin(user, { run, model: 'vague' });
  await settle(user, run);
  await settle(user, early.begun_run_id ?? '');
  const costs =
    await world.owner`select trim_scale(cost)::text as cost from runs where user_id = ${user} order by started_at`;
  expect(costs.map(({ cost }) => cost)).toEqual(['0.006', '0.00655']);
  expect(await world.ops`select * from ops.audit_books(${user})`).toEqual([]);

  const move = async (seconds: number) => {
    const [run] = await world.owner`
      select started_at + make_interval(secs => ${seconds}) as at from runs where user_id = ${user} and id = ${early.begun_run_id ?? ''}`;
    await world.owner`update runs set started_at = ${run?.at} where user_id = ${user} and id = ${early.begun_run_id ?? ''}`;
  };
  await move(61);
  const found = await world.ops`select check_name from ops.audit_books(${user})`;
  await move(-61);
  expect(found.map(({ check_name }) => check_name)).toContain('run_price');
});

it('never spends more than there is: 200 parallel runs on 5 credits (spec 3.2, fault 12)', async () => {
  const user = await world.person({ credits: 5, tier: 'unlimited' });
  const answers = await inParallel(200, async (place) => {
    const { outcome, begun_run_id, refusal } = await begin(user);
    if (outcome === 'refused') return { refused: refusal?.code, credits: 0 };
    const receipt = await settle(user, begun_run_id, { input: 500, output: place % 3 === 0 ? 6_000 : 50 });
    return { refused: undefined, credits: receipt.credits_spent };
  });
  const spent = answers.reduce((all, { credits }) => all + credits, 0);
  const refused = answers.filter(({ refused }) => refused);
  expect(spent).toBe(5);
  for (const { refused: code } of refused) expect(['held_by_other_runs', 'insufficient_credits']).toContain(code);
  expect(await world.figures(user)).toMatchObject({ balance: 0, held: 0 });
  const [runs] = await world.owner`select count(*)::int as runs from runs where user_id = ${user}`;
  const [sessions] = await world.owner`select count(*)::int as sessions from sessions where user_id = ${user}`;
  expect([runs?.runs, sessions?.sessions]).toEqual([200 - refused.length, 200 - refused.length]);
  const [counted] = await world.owner`select sum(count)::int as refusals from refusals where user_id = ${user}`;
  expect(counted?.refusals).toBe(refused.length);
});

it('lets one run in where there is credit for one, while that one has not ended: ten at once (fault 12)', async () => {
  const user = await world.person({ credits: 1, tier: 'unlimited' });
  const begun = await inParallel(10, () => begin(user));
  expect(begun.filter(({ outcome }) => outcome === 'started')).toHaveLength(1);
  expect(begun.filter(({ refusal }) => refusal?.code === 'held_by_other_runs')).toHaveLength(9);
});

it('never takes a user above a cost limit, however many run at once (spec 3.2, fault 50)', async () => {
  await world.ops`update cost_limits_config set hourly_request_limit = null where tier_name = 'free'`;
  const user = await world.person({ credits: 1_000 });
  const caps = await inParallel(60, async () => {
    const { outcome, begun_run_id, output_cap } = await begin(user);
    if (outcome === 'started') await settle(user, begun_run_id, { input: 500, output: output_cap });
    return output_cap;
  });
  expect(caps.some((cap) => cap > 0)).toBe(true);
  const { day_limited, day_held } = await world.figures(user);
  expect(day_held).toBe('0');
  expect(Number(day_limited)).toBeLessThanOrEqual(0.1);
  expect(Number(day_limited)).toBeGreaterThan(0.085);
});

it('counts exactly ten of forty parallel runs for the hour of the free tier (spec 3.2)', async () => {
  const user = await world.person({ credits: 1_000 });
  await world.ops`update cost_limits_config set daily_cost_limit = null, monthly_cost_limit = null where tier_name = 'free'`;
  const begun = await inParallel(40, () => begin(user));
  expect(begun.filter(({ outcome }) => outcome === 'started')).toHaveLength(10);
  expect(begun.filter(({ refusal }) => refusal?.code === 'hourly_request_limit')).toHaveLength(30);
});

it('makes one run of forty parallel requests with one key, and of one run id (spec 5.3)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  for (const asked of [() => ({ key: 'k' }), ((run: string) => () => ({ run }))(newId())]) {
    const begun = await inParallel(40, () => begin(user, asked()));
    expect(begun.filter(({ outcome }) => outcome === 'started')).toHaveLength(1);
    expect(new Set(begun.map(({ begun_run_id }) => begun_run_id)).size).toBe(1);
  }
  expect((await world.figures(user)).held).toBe(2);
});

it('settles once where forty settle the same run, and tells all the same (spec 5.3)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  const { begun_run_id } = await begin(user);
  const receipts = await inParallel(40, (place) => settle(user, begun_run_id, { input: 500, output: 1_000 * place }));
  expect(new Set(receipts.map((receipt) => JSON.stringify(receipt))).size).toBe(1);
});

it('sees the hold of a run that another connection is still beginning (spec 3.2)', async () => {
  const user = await world.person({ credits: 1, tier: 'unlimited' });
  const second = await app.begin(async (sql) => {
    expect((await begin(user, {}, sql)).outcome).toBe('started');
    const waiting = begin(user);
    await untilWaiting(1);
    return { waiting };
  });
  expect((await second.waiting).refusal?.code).toBe('held_by_other_runs');
});

it('settles a run whose first checkpoint is still under way, with the text as settled (spec 5.2, 5.4)', async () => {
  const user = await world.person();
  const { begun_run_id } = await begin(user);
  const { waiting } = await app.begin(async (sql) => {
    await sql`select * from api.checkpoint_run(${user}, ${begun_run_id}, 'question', 'so far', 10, null, null, null)`;
    const waiting = settle(user, begun_run_id);
    await untilWaiting(1);
    return { waiting };
  });
  expect((await waiting).status).toBe('completed');
  expect(await app`select answer from api.read_run(${user}, ${begun_run_id})`).toEqual([{ answer: 'answer' }]);
});

it('leaves a run alone whose checkpoint comes while it is being taken for dead (spec 5.2)', async () => {
  const user = await world.person();
  const { begun_run_id } = await begin(user);
  await world.pass('61 seconds');
  const { waiting } = await app.begin(async (sql) => {
    await sql`select * from api.checkpoint_run(${user}, ${begun_run_id}, 'question', 'so far', 10, null, null, null)`;
    const waiting = world.expireHolds();
    await untilWaiting(1, waiting);
    return { waiting };
  });
  await waiting;
  expect((await world.readRun(user, begun_run_id))?.status).toBe('running');
  expect((await settle(user, begun_run_id)).status).toBe('completed');
});

it('keeps the books of one user through everything at once: runs, late ends, grants, refunds, revocations, jobs (spec 4.2, fault 7)', async () => {
  const user = await world.person({ credits: 30, tier: 'prpm_plus_individual' });
  await world.ops`update cost_limits_config set hourly_request_limit = null, throttle_on_exceed = true`;
  await world.ops`update settings set hold_ms = 1000`;
  const purchase = await world.buy(user);
  const workers = Array.from({ length: 12 }, (_, worker) => ({ roll: dice(worker + 1), mine: [] as string[] }));
  const work = async ({ roll, mine }: (typeof workers)[number]) => {
    for (let turn = 0; turn < 8; turn++) {
      const run = mine.at(roll(Math.max(1, mine.length)));
      switch (roll(11)) {
        case 0:
          await world.ops`select ops.expire_holds()`;
          break;
        case 1:
          await others`select core.apply_refund(${user}, ${purchase}, ${roll(6)}, core.now())`;
          break;
        case 2:
          await world.ops`select reset_monthly_api_costs()`;
          break;
        case 3:
          await world.ops`
            select from ops.grant_credits(${user}, ${1 + roll(9)}, 'test',
              (select clock_timestamp() + s.clock_offset + interval '2 seconds' from settings s))`.catch(
            (error) => expect(error.code).toBe('PR400'), // so late that it has expired already
          );
          break;
        case 4:
          await world.ops`select from ops.revoke_credits(${user}, 2, 'test')`.catch((error) =>
            expect(error.code).toBe('PR409'),
          );
          break;
        case 5:
        case 6:
          if (run)
            await app`select * from api.checkpoint_run(${user}, ${run}, 'question', 'so far', ${roll(90)}, null, null, null)`;
          break;
        case 7:
          if (run)
            await app`select api.release_run(${user}, ${run}, true, 500, 0, 0, 0, 'question', 'provider_error', null, 1)`;
          break;
        case 8:
          if (run) await settle(user, run, { input: 500 + roll(9_000), output: roll(6_000) });
          break;
        default: {
          const begun = await begin(user, { model: roll(2) ? 'plain' : 'opus' });
          if (begun.outcome === 'started') mine.push(begun.begun_run_id);
        }
      }
    }
  };
  for (let round = 0; round < 8; round++) {
    await Promise.all(workers.map(work));
    await world.expectBalance();
    await world.pass('700 milliseconds');
  }
  await inParallel(12, async (worker) => {
    for (const run of workers[worker]?.mine ?? []) await settle(user, run);
  });
  expect(await world.figures(user)).toMatchObject({ held: 0, day_held: '0', month_held: '0' });
});

it('grants a period once though sixteen notice it while runs go on (spec 4.3, fault 7)', async () => {
  const user = await world.person({ credits: 0, tier: 'unlimited' });
  await world.period(user, '2031-02-12T12:00:00Z', '2031-03-12T12:00:00Z');
  await inParallel(32, async (place) => {
    if (place % 2) {
      const { outcome, begun_run_id } = await begin(user);
      if (outcome === 'started') await settle(user, begun_run_id);
    } else {
      await others`
        select core.grant_period(${user}, 'sub_1', 'prpm_plus_individual', '2031-03-12T12:00:00Z', '2031-04-12T12:00:00Z', 6, core.now())`;
    }
  });
  const granted = (await world.transfers(user)).filter(([type]) => type === 'monthly');
  expect(granted).toHaveLength(2);
  expect((await world.figures(user)).balance).toBe(200 - 16);
});

it('runs forty people while the month ends and the jobs sweep over all of them (spec 7.1, 7.4)', async () => {
  await world.ops`update settings set hold_ms = 2000`;
  const people = await inParallel(40, () => world.person({ credits: 40 }));
  await world.at('2031-03-31T23:59:58Z');
  let going = true;
  const sweep = async (job: () => Promise<unknown>) => {
    let times = 0;
    for (; going || times < 4; times++) await job();
    return times;
  };
  const sweeps = Promise.all([
    sweep(() => others`select reset_monthly_api_costs()`),
    sweep(() => others`select reset_monthly_api_costs()`),
    sweep(() => others`select ops.expire_holds()`),
    sweep(() => others`select ops.expire_holds()`),
  ]);
  await inParallel(40, async (place) => {
    const roll = dice(place + 1);
    const user = people[place] ?? '';
    for (let turn = 0; turn < 12; turn++) {
      const { outcome, begun_run_id } = await begin(user);
      if (outcome !== 'started') continue;
      if (roll(4) === 0) continue;
      if (roll(3) === 0)
        await app`select * from api.checkpoint_run(${user}, ${begun_run_id}, 'question', 'so far', 9, null, null, null)`;
      await settle(user, begun_run_id, { input: 400, output: roll(400) });
    }
  });
  going = false;
  for (const times of await sweeps) expect(times).toBeGreaterThan(3);
  await world.pass('1 minute');
  await others`select ops.expire_holds()`;
  await others`select reset_monthly_api_costs()`;
  const [left] = await others`
    select count(*)::int as open, coalesce(sum(day_held_cost + month_held_cost), 0)::float8 as held from users
    where id = any(${people}) and open_runs <> '{}'`;
  expect(left).toEqual({ open: 0, held: 0 });
}, 60_000);
