// Messages reach their receivers at least once, whatever receivers and servers do. Spec 9.
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openChannels } from '../../src/alerts/channels.ts';
import { type Delivery, startDelivery } from '../../src/alerts/deliver.ts';
import { signWebhook } from '../../src/alerts/webhook.ts';
import { readEnvironment } from '../../src/config/environment.ts';
import { type Database, openDatabase } from '../../src/database/client.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { createDatabase, type TestDatabase } from '../harness/database.ts';
import { until } from '../http/house.ts';
import { publishPackage, signUp, wait } from '../sessions/people.ts';
import { openMailServer, openReceiver, type Receiver, SECRET } from './receivers.ts';

let database: TestDatabase;
let receiver: Receiver;
let mail: Awaited<ReturnType<typeof openMailServer>>;
let ada: string;
const servers: { server: Database; delivery: Delivery }[] = [];

beforeAll(async () => {
  database = await createDatabase();
  await publishPackage(database);
  ada = await signUp(database, 'ada');
  receiver = await openReceiver();
  mail = await openMailServer();
});
afterAll(async () => {
  await receiver.stop();
  await mail.stop();
  await database.drop();
});
beforeEach(async () => {
  receiver.heal();
  Object.assign(mail.state, { isOut: false, isHanging: false, refused: new Set() });
  for (const list of [receiver.taken, receiver.ids, mail.mails]) list.length = 0;
  await database.owner`truncate messages, alert_channels`;
});
afterEach(async () => {
  for (const { server, delivery } of servers.splice(0)) {
    await delivery.stop();
    await server.close();
  }
  expect(receiver.forged).toEqual([]);
});

const environment = (more: Record<string, string> = {}) =>
  readEnvironment({
    APP_DATABASE_URL: database.appUrl,
    ALERT_WEBHOOK_URL: receiver.url,
    ALERT_WEBHOOK_SECRET: SECRET,
    SMTP_URL: mail.url,
    EMAIL_FROM: 'PRPM Playground <playground@example.com>',
    ALERT_EMAIL_TO: 'one@operators.example, two@operators.example',
    PUBLIC_URL: 'https://prpm.example',
    ...more,
  });

/** A server as far as delivery goes. */
async function startServer(patienceMs?: number): Promise<Delivery> {
  const server = await openDatabase({ url: database.appUrl, pool: 1, production: false });
  const log = createLog('silent');
  const delivery = startDelivery(server.reads, openChannels(environment(), patienceMs), log);
  servers.push({ server, delivery });
  await delivery.look();
  return delivery;
}

async function write(channel: string, count = 1, user: string | null = null): Promise<string[]> {
  const rows = await database.owner<{ id: string }[]>`
    insert into messages (dedupe, channel, kind, user_id, subject, body, payload, created_at, due_at)
    select gen_random_uuid()::text, ${channel}, 'limit_warning', ${user}, '75 % used: 0.375 of 0.50 dollars', 'Advice.',
      jsonb_build_object('type', 'alert.raised', 'data', jsonb_build_object('place', n)), core.now(), core.now()
    from generate_series(1, ${count}) n returning id`;
  return rows.map(({ id }) => id);
}
const pending = async () => {
  const [row] = await database.owner`
    select count(*)::int as count from messages where delivered_at is null and given_up_at is null`;
  return row?.count;
};
const stateOf = async (id: string | undefined) => {
  const [row] = await database.owner`
    select attempts, error, delivered_at is not null as delivered, given_up_at is not null as given_up, claimed_until is not null as claimed
    from messages where id = ${id ?? null}`;
  return { ...row };
};

describe('a webhook', () => {
  it('is signed as Standard Webhooks says, by the vector that it publishes', () => {
    const signed = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', timestamp: 1614265330, body: '{"test": 2432232314}' };
    expect(signWebhook('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', signed)).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  it('arrives once, signed, with the id of its message', async () => {
    const [id] = await write('webhook');
    await startServer();
    expect(receiver.taken).toMatchObject([{ id, event: { type: 'alert.raised', data: { place: 1 } } }]);
    expect(await stateOf(id)).toMatchObject({ delivered: true, attempts: 1, error: null });
  });

  it.each([
    ['fails', 'HTTP 500', (receiver: Receiver) => receiver.behave((_, response) => response.writeHead(500).end())],
    ['hangs', 'no answer within 1 s', (receiver: Receiver) => receiver.behave(() => {})],
    ['hangs up', 'UND_ERR_SOCKET', (receiver: Receiver) => receiver.behave((request) => request.socket.destroy())],
    [
      'leads elsewhere',
      'HTTP 302',
      (receiver: Receiver) => receiver.behave((_, response) => response.writeHead(302, { location: '/x' }).end()),
    ],
  ])('whose receiver %s is tried again, ever later, under the same id', async (_, error, misbehave) => {
    const [id] = await write('webhook');
    misbehave(receiver);
    const delivery = await startServer(error.startsWith('no answer') ? 1_000 : undefined);
    expect(await stateOf(id)).toMatchObject({ attempts: 1, error, delivered: false, claimed: false });
    await delivery.look();
    expect(receiver.ids).toEqual([id]); // not due yet
    await wait(database, '16 seconds');
    await delivery.look();
    expect(receiver.ids).toEqual([id, id]);
    await wait(database, '16 seconds');
    await delivery.look();
    expect(receiver.ids).toEqual([id, id]);
    receiver.heal();
    await wait(database, '16 seconds');
    await delivery.look();
    expect(receiver.taken.map((one) => one.id)).toEqual([id]);
    expect(await stateOf(id)).toMatchObject({ delivered: true, attempts: 3, error: null });
  });

  it('whose receiver is away arrives when it is back', async () => {
    await receiver.stop();
    const [id] = await write('webhook');
    const delivery = await startServer();
    expect(await stateOf(id)).toMatchObject({ error: 'ECONNREFUSED', delivered: false });
    await receiver.start();
    await wait(database, '16 seconds');
    await delivery.look();
    expect(receiver.taken.map((one) => one.id)).toEqual([id]);
  });

  it('whose receiver answers 410 is given up, and can be tried again by an operator', async () => {
    const [id] = await write('webhook');
    receiver.behave((_, response) => response.writeHead(410).end());
    const delivery = await startServer();
    await wait(database, '1 day');
    await delivery.look();
    expect(receiver.ids).toEqual([id]);
    expect(await database.ops`select message_id, state, error from ops.undelivered_messages`).toEqual([
      { message_id: id, state: 'given up', error: 'HTTP 410' },
    ]);
    receiver.heal();
    await database.ops`select from ops.retry_message(${id ?? ''}, 'it is back')`;
    await delivery.look();
    expect(receiver.taken.map((one) => one.id)).toEqual([id]);
  });

  it('that nobody takes for three days is given up', async () => {
    const [id] = await write('webhook');
    receiver.behave((_, response) => response.writeHead(503).end());
    const delivery = await startServer();
    for (let day = 0; day < 4; day += 1) {
      await wait(database, '1 day');
      await delivery.look();
    }
    expect(await stateOf(id)).toMatchObject({ given_up: true, delivered: false, attempts: 4 });
  });
});

describe('mail', () => {
  it('goes to all operators in one, as plain text with a Message-ID of its own', async () => {
    const [id] = await write('operator_email');
    await startServer();
    expect(mail.mails).toHaveLength(1);
    const [one] = mail.mails;
    expect(one).toMatchObject({
      messageId: `<${id}@example.com>`,
      subject: '75 % used: 0.375 of 0.50 dollars',
      html: false,
    });
    expect(one?.text?.trim()).toBe('Advice.');
    expect(one?.from?.text).toBe('"PRPM Playground" <playground@example.com>');
    expect([one?.to].flat().map((to) => to?.text)).toEqual(['one@operators.example, two@operators.example']);
  });

  it.each([
    ['hangs', 'SMTP ETIMEDOUT', async () => Object.assign(mail.state, { isHanging: true }), async () => {}],
    ['is away', 'SMTP ESOCKET', () => mail.stop(), () => mail.start()],
  ])('whose server %s arrives when that is over, under the same Message-ID', async (_, error, misbehave, mend) => {
    const [id] = await write('operator_email');
    await misbehave();
    const delivery = await startServer(error === 'SMTP ETIMEDOUT' ? 1_000 : undefined);
    const failed = await stateOf(id);
    expect(failed).toMatchObject({ attempts: 1, delivered: false, claimed: false });
    expect(failed.error).toContain(error);
    await mend();
    mail.state.isHanging = false;
    await wait(database, '16 seconds');
    await delivery.look();
    expect(mail.mails.map(({ messageId }) => messageId)).toEqual([`<${id}@example.com>`]);
  });

  it('has the same Message-ID in every attempt', async () => {
    const [id] = await write('operator_email');
    mail.state.isOut = true;
    const delivery = await startServer();
    expect(await stateOf(id)).toMatchObject({ error: 'SMTP EMESSAGE 451 at DATA', delivered: false });
    mail.state.isOut = false;
    await wait(database, '16 seconds');
    await delivery.look();
    expect(mail.mails.map(({ messageId }) => messageId)).toEqual([`<${id}@example.com>`]);
  });

  it('goes to a user at the address that they have now, with a link that declines it (spec 10.8)', async () => {
    await write('user_email', 1, ada);
    await database.owner`update users set email = 'ada@new.example' where id = ${ada}`;
    await startServer();
    const [one] = mail.mails;
    expect([one?.to].flat().map((to) => to?.text)).toEqual(['ada@new.example']);
    const link = /https:\/\/prpm\.example\/api\/v1\/unsubscribe\?token=(\S+)/.exec(one?.text ?? '');
    expect(one?.headers.get('list')).toMatchObject({ unsubscribe: { url: link?.[0] } });
    const token = decodeURIComponent(link?.[1] ?? '');
    const { app } = database;
    expect(await app`select * from api.unsubscribe(${token.replace('limits', 'credits')})`).toHaveLength(0);
    expect(await app`select * from api.unsubscribe(${`${token}0`})`).toHaveLength(0);
    expect(await app`select * from api.unsubscribe(${token})`).toEqual([{ declined: 'limits' }]);
    expect(await app`select * from api.unsubscribe(${token})`).toEqual([{ declined: 'limits' }]);
    expect(await database.owner`select limits, credits, payments from email_preferences`).toEqual([
      { limits: false, credits: true, payments: true },
    ]);
    await database.owner`update users set email = 'ada@example.com' where id = ${ada}`;
  });

  it('to a user without an address any more is given up unsent, and so is mail to one that the server refuses', async () => {
    const [none] = await write('user_email', 1, await signUp(database, 'gone'));
    await database.owner`update users set email = null where username = 'gone'`;
    const [unknown] = await write('user_email', 1, ada);
    mail.state.refused.add('ada@example.com');
    await startServer();
    expect(mail.mails).toEqual([]);
    expect(await stateOf(none)).toMatchObject({ given_up: true, error: 'the user has no e-mail any more' });
    expect(await stateOf(unknown)).toMatchObject({ given_up: true, error: 'SMTP EENVELOPE 550 at RCPT TO' });
  });
});

describe('servers', () => {
  it('two at once deliver each message once', async () => {
    const ids = await write('webhook', 60);
    await Promise.all([startServer(), startServer()]);
    await until(async () => (await pending()) === 0);
    expect(receiver.ids.toSorted()).toEqual(ids.toSorted());
  });

  it('one that dies half-way leaves what it had claimed to the next', async () => {
    const ids = await write('webhook', 10);
    const dying = postgres(database.appUrl, { max: 1 });
    await dying`select from api.claim_messages(array['webhook'], 4)`;
    await dying.end({ timeout: 0 });
    const delivery = await startServer();
    expect(receiver.ids).toHaveLength(6);
    await wait(database, '2 minutes');
    await delivery.look();
    expect(receiver.ids.toSorted()).toEqual(ids.toSorted());
  });

  it('one that stops while a receiver hangs leaves the message to the next', async () => {
    const [id] = await write('webhook');
    let isAsked = false;
    receiver.behave(() => {
      isAsked = true;
    });
    const server = await openDatabase({ url: database.appUrl, pool: 1, production: false });
    const hanging = startDelivery(server.reads, openChannels(environment()), createLog('silent'));
    await until(() => isAsked);
    await hanging.stop();
    await server.close();
    expect(await stateOf(id)).toMatchObject({ delivered: false, error: null });
    receiver.heal();
    await wait(database, '2 minutes');
    await startServer();
    expect(receiver.taken.map((one) => one.id)).toEqual([id]);
  });

  it('deliver every message at least once through receivers that fail, hang and restart by turns, while servers die', async () => {
    const ids = [...(await write('webhook', 30)), ...(await write('user_email', 10, ada))];
    await startServer(500);
    let survivor = await startServer(500);
    const turns: [() => unknown, () => unknown][] = [
      [() => receiver.behave((_, response) => response.writeHead(500).end()), () => {}],
      [() => receiver.behave(() => {}), () => {}],
      [() => Promise.all([receiver.stop(), mail.stop()]), () => Promise.all([receiver.start(), mail.start()])],
      [() => Object.assign(mail.state, { isOut: true }), () => Object.assign(mail.state, { isOut: false })],
    ];
    for (const [misbehave, mend] of turns) {
      // What was delivered before is forgotten, as by a server that dies after it has delivered.
      await database.owner`update messages set delivered_at = null, due_at = core.now() where id in (select id from messages order by random() limit 20)`;
      await misbehave();
      const dying = servers.shift();
      const underWay = survivor.look();
      await dying?.delivery.stop();
      await dying?.server.close();
      await underWay;
      await mend();
      receiver.heal();
      survivor = await startServer(500);
    }
    for (let day = 0; (await pending()) > 0 && day < 20; day++) {
      await wait(database, '3 hours');
      await survivor.look();
    }
    expect(await pending()).toBe(0);
    const arrived = new Set([
      ...receiver.taken.map(({ id }) => id),
      ...mail.mails.map(({ messageId }) => messageId?.slice(1, 37)),
    ]);
    expect([...arrived].sort()).toEqual([...ids].sort());
  });

  it('one whose database goes away after a delivery delivers again rather than never', async () => {
    const [id] = await write('webhook');
    receiver.behave(async (_, response) => {
      await database.owner`
        select pg_terminate_backend(pid) from pg_stat_activity where usename = 'prpm_app' and datname = ${database.name}`.catch(
        () => {},
      );
      response.writeHead(204).end();
    });
    await startServer();
    const { delivered } = await stateOf(id);
    receiver.heal();
    await wait(database, '2 minutes');
    await startServer();
    expect(receiver.ids.length).toBe(delivered ? 1 : 2);
    expect(new Set(receiver.ids)).toEqual(new Set([id]));
    expect(await stateOf(id)).toMatchObject({ delivered: true });
  });
});

describe('configuration', () => {
  it('says what is missing or wrong by name, and without it there is no channel', () => {
    const good = { APP_DATABASE_URL: database.appUrl };
    expect([...openChannels(readEnvironment(good)).keys()]).toEqual([]);
    expect([...openChannels(environment()).keys()]).toEqual(['webhook', 'user_email', 'operator_email']);
    const wrong: [Record<string, string>, RegExp][] = [
      [{ ALERT_WEBHOOK_URL: 'https://a.example' }, /^ALERT_WEBHOOK_SECRET is missing, but ALERT_WEBHOOK_URL is set/],
      [{ ALERT_WEBHOOK_URL: 'http://a.example', ALERT_WEBHOOK_SECRET: SECRET }, /^ALERT_WEBHOOK_URL is neither https/],
      [
        { ALERT_WEBHOOK_URL: 'https://a.example', ALERT_WEBHOOK_SECRET: 'whsec_c2hvcnQ=' },
        /^ALERT_WEBHOOK_SECRET is not whsec_/,
      ],
      [{ SMTP_URL: 'smtp://a.example' }, /^EMAIL_FROM is missing, but SMTP_URL is set/],
      [{ ALERT_EMAIL_TO: 'a@b.example' }, /^SMTP_URL is missing, but ALERT_EMAIL_TO is set/],
      [{ SMTP_URL: 'http://a.example', EMAIL_FROM: 'a@b.example' }, /^SMTP_URL is not a URL that begins with smtp/],
      [{ SMTP_URL: 'smtp://a.example', EMAIL_FROM: 'nobody' }, /^EMAIL_FROM is no address/],
    ];
    for (const [variables, message] of wrong) expect(() => readEnvironment({ ...good, ...variables })).toThrow(message);
  });
});
