// A stranger who knows the ids of somebody else's things: every call of the server with them finds nothing and changes nothing.
import { createHash } from 'node:crypto';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { audit, buy, publishPackage, signUp, subscribe } from '../sessions/people.ts';
import { inScratch, kindOf, type Routine, readRoutines, readTables } from './catalog.ts';

/** Stands in all that the victim wrote, so that it is known wherever it comes out. */
const mark = 'zebra';
const key = `${mark}-key`;
const tokenHash = createHash('sha256').update(mark).digest();
const requestHash = createHash('sha256').update('request').digest();

let database: TestDatabase;
let superuser: postgres.Sql;
let victim: string;
let stranger: string;
/** What the victim has, by the name of the argument that it is given as. */
let theirs: {
  run: string;
  running: string;
  session: string;
  comparison: string;
  token: string;
  organization: string;
  package: string;
  input: string;
};
const theirCustomer = 'cus_theirs';
const theirSession = 'cs_theirs';
let theirPurchase: string;
let cursors: { sessions: string; history: string };
/** A suggested input of everybody's that the stranger took. */
let usage: string;
/** Where an export goes on with texts. */
let exported: string;

beforeAll(async () => {
  database = await createDatabase();
  superuser = postgres(database.superuserUrl, { max: 1, onnotice: () => {} });
  const { app, ops } = database;
  await publishPackage(database);
  await ops`update cost_limits_config set minute_request_limit = null, hourly_request_limit = null`;
  await ops`update settings set reads_per_minute = 1000`;
  [victim, stranger] = [await signUp(database, mark), await signUp(database, 'stranger')];
  for (const user of [victim, stranger]) {
    await buy(database, user);
    await ops`select from ops.set_user(${user}, verified_author => true, tier_override => 'unlimited', reason => 'test')`;
  }
  await subscribe(database, victim);

  const [made] = await ops`select id from ops.create_organization(${`${mark} team`})`;
  await ops`select from ops.add_member(${made?.id}, ${victim}, 'owner')`;
  const [token] = await ops`select id as token_id from ops.create_token(${victim}, ${mark}, array['run'])`;
  await app`
    select from api.create_token(${victim}, ${tokenHash}, gen_random_uuid(), ${mark}, array['run'], null)`;
  await app`select from api.begin_login(${victim}, ${tokenHash})`;
  const [published] = await app`
    select package_id from api.publish_version(${victim}, ${`${mark}-private`}, ${mark}, array[${mark}], 'private', null,
      '1.0.0', ${`${mark} prompt`}, 3, 3, 3)`;

  const [proposed] = await app`
    select created ->> 'id' as id from api.create_suggested_input(${victim}, ${published?.package_id}, ${mark}, ${mark})`;
  const [shown] = await database.owner`
    select created ->> 'id' as id from packages p, api.create_suggested_input(p.author_id, p.id::text, 'Try', 'Try it') where p.name = 'notes'`;
  const [taken] = await app`select usage_id from api.use_suggested_input(${stranger}, ${shown?.id}, null)`;
  usage = taken?.usage_id;

  const run = crypto.randomUUID();
  await start(victim, { run, key });
  await settle(victim, run);
  const second = crypto.randomUUID();
  await start(victim, { run: second });
  await settle(victim, second);
  const running = crypto.randomUUID();
  await start(victim, { run: running, session: run });
  await app`select from api.checkpoint_run(${victim}, ${running}, ${mark}, ${mark}, 5, null, null, null)`;
  const comparison = crypto.randomUUID();
  const [compared] = await compare(app, { user: victim, comparison, key: `${key}-comparison` });
  expect(compared?.outcome).toBe('started');
  theirs = {
    comparison,
    ...{
      run,
      running,
      session: run,
      token: token?.token_id,
      organization: made?.id,
      package: published?.package_id,
      input: proposed?.id,
    },
  };

  await app`select from api.begin_customer(${victim}, false)`;
  await app`select from api.begin_customer(${stranger}, false)`;
  await app`select from api.keep_customer(${victim}, ${theirCustomer}, false)`;
  const [purchase] = await app`
    select purchase_id from api.begin_purchase(${victim}, 'small', 'https://a.example', 'https://a.example', false)`;
  await app`select from api.keep_checkout(${victim}, ${purchase?.purchase_id}, ${theirSession}, 'https://a.example', now() + interval '1 day')`;
  theirPurchase = purchase?.purchase_id;

  const [sessions] = await app`select next_cursor from api.list_sessions(${victim}, 1)`;
  const [history] = await app`select next_cursor from api.list_credit_history(${victim}, null, 1)`;
  const [texts] = await database.owner`
    select core.encode_cursor(place::text, null) as cursor from core.export_parts() where part = 'run_texts'`;
  exported = texts?.cursor;
  cursors = { sessions: sessions?.next_cursor, history: history?.next_cursor };
  for (const value of [...Object.values(theirs), ...Object.values(cursors)]) expect(value).toEqual(expect.any(String));
});
afterAll(async () => {
  await superuser.end();
  await database.drop();
});

type Asked = { run?: string; session?: string | null; package?: string; key?: string };

function begin(sql: postgres.ISql, user: string, asked: Asked) {
  const idempotencyKey = asked.key ?? null;
  return sql`
    select outcome, refusal, system_prompt, history, begun_run_id from api.begin_run(
      ${user}, ${asked.run ?? crypto.randomUUID()}, ${asked.package ?? 'notes'}, null, ${asked.session ?? null}, 'gpt-4o-mini', false,
      100, 'o200k_base', null, null, ${idempotencyKey}, ${idempotencyKey === null ? null : requestHash})`;
}

function compare(sql: postgres.ISql, asked: { user?: string; comparison?: string; key?: string }) {
  const sides = [false, true].map((baseline) => ({
    ...{
      package: 'notes',
      model: 'gpt-4o-mini',
      use_no_prompt: baseline,
      input_tokens: 100,
      counted_with: 'o200k_base',
    },
  }));
  const idempotencyKey = asked.key ?? null;
  return sql`
    select (begun).outcome, (begun).refusal, (begun).run_status from api.begin_comparison(
      ${asked.user ?? stranger}, ${asked.comparison ?? crypto.randomUUID()}, ${[crypto.randomUUID(), crypto.randomUUID()]}::uuid[],
      ${sql.json(sides)}, null, ${idempotencyKey}, ${idempotencyKey === null ? null : requestHash})`;
}

async function start(user: string, asked: Asked) {
  const [row] = await begin(database.app, user, asked);
  expect(row?.refusal).toBeNull();
}

function settle(user: string, run: string) {
  return database.app`
    select * from api.settle_run(${user}, ${run}, 'completed', true, 100, 0, 0, 50, false, ${mark}, ${mark}, null, null, 1, 2)`;
}

/**
 * Each argument that names something of somebody's, as function.argument: the stranger's call with what is the victim's, and
 * what comes back: `nothing` for no row, an error's code, a refusal's code, or the row itself.
 */
const attempts: Record<string, [ask: (sql: postgres.ISql) => Promise<postgres.Row[]>, answer: unknown]> = {
  'begin_run.run_id': [
    // The ids of two people's runs may be the same: each is found with its user alone.
    (sql) => begin(sql, stranger, { run: theirs.running }),
    expect.objectContaining({ outcome: 'started', history: null }),
  ],
  'begin_run.session_id': [(sql) => begin(sql, stranger, { session: theirs.session }), 'session_not_found'],
  'begin_run.package': [(sql) => begin(sql, stranger, { package: theirs.package }), 'package_not_found'],
  'begin_run.package by name': [(sql) => begin(sql, stranger, { package: `${mark}-private` }), 'package_not_found'],
  'begin_run.idempotency_key': [
    (sql) => begin(sql, stranger, { key }),
    expect.objectContaining({ outcome: 'started', history: null }),
  ],
  'estimate_run.run_id': [(sql) => estimate(sql, { run: theirs.run }), expect.objectContaining({ refusal: null })],
  'estimate_run.session_id': [(sql) => estimate(sql, { session: theirs.session }), 'session_not_found'],
  'estimate_run.package': [(sql) => estimate(sql, { package: theirs.package }), 'package_not_found'],
  'checkpoint_run.run_id': [
    (sql) => sql`select * from api.checkpoint_run(${stranger}, ${theirs.running}, 'q', 'a', 9, null, null, null)`,
    { status: null, stop_requested: null },
  ],
  'settle_run.run_id': [
    (sql) => sql`
      select * from api.settle_run(${stranger}, ${theirs.running}, 'completed', true, 9, 0, 0, 9, false, 'q', 'a', null, null, 1, 2)`,
    'PR404',
  ],
  'release_run.run_id': [
    (sql) => sql`
      select * from api.release_run(${stranger}, ${theirs.running}, false, null, null, null, null, null, 'x', null, 1)`,
    'PR404',
  ],
  'read_run.run_id': [(sql) => sql`select * from api.read_run(${stranger}, ${theirs.run})`, 'nothing'],
  'stop_run.run_id': [(sql) => sql`select * from api.stop_run(${stranger}, ${theirs.running})`, 'nothing'],
  'read_session.session_id': [(sql) => sql`select * from api.read_session(${stranger}, ${theirs.session})`, 'nothing'],
  'rename_session.session_id': [
    (sql) => sql`select * from api.rename_session(${stranger}, ${theirs.session}, 'mine')`,
    'nothing',
  ],
  'delete_session.session_id': [
    (sql) => sql`select * from api.delete_session(${stranger}, ${theirs.session})`,
    'nothing',
  ],
  'share_session.session_id': [
    (sql) => sql`select * from api.share_session(${stranger}, ${theirs.session})`,
    'nothing',
  ],
  'unshare_session.session_id': [
    (sql) => sql`select * from api.unshare_session(${stranger}, ${theirs.session})`,
    { ended: false },
  ],
  'export_session.session_id': [
    (sql) => sql`select * from api.export_session(${stranger}, ${theirs.session}, null, 10)`,
    'nothing',
  ],
  'export_session.cursor': [
    (sql) => sql`select * from api.export_session(${stranger}, ${theirs.session}, ${cursors.sessions}, 10)`,
    'nothing',
  ],
  'fork_session.new_session_id': [
    (sql) => sql`select * from api.fork_session(${stranger}, ${theirs.session}, ${theirs.session})`,
    'nothing',
  ],
  'begin_comparison.comparison_id': [
    (sql) => compare(sql, { comparison: theirs.comparison }),
    expect.objectContaining({ outcome: 'started', run_status: 'running' }),
  ],
  'begin_comparison.idempotency_key': [
    (sql) => compare(sql, { key: `${key}-comparison` }),
    expect.objectContaining({ outcome: 'started', run_status: 'running' }),
  ],
  'read_comparison.comparison_id': [
    (sql) => sql`select * from api.read_comparison(${stranger}, ${theirs.comparison})`,
    'nothing',
  ],
  'share_comparison.comparison_id': [
    (sql) => sql`select * from api.share_comparison(${stranger}, ${theirs.comparison})`,
    'nothing',
  ],
  'unshare_comparison.comparison_id': [
    (sql) => sql`select * from api.unshare_comparison(${stranger}, ${theirs.comparison})`,
    { ended: false },
  ],
  'list_suggested_inputs.package': [
    (sql) => sql`select * from api.list_suggested_inputs(${stranger}, ${theirs.package})`,
    'nothing',
  ],
  'list_author_inputs.author_id': [(sql) => sql`select * from api.list_author_inputs(${stranger}, ${victim})`, 'PR403'],
  'create_suggested_input.package': [
    (sql) => sql`select * from api.create_suggested_input(${stranger}, ${theirs.package}, 'Mine', 'Mine')`,
    'nothing',
  ],
  'change_suggested_input.suggested_input_id': [
    (sql) => sql`select * from api.change_suggested_input(${stranger}, ${theirs.input}, '{"title": "Mine"}')`,
    'nothing',
  ],
  'delete_suggested_input.suggested_input_id': [
    (sql) => sql`select deleted from api.delete_suggested_input(${stranger}, ${theirs.input}) as deleted`,
    { deleted: false },
  ],
  'use_suggested_input.suggested_input_id': [
    (sql) => sql`select * from api.use_suggested_input(${stranger}, ${theirs.input}, null)`,
    'nothing',
  ],
  'complete_suggested_input.usage_id': [
    (sql) => sql`select * from api.complete_suggested_input(${stranger}, ${crypto.randomUUID()}, ${theirs.session})`,
    'PR404',
  ],
  'complete_suggested_input.session_id': [
    (sql) => sql`select * from api.complete_suggested_input(${stranger}, ${usage}, ${theirs.session})`,
    'PR404',
  ],
  'read_package_analytics.package': [
    (sql) => sql`select api.read_package_analytics(${stranger}, ${theirs.package}) as found`,
    { found: null },
  ],
  'read_package_series.package': [
    (sql) => sql`select api.read_package_series(${stranger}, ${theirs.package}) as found`,
    { found: null },
  ],
  'read_input_analytics.package': [
    (sql) => sql`select api.read_input_analytics(${stranger}, ${theirs.package}) as found`,
    { found: null },
  ],
  'read_input_series.suggested_input_id': [
    (sql) => sql`select api.read_input_series(${stranger}, ${theirs.input}) as found`,
    { found: null },
  ],
  'give_feedback.session_id': [
    (sql) => sql`select * from api.give_feedback(${stranger}, ${theirs.session}, 0, true, null)`,
    'nothing',
  ],
  'list_results.package': [
    (sql) => sql`select * from api.list_results(${stranger}, ${theirs.package}, 'popular', 10)`,
    'nothing',
  ],
  'list_sessions.cursor': [
    (sql) => sql`select * from api.list_sessions(${stranger}, 100, ${cursors.sessions})`,
    { sessions: [], next_cursor: null, total: '0', complete: true },
  ],
  'list_credit_history.cursor': [
    (sql) => sql`select * from api.list_credit_history(${stranger}, null, 100, ${cursors.history})`,
    expect.anything(),
  ],
  'export_credit_history.cursor': [
    (sql) => sql`
      select json_array_length(transactions) > 0 and transactions::text not like ${`%${theirs.run}%`} as own
      from api.export_credit_history(${stranger}, null, ${cursors.history})`,
    expect.anything(),
  ],
  'read_checkout.session_id': [
    (sql) => sql`select api.read_checkout(${stranger}, ${theirSession}) as read_checkout`,
    { read_checkout: null },
  ],
  'create_token.id': [
    (sql) => sql`
      select * from api.create_token(${stranger}, ${requestHash}, ${theirs.token}, 'mine', array['run'], null)`,
    'PR409',
  ],
  'create_token.token_hash': [
    (sql) => sql`
      select * from api.create_token(${stranger}, ${tokenHash}, gen_random_uuid(), 'mine', array['run'], null)`,
    'PR409',
  ],
  'create_token.made_with': [
    (sql) => sql`
      select * from api.create_token(${stranger}, ${requestHash}, gen_random_uuid(), 'mine', array['run'], null, ${theirs.token})`,
    'token_revoked',
  ],
  'revoke_token.id': [(sql) => sql`select * from api.revoke_token(${stranger}, ${theirs.token})`, 'nothing'],
  'leave_organization.organization_id': [
    (sql) => sql`select * from api.leave_organization(${stranger}, ${theirs.organization})`,
    'nothing',
  ],
  'change_package.package': [
    (sql) => sql`select * from api.change_package(${stranger}, ${theirs.package}, 'mine')`,
    'nothing',
  ],
  'change_version.package': [
    (sql) => sql`select * from api.change_version(${stranger}, ${theirs.package}, '1.0.0', 'mine', true)`,
    'nothing',
  ],
  'publish_version.organization': [(sql) => publish(sql, 'new-one', theirs.organization), 'PR403'],
  'publish_version.name': [(sql) => publish(sql, `${mark}-private`, null), 'PR403'],
  'read_package.package': [(sql) => sql`select * from api.read_package(${stranger}, ${theirs.package})`, 'nothing'],
  'read_package.package by name': [
    (sql) => sql`select * from api.read_package(${stranger}, ${`${mark}-private`})`,
    'nothing',
  ],
  'read_version.package': [
    (sql) => sql`select * from api.read_version(${stranger}, ${theirs.package}, '1.0.0')`,
    'nothing',
  ],
  'export_page.cursor': [
    (sql) => sql`select * from api.export_page(${stranger}, ${exported})`,
    { part: 'run_texts', rows: [], next_cursor: expect.any(String) },
  ],
  'search_packages.cursor': [
    (sql) => sql`select * from api.search_packages(${stranger}, ${mark})`,
    { packages: [], next_cursor: null, total: '0' },
  ],
  'keep_customer.customer_id': [
    (sql) => sql`select * from api.keep_customer(${stranger}, ${theirCustomer}, false)`,
    '23505',
  ],
  'forget_customer.customer_id': [
    (sql) => sql`select * from api.forget_customer(${stranger}, ${theirCustomer})`,
    { forget_customer: '' },
  ],
  'keep_checkout.checkout_id': [
    (sql) => sql`
      select * from api.keep_checkout(${stranger}, ${theirPurchase}, 'cs_mine', 'https://b.example', now())`,
    { keep_checkout: '' },
  ],
  'keep_checkout.session_id': [
    (sql) => sql`
      select * from api.keep_checkout(${stranger}, gen_random_uuid(), ${theirSession}, 'https://b.example', now())`,
    { keep_checkout: '' },
  ],
  'end_checkout.session_id': [
    (sql) => sql`select * from api.end_checkout(${stranger}, ${theirSession}, 'expired')`,
    { end_checkout: null },
  ],
  'explain_balance.target_user_id': [(sql) => sql`select * from api.explain_balance(${stranger}, ${victim})`, 'PR403'],
  'explain_throttle.target_user_id': [
    (sql) => sql`select * from api.explain_throttle(${stranger}, ${victim})`,
    'PR403',
  ],
  'explain_charge.run_id': [(sql) => sql`select * from api.explain_charge(${stranger}, ${theirs.run})`, 'PR404'],
  'explain_charge.run_id as an administrator': [
    (sql) => sql`select * from api.explain_charge(${stranger}, ${theirs.run}, true)`,
    'PR403',
  ],
  'release_throttle.target_user_id': [
    (sql) => sql`select * from api.release_throttle(${stranger}, ${victim}, 'please')`,
    'PR403',
  ],
  'read_user_costs.target_user_id': [(sql) => sql`select * from api.read_user_costs(${stranger}, ${victim})`, 'PR403'],
  'throttle_user.target_user_id': [
    (sql) => sql`select * from api.throttle_user(${stranger}, ${victim}, null, 'mine')`,
    'PR403',
  ],
  'waive_limits.target_user_id': [
    (sql) => sql`select * from api.waive_limits(${stranger}, ${victim}, null, 'mine')`,
    'PR403',
  ],
  'grant_credits.target_user_id': [
    (sql) => sql`select * from api.grant_credits(${stranger}, ${victim}, 5, 'mine')`,
    'PR403',
  ],
  'replay_stripe_event.event_id': [
    (sql) => sql`select * from api.replay_stripe_event(${stranger}, 'evt_theirs', 'mine')`,
    'PR403',
  ],
  'list_stripe_events.cursor': [(sql) => sql`select * from api.list_stripe_events(${stranger})`, 'PR403'],
  'list_changes.cursor': [(sql) => sql`select * from api.list_changes(${stranger})`, 'PR403'],
  'list_alerts.cursor': [(sql) => sql`select * from api.list_alerts(${stranger})`, 'PR403'],
  'acknowledge_alert.alert_id': [(sql) => sql`select * from api.acknowledge_alert(${stranger}, 1, 'mine')`, 'PR403'],
  'list_user_costs.cursor': [(sql) => sql`select * from api.list_user_costs(${stranger})`, 'PR403'],
  'begin_login.token_hash': [
    // Somebody else's sign-in cannot be taken over by its hash.
    (sql) => sql`select * from api.begin_login(${stranger}, ${tokenHash})`,
    '23505',
  ],
  'end_login.token_hash': [(sql) => sql`select * from api.end_login(${stranger}, ${tokenHash})`, 'nothing'],
  'sign_in.new_user_id': [
    (sql) => sql`
      select outcome, user_id from api.sign_in('https://issuer.example', 'mine', null, false, 'mine', ${victim})`,
    '23505',
  ],
  'sign_in.claimed_email': [
    (sql) => sql`
      select outcome, email, email_taken from api.sign_in('https://issuer.example', 'mine', ${`${mark}@example.com`}, true, 'mine', gen_random_uuid())`,
    { outcome: 'ok', email: null, email_taken: true },
  ],
};

/** Arguments that name something, but nothing of a person that could be kept from another, and why. */
const namesNobodysThing: Record<string, string> = {
  'authenticate_token.token_hash': 'is what proves who acts',
  'authenticate_login.token_hash': 'is what proves who acts',
  'store_stripe_event.event_id': 'is told by Stripe, whose signature the server has verified',
  'apply_stripe_event.event_id': 'is told by Stripe; its customer says whose it is',
  'fail_stripe_event.event_id': 'is told by Stripe; its customer says whose it is',
  'renew_customer.write_id': 'is the key that the caller was given for this user',
  'claim_stripe_work.only_work': "is the servers' own queue",
  'finish_stripe_work.work_id': "is the servers' own queue",
  'fail_stripe_work.work_id': "is the servers' own queue",
  'finish_message.message_id': "is the servers' own outbox",
  'fail_message.message_id': "is the servers' own outbox",
  'begin_anonymous_run.run_id': 'is made by the server for a visitor; nobody can look it up',
  'begin_anonymous_run.package':
    'is what everybody may see: a private one is not found, as runs/anonymous.test.ts proves',
  'settle_anonymous_run.run_id': "is the server's own, of a run that belongs to nobody",
  'begin_comparison.request_hash': 'tells whether a key comes with the same request again',
  'begin_run.request_hash': 'tells whether a key comes with the same request again',
};

function estimate(sql: postgres.ISql, asked: Asked) {
  return sql`
    select estimate -> 'refusal' as refusal, estimate ->> 'tokens_most' as tokens_most from api.estimate_run(
      ${stranger}, ${asked.run ?? crypto.randomUUID()}, ${asked.package ?? 'notes'}, null, ${asked.session ?? null}, 'gpt-4o-mini',
      false, 100, 'o200k_base', null, null) estimate`;
}

function publish(sql: postgres.ISql, name: string, organization: string | null) {
  return sql`
    select * from api.publish_version(${stranger}, ${name}, null, null, null, ${organization}, '2.0.0', 'Mine.', 3, 3, 3)`;
}

const namesSomething = ({ name, type }: Routine['parameters'][number]) =>
  name !== 'user_id' && (['uuid', 'bytea'].includes(type) || /^(package|cursor|.*_key|.*_id|id)$/.test(name));

/** All that is the victim's and all that belongs to nobody, as one hash a table. */
async function untouched(sql: postgres.ISql): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const table of await readTables(sql)) {
    const [owned] = await sql<{ column: string }[]>`
      select attname as column from pg_attribute where attrelid = ${table.oid} and attname = 'user_id'`;
    const column = table.name === 'users' ? 'id' : owned?.column;
    if (column === undefined && kindOf(table) !== 'config') continue;
    const [row] = await sql.unsafe(
      `select count(*) || ' rows ' || md5(coalesce(string_agg(t::text, E'\\n' order by t::text), '')) as content
       from ${table.name} t where ${column ?? 'null::uuid'} is not distinct from ${column ? `'${victim}'` : 'null'}`,
    );
    found[table.name] = row?.content;
  }
  return found;
}

function describeAnswer(rows: postgres.Row[]): unknown {
  const [row] = rows;
  if (row === undefined) return 'nothing';
  return row.refusal?.code ?? row;
}

it('every argument of api by which somebody else can be reached has a case here (design: who may do what)', async () => {
  const offered = (await readRoutines(database.owner)).filter(({ schema }) => schema === 'api');
  const named = offered.flatMap(({ name, parameters }) =>
    parameters.filter(namesSomething).map((parameter) => `${name.replace('api.', '')}.${parameter.name}`),
  );
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((name) => !(name in attempts) && !(name in namesNobodysThing))).toEqual([]);
  const functions = offered.map(({ name }) => name.replace('api.', ''));
  expect(Object.keys(attempts).filter((name) => !functions.includes(name.split('.')[0] ?? ''))).toEqual([]);
});

/** The stranger's call as the server makes it, and what is the victim's before and after it, in a database that was disturbed. */
async function attempt(ask: (sql: postgres.ISql) => Promise<postgres.Row[]>, disturbance = 'select') {
  return inScratch(superuser, async (scratch) => {
    // As whom functions write: on a cluster no other role may read in the same transaction what one has written.
    await scratch`set local role prpm_owner`;
    await scratch.unsafe(disturbance);
    const before = await untouched(scratch);
    await scratch`set local role prpm_app`;
    const { rows, answer } = await scratch
      .savepoint(ask)
      .then((all) => ({ rows: [...all], answer: describeAnswer(all) }))
      .catch((error: unknown) => ({ rows: [], answer: error instanceof postgres.PostgresError ? error.code : error }));
    await scratch`set local role prpm_owner`;
    const said = JSON.stringify(rows.map((row) => ({ ...row, refusal: row.refusal?.code })));
    return { before, answer, said, after: await untouched(scratch) };
  });
}

describe("a stranger's call with somebody else's", () => {
  it.each(Object.entries(attempts))(
    '%s shows nothing and changes nothing (design: who may do what)',
    async (_, [ask, expected]) => {
      const { before, answer, said, after } = await attempt(ask);
      expect(answer).toEqual(expected);
      expect(said).not.toContain(mark);
      expect(said).not.toContain(victim);
      expect(Object.keys(before).length).toBeGreaterThan(20);
      expect(after).toEqual(before);
    },
  );

  it.each([
    'list_sessions',
    'list_tokens',
    'read_email_preferences',
    'list_credit_history',
    'read_credits',
    'search_packages',
    'list_models',
    'admit_read',
    'explain_balance',
    'explain_throttle',
  ])('ids known has no way in where nobody is named: %s (design: who may do what)', async (name) => {
    const mine = JSON.stringify(await database.app.unsafe(`select * from api.${name}($1)`, [stranger]));
    for (const secret of [mark, victim, ...Object.values(theirs)]) {
      expect(mine).not.toContain(secret);
    }
    const other = JSON.stringify(await database.app.unsafe(`select * from api.${name}($1)`, [victim]));
    if (!['list_models', 'admit_read'].includes(name)) expect(other).not.toBe(mine);
  });

  it.each([
    ...['read_cost_summary', 'list_user_costs', 'read_cost_series', 'refresh_analytics', 'read_health', 'read_figures'],
    ...['read_config', 'list_prices', 'list_throttled', 'list_open_holds', 'list_presets', 'read_limit_use'],
    'list_loss_makers',
  ])('what is about everybody is for administrators: %s (spec 8.3)', async (name) => {
    await expect(database.app.unsafe(`select * from api.${name}($1)`, [stranger])).rejects.toMatchObject({
      code: 'PR403',
    });
  });

  it('and the owner finds all of it as it was (design: who may do what)', async () => {
    const { app } = database;
    expect(await app`select * from api.read_run(${victim}, ${theirs.run})`).toHaveLength(1);
    expect(await app`select * from api.read_session(${victim}, ${theirs.session})`).toHaveLength(1);
    expect(await app`select * from api.read_version(${victim}, ${theirs.package})`).toHaveLength(1);
    expect(await app`select * from api.stop_run(${victim}, ${theirs.running})`).toMatchObject([{ status: 'running' }]);
    expect(await app`select * from api.list_tokens(${victim})`).toHaveLength(3);
    expect(await audit(database.ops)).toEqual([]);
  });
});

describe('the check itself', () => {
  const attemptOf = (name: string) => attempts[name]?.[0] ?? (() => Promise.reject(new Error(`no case ${name}`)));

  it("sees a change of what is somebody else's", async () => {
    const { answer, before, after } = await attempt(
      attemptOf('stop_run.run_id'),
      `create or replace function api.stop_run(user_id uuid, run_id uuid) returns table (status text)
       language plpgsql security definer set search_path = '' as $$ begin
         return query update public.runs r set stop_requested_at = now() where r.id = stop_run.run_id returning r.status;
       end $$`,
    );
    expect(answer).toEqual({ status: 'running' });
    expect(Object.keys(before).filter((table) => before[table] !== after[table])).toEqual(['runs']);
  });

  it("sees a text that is somebody else's", async () => {
    const { answer, said } = await attempt(
      attemptOf('read_version.package'),
      `create or replace function core.may_see_package(user_id uuid, visibility text, author_id uuid, organization_id uuid)
       returns boolean stable begin atomic select true; end`,
    );
    expect(answer).not.toBe('nothing');
    expect(said).toContain(mark);
  });

  it('sees a new argument that nobody thought of', async () => {
    const found = await inScratch(database.owner, async (scratch) => {
      await scratch.unsafe(
        'create function api.probe(user_id uuid, purchase_id uuid, note text) returns int begin atomic select 1; end',
      );
      return (await readRoutines(scratch)).find(({ name }) => name === 'api.probe')?.parameters.filter(namesSomething);
    });
    expect(found).toEqual([{ name: 'purchase_id', type: 'uuid' }]);
  });
});
