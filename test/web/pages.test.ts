// Packages, credits, and the end of an account: what a person does there, in a browser.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../harness/tools.ts';
import { openWebHouse, type WebHouse } from './house.ts';
import { expectFit } from './looks.ts';

describe.skipIf(needs('Chromium'))('pages', () => {
  let house: WebHouse;
  beforeAll(async () => {
    house = await openWebHouse();
  }, 120_000);
  afterAll(() => house?.close());

  it('finds a package by words, and tries one of its inputs (spec 10.4, 10.6)', async () => {
    const { page, context, complaints } = await house.visit(null, '/packages');
    await page.getByLabel('Search').fill('review');
    await page.waitForURL(/q=review/);
    await page.getByRole('link', { name: 'code-review' }).click();
    await page.getByRole('heading', { level: 1, name: 'code-review' }).waitFor();
    await page.getByRole('tab', { name: 'Prompt' }).click();
    await page.getByText('tokens, which each run reads').waitFor();
    expect(page.url()).toContain('tab=prompt');
    await page.reload();
    await page.getByText('tokens, which each run reads').waitFor();
    await page.goBack();
    await page
      .getByRole('link', { name: /^Try this: / })
      .first()
      .click();
    await page.waitForURL(/\/playground\?.*package=code-review/);
    await expect
      .poll(async () => (await house.ops`select count(*) as uses from suggested_input_uses`)[0]?.uses)
      .toBe('1');
    expect(await page.getByLabel('Your input').inputValue()).not.toBe('');
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('shows what there is, what may be used, and where it went, as the books have it (spec 3.2, 4.2, 10.7)', async () => {
    const { page, context, complaints } = await house.visit('plus-user', '/credits');
    const [books] = await house.ops`
      select included_credits + purchased_credits as balance, transaction_count from users where username = 'plus-user'`;
    const lots = page.getByRole('region', { name: 'What you can spend' });
    await lots.getByText(Number(books?.balance).toLocaleString('en-GB'), { exact: true }).first().waitFor();
    await page.getByRole('region', { name: 'What you can use' }).getByText('Cost this month').waitFor();
    const chart = page.getByRole('region', { name: 'How long they last' });
    await chart.getByText('Figures').click();
    expect(await chart.getByRole('row').count()).toBeGreaterThan(30);

    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByText(`${Number(books?.transaction_count).toLocaleString('en-GB')} movements`).waitFor();
    await page.getByRole('button', { name: 'Why' }).first().click();
    await page.getByRole('dialog').getByRole('cell', { name: 'charged' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('combobox', { name: 'Show' }).click();
    await page.getByRole('option', { name: 'Monthly' }).click();
    await page.waitForURL(/type=monthly/);
    const saving = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download CSV' }).click();
    const file = await (await saving).createReadStream();
    let text = '';
    for await (const piece of file) text += piece;
    expect(text.split('\r\n')[0]).toBe(
      'id,created_at,type,amount,balance_after,kind,description,session_id,run_id,purchase_id',
    );
    expect(
      text
        .trimEnd()
        .split('\r\n')
        .slice(1)
        .every((line) => line.includes(',monthly,')),
    ).toBe(true);
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('buys a pack at Stripe, and on the way back waits for its word (spec 6.2)', async () => {
    const { page, context, complaints } = await house.visit('free-user', '/playground/credits/buy?package=medium');
    await page.waitForURL(/\/credits\?buy=medium/);
    await page.getByRole('button', { name: 'Buy for $10.00' }).click();
    await page.getByRole('button', { name: /^Pay/ }).click();
    await page.waitForURL(/\/credits\?checkout=cs_/);
    await page.getByText('250 credits have arrived').waitFor();
    await page.getByRole('region', { name: 'What you can spend' }).getByText('255', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Dismiss' }).click();
    await page.waitForURL((url) => url.search === '');
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('comes back from Stripe without paying, and was not charged', async () => {
    const { page, context } = await house.visit('free-user', '/credits?buy=yes');
    await page.getByRole('button', { name: 'Buy for $5.00' }).click();
    await page.getByRole('button', { name: 'Give up' }).click();
    await page.getByText('Nothing was charged.').waitFor();
    await context.close();
  });

  it('tells who is stopped why and until when, and who cannot buy that they cannot now (spec 3.4, 3.6)', async () => {
    await house.ops`
      select from ops.throttle_user('acme-owner', clock_timestamp() + interval '2 hours', 'asked too much')`;
    await house.ops`update settings set purchases_enabled = false`;
    const { page, context } = await house.visit('acme-owner', '/credits');
    const stopped = page.getByRole('alert').filter({ hasText: 'You cannot run anything now' });
    await stopped.getByText('asked too much').waitFor();
    await stopped.getByText(/It ends by itself: .*\d\d:\d\d/).waitFor();
    await page.getByRole('tab', { name: 'Buy' }).click();
    await page.getByRole('button', { name: 'Buy for $5.00' }).click();
    await page.getByRole('alert').waitFor();
    expect(await page.getByRole('alert').textContent()).toMatch(/purchases?/i);
    await house.ops`update settings set purchases_enabled = true`;
    await context.close();
  });

  it('subscribes, cancels, and takes it back (spec 6.1)', async () => {
    const { page, context, complaints } = await house.visit('free-user', '/credits?subscribe=yes');
    await page.getByRole('button', { name: 'Subscribe for $6.00 a month' }).click();
    await page.getByRole('button', { name: /^Pay/ }).click();
    await page.waitForURL(/\/credits\?checkout=cs_/);
    await page.getByText('You have PRPM+').waitFor({ timeout: 20_000 });
    await page.getByRole('tab', { name: 'PRPM+' }).click();
    await page.getByRole('button', { name: 'Cancel', exact: true }).click();
    await page.getByRole('button', { name: 'Cancel at the end of the period' }).click();
    await page.getByText(/Your subscription ends on/).waitFor();
    await page.getByRole('button', { name: 'Go on with it' }).click();
    await page.getByText('Your subscription is active.').waitFor();
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('prints black on white in dark, too, with all that was loaded and nothing to press', async () => {
    const { page, context } = await house.visit('plus-user', '/credits', { scheme: 'dark' });
    await page.getByRole('region', { name: 'How long they last' }).waitFor();
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const screen = await paper();
    await page.emulateMedia({ media: 'print' });
    await expect.poll(paper).toBe('rgb(255, 255, 255)');
    expect(screen).not.toBe('rgb(255, 255, 255)');
    expect(await page.getByRole('navigation').count()).toBe(0);
    expect(await page.getByRole('tab').count()).toBe(0);
    await page.getByRole('cell').first().waitFor(); // the figures behind the picture
    await page.emulateMedia({ media: 'screen' });
    await expect.poll(paper).toBe(screen);
    expect(await page.getByRole('cell').count()).toBe(0);

    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByText(/movements$/).waitFor();
    const rows = page.getByRole('table').getByRole('row');
    const inSight = await rows.count();
    await page.emulateMedia({ media: 'print' });
    await expect.poll(() => rows.count()).toBeGreaterThan(inSight);
    expect(await page.getByRole('button').count()).toBe(0);

    await page.emulateMedia({ media: 'screen' });
    await page.goto('/playground?package=code-review');
    await page.getByLabel('Your input').waitFor();
    await page.emulateMedia({ media: 'print' });
    expect(await page.getByLabel('Your input').isVisible()).toBe(false);
    await context.close();
  }, 60_000);

  it('is found faultless by axe in both themes and widths', async () => {
    const { page, context } = await house.visit('plus-user', '/packages');
    const look = async (path: string, text: string | RegExp, name: string) => {
      await page.goto(path);
      await page.getByText(text).first().waitFor();
      await expectFit(page, name);
    };
    await look('/credits', 'How long they last', 'credits');
    await look('/credits?tab=history', /movements$/, 'history');
    await context.close();
  }, 120_000);

  it('erases the account of who has seen what is lost and typed their name (spec 10.8)', async () => {
    const { page, context } = await house.visit('free-user', '/account');
    await page.getByRole('button', { name: 'See what would be lost' }).click();
    await page.getByText('You lose 250 credits that you bought').waitFor();
    await expect.poll(() => page.getByRole('button', { name: 'Erase it' }).isDisabled()).toBe(true);
    await page.getByLabel('Type free-user to go on').fill('free-user');
    await page.getByRole('button', { name: 'Erase it' }).click();
    await page.waitForURL(/\/playground/);
    await page.getByRole('link', { name: 'Sign in' }).waitFor();
    expect((await house.ops`select from users where username = 'free-user'`).length).toBe(0);
    expect(await house.ops`select * from ops.audit_books()`).toEqual([]);
    await context.close();
  });
});
