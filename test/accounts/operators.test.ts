import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { differsOnCluster } from '../harness/tools.ts';

const hasNoLog = differsOnCluster(
  'what plain SQL changes is not noted: the log is on the coordinator, the rows are not',
);

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

async function createUser(username: string): Promise<string> {
  const [row] = await database.ops`select user_id from ops.create_user(${`${username}@example.com`}, ${username})`;
  return row?.user_id;
}

async function lastEntry(table: string) {
  const [row] = await database.ops`
    select role, action, row_key, old, new, reason from audit_log where table_name = ${table} order by id desc limit 1`;
  return row;
}

async function entries(): Promise<number> {
  const [row] = await database.ops`select count(*)::int as n from audit_log`;
  return row?.n;
}

describe('the audit log', () => {
  it.skipIf(hasNoLog)(
    'has role, old and new of a setting that was changed, and only what changed (spec 12)',
    async () => {
      await database.ops`update settings set max_request_tokens = 15000`;
      expect(await lastEntry('settings')).toEqual({
        role: 'prpm_ops',
        action: 'update',
        row_key: 'true',
        old: { max_request_tokens: 20000 },
        new: { max_request_tokens: 15000 },
        reason: null,
      });
    },
  );

  it.skipIf(hasNoLog)('has every change of limits, plans, packs, models and prices (spec 12)', async () => {
    const { ops } = database;
    await ops`update cost_limits_config set monthly_cost_limit = 2.00 where tier_name = 'prpm_plus_org'`;
    expect(await lastEntry('cost_limits_config')).toMatchObject({
      row_key: 'prpm_plus_org',
      old: { monthly_cost_limit: 2.5 },
      new: { monthly_cost_limit: 2 },
    });
    await ops`insert into cost_limits_config (tier_name, monthly_cost_limit) values ('pro', 8.00)`;
    expect(await lastEntry('cost_limits_config')).toMatchObject({ action: 'insert', row_key: 'pro', old: null });
    await ops`insert into plans (plan, tier_name, monthly_price, monthly_credits) values ('pro', 'pro', 10, 200)`;
    expect(await lastEntry('plans')).toMatchObject({ action: 'insert', row_key: 'pro', new: { monthly_price: 10 } });
    await ops`update packs set price = 6.00 where pack = 'small'`;
    expect(await lastEntry('packs')).toMatchObject({ row_key: 'small', old: { price: 5 }, new: { price: 6 } });
    await ops`update models set enabled = false where alias = 'gpt-4-turbo'`;
    expect(await lastEntry('models')).toMatchObject({
      row_key: 'gpt-4-turbo',
      old: { enabled: true },
      new: { enabled: false },
    });
    await ops`insert into cost_limits_config (tier_name) values ('brief')`;
    await ops`delete from cost_limits_config where tier_name = 'brief'`;
    expect(await lastEntry('cost_limits_config')).toMatchObject({ action: 'delete', row_key: 'brief', new: null });
  });

  it('has no row for an update that changes nothing (spec 12)', async () => {
    const before = await entries();
    await database.ops`update settings set grace_days = grace_days`;
    expect(await entries()).toBe(before);
  });

  it.skipIf(hasNoLog)(
    "has an operator's edit of a person, and none of what the product does itself (spec 12)",
    async () => {
      const id = await createUser('edited');
      await database.ops`update users set tier_override = 'unlimited' where id = ${id}`;
      expect(await lastEntry('users')).toMatchObject({
        role: 'prpm_ops',
        row_key: id,
        old: { tier_override: null },
        new: { tier_override: 'unlimited' },
      });
      const before = await entries();
      await database.owner`update users set is_throttled = true, throttled_by = 'limit' where id = ${id}`;
      expect(await entries()).toBe(before);
    },
  );

  it('has the reason that a function was given (spec 12)', async () => {
    const id = await createUser('reasoned');
    await database.ops`select * from ops.set_user('reasoned', verified_author => true, reason => 'known for years')`;
    expect(await lastEntry('ops.set_user')).toEqual({
      role: 'prpm_ops',
      action: 'call',
      row_key: id,
      old: null,
      new: { verified_author: true },
      reason: 'known for years',
    });
  });

  it('cannot be written or changed by an operator (spec 12)', async () => {
    await expect(database.ops`delete from audit_log`).rejects.toMatchObject({ code: '42501' });
    await expect(
      database.ops`insert into audit_log (role, table_name, action) values ('x', 'x', 'x')`,
    ).rejects.toMatchObject({
      code: '42501',
    });
  });
});

describe('a throttle set by a plain UPDATE', () => {
  const throttle = async (id: string) => {
    const [row] = await database.ops`
      select is_throttled, throttled_by, throttled_reason, throttled_until, throttled_at is not null as has_start
      from users where id = ${id}`;
    return row;
  };

  it("is the operator's, whatever a limit had left in the row (spec 3.4)", async () => {
    const id = await createUser('held');
    await database.owner`update users set throttled_by = 'limit', throttled_until = now() where id = ${id}`;
    await database.ops`update users set is_throttled = true, throttled_reason = 'chargeback' where id = ${id}`;
    expect(await throttle(id)).toEqual({
      is_throttled: true,
      throttled_by: null,
      throttled_reason: 'chargeback',
      throttled_until: null,
      has_start: true,
    });
  });

  it('is lifted by one, with all that was said of it (spec 3.4)', async () => {
    const id = await createUser('lifted');
    await database.owner`
      update users set is_throttled = true, throttled_by = 'limit', throttled_reason = 'r', throttled_at = now(), throttled_until = 'infinity'
      where id = ${id}`;
    await database.ops`update users set is_throttled = false where email = 'lifted@example.com'`;
    expect(await throttle(id)).toEqual({
      is_throttled: false,
      throttled_by: null,
      throttled_reason: null,
      throttled_until: null,
      has_start: false,
    });
  });

  it('says so when it is lifted of one who is still over a limit (spec 3.5)', async () => {
    const notices: postgres.Notice[] = [];
    const psql = postgres(database.opsUrl, { max: 1, onnotice: (notice) => notices.push(notice) });
    try {
      const over = await createUser('over');
      await createUser('under');
      await database.owner`update users set is_throttled = true, throttled_by = 'limit' where username in ('over', 'under')`;
      await database.owner`update users set current_month_limited_cost = 0.5 where id = ${over}`;
      await psql`update users set is_throttled = false where username in ('over', 'under')`;
      expect(notices).toHaveLength(1);
      expect(notices[0]?.message).toMatch(/over@example\.com is still over a limit/);
      if (!differsOnCluster("a worker's notice comes without its hint"))
        expect(notices[0]?.hint).toContain(`ops.waive_limits('${over}'`);

      notices.length = 0;
      await psql`update cost_limits_config set throttle_on_exceed = false`;
      await database.owner`update users set is_throttled = true, throttled_by = 'limit' where id = ${over}`;
      await psql`update users set is_throttled = false`;
      expect(notices).toEqual([]);
    } finally {
      await psql.end();
    }
  });
});
