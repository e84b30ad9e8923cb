import { afterAll, describe, expect, it } from 'vitest';
import {
  type ComparisonPart,
  createPlaygroundClient,
  type Part,
  type PlaygroundClient,
  PlaygroundError,
} from '../../src/client/index.ts';
import { all, openHouse, until } from '../http/house.ts';
import { openWire } from './wire.ts';

const house = await openHouse();
const wire = await openWire(house.url);
afterAll(async () => {
  await wire.close();
  await house.close();
});
const { database } = house;
const client = createPlaygroundClient({ url: house.url, token: house.ada.token });
const wired = createPlaygroundClient({ url: `${wire.url}/`, token: house.ada.token });

const textOf = (parts: Part[]) => parts.map((part) => (part.type === 'delta' ? part.text : '')).join('');
const receiptOf = (parts: Part[]) => {
  const last = parts.at(-1);
  if (last?.type !== 'receipt') throw new Error('it did not end in a receipt');
  return last.receipt;
};
const ask = (input: string) => ({ packageId: 'haiku', input });
const slow = (words: string) => ask(`${words} [[sandbox: tokens=200 pace=10]]`);
const calls = () => house.standIns.calls.anthropic.calls;
const errorOf = (working: Promise<unknown>) =>
  working.then(() => {
    throw new Error('there was none');
  }, PlaygroundError.from);

/** Reads a run's parts, and does something once, when `after` of them have come. */
async function interrupted(parts: AsyncIterable<Part>, after: number, act: () => unknown): Promise<Part[]> {
  const seen: Part[] = [];
  for await (const part of parts) if (seen.push(part) === after) await act();
  return seen;
}

describe('a run of the client (spec 11.1)', () => {
  it('is text as it is made, and ends in the receipt', async () => {
    let runId = '';
    const parts = await all(
      client.run(ask('hello'), {
        onStart: (run) => {
          runId = run.runId;
        },
      }),
    );
    expect(parts.filter(({ type }) => type === 'delta').length).toBeGreaterThan(3);
    expect(receiptOf(parts)).toMatchObject({ runId, status: 'completed', creditsSpent: 1, model: 'sonnet' });
    const stored = await client.api.runs.read.query({ runId });
    expect(stored.response).toBe(textOf(parts));
    expect(await house.audit()).toEqual([]);
  });

  it('that nobody answered is sent again under the same key: run once, charged once', async () => {
    const before = calls();
    wire.swallow(2);
    const parts = await all(wired.run(ask('unanswered')));
    expect(receiptOf(parts).status).toBe('completed');
    expect(calls()).toBe(before + 1);
    const [{ runs } = { runs: 0 }] = await database.owner`
      select count(*)::int as runs from run_texts where question = 'unanswered'`;
    expect(runs).toBe(1);
  });

  it('goes on where it was when the connection breaks, however often, without running twice', async () => {
    const before = calls();
    let cuts = 0;
    const seen: Part[] = [];
    for await (const part of wired.run(ask('broken [[sandbox: tokens=400 pace=10]]'))) {
      seen.push(part);
      if (seen.length % 30 !== 0) continue;
      cuts += 1;
      wire.cut();
    }
    expect(cuts).toBeGreaterThan(2);
    const { runId, status } = receiptOf(seen);
    expect(status).toBe('completed');
    expect((await client.api.runs.read.query({ runId })).response).toBe(textOf(seen));
    expect(calls()).toBe(before + 1);
  });

  it('under a key that is known is the same run, told from its beginning', async () => {
    const before = calls();
    const [first, second] = [
      await all(client.run(ask('twice'), { idempotencyKey: 'k1' })),
      await all(client.run(ask('twice'), { idempotencyKey: 'k1' })),
    ];
    expect(receiptOf(second).runId).toBe(receiptOf(first).runId);
    expect(textOf(second)).toBe(textOf(first));
    expect(calls()).toBe(before + 1);
  });

  it('that is aborted is stopped, and ends in the receipt of what was made', async () => {
    const abort = new AbortController();
    const parts = await interrupted(client.run(slow('stop'), { signal: abort.signal }), 8, () => abort.abort());
    const { runId, status, creditsSpent } = receiptOf(parts);
    expect([status, creditsSpent]).toEqual(['stopped', 1]);
    expect((await client.api.runs.read.query({ runId })).response).toBe(textOf(parts));
  });

  it('that is aborted while it starts is stopped too; one aborted before never starts', async () => {
    const abort = new AbortController();
    const running = client.run(slow('early'), { signal: abort.signal, onStart: () => abort.abort() });
    expect(['stopped', 'released']).toContain(receiptOf(await all(running)).status);
    const before = calls();
    await expect(all(client.run(ask('never'), { signal: abort.signal }))).rejects.toThrow(/abort/);
    expect(calls()).toBe(before);
  });

  it('whose reader leaves is stopped', async () => {
    let runId = '';
    for await (const part of client.run(slow('left'), {
      onStart: (run) => {
        runId = run.runId;
      },
    }))
      if (part.type === 'delta') break;
    expect((await client.api.runs.read.query({ runId })).status).toBe('stopped');
  });

  it('that is over can be followed from its beginning', async () => {
    const parts = await all(client.run(ask('over')));
    const events = await all(client.follow(receiptOf(parts).runId));
    expect(events[0]?.type).toBe('run.created');
    expect(events.at(-1)).toEqual({ type: 'run.completed', data: expect.objectContaining({ creditsSpent: 1 }) });
    expect(events.map((event) => (event.type === 'output.delta' ? event.data.text : '')).join('')).toBe(textOf(parts));
  });

  it('leaves books that balance', async () => {
    await until(async () => (await database.owner`select from runs where status = 'running'`).length === 0);
    expect(await house.audit()).toEqual([]);
  });
});

describe('a comparison of the client (spec 5.8, 11.1)', () => {
  const compared = (input: string) => ({ ...ask(input), sides: [{}, { useNoPrompt: true }] });
  const saidBy = (parts: ComparisonPart[], side: number) =>
    parts.map((part) => (part.type === 'delta' && part.side === side ? part.text : '')).join('');
  const sides = (parts: ComparisonPart[]) =>
    parts.flatMap((part) => (part.type === 'receipt' ? [[part.side, part.receipt.status]] : [])).sort();

  it('is text of each side as it is made, and ends in a receipt for each', async () => {
    let comparisonId = '';
    const models: string[] = [];
    const parts = await all(
      client.compare(compared('side by side'), {
        onStart: (comparison) => {
          comparisonId = comparison.comparisonId;
        },
        onSide: ({ side, model }) => models.push(`${side} ${model}`),
      }),
    );
    expect(sides(parts)).toEqual([
      [1, 'completed'],
      [2, 'completed'],
    ]);
    expect(models.sort()).toEqual(['1 sonnet', '2 sonnet']);
    const stored = await client.api.runs.comparisons.read.query({ comparisonId });
    expect(stored.sides.map(({ response }) => response)).toEqual([saidBy(parts, 1), saidBy(parts, 2)]);
  });

  it('goes on where it was when the connection breaks, each side once', async () => {
    const before = calls();
    let cuts = 0;
    const seen: ComparisonPart[] = [];
    const input = 'broken twice [[sandbox: tokens=400 pace=10]]';
    for await (const part of wired.compare(compared(input))) {
      seen.push(part);
      if (seen.length % 60 !== 0) continue;
      cuts += 1;
      wire.cut();
    }
    expect(cuts).toBeGreaterThan(2);
    expect(sides(seen)).toHaveLength(2);
    expect(calls()).toBe(before + 2);
    const texts = await database.owner`select answer from run_texts where question = ${input} order by run_id`;
    expect(texts.map(({ answer }) => answer)).toEqual([saidBy(seen, 1), saidBy(seen, 2)]);
  });

  it('that is aborted, or whose reader leaves, is stopped on all sides', async () => {
    const abort = new AbortController();
    const parts: ComparisonPart[] = [];
    for await (const part of client.compare(compared('abort [[sandbox: tokens=200 pace=10]]'), {
      signal: abort.signal,
    }))
      if (parts.push(part) === 10) abort.abort();
    expect(sides(parts).map(([, status]) => status)).toEqual(['stopped', 'stopped']);
    for await (const _ of client.compare(compared('leave [[sandbox: tokens=200 pace=10]]'))) break;
    const left = await database.owner`
      select r.status from runs r join run_texts t on t.user_id = r.user_id and t.run_id = r.id where t.question like 'leave %'`;
    expect(left.map(({ status }) => status)).toEqual(['stopped', 'stopped']);
  });

  it('one of whose sides fails says so in its turn, and the other has its receipt', async () => {
    const lame = await house.another({ OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' });
    const there = createPlaygroundClient({ url: lame.url, token: house.ada.token });
    const parts = await all(there.compare({ ...ask('x'), sides: [{ model: 'gpt-4o' }, { model: 'sonnet' }] }));
    expect(sides(parts)).toEqual([[2, 'completed']]);
    expect(parts.find(({ type }) => type === 'failure')).toMatchObject({
      ...{ side: 1, error: { code: 'provider_unavailable', receipt: { creditsSpent: 0 } } },
    });
    expect(await house.audit()).toEqual([]);
  });
});

describe('an error of the client', () => {
  it('is a code with what the server says of it: a field, a limit, credits', async () => {
    expect((await errorOf(all(client.run(ask(''))))).problem).toMatchObject({
      ...{ error: 'validation_error', status: 400 },
      errors: [{ field: 'input', message: 'must have 1 to 10,000 characters after trimming' }],
    });
    expect(await errorOf(all(client.run({ packageId: 'nowhere', input: 'x' })))).toMatchObject({
      ...{ code: 'package_not_found', message: 'There is no package nowhere.' },
    });
    const eve = await house.person('eve', 'free');
    const hers = createPlaygroundClient({ url: house.url, token: eve.token });
    await database.owner`update cost_limits_config set hourly_request_limit = 0 where tier_name = 'free'`;
    const refused = await errorOf(all(hers.run(ask('x'))));
    expect(refused.problem).toMatchObject({ error: 'hourly_request_limit', status: 429, limit: 0, used: 0 });
  });

  it('of a run that failed has its receipt: nothing was charged', async () => {
    const failed = await errorOf(all(client.run(ask('x [[sandbox: status=400]]'))));
    expect(failed).toMatchObject({ code: expect.stringMatching(/^provider_/), receipt: { creditsSpent: 0 } });
  });

  it.each<[string, (bad: PlaygroundClient) => Promise<unknown>]>([
    ['a query', (bad) => bad.api.credits.balance.query()],
    ['a run', (bad) => all(bad.run(ask('x')))],
    ['what is followed', (bad) => all(bad.follow('0199d5a0-0000-7000-8000-000000000000'))],
  ])('of %s with a bad token is invalid_token', async (_, act) => {
    const bad = createPlaygroundClient({ url: house.url, token: 'prpm_bad' });
    expect(await errorOf(act(bad))).toMatchObject({ code: 'invalid_token', problem: { status: 401 } });
  });

  it('of a server that is not there says why, of what is no URL as well', async () => {
    const nobody = createPlaygroundClient({ url: 'http://127.0.0.1:9' });
    expect(await errorOf(nobody.api.credits.balance.query())).toMatchObject({
      ...{ code: 'unreachable', message: expect.stringMatching(/cannot be reached: .*(ECONNREFUSED|bad port)/) },
    });
    expect(() => createPlaygroundClient({ url: 'nowhere' })).toThrow(TypeError);
  });
});
