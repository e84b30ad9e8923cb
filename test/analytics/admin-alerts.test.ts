// Alerts as administrators see and take them on. Spec 9.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signUp } from '../sessions/people.ts';
import { openAdministration } from './administration.ts';

const world = await openAdministration();
const { database, ask, get } = world;
afterAll(world.close);

const check = () => database.ops`select from ops.check_alerts()`;

beforeAll(async () => {
  // One of two users throttled is more than 5 %.
  const user = await signUp(database, 'dear');
  await database.ops`select from ops.throttle_user(${user}, null, 'test')`;
  await check();
});

test('open alerts are those of psql, newest first, page by page (spec 9, 12)', async () => {
  const rows = await database.ops<
    { id: number; kind: string }[]
  >`select id::int, kind, what from ops.alerts_now order by id desc`;
  expect(rows.map(({ kind }) => kind)).toContain('throttled_users');
  const answer = await get('/alerts');
  expect(answer.alerts).toMatchObject([...rows]);
  expect(answer.total).toBe(rows.length);
  const seen: number[] = [];
  for (let cursor = ''; ; ) {
    const page = await get(`/alerts?limit=1${cursor}`);
    seen.push(...page.alerts.map(({ id }: { id: number }) => id));
    if (page.nextCursor === null) break;
    cursor = `&cursor=${page.nextCursor}`;
  }
  expect(seen).toEqual(rows.map(({ id }) => id));
});

test('an administrator takes one on, by name and with a reason in the audit log (spec 9)', async () => {
  const { id } = (await get('/alerts')).alerts.find(({ kind }: { kind: string }) => kind === 'throttled_users');
  const { json } = await ask('POST', `/alerts/${id}/acknowledge`, { body: { reason: 'looking at it' } });
  expect(json).toMatchObject({ acknowledgedBy: world.adminId, acknowledgedAt: expect.any(String) });
  const taken = (await get('/alerts')).alerts.find((alert: { id: number }) => alert.id === id);
  expect(taken).toMatchObject({ acknowledgedBy: world.adminId, acknowledgedBecause: 'looking at it' });
  const [entry] = await database.ops`
    select row_key, new, reason from audit_log where table_name = 'ops.acknowledge_alert' order by id desc limit 1`;
  expect(entry).toEqual({ row_key: String(id), new: { by: world.adminId }, reason: 'looking at it' });
});

test('one that is over is among the resolved, and cannot be taken on; nor can one that never was (spec 9)', async () => {
  const { id } = (await get('/alerts')).alerts.find(({ kind }: { kind: string }) => kind === 'throttled_users');
  await database.ops`update users set is_throttled = false`;
  await check();
  const resolved = (await get('/alerts?state=resolved')).alerts.find((alert: { id: number }) => alert.id === id);
  expect(resolved).toMatchObject({ kind: 'throttled_users', resolvedAt: expect.any(String) });
  expect((await get('/alerts')).alerts.map((alert: { id: number }) => alert.id)).not.toContain(id);
  for (const gone of [id, 999_999]) {
    const { json } = await ask('POST', `/alerts/${gone}/acknowledge`, { body: { reason: 'late' } });
    expect(json).toMatchObject({ status: 404, error: 'not_found' });
  }
  expect((await ask('POST', '/alerts/one/acknowledge', { body: { reason: 'x' } })).status).toBe(400);
});
