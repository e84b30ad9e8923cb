import { afterAll, expect, it } from 'vitest';
import { openHouse } from '../http/house.ts';
import { startCli } from './house.ts';

const house = await openHouse();
afterAll(() => house.close());
const { ada, bob } = house;
const cli = (args: string[], { token } = ada) => startCli(args, { PRPM_URL: house.url, PRPM_TOKEN: token }).ended;
const sessionOf = (err: string) => /session ([\da-f-]{36})/.exec(err)?.[1] ?? '';

it('a session is taken away as a file, copied by its link, and summed up at a price that is told first (spec 10.1)', async () => {
  const session = sessionOf((await cli(['run', '-p', 'haiku', 'first'])).err);
  await cli(['run', '-s', session, 'second']);
  const markdown = await cli(['sessions', 'export', session]);
  expect([markdown.code, markdown.out.match(/^## Answer/gm)?.length]).toEqual([0, 2]);
  const json = await cli(['sessions', 'export', session, '--format', 'json']);
  expect(JSON.parse(json.out).exchanges).toHaveLength(2);
  expect((await cli(['sessions', 'export', session, '-f', 'pdf'])).code).toBe(2);
  expect((await cli(['sessions', 'export', session], bob)).err).toContain('(session_not_found)');

  const { out: link } = await cli(['share', session]);
  const fork = await cli(['sessions', 'fork', link.trim()], bob);
  expect([fork.code, fork.err]).toEqual([0, expect.stringMatching(/^2 exchanges\. Go on with run -s /)]);
  const more = await cli(['run', '-s', fork.out.trim(), 'third'], bob);
  expect([more.code, sessionOf(more.err)]).toEqual([0, fork.out.trim()]);

  const dear = await cli(['sessions', 'summarise', session, '-m', 'opus', '--max-credits', '1']);
  expect([dear.code, dear.err]).toEqual([4, expect.stringContaining('more than --max-credits 1')]);
  const summary = await cli(['sessions', 'summarise', session]);
  expect([summary.code, summary.out.length > 10]).toEqual([0, true]);
  expect(summary.err).toMatch(/^at most 1 credit\n1 credit \(/);
  expect(await house.audit()).toEqual([]);
}, 60_000);
