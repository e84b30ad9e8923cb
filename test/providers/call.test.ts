import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type StandIns, startStandIns } from '../../sandbox/providers/standins.ts';
import { createProviders, type Providers } from '../../src/providers/create.ts';
import { ask, call, NAMES, type Name, providersAt, until } from './asking.ts';

let standIns: StandIns;
let providers: Providers;

beforeAll(async () => {
  standIns = await startStandIns({ firstTokenMs: 5, tokenMs: 1, answers: 'composed' });
  providers = providersAt(standIns);
});
afterAll(() => standIns.stop());
beforeEach(() => standIns.disturb(null));

/** How many requests the provider saw while this ran. */
async function requests(provider: Name, during: () => Promise<unknown>): Promise<number> {
  const before = standIns.calls[provider].calls;
  await during();
  return standIns.calls[provider].calls - before;
}

describe.each(NAMES)('%s', (provider) => {
  test('an answer arrives in pieces, with its usage', async () => {
    const answer = await ask(providers, call(provider, 'How do tides work?', { system: '# Explain to a child' }));
    expect(answer).toMatchObject({ ending: 'complete', failure: null, usageComplete: true, called: true });
    expect(answer.deltas.length).toBeGreaterThan(10);
    expect(answer.deltas.join('')).toBe(answer.text);
    expect(answer.text).toContain('Explain to a child');
    expect(answer.usage).toEqual(answer.reports.at(-1));
    expect(answer.firstTokenMs).toBeGreaterThan(0);
    expect(answer.durationMs).toBeGreaterThan(answer.firstTokenMs ?? Number.NaN);
  });

  test('tokens by kind are what the provider reported, input with its cached parts', async () => {
    const wanted = '[[sandbox: usage=input:1000,cached:300,cache_write:200,output:50]] hello';
    const { usage } = await ask(providers, call(provider, wanted));
    expect(usage).toEqual({ input: 1000, cached: 300, cacheWrite: 200, output: 50 });
  });

  test('an answer that reaches the output cap ends as length', async () => {
    const answer = await ask(providers, call(provider, '[[sandbox: tokens=100]]', { maxOutputTokens: 20 }));
    expect(answer).toMatchObject({ ending: 'length', failure: null, usage: { output: 20 } });
    expect(answer.text).toBe(Array(20).fill('word').join(' '));
  });

  test('an answer without a usage report is whole, its usage unknown', async () => {
    const answer = await ask(providers, call(provider, '[[sandbox: no-usage]] hello'));
    expect(answer).toMatchObject({ ending: 'complete', usage: null, usageComplete: false, failure: null });
    expect(answer.text).not.toBe('');
  });

  test('a report of more tokens than can be is none', async () => {
    const most = await ask(providers, call(provider, '[[sandbox: usage=input:100000000,output:50]] hello'));
    expect(most).toMatchObject({ usage: { input: 100_000_000, output: 50 }, usageComplete: true });
    const more = await ask(providers, call(provider, '[[sandbox: usage=input:100000001,output:50]] hello'));
    expect(more).toMatchObject({ ending: 'complete', usage: null, usageComplete: false, reports: [] });
  });

  test('a NUL is told as U+FFFD, in the answer and in the reason for none', async () => {
    const answer = await ask(providers, call(provider, '[[sandbox: tokens=4 nul]]'));
    expect(answer.text).toBe('word \ufffdword \ufffdword \ufffdword');
    expect(answer.deltas.join('')).toBe(answer.text);
    const { failure } = await ask(providers, call(provider, '[[sandbox: status=400 nul]]'));
    expect(failure?.reason).toContain('this \ufffdinput \ufffdwas \ufffdrefused');
  });

  test('text that is split in the middle of characters and lines arrives whole', async () => {
    const text = 'Füße 日本語 😀👩‍👩‍👧 Ωμέγα — ok';
    const answer = await ask(providers, call(provider, `${text} [[sandbox: ragged]]`));
    expect(answer.text).toContain(text);
    expect(answer.text).not.toContain('\uFFFD');
    expect(answer.deltas.join('')).toBe(answer.text);
  });

  test.each([
    [400, 'provider_error', null],
    [404, 'provider_error', null],
    [401, 'provider_not_configured', null],
    [403, 'provider_not_configured', null],
    [429, 'provider_unavailable', 20],
    [500, 'provider_unavailable', null],
    [503, 'provider_unavailable', null],
    [529, 'provider_unavailable', null],
  ] as const)('status %i is %s', async (status, code, retryAfterSeconds) => {
    const hasty = { firstTokenTimeoutMs: 1_000 }; // leaves time to ask again once at most
    const answer = await ask(providers, call(provider, `[[sandbox: status=${status}]]`, hasty));
    expect(answer).toMatchObject({ ending: 'failed', text: '', usage: null, called: false, firstTokenMs: null });
    expect(answer.failure).toMatchObject({ code, retryAfterSeconds, credentialsRejected: [401, 403].includes(status) });
  });

  test('the provider’s reason for refusing is told without keys, ids and addresses', async () => {
    const { failure } = await ask(providers, call(provider, '[[sandbox: status=400]]'));
    expect(failure?.reason).toContain('this input was refused');
    expect(failure?.reason).not.toMatch(/sk-|req_|https?:|example/);
  });

  test('a wrong key is told as rejected credentials', async () => {
    const { failure, called } = await ask(providersAt(standIns, 'wrong'), call(provider, 'hello'));
    expect(failure).toMatchObject({ code: 'provider_not_configured', credentialsRejected: true });
    expect(failure?.reason).not.toContain('wrong');
    expect(called).toBe(false);
  });

  test('a provider without a key is not called', async () => {
    const none = createProviders({});
    expect(none.configured(provider)).toBe(false);
    expect(providers.configured(provider)).toBe(true);
    const seen = await requests(provider, async () => {
      const { failure, called } = await ask(none, call(provider, 'hello'));
      expect(failure).toMatchObject({ code: 'provider_not_configured', credentialsRejected: false });
      expect(called).toBe(false);
    });
    expect(seen).toBe(0);
  });

  describe('is asked again', () => {
    test.each(['status=500', 'status=529', 'status=429 retry-after=1', 'reset'])(
      'after %s, since no byte of an answer came',
      async (fault) => {
        const seen = await requests(provider, async () => {
          const answer = await ask(providers, call(provider, `${Math.random()} [[sandbox: ${fault} times=1]]`));
          expect(answer).toMatchObject({ ending: 'complete', failure: null, called: true });
        });
        expect(seen).toBe(2);
      },
    );

    test.each(['status=429 retry-after=1', 'status=503', 'status=400'])(
      'and refused (%s), and stays called: the first attempt broke after it was sent',
      async (refusal) => {
        const seen = await requests(provider, async () => {
          standIns.disturb({ status: 200, reset: true, times: 1 });
          const patient = call(provider, `[[sandbox: ${refusal}]]`, { firstTokenTimeoutMs: 60_000, timeoutMs: 60_000 });
          expect(await ask(providers, patient)).toMatchObject({ ending: 'failed', called: true, usage: null });
        });
        expect(seen).toBe(refusal === 'status=400' ? 2 : 3);
      },
    );

    test('twice at most', async () => {
      const seen = await requests(provider, () => ask(providers, call(provider, '[[sandbox: status=503]]')));
      expect(seen).toBe(3);
    });
  });

  describe('is not asked again', () => {
    test.each(['status=400', 'status=401', 'status=403', 'status=404', 'status=429 retry-after=3'])(
      'after %s',
      async (fault) => {
        const seen = await requests(provider, () => ask(providers, call(provider, `[[sandbox: ${fault}]]`)));
        expect(seen).toBe(1);
      },
    );

    test.each(['cut=0', 'cut=2', 'error-mid-stream', 'malformed'])('once an answer began: %s', async (fault) => {
      const seen = await requests(provider, () => ask(providers, call(provider, `hello [[sandbox: ${fault}]]`)));
      expect(seen).toBe(1);
    });

    test('after a timeout', async () => {
      const seen = await requests(provider, async () => {
        const { failure } = await ask(providers, call(provider, '[[sandbox: hang]]', { firstTokenTimeoutMs: 500 }));
        expect(failure?.code).toBe('provider_timeout');
      });
      expect(seen).toBe(1);
    });

    test('where the time to the first token would be spent on waiting', async () => {
      const seen = await requests(provider, async () => {
        const hasty = call(provider, '[[sandbox: status=500]]', { firstTokenTimeoutMs: 300 });
        expect((await ask(providers, hasty)).failure?.code).toBe('provider_unavailable');
      });
      expect(seen).toBe(1);
    });
  });

  test.each([
    ['cut=4', 4],
    ['error-mid-stream', 3],
    ['malformed', 3],
  ])('an answer that breaks off (%s) is unavailable, with the text so far', async (fault, pieces) => {
    const answer = await ask(providers, call(provider, `hello [[sandbox: tokens=40 ${fault}]]`));
    expect(answer).toMatchObject({ ending: 'failed', usageComplete: false, called: true });
    expect(answer.failure).toMatchObject({ code: 'provider_unavailable', credentialsRejected: false });
    expect(answer.text).toBe(Array(pieces).fill('word').join(' '));
  });

  test.each(['hang', 'slow=5000'])('no first token in time (%s) is a timeout', async (fault) => {
    const aborted = standIns.calls[provider].aborted;
    const answer = await ask(providers, call(provider, `[[sandbox: ${fault}]]`, { firstTokenTimeoutMs: 500 }));
    expect(answer).toMatchObject({ ending: 'failed', text: '', called: true, firstTokenMs: null });
    expect(answer.failure).toMatchObject({ code: 'provider_timeout', retryAfterSeconds: null });
    expect(answer.durationMs).toBeLessThan(4_000);
    await until(() => standIns.calls[provider].aborted === aborted + 1);
  });

  test('an answer that takes too long in all is a timeout, with the text so far', async () => {
    const aborted = standIns.calls[provider].aborted;
    const slowly = call(provider, '[[sandbox: tokens=400 pace=20]]', { firstTokenTimeoutMs: 5_000, timeoutMs: 1_000 });
    const answer = await ask(providers, slowly);
    expect(answer.failure?.code).toBe('provider_timeout');
    expect(answer.text).toMatch(/^word( word)+$/);
    expect(answer.durationMs).toBeLessThan(5_000);
    await until(() => standIns.calls[provider].aborted === aborted + 1);
  });

  test('a first token in time lets the answer take longer than that', async () => {
    const slowly = call(provider, '[[sandbox: tokens=60 pace=20]]', { firstTokenTimeoutMs: 1_000 });
    const answer = await ask(providers, slowly);
    expect(answer.ending).toBe('complete');
    expect(answer.durationMs).toBeGreaterThan(1_000);
  });

  describe('a call that its caller ends', () => {
    test('before it began is not made', async () => {
      const seen = await requests(provider, async () => {
        const answer = await ask(providers, call(provider, 'hello'), AbortSignal.abort());
        expect(answer).toMatchObject({ ending: 'stopped', called: false, text: '', failure: null });
      });
      expect(seen).toBe(0);
    });

    test.each(['hang', 'slow=5000'])('before the first token (%s) closes the connection', async (fault) => {
      const { calls, aborted } = standIns.calls[provider];
      const stop = new AbortController();
      const answer = ask(providers, call(provider, `[[sandbox: ${fault}]]`), stop.signal);
      await until(() => standIns.calls[provider].calls === calls + 1);
      stop.abort();
      expect(await answer).toMatchObject({ ending: 'stopped', called: true, text: '', failure: null });
      await until(() => standIns.calls[provider].aborted === aborted + 1);
    });

    test('while it streams closes the connection and keeps the text so far', async () => {
      const { aborted } = standIns.calls[provider];
      const stop = new AbortController();
      const pieces: string[] = [];
      const answer = await providers.call(call(provider, '[[sandbox: tokens=400 pace=5]]'), {
        signal: stop.signal,
        onText: (delta) => {
          pieces.push(delta);
          if (pieces.length === 5) stop.abort();
        },
      });
      expect(answer).toMatchObject({ ending: 'stopped', called: true, usageComplete: false, failure: null });
      expect(answer.text).toBe('word word word word word');
      expect(pieces).toHaveLength(5);
      await until(() => standIns.calls[provider].aborted === aborted + 1);
    });

    test('says nothing more, though the whole answer has arrived', async () => {
      standIns.disturb({ pace: 0, slow: 0 });
      const stop = new AbortController();
      const pieces: string[] = [];
      const answer = await providers.call(call(provider, '[[sandbox: tokens=400]]'), {
        signal: stop.signal,
        onText: (delta) => {
          pieces.push(delta);
          stop.abort();
          const arriving = Date.now() + 100;
          while (Date.now() < arriving); // the rest comes meanwhile
        },
      });
      expect(answer).toMatchObject({ ending: 'stopped', text: 'word' });
      expect(pieces).toEqual(['word']);
    });

    test('while it waits to ask again asks no more, and was never billed', async () => {
      const stop = new AbortController();
      const seen = await requests(provider, async () => {
        const { refused } = standIns.calls[provider];
        const answer = ask(providers, call(provider, '[[sandbox: status=429 retry-after=2]]'), stop.signal);
        await until(() => standIns.calls[provider].refused === refused + 1);
        await sleep(1_000); // nothing tells when the refusal has been read; it waits 2 s then
        stop.abort();
        expect(await answer).toMatchObject({ ending: 'stopped', called: false });
      });
      expect(seen).toBe(1);
    });
  });

  test('an error of the caller’s own ends the provider’s call and comes back', async () => {
    const { aborted } = standIns.calls[provider];
    const options = {
      signal: new AbortController().signal,
      onText: () => {
        throw new Error('mine');
      },
    };
    await expect(providers.call(call(provider, '[[sandbox: tokens=400 pace=5]]'), options)).rejects.toThrow('mine');
    await until(() => standIns.calls[provider].aborted === aborted + 1);
  });

  test('a provider that cannot be reached is unavailable and was not called', async () => {
    const nobody = createServer();
    const port = await new Promise<number>((resolve) => {
      nobody.listen(0, '127.0.0.1', () => {
        const address = nobody.address();
        nobody.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
      });
    });
    const unreachable = createProviders({
      anthropic: { apiKey: 'sandbox', baseURL: `http://127.0.0.1:${port}` },
      openai: { apiKey: 'sandbox', baseURL: `http://127.0.0.1:${port}/v1` },
    });
    const answer = await ask(unreachable, call(provider, 'hello'));
    expect(answer).toMatchObject({ ending: 'failed', called: false, failure: { code: 'provider_unavailable' } });
  });

  test('fifty calls side by side get their own answers', async () => {
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => ask(providers, call(provider, `question number ${i} of many`))),
    );
    expect(answers.map(({ text }, i) => text.includes(`question number ${i} of many`))).toEqual(Array(50).fill(true));
  });

  test('a prompt that was read before is reported as cached', async () => {
    const system = `# Long rules ${Math.random()}\n${'Keep to the rules of this house. '.repeat(200)}`;
    const twice = call(provider, 'hello', { system, cachePrompt: true });
    const first = await ask(providers, twice);
    const second = await ask(providers, twice);
    expect(first.usage?.cacheWrite).toBeGreaterThan(1_000);
    expect(first.usage?.cached).toBe(0);
    expect(second.usage).toMatchObject({ cacheWrite: 0, cached: first.usage?.cacheWrite, input: first.usage?.input });
  });
});

test('Anthropic caches only a prompt that is marked', async () => {
  const system = 'Keep to the rules of this house. '.repeat(300);
  const unmarked = call('anthropic', 'hello', { system });
  await ask(providers, unmarked);
  expect((await ask(providers, unmarked)).usage).toMatchObject({ cached: 0, cacheWrite: 0 });
});

test('Anthropic’s first report counts the input, its last the output', async () => {
  const { reports } = await ask(providers, call('anthropic', '[[sandbox: tokens=40]]'));
  expect(reports).toMatchObject([{ output: 1 }, { output: 40 }]);
});

test('a stopped Anthropic call knows its input, and that its output is not final', async () => {
  const stop = new AbortController();
  const answer = await providers.call(call('anthropic', '[[sandbox: tokens=400 pace=5]]'), {
    signal: stop.signal,
    onText: () => stop.abort(),
  });
  expect(answer.usage?.input).toBeGreaterThan(5);
  expect(answer.usageComplete).toBe(false);
});

test('an unknown provider is not configured', async () => {
  const answer = await ask(providers, { ...call('openai', 'hello'), provider: 'acme' });
  expect(answer).toMatchObject({ called: false, failure: { code: 'provider_not_configured' } });
});
