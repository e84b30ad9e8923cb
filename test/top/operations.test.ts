// docs/operations.md: a section for each alert, statements that run, secrets that can be rotated while people run things.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTemporaryCluster } from '../../sandbox/postgres/cluster.ts';
import { environmentSchema, readEnvironment } from '../../src/config/environment.ts';
import { migrate } from '../../src/database/migrate.ts';
import {
  createDatabase as createOwnedDatabase,
  createRoles,
  randomPassword,
  withDatabase,
} from '../../src/database/roles.ts';
import { startServer } from '../../src/server.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { blocksOf, statementsOf } from '../guide/blocks.ts';
import { connectDatabase, createDatabase, type TestDatabase } from '../harness/database.ts';
import { call, until } from '../http/house.ts';

const guide = readFileSync(resolve(import.meta.dirname, '../../docs/operations.md'), 'utf8');
const section = (title: string) => guide.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? '';

describe('the runbook', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase();
    await database.ops`select from ops.create_user('user@example.com', 'user')`;
  });
  afterAll(() => database.drop());

  it('has a section for each kind of alert that the database raises, and none for another (spec 9)', async () => {
    const others = ['critical', 'warning', 'today']; // severities, and a word of a text
    const rows = await database.owner<{ text: string }[]>`
      select pg_get_functiondef(p.oid) as text from pg_proc p
      where p.pronamespace = 'core'::regnamespace
        and (p.prorettype = 'core.alert_condition'::regtype and p.proname <> 'alert_conditions' or p.proname = 'raise_check_failed')`;
    const raised = rows.flatMap(({ text }) =>
      [...text.matchAll(/(?:select|then|else|values\s*\()\s*'([a-z]+(?:_[a-z]+)*)'/gi)].map(([, kind]) => kind ?? ''),
    );
    const own = [...new Set(raised)].filter((kind) => !others.includes(kind));
    const told = [...section('Alerts').matchAll(/^### (\w+)$/gm)].map(([, kind]) => kind);
    expect(rows.length).toBeGreaterThan(7);
    expect(told.sort()).toEqual(own.sort());
  });

  it.each(
    blocksOf(guide)
      .filter(({ language }) => language === 'sql')
      .flatMap(({ text }) => statementsOf(text)),
  )('has what an operator may run as it is: %s', async (statement) => {
    // A name of nobody is answered in our words; a view, column or function that is not there is not.
    await database.ops.unsafe(statement).catch((error: { code?: string; message: string }) => {
      expect(error.code, error.message).toMatch(/^PR/);
    });
  });

  it('says of each secret among the variables how it is rotated', () => {
    const secret = /KEY$|SECRET$|_TOKEN$|DATABASE_URL$|SMTP_URL|HEADERS$/;
    const secrets = Object.keys(environmentSchema.shape).filter((name) => secret.test(name));
    expect(secrets.length).toBeGreaterThan(9);
    const others = ['DATABASE_URL', 'MIGRATE_DATABASE_URL']; // by their roles' passwords
    expect(secrets.filter((name) => !others.includes(name) && !section('Secrets').includes(`\`${name}\``))).toEqual([]);
  });
});

describe('a secret that is rotated', () => {
  it("(the server's password) lets the old servers go on until they are replaced, and opens nothing new for whoever has it", async () => {
    const cluster = await startTemporaryCluster();
    const passwords = { prpm_owner: randomPassword(), prpm_app: randomPassword(), prpm_ops: randomPassword() };
    await createRoles(cluster.url, passwords);
    await createOwnedDatabase(cluster.url, 'prpm');
    await migrate(withDatabase(cluster.url, 'prpm'), { current: true });
    const old = connectDatabase(cluster.url, passwords, 'prpm');
    const rotated = connectDatabase(cluster.url, { ...passwords, prpm_app: randomPassword() }, 'prpm');
    const serve = (url: string) => {
      const environment = readEnvironment({ APP_DATABASE_URL: url, HOST: '127.0.0.1', PORT: '0', DATABASE_POOL: '1' });
      return startServer({ environment, jobs: false, log: createLog('silent') });
    };
    const before = await serve(old.appUrl);
    try {
      const [made] = await old.ops`select token from ops.create_user('ada@example.com', 'ada')`;
      const ask = (server: { url: string }) =>
        call(server.url, 'GET', '/api/v1/playground/credits', { token: made?.token });
      expect((await ask(before)).status).toBe(200);

      await createRoles(cluster.url, { prpm_app: decodeURIComponent(new URL(rotated.appUrl).password) });
      expect((await ask(before)).status).toBe(200);
      await expect(serve(old.appUrl)).rejects.toMatchObject({ code: '28P01' });
      const after = await serve(rotated.appUrl);
      expect((await ask(after)).status).toBe(200);
      // As the page says for a leak: what is connected is ended, and who has the old password does not come back.
      const [, statement = ''] = /`(SELECT pg_terminate_backend[^`]*)`/.exec(guide) ?? [];
      const superuser = postgres(cluster.url, { max: 1 });
      expect((await superuser.unsafe(statement)).length).toBeGreaterThan(0);
      await superuser.end();
      await until(async () => (await ask(before)).status === 503);
      await until(async () => (await ask(after)).status === 200);
      await after.close();
    } finally {
      await before.close();
      await Promise.all(
        [old, rotated].flatMap(({ owner, app, ops }) => [owner, app, ops].map((sql) => sql.end({ timeout: 1 }))),
      );
      await cluster.stop();
    }
  }, 60_000);

  it('(CRON_SECRET, METRICS_TOKEN) is good at the servers that have it, and the old one at the others', async () => {
    const database = await createDatabase();
    const serve = (n: number) => {
      const secrets = { CRON_SECRET: `cron-secret-number-${n}`, METRICS_TOKEN: `metrics-token-number-${n}` };
      const environment = readEnvironment({
        APP_DATABASE_URL: database.appUrl,
        HOST: '127.0.0.1',
        PORT: '0',
        ...secrets,
      });
      return startServer({ environment, jobs: false, log: createLog('silent') });
    };
    const servers = [await serve(1), await serve(2)];
    try {
      const statuses = servers.map(async ({ url }) => [
        ...(
          await Promise.all(
            [1, 2].flatMap((n) => [
              call(url, 'POST', '/api/v1/playground/credits/cron/expire', { token: `cron-secret-number-${n}` }),
              call(url, 'GET', '/metrics', { token: `metrics-token-number-${n}` }),
            ]),
          )
        ).map(({ status }) => status),
      ]);
      expect(await Promise.all(statuses)).toEqual([
        [200, 200, 401, 401],
        [401, 401, 200, 200],
      ]);
    } finally {
      await Promise.all(servers.map((server) => server.close()));
      await database.drop();
    }
  });

  it('(tokens and sign-ins, all at once, as after a restore) is ended as the page says', async () => {
    const database = await createDatabase();
    try {
      const [made] = await database.ops`select token from ops.create_user('ada@example.com', 'ada')`;
      const [, statements = ''] = /`(UPDATE api_tokens [^`]*)`/.exec(guide) ?? [];
      await database.owner.unsafe(statements);
      const [found] = await database.app`
        select outcome from api.authenticate_token(sha256(convert_to(${made?.token}, 'UTF8')))`;
      expect(found?.outcome).toBe('revoked');
    } finally {
      await database.drop();
    }
  });

  it('(the key of hashes) takes nobody their account, and is changed as the page says', async () => {
    const database = await createDatabase();
    const signIn = (subject: string) => database.app`
      select user_id from api.sign_in('https://issuer.example', ${subject}, null, false, ${subject}, gen_random_uuid())`;
    try {
      const [ada] = await signIn('ada');
      const [, statement = ''] = /`(UPDATE core\.secrets [^`]*)`/.exec(guide) ?? [];
      await database.owner.unsafe(statement.replaceAll('\\|', '|'));
      expect((await signIn('ada'))[0]?.user_id).toBe(ada?.user_id);
      const [credits] =
        await database.owner`select sum(remaining)::int as n from credit_lots where user_id = ${ada?.user_id}`;
      expect(credits?.n).toBe(5);
      expect(await database.ops`select * from ops.audit_books()`).toEqual([]);
    } finally {
      await database.drop();
    }
  });
});
