import { randomBytes, randomUUID } from 'node:crypto';
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

type Claims = { issuer?: string; subject: string; email?: string | null; verified?: boolean; username?: string | null };

async function signIn({
  issuer = 'https://issuer.test',
  subject,
  email = null,
  verified = true,
  username = null,
}: Claims) {
  const [row] = await database.app`
    select outcome, user_id, username, email, is_admin, created, email_taken
    from api.sign_in(${issuer}, ${subject}, ${email}, ${verified}, ${username}, ${randomUUID()})`;
  return row as Record<string, never>;
}

async function lots(userId: string) {
  return [...(await database.ops`select kind, granted, remaining from credit_lots where user_id = ${userId}`)];
}

const unique = (word: string) => `${word}-${randomBytes(4).toString('hex')}`;

describe('first sight of an identity', () => {
  it('makes a user with 5 sign-up credits in a lot of their own kind (spec 2.1)', async () => {
    const person = await signIn({ subject: unique('new'), email: 'New@Example.com', username: 'new' });
    expect(person).toMatchObject({
      outcome: 'ok',
      created: true,
      email: 'new@example.com',
      username: 'new',
      email_taken: false,
    });
    expect(await lots(person.user_id ?? '')).toEqual([{ kind: 'signup', granted: '5', remaining: '5' }]);
    const [user] = await database.ops`
      select included_credits, purchased_credits, transaction_count from users where id = ${person.user_id ?? ''}`;
    expect(user).toEqual({ included_credits: '5', purchased_credits: '0', transaction_count: '1' });
  });

  it('is the same user from then on, and gives no more credits (spec 2.1, 2.2)', async () => {
    const subject = unique('again');
    const first = await signIn({ subject });
    const second = await signIn({ subject });
    expect(second).toMatchObject({ outcome: 'ok', created: false, user_id: first.user_id });
    expect(await lots(first.user_id ?? '')).toHaveLength(1);
  });

  it('makes one user when ten requests bring it at once (spec 2.1)', async () => {
    const subject = unique('race');
    const people = await Promise.all(Array.from({ length: 10 }, () => signIn({ subject })));
    expect(new Set(people.map(({ user_id }) => user_id)).size).toBe(1);
    expect(people.filter(({ created }) => created)).toHaveLength(1);
    expect(await lots(people[0]?.user_id ?? '')).toHaveLength(1);
  });

  it('opens the windows that the moment lies in (spec 3.2)', async () => {
    const { user_id } = await signIn({ subject: unique('windows') });
    const [windows] = await database.ops`
      select
        date_trunc('month', created_at at time zone 'UTC') + interval '1 month' = month_ends_at at time zone 'UTC' as month,
        date_trunc('day', created_at at time zone 'UTC') + interval '1 day' = day_ends_at at time zone 'UTC' as day,
        date_trunc('hour', created_at at time zone 'UTC') + interval '1 hour' = hour_ends_at at time zone 'UTC' as hour
      from users where id = ${user_id ?? ''}`;
    expect(windows).toEqual({ month: true, day: true, hour: true });
  });

  it('says apart the same subject of two issuers (spec 2.2)', async () => {
    const subject = unique('shared');
    const one = await signIn({ subject });
    const other = await signIn({ subject, issuer: 'https://other.test' });
    expect(other.user_id).not.toBe(one.user_id);
    expect(other.created).toBe(true);
  });

  it('is refused without issuer or subject (spec 2.2)', async () => {
    await expect(signIn({ subject: ' ' })).rejects.toMatchObject({ code: 'PR400', detail: 'subject' });
    await expect(signIn({ subject: 'x', issuer: '' })).rejects.toMatchObject({ code: 'PR400', detail: 'issuer' });
  });
});

describe('sign-up credits', () => {
  it('are given once per identity, also after the user was erased (spec 2.1)', async () => {
    const subject = unique('erased');
    const before = await signIn({ subject });
    const id = before.user_id ?? '';
    await database.owner`delete from identities where user_id = ${id}`;
    await vanish(database, id);
    const after = await signIn({ subject });
    expect(after).toMatchObject({ outcome: 'ok', created: true });
    expect(after.user_id).not.toBe(id);
    expect(await lots(after.user_id ?? '')).toEqual([]);
  });

  it('are given once also where the identity still names the erased user (spec 2.1)', async () => {
    const subject = unique('vanished');
    const before = await signIn({ subject });
    await vanish(database, before.user_id ?? '');
    const after = await signIn({ subject });
    expect(after.created).toBe(true);
    expect(after.user_id).not.toBe(before.user_id);
    expect(await lots(after.user_id ?? '')).toEqual([]);
  });

  it('leave nothing behind that names the identity (spec 2.1)', async () => {
    const subject = unique('private');
    await signIn({ subject });
    const claims = await database.owner<{ identity_hash: Buffer }[]>`select identity_hash from signup_claims`;
    expect(claims.length).toBeGreaterThan(0);
    for (const { identity_hash } of claims) {
      expect(identity_hash).toHaveLength(32);
      expect(identity_hash.toString('latin1')).not.toContain(subject);
    }
  });

  it('make no lot where the setting is 0 (spec 2.1)', async () => {
    const other = await createDatabase();
    try {
      await other.ops`update settings set signup_credits = 0`;
      const [{ user_id }] = (await other.ops`select user_id from ops.create_user(null, 'nobody')`) as [
        { user_id: string },
      ];
      expect([...(await other.ops`select id from credit_lots where user_id = ${user_id}`)]).toEqual([]);
    } finally {
      await other.drop();
    }
  });
});

describe('an e-mail address', () => {
  it('that is taken leaves a new user without one, and says so (spec 2.2)', async () => {
    const email = `${unique('taken')}@example.com`;
    const first = await signIn({ subject: unique('holder'), email });
    const second = await signIn({ subject: unique('late'), email: email.toUpperCase() });
    expect(second).toMatchObject({ outcome: 'ok', created: true, email: null, email_taken: true });
    expect(second.user_id).not.toBe(first.user_id);
    expect(await lots(second.user_id ?? '')).toHaveLength(1);
  });

  it('that is not verified is left out (spec 2.2)', async () => {
    const person = await signIn({ subject: unique('claims'), email: 'claimed@example.com', verified: false });
    expect(person).toMatchObject({ outcome: 'ok', email: null, email_taken: false });
  });

  it('that is verified later is kept at the next sign-in (spec 2.2)', async () => {
    const subject = unique('later');
    const email = `${subject}@example.com`;
    await signIn({ subject, email, verified: false });
    expect(await signIn({ subject, email })).toMatchObject({ created: false, email, email_taken: false });
  });
});

describe('rights', () => {
  it('come from the column, never from a claim (spec 2.2)', async () => {
    const subject = unique('admin');
    const person = await signIn({ subject, username: 'admin' });
    expect(person.is_admin).toBe(false);
    await database.ops`select * from ops.set_user(${person.user_id ?? ''}, is_admin => true, reason => 'on call')`;
    expect((await signIn({ subject })).is_admin).toBe(true);
  });

  it('end with the account: sign-in answers closed and nothing else (spec 2.3)', async () => {
    const subject = unique('leaver');
    const person = await signIn({ subject });
    await database.ops`select * from ops.close_user(${person.user_id ?? ''}, 'asked to leave')`;
    expect(await signIn({ subject })).toEqual({
      outcome: 'closed',
      user_id: null,
      username: null,
      email: null,
      is_admin: null,
      created: false,
      email_taken: false,
    });
  });
});
