import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { addressReader } from '../../src/http/address.ts';

const from = (remoteAddress: string | undefined, forwarded?: string) =>
  ({ socket: { remoteAddress }, headers: { 'x-forwarded-for': forwarded } }) as unknown as IncomingMessage;

test.each([
  ['nobody is trusted', [], '192.0.2.1', '203.0.113.9', '192.0.2.1'],
  ['the proxy is trusted', ['192.0.2.0/24'], '192.0.2.1', '203.0.113.9', '203.0.113.9'],
  [
    'what the caller wrote before the proxy did is not',
    ['192.0.2.1'],
    '192.0.2.1',
    '198.51.100.1, 203.0.113.9',
    '203.0.113.9',
  ],
  ['two proxies', ['192.0.2.0/24'], '192.0.2.1', '203.0.113.9, 192.0.2.7', '203.0.113.9'],
  ['nonsense in the header', ['192.0.2.1'], '192.0.2.1', '203.0.113.9, nonsense', '192.0.2.1'],
  ['no header', ['192.0.2.1'], '192.0.2.1', undefined, '192.0.2.1'],
  ['IPv4 in IPv6', ['192.0.2.1'], '::ffff:192.0.2.1', '2001:db8::5', '2001:db8::5'],
  ['an IPv6 network', ['2001:db8::/32'], '2001:db8::1', '203.0.113.9', '203.0.113.9'],
  ['a socket that is gone', [], undefined, '203.0.113.9', '0.0.0.0'],
])('%s (spec 5.9)', (_, trusted, remote, header, expected) => {
  expect(addressReader(trusted)(from(remote, header))).toBe(expected);
});
