import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { vanish } from './vanish.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
afterEach(async () => {
  expect([...(await database.ops`select * from ops.audit_books()`)]).toEqual([]);
});
afterAll(() => database.drop());

async function createUser(username: string, email: string | null = `${username}@example.com`): Promise<string> {
  const [row] = await database.ops`select user_id from ops.create_user(${email}, ${username})`;
  return row?.user_id;
}

describe('ops.create_user', () => {
  it('makes a person with sign-up credits and a token that works (spec 2.1, 12)', async () => {
    const [made] = await database.ops`select user_id, token from ops.create_user('Made@Example.com', 'made')`;
    const [user] = await database.ops`select email, included_credits from users where id = ${made?.user_id}`;
    expect(user).toEqual({ email: 'made@example.com', included_credits: '5' });
    const [who] = await database.app`
      select outcome, user_id, scopes from api.authenticate_token(sha256(convert_to(${made?.token}, 'UTF8')))`;
    expect(who).toEqual({ outcome: 'ok', user_id: made?.user_id, scopes: ['run', 'read', 'billing', 'publish'] });
  });

  it('refuses an e-mail that is taken or none, and a blank name (spec 2.2)', async () => {
    await createUser('first');
    await expect(createUser('second', 'FIRST@example.com')).rejects.toMatchObject({ code: 'PR409', detail: 'email' });
    await expect(createUser('third', 'no address')).rejects.toMatchObject({ code: 'PR400', detail: 'email' });
    await expect(createUser(' ', null)).rejects.toMatchObject({ code: 'PR400', detail: 'username' });
  });

  it('gives an e-mail its sign-up credits once, also after erasure (spec 2.1)', async () => {
    const id = await createUser('phoenix');
    await database.owner`delete from user_emails where user_id = ${id}`;
    await database.owner`delete from api_tokens where user_id = ${id}`;
    await vanish(database, id);
    const again = await createUser('phoenix');
    const [user] = await database.ops`select included_credits from users where id = ${again}`;
    expect(user).toEqual({ included_credits: '0' });
  });

  it('keeps nothing in a dry run (spec 12)', async () => {
    const [made] = await database.ops`select token from ops.create_user('dry@example.com', 'dry', dry_run => true)`;
    expect(made).toEqual({ token: null });
    expect([...(await database.ops`select id from users where email = 'dry@example.com'`)]).toEqual([]);
  });
});

describe('a person is found by', () => {
  it('id, e-mail or username, and a name that two have is refused (spec 12)', async () => {
    const id = await createUser('wanted');
    for (const word of [id, id.toUpperCase(), 'Wanted@example.com', 'wanted']) {
      const [row] = await database.ops`select user_id from ops.set_user(${word}, dry_run => true)`;
      expect(row).toEqual({ user_id: id });
    }
    await createUser('wanted', null);
    await expect(database.ops`select * from ops.set_user('wanted', dry_run => true)`).rejects.toMatchObject({
      code: 'PR409',
    });
    await expect(database.ops`select * from ops.set_user('ghost', dry_run => true)`).rejects.toMatchObject({
      code: 'PR404',
    });
    await expect(database.ops`select * from ops.set_user(${randomUUID()}, dry_run => true)`).rejects.toMatchObject({
      code: 'PR404',
    });
  });
});

describe('ops.set_user', () => {
  it('gives a tier that is active, and takes it away again (spec 2.5)', async () => {
    await createUser('tiered');
    const set = (tier: string) => database.ops`
      select given_tier, tier_name from ops.set_user('tiered', tier_override => ${tier}, reason => 'partner')`;
    expect([...(await set('unlimited'))]).toEqual([{ given_tier: 'unlimited', tier_name: 'unlimited' }]);
    expect([...(await set(''))]).toEqual([{ given_tier: null, tier_name: 'free' }]);
    await expect(set('golden')).rejects.toMatchObject({ code: 'PR400', detail: 'tier_override' });
  });

  it('leaves alone what is not named, and asks for a reason (spec 2.3, 12)', async () => {
    await createUser('author');
    await database.ops`select * from ops.set_user('author', verified_author => true, reason => 'known')`;
    const [row] = await database.ops`
      select administrator, author from ops.set_user('author', is_admin => true, reason => 'on call')`;
    expect(row).toEqual({ administrator: true, author: true });
    await expect(database.ops`select * from ops.set_user('author', is_admin => false)`).rejects.toMatchObject({
      code: 'PR400',
      detail: 'reason',
    });
  });
});

describe('ops.close_user', () => {
  it('closes once, keeps the books, and changes nothing the second time (spec 2.3)', async () => {
    const id = await createUser('gone');
    const close = async () => {
      const [row] = await database.ops`select closed_at, tokens_revoked from ops.close_user('gone', 'asked to leave')`;
      return row;
    };
    const first = await close();
    const second = await close();
    expect(first?.tokens_revoked).toBe('1');
    expect(second).toEqual({ closed_at: first?.closed_at, tokens_revoked: '0' });
    expect((await database.ops`select id from credit_transactions where user_id = ${id}`).length).toBe(1);
  });

  it('cancels what Stripe would go on charging for, once, and says so before (spec 2.3, 6.1)', async () => {
    const id = await createUser('payer');
    await database.owner`
      insert into subscriptions (user_id, id, plan, status, stripe_created_at, created_at, updated_at)
      values (${id}, 'sub_payer', 'prpm_plus_individual', 'active', core.now(), core.now(), core.now())`;
    await database.owner`
      insert into checkouts (user_id, id, plan, livemode, success_url, cancel_url, session_id, status, created_at)
      values (${id}, gen_random_uuid(), 'prpm_plus_individual', false, 'https://a', 'https://b', 'cs_payer', 'open', core.now())`;
    const queue = async () =>
      (await database.ops`select kind || ' ' || key as work from stripe_work where user_id = ${id} order by 1`).map(
        ({ work }) => work,
      );
    const close = async (dry: boolean) =>
      (await database.ops`select subscriptions_canceled::int as n from ops.close_user('payer', 'abuse', ${dry})`)[0]?.n;
    expect([await close(true), await queue()]).toEqual([1, []]);
    expect([await close(false), await queue()]).toEqual([
      1,
      ['cancel_subscription sub_payer', 'expire_session cs_payer'],
    ]);
    expect([await close(false), (await queue()).length]).toEqual([0, 2]);
  });
});

describe('organizations', () => {
  it('have members, whom an operator adds, changes and removes, and who may leave (spec 2.3)', async () => {
    const id = await createUser('member');
    const [organization] = await database.ops`select id, is_verified from ops.create_organization('Example')`;
    expect(organization).toMatchObject({ is_verified: false });
    const roles = async () =>
      [...(await database.ops`select role from organization_members where user_id = ${id}`)].map(({ role }) => role);

    await database.ops`select * from ops.add_member('Example', 'member')`;
    expect(await roles()).toEqual(['member']);
    await database.ops`select * from ops.add_member('Example', 'member', 'maintainer')`;
    expect(await roles()).toEqual(['maintainer']);

    const leave = () =>
      database.app`select organization_id, role from api.leave_organization(${id}, ${organization?.id})`;
    expect([...(await leave())]).toEqual([{ organization_id: organization?.id, role: 'maintainer' }]);
    expect([...(await leave())]).toEqual([]);

    await database.ops`select * from ops.add_member('Example', 'member')`;
    await database.ops`select * from ops.remove_member('Example', 'member')`;
    expect(await roles()).toEqual([]);
    await expect(database.ops`select * from ops.remove_member('Example', 'member')`).rejects.toMatchObject({
      code: 'PR404',
    });
  });

  it('are verified by an operator, with a reason (spec 2.3)', async () => {
    await database.ops`select * from ops.create_organization('Verified')`;
    const [row] = await database.ops`select is_verified from ops.verify_organization('Verified', true, 'papers seen')`;
    expect(row).toEqual({ is_verified: true });
    await expect(database.ops`select * from ops.verify_organization('Verified', true, ' ')`).rejects.toMatchObject({
      code: 'PR400',
      detail: 'reason',
    });
  });

  it('refuse a wrong role, a name in use and one that is not there (spec 2.3)', async () => {
    await createUser('somebody');
    await database.ops`select * from ops.create_organization('Taken')`;
    await expect(database.ops`select * from ops.create_organization('Taken')`).rejects.toMatchObject({ code: 'PR409' });
    await expect(database.ops`select * from ops.create_organization('')`).rejects.toMatchObject({ code: 'PR400' });
    await expect(database.ops`select * from ops.add_member('Taken', 'somebody', 'king')`).rejects.toMatchObject({
      code: 'PR400',
    });
    await expect(database.ops`select * from ops.add_member('Nowhere', 'somebody')`).rejects.toMatchObject({
      code: 'PR404',
    });
  });
});
