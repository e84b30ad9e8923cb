import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readDirectives } from '../../sandbox/providers/directives.ts';
import { type StandIns, startStandIns } from '../../sandbox/providers/standins.ts';
import type { Providers } from '../../src/providers/create.ts';
import { ask, call, NAMES, providersAt } from './asking.ts';

let standIns: StandIns;
let providers: Providers;

beforeAll(async () => {
  standIns = await startStandIns({ firstTokenMs: 0, tokenMs: 0, answers: 'composed' });
  providers = providersAt(standIns);
});
afterAll(() => standIns.stop());
beforeEach(() => standIns.disturb(null));

describe('directives', () => {
  test('are read from anywhere in a text', () => {
    expect(readDirectives('a [[sandbox: status=429, times=2]] b [[sandbox: hang]]')).toEqual({
      status: 429,
      times: 2,
      hang: true,
    });
    expect(readDirectives('[[sandbox: usage=input:100,cached:10,cache_write:20,output:50]]')).toEqual({
      usage: { input: 100, cached: 10, cacheWrite: 20, output: 50 },
    });
    expect(readDirectives('none')).toEqual({});
  });

  test.each(['hnag', 'status', 'status=bad', 'usage=inputs:3', 'hang=1'])('%s is refused by name', async (wrong) => {
    const { failure } = await ask(providers, call('anthropic', `[[sandbox: ${wrong}]]`));
    expect(failure?.code).toBe('provider_error');
    expect(failure?.reason).toContain(wrong.split('=').at(-1));
  });

  test('of an earlier message count no more', async () => {
    const messages = [
      { role: 'user', content: '[[sandbox: status=500]]' },
      { role: 'assistant', content: 'sorry' },
      { role: 'user', content: 'again' },
    ] as const;
    expect((await ask(providers, call('openai', '', { messages }))).ending).toBe('complete');
  });

  test('can be set for the next calls, whatever their text', async () => {
    standIns.disturb({ status: 400, times: 2 });
    const endings = [];
    for (let i = 0; i < 3; i += 1) endings.push((await ask(providers, call('openai', 'hello'))).ending);
    expect(endings).toEqual(['failed', 'failed', 'complete']);
  });
});

describe('answers', () => {
  const diff = 'export function total(items) {\n  for (let i = 0; i <= items.length; i++) sum += items[i];\n}';

  test('are about what the package asks and the person sent', async () => {
    const say = async (system: string, input: string) => (await ask(providers, call('openai', input, { system }))).text;
    expect(await say('# Review a code change', diff)).toMatch(/Verdict.*\n[\s\S]*items\.length[\s\S]*length − 1/);
    expect(await say('# Write a commit message', diff)).toMatch(/^(Add|Change|Simplify|Fix) .*(items|total)/);
    expect(await say('# Explain an SQL query', 'select a from orders group by a')).toMatch(
      /orders[\s\S]*one row of each/,
    );
    expect(await say('# Write a haiku', 'Snow on the cedar')).toMatch(/Write a haiku[\s\S]*Snow on the cedar/);
  });

  test('are the same for the same prompt, whichever provider', async () => {
    const [first, ...others] = await Promise.all(
      [...NAMES, ...NAMES].map((name) => ask(providers, call(name, diff, { system: '# Review a code change' }))),
    );
    expect(others.map(({ text }) => text)).toEqual(Array(3).fill(first?.text));
  });

  test('have the length that a directive wants', async () => {
    const { usage } = await ask(providers, call('openai', '[[sandbox: tokens=321]]'));
    expect(usage?.output).toBe(321);
  });
});

test('counters tell how calls ended, and what was reported', async () => {
  const fresh = await startStandIns({ firstTokenMs: 0, tokenMs: 0 });
  const { call: run } = providersAt(fresh);
  const options = { signal: new AbortController().signal, onText: () => undefined };
  const asked = '[[sandbox: usage=input:10,cached:0,cache_write:0,output:5]]';
  await run(call('anthropic', asked), options);
  await run(call('anthropic', asked), options);
  await run(call('anthropic', '[[sandbox: status=400]]'), options);
  await run(call('anthropic', '[[sandbox: cut=1]]'), options);
  await run(call('anthropic', '[[sandbox: hang]]', { firstTokenTimeoutMs: 500 }), options);
  const expected = {
    calls: 5,
    completed: 2,
    refused: 1,
    broken: 1,
    aborted: 1,
    tokens: { input: 20, cached: 0, cacheWrite: 0, output: 10 },
  };
  await expect.poll(() => fresh.calls.anthropic).toEqual(expected);
  expect(await (await fetch(`${fresh.url}/sandbox/calls`)).json()).toEqual(fresh.calls);
  await fresh.stop();
});

test.each(NAMES)('%s at full speed gives one answer to all, with usage by the cheap rule', async (name) => {
  const fast = await startStandIns({ firstTokenMs: 0, tokenMs: 0 });
  const quick = providersAt(fast);
  const [one, same, longer] = [
    await ask(quick, call(name, 'what is this?')),
    await ask(quick, call(name, 'what is that?')),
    await ask(quick, call(name, 'what is this? '.repeat(20))),
  ];
  expect(same.text).toBe(one.text);
  expect(same.usage).toEqual(one.usage);
  expect(one.usage?.output).toBe(80);
  expect(longer.usage?.input).toBeGreaterThan((one.usage?.input ?? 0) + 50);
  expect((await ask(quick, call(name, 'hello', { maxOutputTokens: 10 }))).ending).toBe('length');
  expect((await ask(quick, call(name, '[[sandbox: status=400]]'))).ending).toBe('failed');
  await fast.stop();
});

test('they run as a process of their own, and end when told to', async () => {
  const script = new URL('../../sandbox/providers/start.ts', import.meta.url).pathname;
  const child: ChildProcess = spawn(process.execPath, [script, '--first-token-ms', '0', '--token-ms', '0']);
  const ready = await new Promise<string>((resolve) => child.stdout?.once('data', (said) => resolve(String(said))));
  const url = ready.match(/^ready (http:\S+)\n$/)?.[1];
  expect(await (await fetch(`${url}/sandbox/calls`)).json()).toHaveProperty('openai.calls', 0);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  expect(await ended).toBe(0);
});
