import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { all, call, events, openHouse, type SentEvent, until } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { url, ada, packageId, database } = house;
const execute = '/api/v1/playground/execute';

const ask = (input: string) => ({ token: ada.token, body: { package_id: packageId, input } });
const slow = (words: string) => `${words} [[sandbox: tokens=2000 pace=10]]`;
const textOf = (list: SentEvent[]) =>
  list
    .filter(({ event }) => event === 'output.delta')
    .map(({ data }) => data.text)
    .join('');
const statusOf = async (runId: string) => {
  const [run] = await database.owner`select status, credits::int, estimated from runs where id = ${runId}`;
  return run;
};

describe('a stream (spec 5.2)', () => {
  it.each([
    ['Accept: text/event-stream', {}],
    ['stream: true', { stream: true }],
  ])('asked for by %s brings text as it is made, with growing ids, and ends with the receipt', async (_, more) => {
    const list = await all(
      events(url, 'POST', execute, { token: ada.token, body: { package_id: packageId, input: 'hello', ...more } }),
    );
    const kinds = list.map(({ event }) => event);
    expect(kinds[0]).toBe('run.created');
    expect(kinds.slice(-2)).toEqual(['usage', 'run.completed']);
    expect(kinds.filter((kind) => kind === 'output.delta').length).toBeGreaterThan(3);
    const ids = list.map(({ id }) => Number(id));
    expect(ids).toEqual([...ids].sort((a, b) => a - b));
    expect(new Set(ids).size).toBe(ids.length);
    const receipt = list.at(-1)?.data;
    expect(list[0]?.data).toMatchObject({ run_id: receipt.run_id, output_cap: 4096, hold_credits: 1 });
    expect(receipt).toMatchObject({ status: 'completed', credits_spent: 1 });

    const stored = await call(url, 'GET', `/api/v1/playground/runs/${receipt.run_id}`, { token: ada.token });
    expect(stored.json.response).toBe(textOf(list));
  });

  it('has headers that keep proxies from collecting it', async () => {
    const { headers, text } = await call(url, 'POST', execute, {
      ...ask('hello'),
      headers: { accept: 'text/event-stream' },
    });
    expect(headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    });
    expect(headers['prpm-credits-remaining']).toMatch(/^\d+$/);
    expect(text.endsWith('\n\n')).toBe(true);
  });

  it('that is refused is a problem, not a stream', async () => {
    const { status, json } = await call(url, 'POST', execute, {
      token: ada.token,
      body: { package_id: 'nowhere', input: 'x', stream: true },
    });
    expect([status, json.error]).toEqual([404, 'package_not_found']);
  });

  it.each([true, false])(
    'goes on after Last-Event-ID, without running twice, on another instance or here (%s)',
    async (here) => {
      const calls = house.standIns.calls.anthropic.calls;
      const other = here ? house.server : await house.another();
      const seen: SentEvent[] = [];
      for await (const event of events(url, 'POST', execute, ask('first half [[sandbox: tokens=50 pace=20]]'))) {
        seen.push(event);
        if (seen.length === 10) break;
      }
      const runId = seen[0]?.data.run_id;
      const rest = await all(
        events(other.url, 'GET', `/api/v1/playground/runs/${runId}/stream`, {
          token: ada.token,
          headers: { 'last-event-id': seen.at(-1)?.id ?? '' },
        }),
      );
      expect(rest.at(-1)?.event).toBe('run.completed');
      const stored = await call(url, 'GET', `/api/v1/playground/runs/${runId}`, { token: ada.token });
      expect(textOf(seen) + textOf(rest)).toBe(stored.json.response);
      expect(house.standIns.calls.anthropic.calls).toBe(calls + 1);
      const again = await all(events(url, 'GET', `/api/v1/playground/runs/${runId}/stream`, { token: ada.token }));
      expect(textOf(again)).toBe(stored.json.response);
      expect(again[0]?.event).toBe('run.created');
    },
  );

  it('can be followed by two at once, who hear the same', async () => {
    const { run_id } = await started('two followers [[sandbox: tokens=30 pace=10]]');
    const path = `/api/v1/playground/runs/${run_id}/stream`;
    const [one, two] = await Promise.all([1, 2].map(() => all(events(url, 'GET', path, { token: ada.token }))));
    expect(textOf(one ?? [])).toBe(textOf(two ?? []));
    expect(one?.at(-1)).toEqual(two?.at(-1));
  });
});

/** Starts a run, and hangs up once it is under way. */
async function started(input: string): Promise<{ run_id: string }> {
  for await (const { event, data } of events(url, 'POST', execute, ask(input)))
    if (event === 'run.created') return data;
  throw new Error('it did not start');
}

describe('an end before the end', () => {
  it('that is asked for stops the provider and settles what was produced', async () => {
    const aborted = house.standIns.calls.anthropic.aborted;
    const list: SentEvent[] = [];
    for await (const event of events(url, 'POST', execute, ask(slow('stop me')))) {
      list.push(event);
      if (list.length !== 8) continue;
      const answer = await call(url, 'POST', `/api/v1/playground/runs/${list[0]?.data.run_id}/stop`, {
        token: ada.token,
      });
      expect(answer.json).toMatchObject({ status: 'stopped', estimated: true });
    }
    expect(list.at(-1)).toMatchObject({
      event: 'run.stopped',
      data: { status: 'stopped', credits_spent: 1, estimated: true },
    });
    expect(list.at(-1)?.data.tokens.output).toBeGreaterThan(0);
    await until(() => house.standIns.calls.anthropic.aborted === aborted + 1);
    expect(await house.audit()).toEqual([]);
  });

  it('that is asked for on another instance is seen at the next checkpoint', async () => {
    await database.owner`update settings set checkpoint_ms = 100`;
    const other = await house.another();
    const { run_id } = await started(slow('stop me from afar'));
    await call(other.url, 'POST', `/api/v1/playground/runs/${run_id}/stop`, { token: ada.token });
    await until(async () => (await statusOf(run_id))?.status === 'stopped');
    await database.owner`update settings set checkpoint_ms = 1000`;
  });

  it('comes by itself when everybody has left for abandon_after_ms', async () => {
    await database.owner`update settings set abandon_after_ms = 100`;
    const { run_id } = await started(slow('left alone'));
    await until(async () => (await statusOf(run_id))?.status === 'stopped');
    expect((await statusOf(run_id))?.credits).toBe(1);
    await database.owner`update settings set abandon_after_ms = 10000`;
  });

  it('comes when a JSON caller hangs up', async () => {
    await database.owner`update settings set abandon_after_ms = 50`;
    const hangUp = new AbortController();
    const running = call(url, 'POST', execute, { ...ask(slow('hung up')), signal: hangUp.signal }).catch(
      () => undefined,
    );
    await until(async () => (await database.owner`select from runs where status = 'running'`).length > 0);
    hangUp.abort();
    await running;
    await until(async () => (await database.owner`select from runs where status = 'running'`).length === 0);
    const [run] = await database.owner`select status from runs order by id desc limit 1`;
    expect(run?.status).toBe('stopped');
    await database.owner`update settings set abandon_after_ms = 10000`;
  });

  it('does not come when somebody is back in time, though all had left (spec 5.2)', async () => {
    await database.owner`update settings set abandon_after_ms = 4000`;
    const { run_id } = await started('back in time [[sandbox: tokens=250 pace=20]]');
    await sleep(300); // until it is known that they have left
    const list = await all(events(url, 'GET', `/api/v1/playground/runs/${run_id}/stream`, { token: ada.token }));
    expect(list.at(-1)?.event).toBe('run.completed');
    await database.owner`update settings set abandon_after_ms = 10000`;
    expect(await house.audit()).toEqual([]);
  });
});

it('checkpoints a run that takes long: text and counts are stored while it runs', async () => {
  await database.owner`update settings set checkpoint_ms = 100`;
  const { run_id } = await started(slow('long'));
  await until(async () => {
    const [row] = await database.owner`
      select r.status, r.output_tokens, length(t.answer) as characters from runs r
      join run_texts t on t.user_id = r.user_id and t.run_id = r.id where r.id = ${run_id}`;
    return row?.status === 'running' && row.output_tokens > 0 && row.characters > 0;
  });
  await call(url, 'POST', `/api/v1/playground/runs/${run_id}/stop`, { token: ada.token });
  await database.owner`update settings set checkpoint_ms = 1000`;
  expect(await house.audit()).toEqual([]);
});
