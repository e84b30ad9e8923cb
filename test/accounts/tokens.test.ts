import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';

let database: TestDatabase;
let ann: string;
let bob: string;
beforeAll(async () => {
  database = await createDatabase();
  ann = await createUser('ann');
  bob = await createUser('bob');
});
afterAll(() => database.drop());

async function createUser(username: string): Promise<string> {
  const [row] = await database.ops`select user_id from ops.create_user(${`${username}@example.com`}, ${username})`;
  return row?.user_id;
}

const hash = (token: string) => createHash('sha256').update(token).digest();

async function createToken({
  user = ann,
  id = randomUUID(),
  scopes = ['run'],
  name = 'laptop',
  expires = null as string | null,
} = {}) {
  const token = `prpm_${randomBytes(32).toString('base64url')}`;
  await database.app`select * from api.create_token(${user}, ${hash(token)}, ${id}, ${name}, ${scopes}, ${expires})`;
  return { token, id };
}

async function authenticate(token: string) {
  const [row] = await database.app`
    select outcome, user_id, username, email, is_admin, scopes, token_id from api.authenticate_token(${hash(token)})`;
  return row;
}

const nobody = { user_id: null, username: null, email: null, is_admin: null, scopes: null, token_id: null };

describe('an API token', () => {
  it('says who acts, with which scopes (spec 2.2)', async () => {
    const { token, id } = await createToken({ scopes: ['run', 'read'] });
    expect(await authenticate(token)).toEqual({
      outcome: 'ok',
      user_id: ann,
      username: 'ann',
      email: 'ann@example.com',
      is_admin: false,
      scopes: ['run', 'read'],
      token_id: id,
    });
  });

  it('that is unknown, revoked or expired names nobody (spec 2.2)', async () => {
    expect(await authenticate('prpm_never')).toEqual({ outcome: 'unknown', ...nobody });

    const revoked = await createToken();
    const [row] = await database.app`select id, revoked_at from api.revoke_token(${ann}, ${revoked.id})`;
    expect(await authenticate(revoked.token)).toEqual({ outcome: 'revoked', ...nobody });
    const [again] = await database.app`select id, revoked_at from api.revoke_token(${ann}, ${revoked.id})`;
    expect(again).toEqual(row);

    const expired = await createToken({ expires: '2100-01-01T00:00:00Z' });
    await database.owner`update api_tokens set expires_at = now() - interval '1 second' where id = ${expired.id}`;
    expect(await authenticate(expired.token)).toEqual({ outcome: 'expired', ...nobody });
  });

  it('of a closed account is revoked, and one that slipped in names nobody either (spec 2.3)', async () => {
    const user = await createUser('closing');
    const { token } = await createToken({ user });
    const [row] = await database.ops`select tokens_revoked from ops.close_user('closing', 'asked to leave')`;
    expect(row).toEqual({ tokens_revoked: '2' });
    expect(await authenticate(token)).toMatchObject({ outcome: 'revoked', user_id: null });
    await database.owner`update api_tokens set revoked_at = null where token_hash = ${hash(token)}`;
    expect(await authenticate(token)).toEqual({ outcome: 'closed', ...nobody });
    await expect(createToken({ user })).rejects.toMatchObject({ code: 'PR403' });
  });

  it('is kept as a hash alone, and is listed without it (spec 2.2)', async () => {
    const { token, id } = await createToken({ name: 'listed' });
    const [listed] = await database.app`select * from api.list_tokens(${ann}) where id = ${id}`;
    expect(Object.keys(listed ?? {}).sort()).toEqual(
      ['created_at', 'expires_at', 'id', 'last_used_at', 'name', 'revoked_at', 'scopes'].sort(),
    );
    const [stored] = await database.ops`select api_tokens::text as row from api_tokens where id = ${id}`;
    expect(stored?.row).not.toContain(token);
  });

  it('notes its use, once a minute (spec 2.2)', async () => {
    const { token, id } = await createToken();
    const lastUsed = async () => {
      await authenticate(token);
      const [row] = await database.ops`select last_used_at from api_tokens where id = ${id}`;
      return row?.last_used_at;
    };
    const first = await lastUsed();
    expect(first).toBeInstanceOf(Date);
    expect(await lastUsed()).toEqual(first);
    await database.owner`update api_tokens set last_used_at = now() - interval '2 minutes' where id = ${id}`;
    expect((await lastUsed()).getTime()).toBeGreaterThanOrEqual(first.getTime());
  });

  it('cannot be listed or revoked by another (spec 2.2)', async () => {
    const { token, id } = await createToken();
    expect([...(await database.app`select * from api.revoke_token(${bob}, ${id})`)]).toEqual([]);
    expect([...(await database.app`select * from api.list_tokens(${bob}) where id = ${id}`)]).toEqual([]);
    expect(await authenticate(token)).toMatchObject({ outcome: 'ok' });
  });

  it('made twice by a repeated request is one token, and its id cannot become another (spec 2.2)', async () => {
    const id = randomUUID();
    const text = hash('prpm_twice');
    const make = (tokenHash: Buffer) =>
      database.app`select token_id, created_at from api.create_token(${ann}, ${tokenHash}, ${id}, 'twice', ${['run']})`;
    expect([...(await make(text))]).toEqual([...(await make(text))]);
    await expect(make(hash('prpm_else'))).rejects.toMatchObject({ code: 'PR409' });
  });

  it('is refused by the name of the wrong field (spec 2.2)', async () => {
    await expect(createToken({ name: ' ' })).rejects.toMatchObject({ code: 'PR400', detail: 'name' });
    await expect(createToken({ scopes: [] })).rejects.toMatchObject({ code: 'PR400', detail: 'scopes' });
    await expect(createToken({ scopes: ['everything'] })).rejects.toMatchObject({ code: 'PR400', detail: 'scopes' });
    await expect(createToken({ expires: '2001-01-01' })).rejects.toMatchObject({ code: 'PR400', detail: 'expires_at' });
    await expect(createToken({ user: randomUUID() })).rejects.toMatchObject({ code: 'PR404' });
  });

  it('with scope admin is only for administrators (spec 2.2)', async () => {
    await expect(createToken({ scopes: ['admin'] })).rejects.toMatchObject({ code: 'PR403', detail: 'scopes' });
    await createUser('root');
    await database.ops`select * from ops.set_user('root', is_admin => true, reason => 'on call')`;
    const [made] = await database.ops`select token from ops.create_token('root', 'console', '{admin,read}')`;
    expect(await authenticate(made?.token)).toMatchObject({ outcome: 'ok', is_admin: true, scopes: ['admin', 'read'] });
  });
});

describe('a token made with a token', () => {
  const make = async (
    madeWith: string | null,
    { scopes = ['read'], expires = null as string | null, user = ann } = {},
  ) => {
    const [row] = await database.app`
      select token_id, ends_at, refusal from api.create_token(
        ${user}, ${hash(randomUUID())}, ${randomUUID()}, 'made', ${scopes}, ${expires}, ${madeWith})`;
    return row;
  };

  it('can do no more than that, and a sign-in can make any (spec 2.2)', async () => {
    const { id } = await createToken({ scopes: ['run', 'read'] });
    expect(await make(id, { scopes: ['read', 'run'] })).toMatchObject({ refusal: null });
    const more = await make(id, { scopes: ['read', 'billing', 'publish'] });
    expect(more).toMatchObject({ token_id: null, refusal: { code: 'insufficient_scope', status: 403 } });
    expect(more?.refusal.message).toContain('billing, publish');
    expect(await make(null, { scopes: ['run', 'read', 'billing', 'publish'] })).toMatchObject({ refusal: null });
  });

  it('does not outlive it (spec 2.2)', async () => {
    const end = '2100-01-01T00:00:00.000Z';
    const { id } = await createToken({ scopes: ['read'], expires: end });
    expect((await make(id))?.ends_at.toISOString()).toBe(end);
    expect(await make(id, { expires: '2100-01-01T00:00:01Z' })).toMatchObject({
      refusal: { code: 'insufficient_scope' },
    });
    const earlier = await make(id, { expires: '2099-01-01T00:00:00Z' });
    expect(earlier?.ends_at.toISOString()).toBe('2099-01-01T00:00:00.000Z');
  });

  it('is not made with one that works no longer, or is of another (spec 2.2)', async () => {
    const { id } = await createToken({ scopes: ['read'] });
    await database.app`select from api.revoke_token(${ann}, ${id})`;
    expect(await make(id)).toMatchObject({ token_id: null, refusal: { code: 'token_revoked', status: 401 } });
    const good = await createToken({ scopes: ['read'] });
    expect(await make(good.id, { user: bob })).toMatchObject({ refusal: { code: 'token_revoked' } });
  });

  it('is one of 100 at most, also where many are asked for at once (spec 2.2)', async () => {
    const user = await createUser('collector');
    const made = await Promise.all(Array.from({ length: 105 }, () => make(null, { user })));
    expect(made.filter((one) => one?.refusal === null)).toHaveLength(99);
    expect(new Set(made.map((one) => one?.refusal?.code))).toEqual(new Set([undefined, 'token_limit']));
    const [kept] = await database.app`select id from api.list_tokens(${user}) where revoked_at is null`;
    await database.app`select from api.revoke_token(${user}, ${kept?.id})`;
    expect(await make(null, { user })).toMatchObject({ refusal: null });
  });
});

describe('a token that an operator makes', () => {
  it('works, is shown once, and is in no log (spec 12)', async () => {
    const [made] =
      await database.ops`select user_id, id, token from ops.create_token('ann@example.com', 'from psql', '{run}')`;
    expect(made).toMatchObject({ user_id: ann, token: expect.stringMatching(/^prpm_[\w-]{43}$/) });
    expect(await authenticate(made?.token)).toMatchObject({ outcome: 'ok', user_id: ann });
    const [log] = await database.ops`
      select role, new, audit_log::text as row from audit_log where table_name = 'ops.create_token' and row_key = ${made?.id}`;
    expect(log).toMatchObject({ role: 'prpm_ops', new: { name: 'from psql', user_id: ann } });
    expect(log?.row).not.toContain(made?.token);
  });

  it('is not made in a dry run (spec 12)', async () => {
    const before = await database.ops`select id from api_tokens`;
    const [made] = await database.ops`select token from ops.create_token('ann', 'dry', '{run}', dry_run => true)`;
    expect(made).toEqual({ token: null });
    expect((await database.ops`select id from api_tokens`).length).toBe(before.length);
  });
});
