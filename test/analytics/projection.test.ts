// The guide's projection, from its inputs and from the present.
import type postgres from 'postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, converse, publishPackage, signUp, subscribe } from '../sessions/people.ts';

let database: TestDatabase;
let ops: postgres.Sql;

beforeAll(async () => {
  database = await createDatabase();
  ops = database.ops;
  await publishPackage(database);
});
afterAll(() => database.drop());

it('gives what the guide prints: 450.00 earned, 74.70 spent, 375.30 left, 83.4 percent (spec 8.5)', async () => {
  const rows = await ops`select plan, users::int, revenue, cost, profit, trim_scale(margin_percent) as margin
    from ops.project_margin('{60,30,10}', '{0.92,0.60,0.15}')`;
  expect([...rows]).toEqual([
    { plan: 'prpm_plus_individual', users: 60, revenue: '360.00', cost: '55.20', profit: '304.80', margin: '84.67' },
    { plan: 'prpm_plus_org_member', users: 30, revenue: '90.00', cost: '18.00', profit: '72.00', margin: '80' },
    { plan: 'free', users: 10, revenue: '0', cost: '1.50', profit: '-1.50', margin: null },
    { plan: 'total', users: 100, revenue: '450.00', cost: '74.70', profit: '375.30', margin: '83.4' },
  ]);
});

it('takes other prices, and plans that do not exist yet (spec 8.5)', async () => {
  const rows = await ops`select plan, revenue, trim_scale(margin_percent) as margin
    from ops.project_margin('{10,4}', '{1,5}', '{7,10}', '{prpm_plus_individual,big}')`;
  expect([...rows]).toEqual([
    { plan: 'prpm_plus_individual', revenue: '70', margin: '85.71' },
    { plan: 'big', revenue: '40', margin: '50' },
    { plan: 'total', revenue: '110', margin: '72.73' },
  ]);
});

it('without arguments it is the present: what subscriptions pay and what people cost in 30 days (spec 8.5)', async () => {
  const [payer, idler, guest] = [
    await signUp(database, 'payer'),
    await signUp(database, 'idler'),
    await signUp(database, 'guest'),
  ];
  await subscribe(database, payer);
  await subscribe(database, idler);
  await converse(database, payer, { model: 'gpt-4o', usage: { input: 4_000, output: 1_000 } });
  await converse(database, payer, { model: 'gpt-4o', usage: { input: 4_000, output: 1_000 } });
  await converse(database, guest, { usage: { input: 1_000, output: 500 } });
  const [spent] = await ops`select
    sum(cost) filter (where user_id = ${payer}) as payer, sum(cost) filter (where user_id = ${guest}) as guest from runs`;

  const rows = await ops`select plan, users::int, monthly_price, revenue, cost, cost / users = average_cost as averaged
    from ops.project_margin()`;
  expect([...rows]).toEqual([
    {
      plan: 'prpm_plus_individual',
      users: 2,
      monthly_price: '6.00',
      revenue: '12.00',
      cost: spent?.payer,
      averaged: true,
    },
    { plan: 'free', users: 1, monthly_price: '0.00', revenue: '0', cost: spent?.guest, averaged: true },
    expect.objectContaining({ plan: 'total', users: 3, monthly_price: null, revenue: '12.00' }),
  ]);

  const [more] = await ops`select cost from ops.project_margin('{200,0,0}') where plan = 'total'`;
  expect(Number(more?.cost)).toBeCloseTo((Number(spent?.payer) / 2) * 200, 6);

  await database.owner`update settings set clock_offset = clock_offset + interval '31 days'`;
  expect([...(await ops`select plan, users::int, revenue, cost from ops.project_margin()`)]).toEqual([
    { plan: 'total', users: 0, revenue: '0', cost: '0' },
  ]);
  expect(await audit(ops)).toEqual([]);
});

it.each([
  ['subscribers', "'{60,30}'", 'subscribers has 2 values, but there are 3 plans'],
  ['subscribers', "'{60,-1,0}'", 'subscribers must be from 0 to 1000000000, not -1'],
  ['average_costs', "'{1,1,1}', '{1,NaN,1}'", 'average_costs must be from 0 to 1000000000, not NaN'],
  ['prices', "'{1,1,1}', null, '{1,1,Infinity}'", 'prices must be from 0 to 1000000000, not Infinity'],
  ['plans', "'{1}', null, null, '{gold}'", 'there is no plan gold'],
  ['plans', "'{}', null, null, '{}'", 'plans must name at least one plan, and none may be null'],
])('bad %s are named: (%s)', async (field, given, message) => {
  await expect(ops.unsafe(`select * from ops.project_margin(${given})`)).rejects.toMatchObject({
    code: 'PR400',
    detail: field,
    message,
  });
});

it('administrators see the same through the API, others nothing (spec 8.3)', async () => {
  const { app } = database;
  const [person, admin] = [await signUp(database, 'person'), await signUp(database, 'admin')];
  await ops`select from ops.set_user(${admin}, is_admin => true, reason => 'test')`;
  const ask = (user: string) =>
    app`select plan, cost from api.project_margin(${user}, '{60,30,10}', '{0.92,0.60,0.15}')`;
  expect(await ask(admin)).toContainEqual({ plan: 'total', cost: '74.70' });
  await expect(ask(person)).rejects.toMatchObject({ code: 'PR403' });
});
