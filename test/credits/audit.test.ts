// The judge is judged: each stored figure is altered in turn, and the audit must name it and nothing else.
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, begin, buy, converse, publishPackage, settle, signUp, subscribe, wait } from '../sessions/people.ts';

let database: TestDatabase;
let superuser: postgres.Sql;
let ann: string;
let run: string;
let released: string;
let running: string;
let refunded: string;
let purchase: string;
let lot: string;
/** The lot that paid for the run. */
let spent: string;

beforeAll(async () => {
  database = await createDatabase();
  superuser = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
  await publishPackage(database);
  const bob = await signUp(database, 'bob');
  ann = await signUp(database, 'ann');
  purchase = await buy(database, ann);
  await database.owner`select * from core.apply_refund(${ann}, ${purchase}, 1.00, core.now())`;
  await subscribe(database, ann, 20);
  await wait(database, '10 days');
  await subscribe(database, ann);
  run = await converse(database, ann, { usage: { input: 900, cached: 100, cacheWrite: 200, output: 800 } });
  await converse(database, ann, { session: run, usage: { input: 15_000, output: 3000 } });
  released = await begin(database, ann);
  await settle(database, ann, released, { ending: 'failed' });
  await converse(database, ann, { ending: 'stopped', answer: '' });
  refunded = await converse(database, ann);
  await database.ops`select from ops.refund_run(${refunded}, 'test')`;
  const lost = await begin(database, ann);
  await database.app`select status from api.checkpoint_run(${ann}, ${lost}, 'so', 'far', 200, null, null, null)`;
  await wait(database, '5 minutes');
  running = await begin(database, ann);
  await converse(database, bob);
  const [first] = await database.owner`select id from credit_lots where user_id = ${ann} and kind = 'purchased'`;
  lot = first?.id;
  const [payment] =
    await database.owner`select lot_id from credit_transactions where user_id = ${ann} and run_id = ${run}`;
  spent = payment?.lot_id;
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

/** What the audit says, as "check object", after a disturbance that is taken back again. No trigger stands in its way. */
async function disturb(statement: string): Promise<string[]> {
  const found: string[] = [];
  const undo = new Error('undo');
  await superuser
    .begin(async (sql) => {
      await sql.unsafe("set local session_replication_role = 'replica'");
      await sql.unsafe('set local role prpm_owner');
      const changed = await sql.unsafe(statement);
      expect(changed.count, 'rows disturbed').toBe(1);
      for (const row of await audit(sql)) {
        expect(row.expected).not.toBe(row.actual);
        expect(row.user_id).toBe(ann);
        found.push(`${row.check_name} ${row.object}`);
      }
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  return found.sort();
}

/** Puts the ids of this database in place of the words that stand for them. */
function fill(text: string): string {
  const names = { ann, run, released, running, refunded, purchase, lot, spent };
  return text.replace(/\{(\w+)\}/g, (_, name: keyof typeof names) => names[name]);
}

test('undisturbed books, with every kind of run and movement in them, balance (spec 4.8)', async () => {
  const kinds = await database.owner`select distinct status from runs order by status`;
  expect(kinds.map(({ status }) => status)).toEqual(['completed', 'expired', 'released', 'running', 'stopped']);
  expect(await audit(database.ops)).toEqual([]);
  expect([...(await database.ops`select * from ops.audit_books('ann')`)]).toEqual([]);
  await expect(database.ops`select * from ops.audit_books('nobody')`).rejects.toMatchObject({ code: 'PR404' });
});

describe('a figure of the user that is altered is named', () => {
  test.each([
    ['included_credits = included_credits + 1', ['balance user', 'included_credits user']],
    ['purchased_credits = purchased_credits - 1', ['balance user', 'purchased_credits user']],
    ['held_included = held_included + 1', ['held_included user']],
    ['held_purchased = held_purchased + 1', ['held_purchased user']],
    ['included_credits = 0, held_included = 1', ['balance user', 'holds_are_covered user', 'included_credits user']],
    ['transaction_count = transaction_count + 1', ['transaction_count user']],
    ['spend_lot = null', ['spend_lot user']],
    ["next_lot_expiry = 'infinity'", ['next_lot_expiry user']],
    ["open_runs = '{}'", ['open_runs user']],
    ["holds_expire_at = 'infinity'", ['holds_expire_at user']],
    ['current_month_api_cost = current_month_api_cost + 0.000001', ['current_month_api_cost user']],
    ['current_month_limited_cost = 0', ['current_month_limited_cost user']],
    ['month_held_cost = 0', ['month_held_cost user']],
    ['current_month_requests = current_month_requests - 1', ['current_month_requests user']],
    ['current_day_api_cost = current_day_api_cost - 0.000001', ['current_day_api_cost user']],
    ['current_day_limited_cost = 0', ['current_day_limited_cost user']],
    ['day_held_cost = day_held_cost * 2', ['day_held_cost user']],
    ['hour_requests = hour_requests + 1', ['hour_requests user']],
    ['lifetime_api_cost = lifetime_api_cost + 1', ['lifetime_api_cost user']],
    ['total_requests = total_requests + 1', ['total_requests user']],
    ["last_run_id = 'ffffffff-ffff-7fff-bfff-ffffffffffff'", ['last_run_id user']],
    ["last_request_at = '2020-01-01Z'", ['last_request_at user']],
    ["email = 'other@example.com'", ['email user', 'email user']],
  ])('%s', async (change, expected) => {
    expect(await disturb(`update users set ${change} where id = '${ann}'`)).toEqual(expected);
  });
});

describe('a figure of a run that is altered is named', () => {
  const month = ['current_month_api_cost user', 'lifetime_api_cost user'];
  const cost = ['current_day_api_cost user', ...month];
  const limited = ['current_day_limited_cost user', 'current_month_limited_cost user'];
  test.each([
    ['cost = cost + 0.000001', [...cost, 'lot_cost lot {spent}', 'run_cost run {run}', 'run_limited_cost run {run}']],
    ['limited_cost = limited_cost / 2', [...limited, 'run_limited_cost run {run}']],
    ['credits = credits + 1', ['lot_cost lot {spent}', 'run_charge run {run}', 'run_credits run {run}']],
    ['shortfall = 1', ['lot_cost lot {spent}', 'run_charge run {run}']],
    ['refunded_at = now()', ['run_charge run {run}']],
    ['included_value = included_value + 1', ['run_value run {run}']],
    ['purchased_value = 1', ['run_value run {run}']],
    [`credits_by_kind = '{"bonus": 1}'`, ['run_credits_by_kind run {run}']],
    ['credits_by_kind = null', ['run_credits_by_kind run {run}']],
    ['output_tokens = output_tokens + 1', ['run_cost run {run}']],
    ['output_tokens = 12000', ['run_charge run {run}', 'run_cost run {run}']],
    ['cached_tokens = 0', ['run_cost run {run}']],
    ['cached_tokens = 800', ['run_cost run {run}', 'run_tokens run {run}']],
    ['credit_multiplier = 5', ['run_charge run {run}']],
    [
      "price_id = (select id from model_prices where model = 'opus' limit 1)",
      ['run_cost run {run}', 'run_price run {run}'],
    ],
    ["model = 'opus'", ['run_price run {run}']],
    ["model = 'gone'", ['reference run {run}', 'run_price run {run}']],
    ["package_version = '9.9.9'", ['reference run {run}']],
    ["session_id = '01900000-0000-7000-8000-00000000dead'", ['reference run {run}', 'reference text of run {run}']],
    ['finished_at = null', ['run_status run {run}']],
    ["status = 'released'", ['run_charge run {run}']],
    ['hold_cost = -1', ['run_hold run {run}']],
  ])('%s', async (change, expected) => {
    const found = await disturb(`update runs set ${change} where user_id = '${ann}' and id = '${run}'`);
    expect(found).toEqual(expected.map(fill).sort());
  });

  test.each([
    ['hold_included = hold_included + 1', ['held_included user']],
    ['hold_purchased = 1', ['held_purchased user']],
    ['hold_cost = hold_cost + 1', ['day_held_cost user', 'month_held_cost user']],
    ["hold_expires_at = '2020-01-01Z'", ['holds_expire_at user']],
  ])('of a running one: %s', async (change, expected) => {
    expect(await disturb(`update runs set ${change} where user_id = '${ann}' and id = '${running}'`)).toEqual(expected);
  });

  test.each([
    ['credits = 1', ['run_charge run {refunded}', 'run_credits run {refunded}']],
    ['shortfall = 1', ['run_charge run {refunded}']],
    ['refunded_at = null', ['run_charge run {refunded}']],
    ['refunded_by_kind = \'{"purchased": 1}\'', ['run_limited_cost run {refunded}']],
    ['included_value = 0.06', ['run_value run {refunded}']],
    ['limited_cost = 0', [...limited, 'run_limited_cost run {refunded}']],
  ])('of a refunded one: %s', async (change, expected) => {
    const found = await disturb(`update runs set ${change} where user_id = '${ann}' and id = '${refunded}'`);
    expect(found).toEqual(expected.map(fill).sort());
  });

  test('of a released one: charged all the same', async () => {
    const found = await disturb(`update runs set credits = 1 where user_id = '${ann}' and id = '${released}'`);
    expect(found).toEqual([`run_charge run ${released}`, `run_credits run ${released}`]);
  });

  test('a run that is gone leaves its session, text, transfer and counters behind', async () => {
    const found = await disturb(`delete from runs where user_id = '${ann}' and id = '${released}'`);
    expect(found).toContain(`reference session ${released}`);
    expect(found).toContain('total_requests user');
  });
});

describe('a lot or purchase that is altered is named', () => {
  test.each([
    ['remaining = remaining + 1', ['lot_remaining lot {lot}', 'purchased_credits user']],
    ['granted = granted + 1', ['lot_granted lot {lot}']],
    ['cost = cost + 0.000001', ['lot_cost lot {lot}']],
  ])('lot: %s', async (change, expected) => {
    const found = await disturb(`update credit_lots set ${change} where user_id = '${ann}' and id = '${lot}'`);
    expect(found).toEqual(expected.map(fill));
  });

  test.each([
    ['credits = credits + 5', ['purchase_credits purchase {purchase}', 'purchase_refund purchase {purchase}']],
    [
      'credits_taken_back = credits_taken_back - 1',
      ['purchase_refund purchase {purchase}', 'purchase_taken_back purchase {purchase}'],
    ],
    ['shortfall = 1', ['next_lot_expiry user', 'purchase_refund purchase {purchase}']],
    ['refunded_amount = 5', ['purchase_refund purchase {purchase}', 'purchase_status purchase {purchase}']],
    ['paid_amount = 4', ['purchase_amount purchase {purchase}', 'purchase_refund purchase {purchase}']],
    ["status = 'paid'", ['purchase_status purchase {purchase}']],
    [
      'paid_at = null',
      [
        'purchase_amount purchase {purchase}',
        'purchase_credits purchase {purchase}',
        'purchase_refund purchase {purchase}',
        'purchase_status purchase {purchase}',
      ],
    ],
  ])('purchase: %s', async (change, expected) => {
    const found = await disturb(`update purchases set ${change} where user_id = '${ann}' and id = '${purchase}'`);
    expect(found).toEqual(expected.map(fill));
  });
});

describe('a transfer that is altered, lost or invented is named', () => {
  const first = "user_id = '{ann}' and id = 1";
  test.each([
    [`update credit_transactions set balance_after = balance_after + 1 where ${first}`, ['balance_after transfer 1']],
    [`update credit_transactions set debit = 'spent' where ${first}`, ['lot_granted', 'transfer_accounts transfer 1']],
    [`update credit_transactions set type = 'gift' where ${first}`, ['transfer_accounts transfer 1']],
    [
      `update credit_transactions set lot_id = '01900000-0000-7000-8000-00000000dead' where ${first}`,
      ['lot_granted', 'lot_remaining', 'reference transfer 1'],
    ],
    [
      `update credit_transactions set amount = amount + 1 where ${first}`,
      ['balance user', 'balance_after transfer 1', 'lot_granted', 'lot_remaining'],
    ],
    [
      `delete from credit_transactions where ${first}`,
      [
        'balance user',
        'balance_after transfer 2',
        'lot_granted',
        'lot_remaining',
        'transaction_count user',
        'transfer_id transfer 2',
      ],
    ],
    [
      `insert into credit_transactions (user_id, id, type, debit, credit, amount, balance_after, lot_id, created_at)
      select id, transaction_count + 1, 'bonus', 'issued', 'lot', 7, included_credits + purchased_credits + 7, '{lot}', now()
      from users where id = '{ann}'`,
      ['balance user', 'lot_granted', 'lot_remaining', 'transaction_count user'],
    ],
    [
      `update credit_transactions set purchase_id = '01900000-0000-7000-8000-00000000dead' where user_id = '{ann}' and type = 'purchase'`,
      ['purchase_credits purchase {purchase}', 'reference transfer 2'],
    ],
    [
      `update credit_transactions set amount = amount - 1 where user_id = '{ann}' and type = 'rollover' and debit = 'lot'`,
      ['balance user', 'lot_remaining', 'rollover user'],
    ],
  ])('%s', async (statement, expected) => {
    const found = (await disturb(fill(statement))).map((row) => row.replace(/^(lot_\w+) lot .*/, '$1'));
    const rest = statement.includes("'rollover'") ? found.filter((row) => !row.startsWith('balance_after')) : found;
    expect(rest).toEqual(expected.map(fill));
  });
});

test('what names a user, run or lot that is not there is named', async () => {
  const nobody = "'00000000-0000-4000-8000-000000000000'";
  const found: string[] = [];
  const undo = new Error('undo');
  await superuser
    .begin(async (sql) => {
      await sql.unsafe("set local session_replication_role = 'replica'");
      await sql.unsafe('set local role prpm_owner');
      // On a cluster other nodes keep a reference whatever this session says.
      await sql.unsafe('alter table organization_members drop constraint organization_members_organization_id_fkey');
      await sql.unsafe(`insert into organization_members (user_id, organization_id) values (${nobody}, ${nobody})`);
      await sql.unsafe(`update api_tokens set user_id = ${nobody} where user_id = '${ann}'`);
      await sql.unsafe(`insert into user_emails values ('ghost@example.com', ${nobody})`);
      await sql.unsafe(`insert into run_texts values (${nobody}, ${nobody}, ${nobody}, '', '')`);
      for (const row of await audit(sql)) found.push(row.object.replace(/ [0-9a-f-]{36}$/, ''));
      throw undo;
    })
    .catch((error: unknown) => {
      if (error !== undo) throw error;
    });
  expect(found.sort()).toEqual(['e-mail ghost@example.com', 'member of organization', 'text of run', 'token', 'user']);
});
