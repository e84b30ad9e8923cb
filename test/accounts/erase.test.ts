// A person who is erased: what goes, what ends, what stays. Spec 10.8.
import { createHash, randomUUID } from 'node:crypto';
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openBilling } from '../billing/world.ts';
import { kindOf, readTables } from '../database/catalog.ts';
import { call, events, type House, openHouse, until } from '../http/house.ts';
import { begin, converse, settle } from '../sessions/people.ts';

const mark = 'zebra';
let world: Awaited<ReturnType<typeof openBilling>>;
beforeAll(async () => {
  world = await openBilling();
});
afterAll(() => world.close());

/** Every table in which one of these words stands, as psql shows its rows. */
async function whereIs(sql: postgres.ISql, ...words: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of await readTables(sql)) {
    const [row] = await sql.unsafe(
      `select count(*)::int as n from ${name} t where exists (
         select from unnest($1::text[]) w where strpos(lower(t::text), lower(w)) > 0)`,
      [words],
    );
    if (row?.n > 0) found.push(name);
  }
  return found;
}

/** Somebody who has left a text wherever a text can be left. */
async function richPerson(name: string) {
  const { database, client } = world;
  const { app, ops, owner } = database;
  const [made] = await ops`select user_id from ops.create_user(${`${name}@example.com`}, ${name})`;
  const user: string = made?.user_id;
  const [begun] = await app`select write_id, email from api.begin_customer(${user}, false)`;
  const customer = await client.customers.create(
    { email: begun?.email, name: `${mark} ${name}`, metadata: { user_id: user } },
    { idempotencyKey: begun?.write_id },
  );
  await app`select from api.keep_customer(${user}, ${customer.id}, false)`;
  world.adopt(customer.id, user);

  await owner`insert into identities (issuer, subject, user_id) values ('https://issuer.example', ${`${mark}|${name}`}, ${user})`;
  await app`select from api.create_token(${user}, ${createHash('sha256').update(name).digest()}, ${randomUUID()}, ${mark}, array['read'])`;
  await ops`select from ops.set_user(${user}, verified_author => true, reason => ${`${name}@example.com wrote`})`;
  await ops`select from ops.throttle_user(${user}, null, ${`${mark} asked`})`;
  await ops`select from ops.release_throttle(${user}, ${`${name}@example.com wrote again`})`;
  for (const [what, visibility] of [
    ['private', 'private'],
    ['open', 'public'],
  ] as const) {
    await app`
      select from api.publish_version(${user}, ${`${name}-${what}`}, ${visibility === 'private' ? mark : null}, null, ${visibility}, null,
        '1.0.0', ${visibility === 'private' ? `${mark} prompt` : 'Open prompt.'}, 3, 3, 3)`;
  }
  const run = await converse(database, user, { question: `what is a ${mark}`, answer: `a ${mark}` });
  await app`select from api.rename_session(${user}, ${run}, ${`The ${mark}`})`;
  await app`select * from api.list_sessions(${user})`;
  const [share] = await app`select share_token from api.share_session(${user}, ${run})`;
  await app`select from api.give_feedback(${user}, ${run}, 0, true, ${mark})`;
  const failed = await begin(database, user);
  await app`
    select from api.settle_run(${user}, ${failed}, 'failed', true, 9, 0, 0, 0, false, ${mark}, '', 'provider_error', ${`says ${mark}`}, 1, 2)`;
  await owner`
    insert into alerts (kind, key, level, severity, subject, body, details, user_id, raised_at)
    values ('test', ${user}, 1, 'warning', ${`${name}@example.com used much`}, ${`It is ${name}.`},
      ${owner.json({ email: `${name}@example.com` })}, ${user}, core.now())`;
  await owner`
    insert into messages (dedupe, channel, kind, user_id, period, subject, body, payload, created_at, due_at)
    values (${`a ${user}`}, 'user_email', 'credits_low', ${user}, 'p', ${mark}, ${`Dear ${mark}`}, null, core.now(), core.now()),
      (${`b ${user}`}, 'operator_email', 'alert', null, null, ${`${name}@example.com used much`}, 'b', ${owner.json({ about: `${name}@example.com` })},
        core.now(), core.now())`;
  return { user, share: String(share?.share_token), run };
}

const erase = async (user: string, confirm: number | null = null) =>
  (await world.database.app`select * from api.erase_user(${user}, ${confirm})`)[0];

describe('an erasure', () => {
  it('first says what is lost, and does nothing until that is confirmed (spec 10.8)', async () => {
    const { user } = await richPerson('first');
    await world.buy(user).then((bought) => 'session' in bought && world.stripe.pay(bought.session));
    await world.settle();
    const before = await whereIs(world.database.owner, mark, 'first@example.com');
    const asked = await erase(user);
    expect(asked).toMatchObject({
      ...{ outcome: 'to_confirm', erased_at: null, purchased_credits: '100', other_credits: '4', subscription: null },
      ...{ running_runs: 0, sessions: '2', private_packages: '1', published_packages: '1' },
    });
    for (const wrong of [null, 0, 99, 101, -1]) expect((await erase(user, wrong))?.outcome).toBe('to_confirm');
    expect(await whereIs(world.database.owner, mark, 'first@example.com')).toEqual(before);
    expect(before.length).toBeGreaterThan(10);

    const done = await erase(user, 100);
    expect(done).toMatchObject({ outcome: 'erased', purchased_credits: '100' });
    expect(await erase(user, 5)).toMatchObject({
      outcome: 'erased',
      erased_at: done?.erased_at,
      purchased_credits: '100',
    });
    expect(await erase(user)).toMatchObject({ outcome: 'erased', purchased_credits: '100' });
    await world.work();
    await world.database.ops`select ops.finish_erasures()`;
    expect(await world.audit()).toEqual([]);
  });

  it('leaves e-mail, names and texts nowhere, in no column of no table, whatever Stripe tells later; the books stay (spec 10.8)', async () => {
    const { database, stripe, client } = world;
    const { owner, ops, app } = database;
    const { user, share } = await richPerson('second');
    const other = await richPerson('other');
    const subscribed = await world.subscribe(user);
    if ('session' in subscribed) stripe.pay(subscribed.session);
    await world.settle();
    const [books] = await owner`
      select (select count(*) from credit_transactions where user_id = ${user}) as transfers, (select sum(cost) from runs where user_id = ${user}) as cost`;
    const running = await begin(database, user);
    await app`select from api.checkpoint_run(${user}, ${running}, ${mark}, ${mark}, 5, null, null, null)`;

    const asked = await erase(user);
    expect(asked).toMatchObject({ subscription: 'prpm_plus_individual', running_runs: 1, purchased_credits: '0' });
    expect((await erase(user, 0))?.outcome).toBe('erased');

    // It runs here still, and is told to stop.
    const [checkpoint] = await app`
      select stop_requested from api.checkpoint_run(${user}, ${running}, ${mark}, ${`${mark} ${mark}`}, 6, null, null, null)`;
    expect(checkpoint?.stop_requested).toBe(true);
    await settle(database, user, running, { ending: 'stopped', question: mark, answer: mark });
    expect((await owner`select status from runs where id = ${running}`)[0]).toEqual({ status: 'stopped' });

    await world.work();
    expect(
      (await client.subscriptions.list({ customer: world.customerOf(user), status: 'all' })).data.map(
        ({ status }) => status,
      ),
    ).toEqual(['canceled']);
    expect(await client.customers.retrieve(world.customerOf(user))).toMatchObject({ deleted: true });
    await world.settle();
    await ops`select ops.finish_erasures()`;
    await world.settle();

    expect(await owner`select status from subscriptions where user_id = ${user}`).toEqual([{ status: 'canceled' }]);
    const theirs = await owner`select body from stripe_events where user_id = ${user} and body is not null`;
    expect(theirs).toHaveLength(0);
    expect(await whereIs(owner, 'second@example.com', `${mark}|second`, 'second-private')).toEqual([]);
    for (const { name, oid } of await readTables(owner)) {
      const [has] = await owner`select from pg_attribute where attrelid = ${oid} and attname = 'user_id'`;
      if (has === undefined) continue;
      const rows = await owner.unsafe(`select t::text as row from ${name} t where user_id = $1 and t::text ~* $2`, [
        user,
        `${mark}|\\msecond\\M`,
      ]);
      expect(
        rows.map(({ row }) => row),
        name,
      ).toEqual([]);
    }
    expect(await owner`select username, email, is_admin from users where id = ${user}`).toEqual([
      { username: `erased-${user.slice(0, 8)}`, email: null, is_admin: false },
    ]);
    expect(await app`select from api.read_shared(null, ${share}, '192.0.2.1')`).toHaveLength(0);
    const published = await owner`
      select from package_versions v where v.published_by = ${user} and v::text like ${`%${mark}%`}`;
    expect(published).toHaveLength(0);
    // What others run stays, and so does what others have.
    expect((await app`select * from api.read_version(${other.user}, 'second-open', '1.0.0')`).length).toBe(1);
    expect(await whereIs(owner, 'other@example.com')).toEqual(
      expect.arrayContaining(['users', 'user_emails', 'alerts', 'messages', 'audit_log']),
    );
    expect((await app`select title from api.read_session(${other.user}, ${other.run})`)[0]).toEqual({
      title: `The ${mark}`,
    });

    const [after] = await owner`
      select (select count(*) from credit_transactions where user_id = ${user}) >= ${books?.transfers} as transfers,
        (select sum(cost) from runs where user_id = ${user}) >= ${books?.cost} as cost`;
    expect(after).toEqual({ transfers: true, cost: true });
    expect(await world.audit()).toEqual([]);
    expect(await world.review()).toEqual([]);
  });

  it('gives an identity that comes back another account, without sign-up credits (spec 2.1)', async () => {
    const { user } = await richPerson('third');
    await erase(user, 0);
    await world.work();
    const [back] = await world.database.app`
      select outcome, user_id, created, email from api.sign_in('https://issuer.example', ${`${mark}|third`}, 'third@example.com', true, 'third', gen_random_uuid())`;
    expect(back).toMatchObject({ outcome: 'ok', created: true, email: 'third@example.com' });
    expect(back?.user_id).not.toBe(user);
    // The job that looks for the names of who was erased leaves the new account alone.
    await world.database.ops`select ops.finish_erasures()`;
    expect((await world.database.ops`select email, username from users where id = ${back?.user_id}`)[0]).toEqual({
      ...{ email: 'third@example.com', username: 'third' },
    });
  });

  it('ends what was being bought: sessions expire, and what was paid in the same moment is given back (spec 6.1)', async () => {
    const { stripe, client, database } = world;
    const { user } = await richPerson('fourth');
    const [subscribing, buying, late] = [await world.subscribe(user), await world.buy(user), await world.buy(user)];
    if (!('session' in subscribing && 'session' in buying && 'session' in late)) throw new Error('refused');
    stripe.pay(late.session);
    expect((await erase(user, 0))?.outcome).toBe('erased');
    await world.settle();
    await world.settle();
    for (const { session } of [subscribing, buying]) {
      expect((await client.checkout.sessions.retrieve(session)).status).toBe('expired');
    }
    expect((await client.refunds.list()).data).toMatchObject([{ amount: 500, status: 'succeeded' }]);
    const standing = await world.standing(user);
    expect(standing.purchases).toEqual(
      expect.arrayContaining([expect.objectContaining({ status: 'refunded', refunded_amount: '5.00' })]),
    );
    expect(await world.subscribe(user)).toEqual({ refused: 'account_closed' });
    expect(await world.buy(user)).toEqual({ refused: 'account_closed' });

    // A session that Stripe was making while the person was erased.
    const id = randomUUID();
    await database.owner`
      insert into checkouts (user_id, id, plan, livemode, success_url, cancel_url, status, created_at)
      values (${user}, ${id}, 'prpm_plus_individual', false, '', '', 'expired', core.now())`;
    await database.app`select from api.keep_checkout(${user}, ${id}, 'cs_late', 'https://pay.example', now())`;
    expect(await database.owner`select url from checkouts where id = ${id}`).toEqual([{ url: null }]);
    expect(await database.owner`select kind from stripe_work where key = 'cs_late'`).toEqual([
      { kind: 'expire_session' },
    ]);
    await database.owner`delete from stripe_work where key = 'cs_late'`;
    expect(await world.audit()).toEqual([]);
  });

  it('that was cut off before its end has done nothing; one that is finished twice, and at once, is one (spec 10.8)', async () => {
    const { owner, app, ops } = world.database;
    const { user } = await richPerson('fifth');
    const before = await whereIs(owner, 'fifth@example.com', mark);
    await app
      .begin(async (sql) => {
        await sql`select * from api.erase_user(${user}, 0)`;
        throw new Error('the server died');
      })
      .catch(() => undefined);
    expect(await whereIs(owner, 'fifth@example.com', mark)).toEqual(before);
    const all = await Promise.all(Array.from({ length: 4 }, () => erase(user, 0)));
    expect(new Set(all.map((one) => `${one?.outcome} ${one?.erased_at?.toISOString()}`)).size).toBe(1);
    const works =
      await owner`select kind, count(*)::int as n from stripe_work where user_id = ${user} group by kind order by kind`;
    expect(works).toEqual([{ kind: 'delete_customer', n: 1 }]);
    await Promise.all(Array.from({ length: 3 }, () => ops`select ops.finish_erasures()`));
    await ops`select ops.finish_erasures()`;
    expect(
      await owner`select email, username, finished_at is not null as done from erasures where user_id = ${user}`,
    ).toEqual([{ email: null, username: null, done: true }]);
    await world.work();
    expect(await world.audit()).toEqual([]);
  });

  it('is for operators, too, with a reason and a dry run, and tells the log no name (spec 12)', async () => {
    const { ops, owner } = world.database;
    const { user } = await richPerson('sixth');
    const [dry] = await ops`select * from ops.erase_user('sixth@example.com', 0, 'asked by mail', dry_run => true)`;
    expect(dry).toMatchObject({ user_id: user, outcome: 'to_confirm' });
    await expect(ops`select from ops.erase_user('sixth@example.com', 0, '')`).rejects.toMatchObject({ code: 'PR400' });
    const [done] = await ops`select * from ops.erase_user('sixth@example.com', 0, 'sixth@example.com asked by mail')`;
    expect(done?.outcome).toBe('erased');
    expect(await whereIs(owner, 'sixth@example.com')).toEqual([]);
    const [log] =
      await ops`select reason, new from audit_log where table_name = 'ops.erase_user' and row_key = ${user}`;
    expect(log).toEqual({
      reason: '[erased] asked by mail',
      new: { purchased_credits: 0, other_credits: expect.any(Number) },
    });
  });
});

it('every column of a person that can hold a text is taken by an erasure, or is known to hold none of theirs (spec 10.8)', async () => {
  const { owner } = world.database;
  const tables = (await readTables(owner)).filter(
    (table) => kindOf(table) === 'per-user' || personal.includes(table.name),
  );
  const columns = await owner<{ name: string }[]>`
    select case n.nspname when 'public' then '' else n.nspname || '.' end || c.relname || '.' || a.attname as name
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and c.oid = any (${tables.map(({ oid }) => oid)}::int8[]::oid[])
      and a.atttypid::regtype::text in ('text', 'text[]', 'json', 'jsonb', 'tsvector', 'bytea')`;
  expect(columns.map(({ name }) => name).filter((name) => !(name in erased) && !kept.test(name))).toEqual([]);
});

/** Tables without a row for each person that have something of one. */
const personal = [
  'api_tokens',
  'identities',
  'user_emails',
  'messages',
  'alerts',
  'stripe_events',
  'stripe_work',
  'shared_sessions',
  'share_views',
  'audit_log',
  'packages',
  'package_versions',
  'suggested_inputs',
];

/** Taken, and how. */
const erased: Record<string, string> = {
  'users.username': 'replaced',
  'users.email': 'null',
  'users.timezone': 'UTC',
  'users.throttled_reason': 'null where an operator wrote it',
  'run_texts.question': 'deleted',
  'run_texts.answer': 'deleted',
  'runs.error_reason': 'null',
  'sessions.title': 'null',
  'sessions.variables': 'null',
  'session_index.words': 'deleted',
  'exchange_feedback.comment': 'null',
  'idempotency_keys.key': 'deleted',
  'idempotency_keys.request_hash': 'deleted',
  'checkouts.success_url': 'blank',
  'checkouts.cancel_url': 'blank',
  'checkouts.url': 'null',
  'subscriptions.hosted_invoice_url': 'null',
  'erasures.email': 'null when finished',
  'erasures.username': 'null when finished',
  'api_tokens.name': 'replaced',
  'identities.issuer': 'deleted',
  'identities.subject': 'deleted',
  'user_emails.email': 'deleted',
  'shared_sessions.feature_description': 'null',
  'share_views.feedback_text': 'null',
  'messages.subject': 'deleted, or scrubbed',
  'messages.body': 'deleted, or scrubbed',
  'messages.payload': 'scrubbed',
  'messages.error': 'scrubbed',
  'alerts.key': 'scrubbed',
  'alerts.subject': 'scrubbed',
  'alerts.body': 'scrubbed',
  'alerts.details': 'scrubbed',
  'alerts.acknowledged_by': 'scrubbed',
  'alerts.acknowledged_because': 'scrubbed',
  'audit_log.old': 'scrubbed',
  'audit_log.new': 'scrubbed',
  'audit_log.reason': 'scrubbed',
  'stripe_events.body': 'null, or scrubbed',
  'stripe_events.error': 'scrubbed',
  'stripe_work.error': 'scrubbed',
  'stripe_work.parameters': 'scrubbed',
  'packages.name': 'replaced where private',
  'packages.description': 'blank where private',
  'packages.tags': 'blank where private',
  'package_versions.prompt': 'replaced where private',
  'package_versions.changelog': 'blank where private',
  'package_versions.variables': 'null where private',
  'package_versions.deprecated': 'null where private',
  'suggested_inputs.title': 'deleted where private',
  'suggested_inputs.description': 'deleted where private',
  'suggested_inputs.suggested_input': 'deleted where private',
};

/** Words of ours, ids and figures; and what an operator wrote on a transfer, which nothing can change. */
const kept = new RegExp(
  [
    '\\.(status|kind|type|state|model|models|provider_model|package_version|version|latest_version|visibility|tier_name|plan|pack|role|source|error|currency)$',
    '\\.(debit|credit|actor|action|table_name|row_key|severity|channel|period|dedupe|api_version|difficulty|category|recommended_model|reason)$',
    '\\.(\\w+_)?(id|ids|hash|token|key)$|\\.scopes$|_by_kind$|\\.prpm_plus_status$|\\.tier_override$|\\.plan_tier$|\\.throttled_by$|\\.risk_level$',
    '^(payments\\.needs_review|credit_transactions\\.description|share_views\\.visitor)$',
  ].join('|'),
);

describe('over HTTP', () => {
  let house: House;
  beforeAll(async () => {
    house = await openHouse({ firstTokenMs: 5, tokenMs: 40 });
  });
  afterAll(() => house.close());
  const path = '/api/v1/account/erase';

  it('takes two calls, stops what runs, and no token works from then on (spec 10.8)', async () => {
    const { url, bob, database } = house;
    const running = events(url, 'POST', '/api/v1/playground/run', {
      token: bob.token,
      body: { package_id: 'haiku', input: '[[sandbox: tokens=400]] hello' },
    });
    for await (const { event } of running) if (event === 'output.delta') break;
    const asked = await call(url, 'POST', path, { token: bob.token, body: {} });
    expect([asked.status, asked.json]).toMatchObject([
      200,
      { outcome: 'to_confirm', purchased_credits: 0, running_runs: 1 },
    ]);
    const wrong = await call(url, 'POST', path, { token: bob.token, body: { confirm_purchased_credits: -1 } });
    expect([wrong.status, wrong.json.errors[0].field]).toEqual([400, 'confirm_purchased_credits']);
    const done = await call(url, 'POST', path, { token: bob.token, body: { confirm_purchased_credits: 0 } });
    expect([done.status, done.json.outcome]).toEqual([200, 'erased']);
    expect((await call(url, 'GET', '/api/v1/account', { token: bob.token })).json.error).toBe('token_revoked');
    await until(async () => (await database.owner`select from runs where status = 'running'`).length === 0);
    expect(await database.owner`select from run_texts where user_id = ${bob.userId}`).toHaveLength(0);
    expect(await house.audit()).toEqual([]);
  });

  it('needs a token that may do all that a person may, and is nobody else’s (spec 2.2)', async () => {
    const { url, ada, database } = house;
    const [made] =
      await database.ops`select token from ops.create_token(${ada.userId}, 'x', array['run', 'read', 'billing'])`;
    const refused = await call(url, 'POST', path, { token: made?.token, body: { confirm_purchased_credits: 0 } });
    expect([refused.status, refused.json.error]).toEqual([403, 'insufficient_scope']);
    expect(refused.json.message).toContain('publish');
    expect((await call(url, 'POST', path, { body: {} })).status).toBe(401);
  });
});
