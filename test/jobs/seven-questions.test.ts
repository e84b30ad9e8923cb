// What an operator asks at 3 a.m., typed into psql as the README prints it, each in one line; the figures are reckoned here.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { roleUrl } from '../../src/database/roles.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { needs, psql } from '../harness/tools.ts';
import { audit, buy, converse, publishPackage, signUp, subscribe, wait } from '../sessions/people.ts';

const readme = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8');
/** The README's statement for a question. */
function lineFor(question: string): string {
  const line = readme.split('\n').find((one) => one.includes(`-- ${question}`)) ?? '';
  expect(line, question).toMatch(/^SELECT /);
  return line.replace(/;\s*--.*$/, ';');
}

describe.skipIf(needs('psql'))('in one line an operator learns', () => {
  let database: TestDatabase;
  let [payer, user] = ['', ''];
  // Dollars a million tokens of sonnet, by the price list.
  const costOf = (input: number, output: number) => (input * 3 + output * 15) / 1e6;

  beforeAll(async () => {
    database = await createDatabase();
    await publishPackage(database);
    await wait(database, '-31 days');
    [payer, user] = [await signUp(database, 'payer'), await signUp(database, 'user')];
    await subscribe(database, payer);
    await database.owner`
      insert into subscription_periods (user_id, subscription_id, period_start, period_end, plan, state, credits, paid_amount, created_at, paid_at)
      select user_id, 'sub_1', period_start, period_end, 'prpm_plus_individual', 'paid', 100, 6, core.now(), core.now()
      from credit_lots where user_id = ${payer} and kind = 'monthly'`;
    await converse(database, payer, { model: 'sonnet', usage: { input: 6_000, output: 2_000 } });
    await wait(database, '31 days');
    await buy(database, user, 'large');
    for (let i = 0; i < 3; i++) {
      await converse(database, user, { model: 'sonnet', usage: { input: 1_000, output: 7_000 } });
    }
    const guest = await signUp(database, 'guest');
    await converse(database, guest, { model: 'gpt-4o-mini', usage: { input: 100_000, output: 50_000 } });
    await database.ops`update cost_limits_config set hourly_request_limit = 1 where tier_name = 'free'`;
    await expect(converse(database, user)).rejects.toThrow('hourly_request_limit');
    const [spent] = await database.ops`select current_month_limited_cost * 1.2 as most from users where id = ${guest}`;
    await database.ops`update cost_limits_config set monthly_cost_limit = ${spent?.most} where tier_name = 'free'`;
  });
  afterAll(() => database.drop());

  /** What psql prints for it: a row an object. */
  function type(statement: string): Record<string, string>[] {
    const url = roleUrl(inject('superuserUrl'), 'prpm_ops', inject('passwords').prpm_ops, database.name);
    const output = execFileSync(
      psql ?? 'psql',
      ['-X', '-v', 'ON_ERROR_STOP=1', '-A', '-P', 'footer=off', '-F', '\t', url],
      {
        input: `${statement}\n`,
        encoding: 'utf8',
      },
    );
    const [head = '', ...rows] = output.trimEnd().split('\n');
    const names = head.split('\t');
    return rows.map((row) => Object.fromEntries(row.split('\t').map((value, place) => [names[place], value])));
  }

  it('what was earned and spent today', () => {
    const [today] = type(lineFor('what did we earn and spend today'));
    const spent = 3 * costOf(1_000, 7_000) + (100_000 * 0.15 + 50_000 * 0.6) / 1e6;
    expect(Number(today?.cost_dollars)).toBeCloseTo(spent, 10);
    // 8,000 tokens are 2 credits. The first run took those of sign-up, which cost nothing and used up the day's limit; the others
    // took purchased ones, 600 for 20 dollars.
    expect(Number(today?.purchased_value_dollars)).toBeCloseTo((4 * 20) / 600, 5);
    expect([today?.runs, today?.included_value_dollars]).toEqual(['4', '0']);
  });

  it('who is about to be throttled', () => {
    const rows = type(lineFor('who is about to be throttled'));
    const named = (who: string) =>
      rows.filter((row) => Object.values(row).some((value) => value === `${who}@example.com`));
    // The guest has used 0.045 of 0.05 dollars of the month; the user's day is used up already, but for what was purchased.
    expect([named('guest').length, named('payer').length, rows.length]).toEqual([1, 0, named('user').length + 1]);
  });

  it('why this user was charged that', () => {
    const steps = type(lineFor('why was this user charged that'));
    expect(steps.at(-1)).toMatchObject({ what: 'charged', amount: '2' });
    expect(Number(steps.find(({ what }) => what === 'cost')?.amount)).toBeCloseTo(costOf(1_000, 7_000), 10);
  });

  it('why this user was refused', () => {
    expect(type(lineFor('why was this user refused'))[0]).toMatchObject({
      reason: 'hourly_request_limit',
      refusals: '1',
      limit: '1',
      unit: 'runs',
    });
  });

  it('which package loses money', () => {
    const [row] = type(lineFor('which package')).filter(({ kind }) => kind === 'package');
    // Two of the three runs were paid for with cash, 4 credits; that of sign-up credits is free use, and no loss of the package's.
    expect(row).toMatchObject({ name: 'notes', credits: '4' });
    expect(Number(row?.cost_dollars)).toBeCloseTo(2 * costOf(1_000, 7_000), 10);
    expect(Number(row?.loss_dollars)).toBeCloseTo(2 * costOf(1_000, 7_000) - (4 * 20) / 600, 5);
  });

  it('what a $7 price would have done last month', () => {
    const [was, then] = type(lineFor('what would a $7 price have done last month'));
    expect([was?.revenue, then?.revenue]).toEqual(['6.00', '7.00']);
    for (const row of [was, then]) expect(Number(row?.cost)).toBeCloseTo(costOf(6_000, 2_000), 10);
    expect(Number(then?.margin)).toBeCloseTo(7 - costOf(6_000, 2_000), 10);
  });

  it('whether anything is wrong right now', async () => {
    await database.ops`call ops.run_job()`;
    const wrong = type(lineFor('is anything wrong right now')).map(({ check }) => check);
    const clock = wrong.filter((check) => check === 'clock'); // the tests' own
    expect(wrong).toEqual(clock);
    await database.ops`update settings set runs_enabled = false`;
    expect(type(lineFor('is anything wrong right now')).length).toBe(clock.length + 1);
    expect(await audit(database.ops)).toEqual([]);
  });
});
