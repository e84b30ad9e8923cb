// A vote as the page gives it: in a browser where there is one, else by the typed client, which is what the page uses.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { buildBeside } from '../../sandbox/demo/page.ts';
import { createPlaygroundClient } from '../../src/client/index.ts';
import { readEnvironment } from '../../src/config/environment.ts';
import { startServer } from '../../src/server.ts';
import { chromiumPath } from '../harness/tools.ts';
import type { Place } from './place.ts';

/** Says of a shared result that it helped. Returns what was done, and what came back. */
export async function voteOnPage(place: Place, shareToken: string): Promise<string> {
  if (chromiumPath === undefined) {
    const { api } = createPlaygroundClient({ url: place.url, token: (await place.newcomer()).token });
    const { helpfulCount } = await api.sessions.vote.mutate({ shareToken, isHelpful: true });
    return `without a browser here, the call that the page makes answers ${helpfulCount} helpful`;
  }
  const scratch = mkdtempSync(join(tmpdir(), 'prpm-faults-'));
  const page = buildBeside(join(scratch, 'log'));
  const { appUrl } = place.database;
  const environment = readEnvironment({ APP_DATABASE_URL: appUrl, HOST: '127.0.0.1', PORT: '0', NODE_ENV: 'test' });
  const server = await startServer({ environment, jobs: false, log: place.log, page: page.built });
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] });
  try {
    const shown = await browser.newPage();
    await shown.goto(`${server.url}/playground/shared/${shareToken}`);
    const votes = shown.getByRole('button', { name: /^Yes, \d/ });
    const before = await votes.innerText();
    await votes.click();
    await shown.getByRole('button', { name: /^Yes, \d/, pressed: true }).waitFor();
    return `a click in the browser: “${before}” → “${await votes.innerText()}”, and the form is still there`;
  } finally {
    await browser.close();
    await server.close();
    page.stop();
    rmSync(scratch, { recursive: true, force: true });
  }
}
