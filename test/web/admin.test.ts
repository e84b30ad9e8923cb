// The admin pages as an operator uses them, in a real browser: what is seen, whom a change is about, and that it then holds.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { money } from '../../web/src/admin/figures.ts';
import { needs } from '../harness/tools.ts';
import { openWebHouse, type WebHouse } from './house.ts';
import { expectFit } from './looks.ts';
import { run } from './scenes.ts';

const LONG = { timeout: 120_000 };
const SLOW = { timeout: 10_000 };

describe.skipIf(needs('Chromium'))('the admin pages', () => {
  let house: WebHouse;
  beforeAll(async () => {
    house = await openWebHouse();
  }, 120_000);
  afterAll(async () => {
    expect(await house.ops`select * from ops.audit_books()`).toEqual([]);
    await house.close();
  }, 60_000);

  const section = (page: Page, name: string) => page.getByRole('region', { name, exact: true });
  const table = (page: Page, name: string) => page.getByRole('table', { name, exact: true });
  const row = (page: Page, of: string, name: string) =>
    table(page, of)
      .getByRole('row')
      .filter({ has: page.getByRole('rowheader', { name }) });
  const because = async (page: Page, verb: string, reason: string) => {
    await page.getByLabel('Reason').fill(reason);
    await page.getByRole('dialog').getByRole('button', { name: verb, exact: true }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  };

  it('are for administrators: others are told so, and asked to sign in (spec 8.3)', LONG, async () => {
    const other = await house.visit('plus-user', '/admin/users');
    await other.page.getByText('For administrators').waitFor();
    expect(await other.page.getByRole('link', { name: 'Admin' }).count()).toBe(0);
    const nobody = await house.visit(null, '/admin');
    await nobody.page.getByText('Sign in with an administrator’s account.').waitFor();
    expect([...other.complaints, ...nobody.complaints]).toEqual([]);
  });

  it(
    'show the figures of psql, as a picture and as a table, and the address keeps what is seen (spec 8.3)',
    LONG,
    async () => {
      const { page, complaints } = await house.visit('admin', '/admin');
      const [summary] = await house.ops`
        select coalesce(sum(cost_dollars), 0)::float8 as cost
        from ops.margin_by_day where day >= date_trunc('month', now() at time zone 'UTC')`;
      // On the first of a month other figures are nothing, too.
      await section(page, 'Month')
        .getByText(money(summary?.cost ?? null), { exact: true })
        .first()
        .waitFor();
      await section(page, 'Over time').getByText('model', { exact: true }).click();
      await page.getByRole('figure', { name: 'Cost by day and model' }).waitFor();
      await page.getByText('The same as a table').click();
      await table(page, 'Cost by day and model').getByRole('columnheader', { name: 'sonnet' }).waitFor();
      expect(page.url()).toContain('by=model');
      await page.reload();
      await page.getByRole('figure', { name: 'Cost by day and model' }).waitFor();
      expect(complaints).toEqual([]);
    },
  );

  it(
    'find a user, tell why they were charged, throttle them, lift it, and give credits, each with a reason',
    LONG,
    async () => {
      const { page, complaints } = await house.visit('admin', '/admin/users');
      await page.getByLabel('Search').fill('plus-user');
      await expect.poll(() => page.url(), SLOW).toContain('search=plus-user');
      await page.getByRole('link', { name: 'plus-user' }).click();
      await page
        .getByRole('button', { name: /^Explain the charge of/ })
        .first()
        .click();
      await page.getByRole('dialog').getByRole('rowheader', { name: 'charged' }).waitFor();
      await page.getByRole('dialog').getByText('dollars').first().waitFor();
      await page.keyboard.press('Escape');

      await page.getByRole('button', { name: 'Throttle', exact: true }).click();
      await expectFit(page, 'a dialog');
      await because(page, 'Throttle', 'chargeback');
      await page.getByText('Throttled by operator').waitFor();
      await expectFit(page, 'a user');
      const theirs = await house.visit('plus-user', '/playground?package=code-review&input=anything');
      await theirs.page.getByText('chargeback').first().waitFor();
      await page.getByRole('link', { name: 'Now' }).click();
      await row(page, 'Throttled now', 'plus-user').getByRole('link', { name: 'plus-user' }).click();
      await page.getByRole('button', { name: 'Lift throttle' }).click();
      await because(page, 'Lift throttle', 'cleared up');
      await page.getByText('Throttled by operator').waitFor({ state: 'detached' });
      await theirs.page.reload();
      await run(theirs.page, 'and now?');
      await theirs.page
        .getByRole('status')
        .filter({ hasText: /^Done, / })
        .waitFor();

      await page.getByRole('button', { name: 'Grant credits' }).click();
      await page.getByLabel('Credits', { exact: true }).fill('7');
      await because(page, 'Grant credits', 'sorry for that');
      await page.getByText('7 credits granted to plus-user').waitFor();
      const [noted] = await house.ops`
      select a.reason, u.username from audit_log a join users u on u.id::text = a.new ->> 'by'
      where a.table_name = 'ops.grant_credits' order by a.id desc limit 1`;
      expect(noted).toEqual({ reason: 'sorry for that', username: 'admin' });
      expect(complaints).toEqual([]);
    },
  );

  it(
    'say who is affected before a limit is saved, and then it holds; and what a value cannot be (spec 3.1)',
    LONG,
    async () => {
      const { page } = await house.visit('admin', '/admin/config');
      const limit = async () =>
        (await house.ops`select daily_cost_limit::float8 as d from cost_limits_config where tier_name = 'free'`)[0]?.d;
      await page.getByRole('button', { name: 'Change free' }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByLabel('daily_cost_limit').fill('-1');
      await dialog.getByRole('button', { name: 'Who is affected?' }).click();
      await dialog.getByRole('alert').getByText('it must hold that').waitFor();
      await dialog.getByLabel('daily_cost_limit').fill('0');
      await dialog.getByRole('button', { name: 'Who is affected?' }).click();
      await dialog.getByText('free: throttled by a limit').waitFor();
      await dialog.getByRole('link', { name: 'free-user' }).waitFor();
      await dialog.getByRole('button', { name: 'Replay last month with it' }).click();
      await table(page, 'As it was, and as it would have been')
        .getByRole('rowheader', { name: 'Throttled users' })
        .waitFor();
      await expectFit(page, 'a preview');
      expect(await limit()).toBe(0.1);

      // Anything else than what was looked at has to be looked at again.
      await dialog.getByLabel('Reason').fill('cheaper');
      await dialog.getByLabel('daily_cost_limit').fill('0.2');
      expect(await dialog.getByRole('button', { name: 'Save' }).isDisabled()).toBe(true);
      await dialog.getByRole('button', { name: 'Who is affected?' }).click();
      await because(page, 'Save', 'more for visitors');
      expect(await limit()).toBe(0.2);
      await row(page, 'Limits', 'free').getByText('0.2', { exact: true }).waitFor();

      // The guide's recommendation: a tier at $8.
      await page.getByRole('button', { name: 'Add a tier' }).click();
      await dialog.getByLabel('Name').fill('pro');
      await dialog.getByLabel('monthly_cost_limit').fill('8');
      await dialog.getByRole('button', { name: 'Who is affected?' }).click();
      await dialog.getByText('Who is of tier pro: 0.').waitFor();
      await because(page, 'Save', 'for those who need more');
      await row(page, 'Limits', 'pro').getByText('8', { exact: true }).waitFor();

      await page.getByRole('link', { name: 'Changes' }).click();
      await page.getByText('daily_cost_limit: 0.1 → 0.2').waitFor();
      await page.getByText('more for visitors').first().waitFor();
    },
  );

  it(
    'tell what another price would do, publish it, and a scenario can be sent by its address (spec 1.3, 8.6)',
    LONG,
    async () => {
      const { page, complaints } = await house.visit('admin', '/admin/prices');
      await page.getByRole('button', { name: 'New price of opus' }).click();
      await page.getByLabel('Output').fill('50');
      await page.getByRole('button', { name: 'What would it do?' }).click();
      await table(page, 'Prices that end and begin').getByText('no end planned').waitFor();
      await table(page, 'As it was, and as it would have been').getByText(/^\+\$/).first().waitFor();
      await because(page, 'Publish the price', 'new price list');
      expect(
        await house.ops`
      select output::float8, source from model_prices where model = 'opus' and valid @> now()`,
      ).toEqual([{ output: 50, source: 'operator' }]);
      await page.goto('/admin/what-if?set=plans/prpm_plus_individual/monthly_price=7');
      await row(page, 'As it was, and as it would have been', 'from subscriptions').getByText(/^\+\$/).waitFor();
      await page.goto(
        '/admin/projection?plans=prpm_plus_individual,prpm_plus_org_member,free&subscribers=60,30,10&prices=6,3,0&averageCosts=0.92,0.6,0.15',
      );
      await page.getByRole('table', { name: 'Total' }).getByText('83.4 %').waitFor();
      expect(complaints).toEqual([]);
    },
  );

  it(
    'show an alert until its condition ends, and who is at it; jobs are done again, events replayed (spec 6.5, 7.2, 9)',
    LONG,
    async () => {
      const { ops } = house;
      await ops`select from ops.throttle_user('free-user', null, 'test')`;
      await ops`select from ops.throttle_user('plus-user', null, 'test')`;
      await ops`select from ops.check_alerts()`;
      const { page, complaints } = await house.visit('admin', '/admin/alerts');
      const alert = page.getByRole('article').filter({ hasText: 'throttled_users' });
      await alert.getByRole('button', { name: /^Acknowledge/ }).click();
      await because(page, 'Acknowledge', 'looking at it');
      await alert.getByText('looking at it').waitFor();
      await ops`select from unnest(array['free-user', 'plus-user']) u cross join lateral ops.release_throttle(u, 'test')`;
      await ops`select from ops.check_alerts()`;
      await page.reload();
      await alert.waitFor({ state: 'detached' });
      await page.getByText('resolved', { exact: true }).click();
      await alert.first().getByText('resolved', { exact: true }).waitFor();

      await page.getByRole('link', { name: 'Jobs' }).click();
      await page.getByRole('button', { name: 'Do again: audit-books' }).click();
      await because(page, 'Do it again', 'after a repair');
      await page.getByRole('link', { name: 'Stripe inbox' }).click();
      await page.getByLabel('Search').fill('invoice.paid');
      await page
        .getByRole('button', { name: /^Replay evt_/ })
        .first()
        .click();
      await because(page, 'Replay', 'to be sure');
      await page.getByText(/^The event is /).waitFor();
      expect(complaints).toEqual([]);
    },
  );
});
