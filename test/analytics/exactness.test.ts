// core.usage_by_day is, at every moment, what a plain sum over runs is: under load, across refreshes, and in each order of events
// that could make rollups forget a run or count it twice.
import postgres from 'postgres';
import { uuidv7 } from 'uuidv7';
import { afterAll, describe, expect, test } from 'vitest';
import { openWorld } from '../runs/world.ts';

const world = await openWorld();
const seconds = process.env.SOAK ? 60 : 6;
const app = postgres(world.appUrl, { max: 10, onnotice: () => {} });
const ops = postgres(world.ownerUrl, { max: 4, onnotice: () => {} });
afterAll(() => Promise.all([app.end(), ops.end()]));

const columns = `user_id, day, model, package_id, tier_name, runs, failed_runs, input_tokens, cached_tokens, cache_write_tokens,
  output_tokens, cost, limited_cost, credits, shortfall, included_value, purchased_value, cache_saving, answers, answer_tokens, paid_credits, paid_cost`;
const plainSum = `
  select r.user_id, (r.started_at at time zone 'UTC')::date, r.model, r.package_id, r.tier_name,
    count(*), count(*) filter (where r.status in ('failed', 'expired') or r.error is not null),
    sum(r.input_tokens)::bigint, sum(r.cached_tokens)::bigint, sum(r.cache_write_tokens)::bigint, sum(r.output_tokens)::bigint,
    sum(r.cost), sum(r.limited_cost), sum(r.credits)::bigint, sum(r.shortfall)::bigint, sum(r.included_value), sum(r.purchased_value),
    sum((r.input_tokens * p.input + r.output_tokens * p.output) * 0.000001 - r.cost),
    count(*) filter (where r.status = 'completed' and not r.baseline),
    coalesce(sum(r.output_tokens) filter (where r.status = 'completed' and not r.baseline), 0)::bigint,
    sum(case when r.included_value + r.purchased_value > 0 then r.credits - free.credits else 0 end)::bigint,
    sum(case when r.included_value + r.purchased_value > 0 then r.cost - coalesce(round(r.cost * free.credits / nullif(r.credits + r.shortfall, 0), 12), 0) else 0 end)
  from runs r
  join model_prices p on p.id = r.price_id
  cross join lateral (
    select coalesce((r.credits_by_kind ->> 'signup')::int, 0) + coalesce((r.credits_by_kind ->> 'bonus')::int, 0) as credits
  ) free
  where r.status <> 'running'
  group by 1, 2, 3, 4, 5`;
const rolledUp = `select ${columns} from usage_rollups where runs <> 0`;

/** Rows that one side has and the other lacks, of one snapshot: none. */
async function differences(sql: postgres.ISql, figures = `select ${columns} from core.usage_by_day`) {
  return [
    ...(await sql.unsafe(`
      with plain as materialized (${plainSum}), figures as materialized (${figures})
      (select 'missing', * from (table plain except all table figures) x)
      union all (select 'too much', * from (table figures except all table plain) x)`)),
  ];
}

// As servers make them: by time.
const start = (user: string, model = 'plain') => world.start(user, { run: uuidv7(), model });
const run = async (user: string, ended: Parameters<typeof world.settle>[2] = {}, model = 'cached') => {
  const { begun_run_id } = await start(user, model);
  return world.settle(user, begun_run_id, ended);
};

const refresh = async (sql: postgres.ISql = ops) => {
  const [row] = await sql`select refresh_user_cost_analytics() as answer`;
  expect(row?.answer).toMatch(/^refreshed/);
};

/** An id as a server makes it whose clock is so many milliseconds behind. */
const idFromThePast = (milliseconds: number) => {
  const id = uuidv7();
  const time = (Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) - Math.floor(milliseconds))
    .toString(16)
    .padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}${id.slice(13)}`;
};

const corrections = async () => {
  const [row] = await world.owner`select count(*)::int as rows from core.usage_corrections`;
  return row?.rows;
};

/** A run whose server is taken for dead: its hold has expired, and the job has ended it. */
async function lose(user: string) {
  const { begun_run_id } = await start(user);
  await world.checkpoint(user, begun_run_id, 90, 'so far', 400);
  await world.pass('10 minutes');
  await world.expireHolds();
  return begun_run_id;
}

describe('in each order of events the figures are those of the runs (spec 8.2)', () => {
  const endings = { ending: 'completed', input: 2000, cached: 900, cacheWrite: 300, output: 700 };

  test('a run is counted once before, during and after the refresh that rolls it up', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    await run(user, endings);
    await ops.begin(async (first) => {
      await refresh(first);
      expect(await differences(first)).toEqual([]);
      await run(user, endings); // and no run waits for a refresh
      expect(await differences(world.owner)).toEqual([]);
    });
    expect(await differences(world.owner)).toEqual([]);
    await refresh();
    expect(await differences(world.owner, rolledUp)).toEqual([]);
  });

  test('a running run holds back those above it, which count all the same', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    await run(user);
    const { begun_run_id: slow } = await start(user);
    await run(user, endings);
    await refresh();
    expect(await differences(world.owner)).toEqual([]);
    const [before] = await world.owner`select sum(runs)::int as runs from usage_rollups where user_id = ${user}`;
    expect(before?.runs).toBe(1);
    await world.settle(user, slow, endings);
    expect(await differences(world.owner)).toEqual([]);
    await refresh();
    expect(await differences(world.owner, rolledUp)).toEqual([]);
  });

  test("a run of a server whose clock is behind counts, though its user's rollups have passed its id", async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    await run(user);
    await refresh();
    const { begun_run_id: late } = await world.start(user, { run: idFromThePast(5000) });
    expect(await corrections()).toBe(1);
    expect(await differences(world.owner)).toEqual([]);
    await refresh();
    expect(await corrections()).toBe(1); // it still runs
    await world.settle(user, late, endings);
    expect(await differences(world.owner)).toEqual([]);
    await refresh();
    expect(await corrections()).toBe(0);
    expect(await differences(world.owner, rolledUp)).toEqual([]);
  });

  test('a run below the newest that the rollups have not passed is not counted twice', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    const id = idFromThePast(5000);
    await run(user);
    const { begun_run_id: late } = await world.start(user, { run: id });
    await refresh();
    expect(await differences(world.owner)).toEqual([]);
    await world.settle(user, late, endings);
    await refresh();
    expect(await differences(world.owner, rolledUp)).toEqual([]);
    expect(await corrections()).toBe(0);
  });

  test('a run that was taken for dead and comes back counts by what it really used', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    const lost = await lose(user);
    await refresh();
    await world.settle(user, lost, endings);
    expect(await corrections()).toBe(1);
    expect(await differences(world.owner)).toEqual([]);
    await refresh();
    expect(await corrections()).toBe(0);
    expect(await differences(world.owner, rolledUp)).toEqual([]);
  });

  test('a run that comes back while a refresh is under way is neither lost nor counted twice', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    const [one, two] = [await lose(user), await lose(user)];
    await refresh();
    await world.settle(user, one, endings); // this correction the refresh sees
    await ops.begin(async (first) => {
      await refresh(first);
      await world.settle(user, two, endings); // this one it does not
      expect(await differences(world.owner)).toEqual([]);
    });
    expect(await corrections()).toBe(1);
    expect(await differences(world.owner)).toEqual([]);
    await refresh();
    expect(await differences(world.owner, rolledUp)).toEqual([]);
  });

  test('a refresh neither sees nor waits for a run that is just coming back', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    const lost = await lose(user);
    await app.begin(async (server) => {
      await server`
        select from api.settle_run(${user}, ${lost}, 'completed', true, 2000, 0, 0, 700, false, 'question', 'answer', null, null, 10, 20)`;
      await refresh();
      expect(await differences(world.owner, rolledUp)).toEqual([]);
    });
    expect(await differences(world.owner)).toEqual([]);
    await refresh();
    expect(await differences(world.owner, rolledUp)).toEqual([]);
  });

  test('a run that changes twice between refreshes, with one of them between the changes, counts by the last', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    const { credits_spent } = await run(user, endings);
    expect(credits_spent).toBeGreaterThan(0);
    await refresh();
    const change = (sql: postgres.ISql) =>
      sql.unsafe(`
        do $$
        declare
          r runs;
        begin
          select x.* into strict r from runs x where x.user_id = '${user}' for no key update;
          perform core.note_correction(r);
        end
        $$`);
    const set = (sql: postgres.ISql, error: string) => sql`update runs set error = ${error} where user_id = ${user}`;
    const undo = new Error('undo');
    await world.owner
      .begin(async (sql) => {
        await change(sql);
        await set(sql, 'once');
        await change(sql);
        await set(sql, 'twice');
        expect(await differences(sql)).toEqual([]);
        await refresh(sql);
        expect(await differences(sql, rolledUp)).toEqual([]);
        await change(sql);
        await sql`update runs set error = null where user_id = ${user}`;
        expect(await differences(sql)).toEqual([]);
        await refresh(sql);
        expect(await differences(sql, rolledUp)).toEqual([]);
        throw undo;
      })
      .catch((error: unknown) => {
        if (error !== undo) throw error;
      });
  });

  test('who reads the figures with a snapshot of before sees those of before', async () => {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    await run(user, endings);
    await world.owner.begin('isolation level repeatable read', async (reader) => {
      const before = [...(await reader`select * from core.usage_by_day order by user_id, day, model`)];
      await run(user, endings);
      await refresh();
      expect([...(await reader`select * from core.usage_by_day order by user_id, day, model`)]).toEqual(before);
      expect(await differences(reader)).toEqual([]);
    });
  });
});

test(
  `${seconds} seconds of parallel runs, expiries, late settlements, refunds and low ids, with refreshes inside, at random moments (spec 8.2)`,
  async () => {
    await world.ops`update settings set hold_ms = 1000`;
    const users = await Promise.all([1, 2, 3, 4, 5].map(() => world.person({ credits: 1_000_000, tier: 'unlimited' })));
    const seen = { refreshes: 0, comparisons: 0, low: 0, late: 0, refunded: 0, corrected: 0 };
    const end = Date.now() + seconds * 1000;
    // Longer where the machine is too busy for everything to have happened.
    const goesOn = () =>
      Date.now() < end || (Date.now() < end + 40_000 && Object.values(seen).some((count) => count === 0));
    const chance = (share: number) => Math.random() < share;
    const pick = <T>(list: readonly T[]): T => {
      const found = list[Math.floor(Math.random() * list.length)];
      if (found === undefined) throw new Error('the list is empty');
      return found;
    };

    async function work() {
      const open: { user: string; run: string }[] = [];
      const abandoned: { user: string; run: string }[] = [];
      const settle = ({ user, run }: { user: string; run: string }) => {
        const cached = Math.floor(Math.random() * 900);
        return chance(0.15)
          ? world.release(user, run)
          : world.settle(user, run, {
              ending: chance(0.8) ? 'completed' : 'stopped',
              cached,
              cacheWrite: 99,
              input: 1000 + cached,
            });
      };
      while (goesOn()) {
        const user = pick(users);
        const isLow = chance(0.2);
        const run = isLow ? idFromThePast(Math.random() * 3000) : uuidv7();
        const begun = await world.begin(user, { run, model: pick(['plain', 'cached']), baseline: chance(0.2) });
        if (begun.outcome === 'started') (chance(0.3) ? abandoned : open).push({ user, run });
        if (isLow) seen.low++;
        if (open.length > 3) await settle(open.splice(Math.floor(Math.random() * open.length), 1)[0] ?? pick(open));
        if (abandoned.length > 20) {
          await settle(abandoned.shift() ?? pick(abandoned));
          seen.late++;
        }
      }
    }

    /** It came back from the dead in between, and was charged nothing. */
    const unlessTooLate = (error: { code?: string }) => {
      if (error.code !== 'PR409') throw error;
    };

    async function disturb() {
      while (goesOn()) {
        await refresh();
        seen.refreshes++;
        await world.expireHolds();
        const [charged] = await world.ops`
          select id from runs where user_id = any(${users}) and status <> 'running' and credits > 0 order by random() limit 1`;
        if (charged) await world.ops`select * from ops.refund_run(${charged.id}, 'test')`.catch(unlessTooLate);
        if (charged) seen.refunded++;
        if (chance(0.1)) await world.pass('5 hours');
      }
    }

    async function compare() {
      while (goesOn()) {
        await ops.begin('isolation level repeatable read read only', async (sql) => {
          expect(await differences(sql)).toEqual([]);
          const [row] = await sql`select count(*)::int as rows from core.usage_corrections`;
          seen.corrected += row?.rows;
        });
        seen.comparisons++;
      }
    }

    await Promise.all([work(), work(), work(), work(), work(), disturb(), compare(), compare()]);
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(0);

    await world.pass('1 hour');
    await world.expireHolds();
    await refresh();
    await refresh();
    expect(await corrections()).toBe(0);
    expect(await differences(world.owner, rolledUp)).toEqual([]);
  },
  (seconds + 60) * 1000,
);

describe('the audit names a rollup that is altered (spec 4.8)', () => {
  async function disturbed(statement: string): Promise<string[]> {
    const user = await world.person({ credits: 500, tier: 'unlimited' });
    await refresh();
    await run(user, { input: 3000, cached: 900, cacheWrite: 300, output: 700 });
    await refresh();
    const found: string[] = [];
    const undo = new Error('undo');
    await world.owner
      .begin(async (sql) => {
        const changed = await sql.unsafe(statement.replaceAll('{user}', `'${user}'`));
        expect(changed.count, 'rows disturbed').toBe(1);
        for (const row of await sql`select * from ops.audit_books()`) {
          if (row.user_id !== null) expect(row.user_id).toBe(user);
          expect(row.actual).not.toBe(row.expected);
          expect(row.object).toContain('cached');
          found.push(row.check_name);
        }
        throw undo;
      })
      .catch((error: unknown) => {
        if (error !== undo) throw error;
      });
    return found.sort();
  }
  const figures = columns.split(/,\s+/).slice(5);

  test.each(figures)('%s', async (figure) => {
    const also = ['answers', 'answer_tokens'].includes(figure) ? ['package_usage'] : [];
    expect(await disturbed(`update usage_rollups set ${figure} = ${figure} + 1 where user_id = {user}`)).toEqual(
      [...also, `usage_${figure}`].sort(),
    );
  });
  // What a run on sign-up credits that went well counts for.
  const unchanged = ['failed_runs', 'shortfall', 'included_value', 'purchased_value', 'paid_credits', 'paid_cost'];
  test.each([
    [
      'delete from usage_rollups where user_id = {user}',
      ['package_usage', ...figures.map((figure) => `usage_${figure}`)],
    ],
    [
      'delete from core.usage_marks where user_id = {user}',
      ['package_days', ...figures.filter((figure) => !unchanged.includes(figure)).map((figure) => `usage_${figure}`)],
    ],
    ['delete from core.package_days where user_id = {user}', ['package_days']],
  ])('%s', async (statement, expected) => {
    expect(await disturbed(statement)).toEqual(expected.sort());
  });
  test.each(['sessions', 'runs', 'credits'])('%s of a package’s day', async (figure) => {
    expect(await disturbed(`update core.package_days set ${figure} = ${figure} + 1 where user_id = {user}`)).toEqual([
      'package_days',
    ]);
  });
  test.each(['answers', 'answer_tokens'])('%s of a package', async (figure) => {
    expect(await disturbed(`update core.package_usage set ${figure} = ${figure} - 1 where model = 'cached'`)).toEqual([
      'package_usage',
    ]);
  });
});

test('an operator has the rollups of a user counted anew, with a reason, or looks first (spec 4.8)', async () => {
  const user = await world.person({ credits: 500, tier: 'unlimited' });
  await run(user, { input: 3000, output: 700 });
  await refresh();
  await world.owner`update usage_rollups set cost = cost + 1, answers = answers + 1 where user_id = ${user}`;
  const wrong = ['usage_answers', 'usage_cost'];
  const names = (rows: readonly postgres.Row[]) => rows.map((row) => row.check_name).sort();
  expect(names(await world.ops`select * from ops.audit_books()`)).toEqual(['package_usage', ...wrong]);

  expect(names(await world.ops`select * from ops.recount_usage(${user}, 'a look', true)`)).toEqual(wrong);
  await expect(world.ops`select * from ops.recount_usage(${user}, ' ')`).rejects.toMatchObject({ code: 'PR400' });
  await expect(world.ops`select * from ops.recount_usage('nobody', 'test')`).rejects.toMatchObject({ code: 'PR404' });
  await ops.begin(async (first) => {
    await refresh(first);
    await expect(world.ops`select * from ops.recount_usage(${user}, 'test')`).rejects.toMatchObject({ code: 'PR409' });
  });
  expect(names(await world.ops`select * from ops.audit_books()`)).toEqual(['package_usage', ...wrong]);

  expect(names(await world.ops`select * from ops.recount_usage(${user}, 'test')`)).toEqual(wrong);
  expect(await world.ops`select * from ops.audit_books()`).toEqual([]);
  await refresh();
  expect(await differences(world.owner, rolledUp)).toEqual([]);
  const [log] = await world.ops`select reason, row_key from audit_log where action = 'call' order by id desc limit 1`;
  expect(log).toEqual({ reason: 'test', row_key: user });
});
