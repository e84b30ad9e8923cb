// Account and author: what a person does there, in a browser.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../harness/tools.ts';
import { openWebHouse, type WebHouse } from './house.ts';
import { expectFit } from './looks.ts';

describe.skipIf(needs('Chromium'))('account and author', () => {
  let house: WebHouse;
  beforeAll(async () => {
    house = await openWebHouse();
  }, 120_000);
  afterAll(() => house?.close());

  it('makes a token, shows it once, and revokes it (spec 2.2)', async () => {
    const { page, context, complaints } = await house.visit('plus-user', '/account');
    await page.getByRole('button', { name: 'New token' }).click();
    await page.getByLabel('What it is for').fill('a laptop');
    await page.getByRole('button', { name: 'Make it' }).click();
    const token = (await page.getByLabel('Token', { exact: true }).textContent()) ?? '';
    expect(token).toMatch(/^prpm_/);
    const ask = () =>
      fetch(`${house.url}/api/v1/playground/credits`, { headers: { authorization: `Bearer ${token}` } });
    expect((await ask()).status).toBe(200);
    await page.getByRole('button', { name: 'I have it' }).click();
    // Who closes a dialog is back where they were.
    await page.waitForFunction(() => document.activeElement?.textContent === 'New token');
    await page.getByRole('button', { name: 'Revoke a laptop' }).click();
    await page.getByRole('button', { name: 'Revoke', exact: true }).click();
    await page.getByText('1 that hold no longer').waitFor();
    expect((await ask()).status).toBe(401);
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('says which mails are wanted, and takes all that is kept away as a file (spec 9, 10.8)', async () => {
    const { page, context, complaints } = await house.visit('plus-user', '/account');
    await page.getByRole('switch', { name: 'Credits' }).click({ force: true });
    await expect
      .poll(
        async () =>
          (
            await house.ops`select credits from email_preferences p join users u on u.id = p.user_id where username = 'plus-user'`
          )[0]?.credits,
      )
      .toBe(false);
    const saving = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download as JSON' }).click();
    let text = '';
    for await (const piece of await (await saving).createReadStream()) text += piece;
    const kept = JSON.parse(text);
    expect(kept.users).toHaveLength(1);
    expect(kept.runs.length).toBeGreaterThan(5);
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('shows authors how a package is used, and changes what it suggests (spec 8.7, 10.4)', async () => {
    const { page, context, complaints } = await house.visit('acme-owner', '/author');
    await page.getByRole('link', { name: 'house-style' }).click();
    await page.getByRole('heading', { level: 1, name: 'house-style' }).waitFor();
    const [books] = await house.ops`
      select count(distinct r.user_id) as people, sum(r.credits) as credits
      from runs r join packages p on p.id = r.package_id
      where p.name = 'house-style' and r.user_id <> (select author_id from packages where name = 'house-style')`;
    expect(Number(books?.credits)).toBeGreaterThan(0);
    await page.getByText('Credits spent').waitFor();
    await page.getByText('7 days', { exact: true }).click();
    await page.waitForURL(/days=7/);

    await page.getByRole('tab', { name: 'Suggested inputs' }).click();
    await page.getByRole('button', { name: 'Suggest an input' }).click();
    await page.getByLabel('Title').fill('A notice to customers');
    await page.getByLabel('The input').fill('We will be down on Sunday.');
    await page.getByRole('button', { name: 'Suggest it' }).click();
    await page.getByRole('button', { name: 'Change “A notice to customers”' }).click();
    await page.getByLabel('Title').fill('A notice of maintenance');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('link', { name: 'As others see it' }).click();
    await page.getByText('A notice of maintenance').waitFor();
    await page.goBack();
    await page.getByRole('button', { name: 'Delete “A notice of maintenance”' }).click();
    await page.getByRole('button', { name: 'Delete', exact: true }).click();
    await page.getByRole('button', { name: 'Change “A notice of maintenance”' }).waitFor({ state: 'detached' });
    expect(complaints).toEqual([]);
    await context.close();
  });

  it('publishes a package and another version of it, and takes one back (spec 10.6)', async () => {
    const { page, context, complaints } = await house.visit('plus-user', '/author');
    await page.getByText('You have published none yet').waitFor();
    await page.getByRole('button', { name: 'Publish a package' }).click();
    await page.getByRole('textbox', { name: 'Name', exact: true }).fill('haiku-maker');
    await page.getByRole('textbox', { name: 'Prompt' }).fill('Make a haiku of it.');
    await page.getByRole('combobox', { name: 'Who sees it' }).click();
    await page.getByRole('option', { name: 'You and your organization' }).click();
    await page.getByRole('button', { name: 'Publish', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'haiku-maker' }).waitFor();
    await page.getByText('Nobody has run it yet').waitFor();

    await page.getByRole('button', { name: 'New version' }).click();
    await page.getByRole('textbox', { name: 'Version' }).fill('1.0.0');
    await page.getByRole('textbox', { name: 'Prompt' }).fill('Make a haiku of it, in three lines.');
    await page.getByRole('button', { name: 'Publish', exact: true }).click();
    await page
      .getByRole('alert')
      .getByText(/with another prompt/)
      .waitFor();
    await page.getByRole('textbox', { name: 'Version' }).fill('1.1.0');
    await page.getByRole('button', { name: 'Publish', exact: true }).click();
    await page.getByRole('tab', { name: 'Settings' }).click();
    await page.getByRole('button', { name: 'Take it back: 1.1.0' }).click();
    await page.getByRole('button', { name: 'Offer it again: 1.1.0' }).waitFor();
    expect((await house.ops`select latest_version from packages where name = 'haiku-maker'`)[0]?.latest_version).toBe(
      '1.0.0',
    );
    expect(complaints.filter((one) => !/409/.test(one))).toEqual([]);
    await context.close();
  });

  it('shows how a package is used to its authors alone', async () => {
    const { page, context } = await house.visit('plus-user', '/author?package=code-review');
    await page.getByText('It is not yours').waitFor();
    await context.close();
  });

  it('is found faultless by axe in both themes and widths, dialogs open', async () => {
    const { page, context } = await house.visit('acme-owner', '/author?package=house-style');
    await page.getByText('By model').waitFor();
    await expectFit(page, 'use of a package');
    await page.getByRole('button', { name: 'New version' }).click();
    await page.getByRole('textbox', { name: 'Prompt' }).waitFor();
    await expectFit(page, 'new version');
    await context.close();
  }, 120_000);
});
