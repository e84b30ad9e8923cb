// A whole server: what it delivers by itself, and the page that a mail's link leads to. Spec 9.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readEnvironment } from '../../src/config/environment.ts';
import { startServer } from '../../src/server.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { call, type House, openHouse, until } from '../http/house.ts';
import { openReceiver, SECRET } from './receivers.ts';

let house: House;
beforeAll(async () => {
  house = await openHouse();
});
afterAll(() => house.close());

it('a server delivers what the database writes, with nobody asking', async () => {
  const receiver = await openReceiver();
  const environment = readEnvironment({
    APP_DATABASE_URL: house.database.appUrl,
    HOST: '127.0.0.1',
    PORT: '0',
    NODE_ENV: 'test',
    ALERT_WEBHOOK_URL: receiver.url,
    ALERT_WEBHOOK_SECRET: SECRET,
  });
  await house.database.owner`insert into alert_channels (channel, seen_at) values ('webhook', core.now())`;
  await house.database.ops`select from ops.test_alert('a whole server')`;
  const server = await startServer({ environment, log: createLog('silent') });
  await until(() => receiver.taken.some(({ event }) => event.type === 'alert.test'));
  await server.close();
  expect(receiver.forged).toEqual([]);
  await receiver.stop();
});

it('the link of a mail declines it when it is posted, not when it is read (RFC 8058)', async () => {
  const { owner } = house.database;
  const [row] = await owner`select core.unsubscribe_token(${house.ada.userId}, 'credits') as token`;
  const link = `${house.url}/api/v1/unsubscribe?token=${encodeURIComponent(row?.token)}`;
  const preferences = () =>
    owner`select limits, credits, payments from email_preferences where user_id = ${house.ada.userId}`;

  const read = await fetch(link);
  expect(read.status).toBe(200);
  expect(await read.text()).toContain('<form method="post">');
  expect(await preferences()).toEqual([]);

  const posted = await fetch(link, { method: 'POST', body: new URLSearchParams({ 'List-Unsubscribe': 'One-Click' }) });
  expect(posted.status).toBe(200);
  expect(await posted.text()).toContain('You get no more mails about credits.');
  expect(await preferences()).toEqual([{ limits: true, credits: false, payments: true }]);

  const forged = await fetch(`${house.url}/api/v1/unsubscribe?token=x`, { method: 'POST' });
  expect(forged.status).toBe(404);
  expect((await fetch(link, { method: 'DELETE' })).status).toBe(405);
});

it('lets people read and say which mails they want, each for themselves (spec 9)', async () => {
  const { url, ada, bob } = house;
  const path = '/api/v1/account/email-preferences';
  const all = { limits: true, credits: true, payments: true };
  expect((await call(url, 'GET', path, { token: bob.token })).json).toEqual({ email: 'bob@example.com', ...all });
  const set = await call(url, 'PATCH', path, { token: bob.token, body: { payments: false } });
  expect(set.json).toEqual({ email: 'bob@example.com', ...all, payments: false });
  await call(url, 'PATCH', path, { token: bob.token, body: { limits: false, payments: null } });
  const now = { email: 'bob@example.com', limits: false, credits: true, payments: false };
  expect((await call(url, 'GET', path, { token: bob.token })).json).toEqual(now);
  expect((await call(url, 'GET', path, { token: ada.token })).json.limits).toBe(true);
  const wrong = await call(url, 'PATCH', path, { token: bob.token, body: { limits: 'no' } });
  expect([wrong.status, wrong.json.errors[0].field]).toEqual([400, 'limits']);
});
