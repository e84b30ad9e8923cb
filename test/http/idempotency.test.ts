import { afterAll, expect, it } from 'vitest';
import { all, call, events, openHouse } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { url, ada, bob, packageId, database } = house;
const execute = '/api/v1/playground/execute';

const run = (key: string, input: string, more: Record<string, unknown> = {}, where = url, token = ada.token) =>
  call(where, 'POST', execute, {
    token,
    body: { package_id: packageId, input, ...more },
    headers: { 'idempotency-key': key },
  });
const calls = () => house.standIns.calls.anthropic.calls;

it('the same key and request give the same run, charged once (spec 5.3)', async () => {
  const before = calls();
  const first = await run('one', 'hello');
  const again = await run('one', '  hello ');
  expect(again.status).toBe(200);
  expect(again.json).toEqual({ ...first.json, conversation: again.json.conversation });
  expect(again.json.conversation.map(({ content }: { content: string }) => content)).toEqual(
    first.json.conversation.map(({ content }: { content: string }) => content),
  );
  expect(calls()).toBe(before + 1);
  expect(await house.audit()).toEqual([]);
});

it('in parallel, on two instances, the provider is called once and all hear the same', async () => {
  const other = await house.another();
  const before = calls();
  const input = 'parallel [[sandbox: tokens=20 pace=20]]';
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => run('parallel', input, {}, i % 2 === 0 ? url : other.url)),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
  expect(new Set(answers.map(({ json }) => json.run_id)).size).toBe(1);
  expect(new Set(answers.map(({ json }) => json.response)).size).toBe(1);
  expect(calls()).toBe(before + 1);
  const [row] =
    await database.owner`select count(*)::int as n from credit_transactions where run_id = ${answers[0]?.json.run_id}`;
  expect(row?.n).toBe(1);
});

it('with a stream gives the same stream', async () => {
  const options = {
    token: ada.token,
    body: { package_id: packageId, input: 'streamed' },
    headers: { 'idempotency-key': 'stream' },
  };
  const [one, two] = await Promise.all([1, 2].map(() => all(events(url, 'POST', execute, options))));
  expect(one?.at(-1)).toEqual(two?.at(-1));
});

it('another request under the key is a conflict, and another user has keys of their own', async () => {
  await run('conflict', 'hello');
  const other = await run('conflict', 'goodbye');
  expect([other.status, other.json.error]).toEqual([409, 'idempotency_conflict']);
  expect((await run('conflict', 'hello', { temperature: 0.5 })).status).toBe(409);
  expect((await run('conflict', 'goodbye', {}, url, bob.token)).status).toBe(200);
});

it('a failed run answers its failure again, and a refusal leaves no key', async () => {
  const before = calls();
  const failed = await run('failed', 'broken [[sandbox: status=400]]');
  const again = await run('failed', 'broken [[sandbox: status=400]]');
  expect([failed.status, failed.json.error]).toEqual([502, 'provider_error']);
  expect(again.status).toBe(502);
  expect(again.json.message).toBe(failed.json.message);
  expect(calls()).toBe(before + 1);

  expect((await run('refused', 'hello', { model: 'gpt-9' })).status).toBe(404);
  expect((await run('refused', 'hello')).status).toBe(200);
});

it.each(['', 'x'.repeat(256), 'with\ttab'])('a key such as %j is refused', async (key) => {
  const { status, json } = await run(key, 'hello');
  expect([status, json.errors?.[0]?.field]).toEqual([400, 'idempotency_key']);
});
