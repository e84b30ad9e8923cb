// The page in a real browser, on a demo: its people, packages, history and Stripe. One browser and one demo for a file.
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import postgres from 'postgres';
import { type Demo, demoDirectory, removeDemo, startDemo } from '../guide/demo.ts';
import { chromiumPath } from '../harness/tools.ts';

/** `isStill`: what moves by itself is complained of. */
type Look = { width?: number; scheme?: 'light' | 'dark'; isStill?: boolean };

export type WebHouse = {
  url: string;
  demo: Demo;
  /** As the operator. */
  ops: postgres.Sql;
  browser: Browser;
  /** A new browser profile, signed in as one of the demo's people, or nobody. */
  visit(person: string | null, path: string, look?: Look): Promise<Visit>;
  /** Ends the demo's server, with all that runs, and starts it again where it was. */
  restart(): Promise<void>;
  close(): Promise<void>;
};
type Visit = {
  page: Page;
  context: BrowserContext;
  /** What the browser complained of: errors of scripts and of the policy, requests that failed. */
  complaints: string[];
};

/** What a browser does on its own is not what is tested. */
const flags = [
  ...['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-default-apps'],
  ...['--disable-sync', '--no-first-run', '--disable-features=Translate,OptimizationHints,MediaRouter'],
];

/**
 * Complains in the console of what moves by itself before anybody has done anything: more than 0.05 in what counts as one
 * movement, as Cumulative Layout Shift is defined (at most a second between its parts, and five in all).
 */
const SHIFTS = `{
  let sum = 0, begin = 0, last = 0, hasActed = false;
  for (const act of ['pointerdown', 'keydown', 'input']) addEventListener(act, () => { hasActed = true; }, true);
  new PerformanceObserver((list) => {
    for (const { value, startTime, hadRecentInput, sources } of list.getEntries()) {
      if (hasActed || hadRecentInput) continue;
      if (startTime - last > 1000 || startTime - begin > 5000) { sum = 0; begin = startTime; }
      last = startTime;
      sum += value;
      const of = sources.map(({ node }) => node?.className || node?.nodeName).join(', ');
      if (sum > 0.05) console.warn('layout shift of ' + sum.toFixed(3) + ' at ' + location.href + ': ' + of);
    }
  }).observe({ type: 'layout-shift', buffered: true });
}`;

export async function openWebHouse(): Promise<WebHouse> {
  const directory = demoDirectory();
  let [demo, browser] = await Promise.all([
    startDemo(directory),
    chromium.launch({ executablePath: chromiumPath ?? '', args: flags }),
  ]);
  const url = demo.env.BASE_URL ?? '';
  const ops = postgres(demo.env.DATABASE_URL ?? '', { max: 2, onnotice: () => {} });
  const people = await ops<{ id: string; username: string }[]>`select id, username from users`;
  // A person in a test is quicker than a person.
  await ops`update cost_limits_config set minute_request_limit = 1000, hourly_request_limit = 1000`;
  await ops`update settings set reads_per_minute = 100000, visitor_reads_per_minute = 100000, purchases_per_minute = 1000`;

  return {
    ...{ url, demo, ops, browser },
    async restart() {
      await demo.stop();
      demo = await startDemo(directory, ['--port', new URL(url).port]);
    },
    async visit(person, path, { width = 1280, scheme = 'light', isStill = false } = {}) {
      const context = await browser.newContext({
        viewport: { width, height: width < 600 ? 740 : 860 },
        colorScheme: scheme,
        baseURL: url,
        permissions: ['clipboard-read', 'clipboard-write'],
        reducedMotion: 'reduce',
        locale: 'en-GB',
      });
      if (person !== null) {
        const userId = people.find(({ username }) => username === person)?.id;
        const answer = await context.request.post('/trpc/accounts.signInAs', {
          data: { userId },
          headers: { origin: url },
        });
        if (!answer.ok()) throw new Error(`${person} is not signed in: ${await answer.text()}`);
      }
      if (isStill) await context.addInitScript(SHIFTS);
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      const complaints: string[] = [];
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(`console: ${message.text()}`);
      });
      page.on('pageerror', (error) => complaints.push(`script: ${error.message}`));
      // The page uses the typed client alone.
      page.on('request', (request) => {
        if (new URL(request.url()).pathname.startsWith('/api/')) complaints.push(`the page asks ${request.url()}`);
      });
      page.on('response', (response) => {
        if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
      });
      await page.goto(path);
      // What is pressed before the page stands is lost.
      await page.getByRole('main').waitFor();
      return { page, context, complaints };
    },
    async close() {
      await browser.close();
      await ops.end({ timeout: 1 });
      await demo.stop();
      removeDemo(directory);
    },
  };
}
