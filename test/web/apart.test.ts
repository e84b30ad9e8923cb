// Without a connection, or with a server that does not answer: what is there stays, what is typed stays, and it goes on by itself.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../harness/tools.ts';
import { openWebHouse, type WebHouse } from './house.ts';
import { expectFit } from './looks.ts';

describe.skipIf(needs('Chromium'))('apart from the server', () => {
  let house: WebHouse;
  beforeAll(async () => {
    house = await openWebHouse();
  }, 120_000);
  afterAll(() => house?.close(), 60_000);

  it('says that one is offline, keeps what is typed, runs nothing, and goes on by itself', {
    timeout: 60_000,
  }, async () => {
    const { page, context } = await house.visit('plus-user', '/playground?package=code-review');
    const field = page.getByLabel('Your input');
    await field.fill('if (a = b)');
    await page.getByRole('button', { name: /^Run [≈=]/ }).waitFor();
    await context.setOffline(true);
    await page.getByText(/^Offline\. As it was at \d\d:\d\d/).waitFor();
    await field.fill('if (a = b) return');
    await page.getByText('You are offline. What you write stays').waitFor();
    await page.keyboard.press('Control+Enter');
    expect(await page.getByRole('button', { name: /^Run/ }).isDisabled()).toBe(true);
    expect(await page.getByRole('article').count()).toBe(0);
    await expectFit(page, 'offline');

    // A page that was not loaded yet comes when it can.
    await page.getByRole('link', { name: 'Author' }).click();
    await page.getByText('This is not here yet').waitFor();
    await context.setOffline(false);
    await page.getByRole('heading', { level: 1, name: 'Your packages' }).waitFor();
    await page.goBack();
    await field.waitFor();
    expect(await field.inputValue()).toBe('if (a = b) return');
    await field.press('End');
    await field.pressSequentially(' c');
    await page.getByRole('link', { name: 'Author' }).click(); // before the address has it
    await page.getByRole('heading', { level: 1, name: 'Your packages' }).waitFor();
    await page.getByRole('link', { name: 'Playground', exact: true }).click();
    expect(await field.inputValue()).toBe('if (a = b) return c');
    for (const _ of ['Author', 'Playground']) await page.goBack();
    await page.getByRole('button', { name: /^Run [≈=]/ }).click();
    await page.getByRole('button', { name: 'Of use', exact: true }).waitFor();
    expect(await page.getByText(/^Offline\./).count()).toBe(0);
    await context.close();
  });

  it.each([
    ['/credits', 'What you can spend'],
    ['/packages', 'code-review'],
    ['/admin', 'Revenue'],
  ])(
    'leaves what is there on %s, and asks again when there is a connection',
    { timeout: 60_000 },
    async (path, text) => {
      const { page, context } = await house.visit('admin', path);
      const there = page.getByText(text).first();
      await there.waitFor();
      await page.waitForLoadState('networkidle');
      await context.setOffline(true);
      await page.getByText(/^Offline\./).waitFor();
      expect(await there.isVisible()).toBe(true);
      const asked = page.waitForResponse(/\/trpc\//);
      await context.setOffline(false);
      expect((await asked).ok()).toBe(true);
      await page.getByText(/^Offline\./).waitFor({ state: 'detached' });
      await context.close();
    },
  );

  it('leaves what it showed where that cannot be asked anew, and says of when it is', { timeout: 60_000 }, async () => {
    const { page, context } = await house.visit('plus-user', '/credits');
    const sum = page.getByRole('heading', { name: 'What you can spend' });
    await sum.waitFor();
    await page.waitForLoadState('networkidle');
    await page.route(/\/trpc\//, (route) => route.abort());
    await context.setOffline(true);
    await context.setOffline(false);
    await page
      .getByText(/^The server cannot be reached\. What you see is from \d\d:\d\d/)
      .first()
      .waitFor();
    expect(await sum.isVisible()).toBe(true);
    await page.unroute(/\/trpc\//);
    for (const again of (await page.getByRole('button', { name: 'Ask again' }).all()).reverse()) await again.click();
    await expect.poll(() => page.getByText('What you see is from').count(), { timeout: 10_000 }).toBe(0);
    expect(await sum.isVisible()).toBe(true);
    await context.close();
  });

  it('says so where a part of a page does not load, and loads it again', { timeout: 60_000 }, async () => {
    const { page, context } = await house.visit('plus-user', '/playground');
    await page.waitForLoadState('networkidle');
    await page.route(/\/assets\/credits-.*\.js$/, (route) => route.abort());
    await page.getByRole('link', { name: 'Credits', exact: true }).click();
    await page.getByRole('heading', { name: 'This page could not be shown' }).waitFor();
    await expectFit(page, 'broken');
    await page.getByRole('link', { name: 'To the playground' }).click();
    await page.getByLabel('Your input').waitFor();
    await page.goBack();
    await page.unroute(/\/assets\/credits-.*\.js$/);
    await page.getByRole('button', { name: 'Load it again' }).click();
    await page.getByText('What you can spend').waitFor();
    await context.close();
  });
});
