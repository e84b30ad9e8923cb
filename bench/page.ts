// The page in Chromium: how soon it can be used on a slow processor, and what a person feels while a long answer comes.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { openWebHouse, type WebHouse } from '../test/web/house.ts';
import { median } from './database.ts';
import type { Length, Report } from './report.ts';

const SLOWER = 4;
const ANSWER_TOKENS = 20_000;
const ROWS = 10_000;

/** In the page: when the field stood there, or the last task of more than 50 ms had ended if that was later. */
const LAST_LONG_TASK = `new Promise((resolve) => {
  let last = performance.now();
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) last = Math.max(last, startTime + duration);
  }).observe({ type: 'longtask', buffered: true });
  setTimeout(() => resolve(last), 1000);
})`;

/** page_interactive_ms, page_streaming_*, page_history_*: frames are what Chromium's own trace says. */
export async function measurePage(report: Report, { quick, rounds }: Length): Promise<void> {
  const house = await openWebHouse();
  try {
    const loads: number[] = [];
    for (let round = 0; round < (quick ? 1 : 2 * rounds); round++) loads.push(await interactive(house));
    report('page_interactive_ms', median(loads), `ms, /playground, nothing cached, processor ${SLOWER} times slower`);
    await measureStreaming(house, report, quick ? 4_000 : ANSWER_TOKENS);
    await measureHistory(house, report);
  } finally {
    await house.close();
  }
}

/** Milliseconds from the navigation until the input stands there and nothing blocks the page any more. */
async function interactive(house: WebHouse): Promise<number> {
  const { page, context } = await house.visit('plus-user', '/packages');
  const session = await context.newCDPSession(page);
  await session.send('Network.clearBrowserCache');
  await session.send('Network.setCacheDisabled', { cacheDisabled: true });
  await session.send('Emulation.setCPUThrottlingRate', { rate: SLOWER });
  await page.goto('/playground');
  await page.getByLabel('Your input').waitFor();
  const at = await page.evaluate<number>(LAST_LONG_TASK);
  await context.close();
  return at;
}

async function measureStreaming(house: WebHouse, report: Report, tokens: number): Promise<void> {
  await house.ops`update settings set max_output_tokens = 32000, max_request_tokens = 64000`;
  await house.ops`update models set max_output_tokens = 32000 where alias = 'sonnet'`;
  await house.ops`select ops.grant_credits('plus-user', 100, reason => 'bench')`;
  const { page, context } = await house.visit('plus-user', '/playground?package=code-review');
  const field = page.getByLabel('Your input');
  await field.fill(`Tell me all. [[sandbox: tokens=${tokens} pace=1]]`);
  await page.getByRole('button', { name: /^Run [≈=]/ }).click();
  await page.getByRole('button', { name: /^Stop/ }).waitFor();
  const frames = await traced(page, async () => {
    while (await page.getByRole('button', { name: /^Stop/ }).isVisible()) {
      await field.pressSequentially('and so on ', { delay: 60 });
    }
  });
  report('page_streaming_longest_task_ms', frames.longest, `ms, while ${tokens} tokens come and somebody types`);
  report('page_streaming_tasks_over_50_ms', frames.over, `of ${frames.count} tasks of the page's thread`);
  await context.close();
}

async function measureHistory(house: WebHouse, report: Report): Promise<void> {
  for (let n = 0; n < ROWS / 100; n++) {
    await house.ops`select ops.grant_credits('plus-user', 1, reason => 'bench') from generate_series(1, 100)`;
  }
  const { page, context } = await house.visit('plus-user', '/credits?tab=history');
  await page.getByRole('row').nth(5).waitFor();
  let most = 0;
  const frames = await traced(page, async () => {
    const until = performance.now() + 60_000;
    let height = 0;
    let before = -1;
    while (height !== before && performance.now() < until) {
      before = height;
      for (let n = 0; n < 12; n++) {
        await page.mouse.wheel(0, 4_000);
        await sleep(30);
      }
      height = await page.evaluate<number>('document.documentElement.scrollHeight');
      most = Math.max(most, await page.getByRole('row').count());
    }
  });
  report('page_history_longest_task_ms', frames.longest, `ms, while ${ROWS} rows are scrolled through`);
  report('page_history_tasks_over_50_ms', frames.over, `of ${frames.count}`);
  report('page_history_rows_at_once', most, 'rows in the document at most');
  await context.close();
}

type Frames = { longest: number; over: number; count: number };
type TraceEvent = { name: string; ph: string; dur?: number; tid: number; pid: number; args?: { name?: string } };

/** Tasks of the page's main thread while `act` goes on, from a trace: the browser draws no frame within one. */
async function traced(page: Page, act: () => Promise<void>): Promise<Frames> {
  const session = await page.context().newCDPSession(page);
  const events: TraceEvent[] = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...(value as unknown as TraceEvent[])));
  await session.send('Tracing.start', {
    traceConfig: { includedCategories: ['toplevel', 'disabled-by-default-devtools.timeline', 'devtools.timeline'] },
    transferMode: 'ReportEvents',
  });
  await act();
  const done = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  await done;
  const threads = new Set(
    events
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid} ${tid}`),
  );
  const tasks = events
    .filter(({ name, pid, tid }) => name === 'RunTask' && threads.has(`${pid} ${tid}`))
    .map(({ dur = 0 }) => dur / 1_000);
  if (tasks.length === 0) throw new Error('the trace has no task of the page');
  return { longest: Math.max(...tasks), over: tasks.filter((ms) => ms > 50).length, count: tasks.length };
}
