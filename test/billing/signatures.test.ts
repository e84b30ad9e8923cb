import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { openApi } from '../../src/http/openapi.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { call } from '../http/house.ts';
import { type Answers, openHouse } from './fake.ts';

const SECRETS = ['whsec_old', 'whsec_new'] as const;
const PATH = '/api/v1/playground/webhooks/stripe/credits';
/** With space that would be gone if it were written anew. */
const EVENT =
  '{\n  "id": "evt_1", "object": "event",\n  "type": "payment_intent.succeeded", "data": {"object": {"n": 1.0}}\n}';

let stored: string;
let applied: () => unknown[];
const answers: Answers = {
  store_stripe_event: () => [{ outcome: stored }],
  apply_stripe_event: () => applied(),
  fail_stripe_event: () => [],
};
const variables = { STRIPE_SECRET_KEY: 'sk_test_x', STRIPE_PLAYGROUND_WEBHOOK_SECRET: SECRETS.join(' , ') };
const house = await openHouse(answers, variables);
const { url, sql } = house;
afterAll(() => house.close());
beforeEach(() => {
  stored = 'stored';
  applied = () => [{ outcome: 'applied' }];
  sql.calls.length = 0;
});

const now = () => Math.floor(Date.now() / 1000);
function sign(body: string | Buffer, secret: string = SECRETS[0], at = now()): string {
  return `t=${at},v1=${createHmac('sha256', secret).update(`${at}.`).update(body).digest('hex')}`;
}
const send = (body: string | Buffer, signature?: string, path = PATH) =>
  call(url, 'POST', path, { body, ...(signature !== undefined && { headers: { 'stripe-signature': signature } }) });

describe('a signed event', () => {
  it('is stored as it came, applied, and answered', async () => {
    const answer = await send(EVENT, sign(EVENT));
    expect([answer.status, answer.text]).toEqual([200, '{"received":true}']);
    expect(sql.named('store_stripe_event')).toEqual([['evt_1', EVENT, false, '2026-10-28.endive']]);
    expect(sql.named('apply_stripe_event')).toEqual([['evt_1']]);
  });

  it('may be signed with any of the secrets, and with others beside them', async () => {
    const at = now();
    const [one, two] = [sign(EVENT, 'whsec_other', at), sign(EVENT, SECRETS[1], at)];
    expect((await send(EVENT, two)).status).toBe(200);
    expect((await send(EVENT, `${one},${two.split(',')[1]}`)).status).toBe(200);
  });

  it('is taken at both paths, needs no token, and may be 300 seconds old or early', async () => {
    expect((await send(EVENT, sign(EVENT), '/api/v1/webhooks/stripe')).status).toBe(200);
    expect((await send(EVENT, sign(EVENT, SECRETS[0], now() - 295))).status).toBe(200);
    expect((await send(EVENT, sign(EVENT, SECRETS[0], now() + 295))).status).toBe(200);
  });

  it('that is known and done with is answered and not applied again; one that is only known is', async () => {
    stored = 'repeated';
    expect((await send(EVENT, sign(EVENT))).status).toBe(200);
    expect(sql.named('apply_stripe_event')).toEqual([]);
    stored = 'pending';
    expect((await send(EVENT, sign(EVENT))).status).toBe(200);
    expect(sql.named('apply_stripe_event')).toEqual([['evt_1']]);
  });

  it('that cannot be applied is kept for later and answered all the same', async () => {
    applied = () => {
      throw new Error('a fault of ours');
    };
    expect((await send(EVENT, sign(EVENT))).status).toBe(200);
    expect(sql.named('fail_stripe_event')).toEqual([['evt_1', 'Error: a fault of ours']]);
  });

  it('is answered 503 while the database is away, so that it comes again', async () => {
    applied = () => {
      throw Object.assign(new Error('gone'), { code: 'CONNECTION_CLOSED' });
    };
    const away = await openHouse(
      {
        ...answers,
        store_stripe_event: () => applied(),
      },
      variables,
    );
    const answer = await call(away.url, 'POST', PATH, { body: EVENT, headers: { 'stripe-signature': sign(EVENT) } });
    await away.close();
    expect([answer.status, answer.json.error]).toEqual([503, 'database_unavailable']);
  });

  it('may have 1 MB, and not a byte more', async () => {
    const padded = (bytes: number) => EVENT + ' '.repeat(bytes - EVENT.length);
    const [most, over] = [padded(1024 * 1024), padded(1024 * 1024 + 1)];
    expect((await send(most, sign(most))).status).toBe(200);
    const answer = await send(over, sign(over));
    expect([answer.status, answer.json.error]).toEqual([413, 'request_too_long']);
    expect(answer.json.message).toContain('1024 kB');
  });
});

describe('what is not signed by Stripe is refused, and nothing is stored', () => {
  const thin = EVENT.replace('"event"', '"v2.core.event"');
  const binary = Buffer.from([0x7b, 0xff, 0x7d]);
  it.each<[string, string | Buffer, () => string | undefined, RegExp]>([
    ['without a header', EVENT, () => undefined, /Stripe-Signature is missing/],
    ['with an empty header', EVENT, () => '', /Stripe-Signature is missing/],
    ['with a header of nothing known', EVENT, () => 'v0=1', /does not fit/],
    ['without a time', EVENT, () => sign(EVENT).split(',')[1], /does not fit/],
    ['with a word for a time', EVENT, () => sign(EVENT).replace(/t=\d+/, 't=soon'), /does not fit/],
    ['by another secret', EVENT, () => sign(EVENT, 'whsec_other'), /does not fit/],
    ['for another body', `${EVENT} `, () => sign(EVENT), /does not fit/],
    ['for another time', EVENT, () => sign(EVENT).replace(/t=\d+/, `t=${now() - 10}`), /does not fit/],
    ['301 seconds ago', EVENT, () => sign(EVENT, SECRETS[1], now() - 302), /300 seconds old/],
    ['of old, with a new time before it', EVENT, () => `t=${now()},${sign(EVENT, SECRETS[0], 1)}`, /300 seconds old/],
    ['of old, with a new time behind it', EVENT, () => `${sign(EVENT, SECRETS[0], 1)},t=${now()}`, /does not fit/],
    ['330 seconds ahead', EVENT, () => sign(EVENT, SECRETS[0], now() + 330), /in the future/],
    ['an hour ahead', EVENT, () => sign(EVENT, SECRETS[0], now() + 3_600), /in the future/],
    ['without a body', '', () => sign(''), /body is empty/],
    ['with a body that is no JSON', 'hello', () => sign('hello'), /no event/],
    ['with JSON that is no event', '[]', () => sign('[]'), /no event/],
    [
      'with an event without an id',
      '{"object":"event","type":"x"}',
      () => sign('{"object":"event","type":"x"}'),
      /no event/,
    ],
    ['with a thin event', thin, () => sign(thin), /no event/],
    ['with bytes that are no text', binary, () => sign(binary), /does not fit|no event/],
  ])('%s', async (_what, body, signature, message) => {
    const answer = await send(body, signature());
    expect([answer.status, answer.json.error]).toEqual([400, 'webhook_signature_invalid']);
    expect(answer.json.message).toMatch(message);
    expect(answer.text).not.toMatch(/whsec_/);
    expect(sql.calls).toEqual([]);
  });
});

it('without an account, or without a secret, the webhook says that it is not set up', async () => {
  for (const missing of [{}, { STRIPE_SECRET_KEY: 'sk_test_x' }]) {
    const bare = await openHouse(answers, missing);
    const answer = await call(bare.url, 'POST', PATH, { body: EVENT, headers: { 'stripe-signature': sign(EVENT) } });
    await bare.close();
    expect([answer.status, answer.json.error]).toEqual([503, 'billing_not_configured']);
  }
});

it('a server in live mode says so of every event', async () => {
  const live = await openHouse(answers, { ...variables, STRIPE_SECRET_KEY: 'rk_live_x' });
  await call(live.url, 'POST', PATH, { body: EVENT, headers: { 'stripe-signature': sign(EVENT) } });
  await live.close();
  expect(live.sql.named('store_stripe_event')[0]?.[2]).toBe(true);
});

it('the log says which events came, and why others were not taken, without what is in them', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'prpm-log-'));
  const file = join(folder, 'log');
  const log = createLog('info', file);
  const logged = await openHouse(answers, variables, { log });
  const post = (signature: string) =>
    call(logged.url, 'POST', PATH, { body: EVENT, headers: { 'stripe-signature': signature } });
  await post(sign(EVENT));
  await post(sign(EVENT, 'whsec_other'));
  await logged.close();
  log.flush();
  const written = readFileSync(file, 'utf8');
  rmSync(folder, { recursive: true });
  const lines = written
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.find(({ msg }) => msg === 'Stripe event')).toMatchObject({
    ...{ eventId: 'evt_1', eventType: 'payment_intent.succeeded', outcome: 'applied' },
  });
  expect(lines.find(({ msg }) => msg === 'webhook not taken')).toMatchObject({
    ...{ level: 'warn', code: 'webhook_signature_invalid', reason: expect.stringContaining('does not fit') },
  });
  // When it was and how long it took are numbers of any kind.
  expect(JSON.stringify(lines.map(({ time, ms, ...rest }) => rest))).not.toMatch(/whsec_|1\.0/);
});

it('OpenAPI says that the webhook takes a signature and no token', () => {
  const { paths } = JSON.parse(JSON.stringify(openApi('1')));
  for (const path of [PATH, '/api/v1/webhooks/stripe']) {
    const { post } = paths[path];
    expect(post.security, path).toEqual([]);
    expect(post.parameters).toMatchObject([{ name: 'Stripe-Signature', in: 'header', required: true }]);
    expect(Object.keys(post.responses)).toEqual(['200', '503', 'default']);
  }
});
