// The playground as people use it, in a real browser: begun, followed, stopped, gone on with, and what it costs.
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { needs } from '../harness/tools.ts';
import { openWebHouse, type WebHouse } from './house.ts';
import { expectFit } from './looks.ts';
import { run } from './scenes.ts';
import { openWire } from './wire.ts';

const LONG = { timeout: 120_000 };

describe.skipIf(needs('Chromium'))('the playground', () => {
  let house: WebHouse;
  beforeAll(async () => {
    house = await openWebHouse();
  }, 120_000);
  afterAll(async () => {
    expect(await house.ops`select * from ops.audit_books()`).toEqual([]);
    await house.close();
  }, 60_000);

  const answered = (page: Page) => page.getByRole('status').filter({ hasText: /^Done, / });
  /** Of the sandbox's long answers, which are nothing but these. */
  const words = async (page: Page) =>
    (await page.getByRole('article').innerText()).match(/\bword\b(?! after)/g)?.length;
  const runs = async (person: string) => {
    const [row] = await house.ops<{ count: number }[]>`
      select count(*)::integer from runs r join users u on u.id = r.user_id where u.username = ${person}`;
    return row?.count ?? 0;
  };

  it(
    'goes by the keyboard alone from a package to an answer, its price before and its receipt after',
    LONG,
    async () => {
      const { page, complaints } = await house.visit('plus-user', '/playground');
      const before = await runs('plus-user');
      const { keyboard } = page;
      await page.getByRole('button', { name: /^code-review/ }).waitFor();
      await page.getByLabel('Package', { exact: true }).focus();
      await keyboard.type('review');
      await expect.poll(() => page.getByRole('option').first().innerText()).toMatch(/^code-review/);
      await keyboard.press('Enter');
      await expect.poll(() => page.url()).toContain('package=code-review');
      for (let presses = 0; presses < 40; presses++) {
        await keyboard.press('Tab');
        if (await page.getByLabel('Your input').evaluate((field) => field === document.activeElement)) break;
      }
      await keyboard.type('for (let i = 0; i <= list.length; i++) use(list[i])');
      await page.getByRole('button', { name: /^Run [≈=] \d+ credit/ }).waitFor();
      await page.getByText(/You have \d+ credits/).waitFor();
      await keyboard.press('Control+Enter');
      await answered(page).waitFor();
      await page.getByText(/One step too far/).waitFor();
      await page.getByText(/credits? \(.*monthly.*\).* first word after .* left/).waitFor();
      expect(await page.getByLabel('Your input').evaluate((field) => field === document.activeElement)).toBe(true);
      expect(await runs('plus-user')).toBe(before + 1);

      await page.getByRole('button', { name: 'Why this charge' }).click();
      await page.getByRole('dialog', { name: 'How the charge came to be' }).getByRole('row').nth(3).waitFor();
      await keyboard.press('Escape');
      await page.getByRole('button', { name: 'Of no use', exact: true }).click();
      await page.getByLabel('What was wrong with it?').waitFor();
      await keyboard.press('Escape');
      await expect.poll(() => page.getByLabel('What was wrong with it?').count()).toBe(0);
      await page.getByRole('button', { name: 'Of use', exact: true }).click();
      await page.getByLabel('What was good about it?').fill('found the mistake');
      await page.getByRole('button', { name: 'Send', exact: true }).click();
      await page.getByText('You found it of use').waitFor();

      await run(page, 'and shorter, please');
      await expect.poll(() => page.getByRole('article').count()).toBe(2);
      await answered(page).waitFor();
      await page
        .getByText(/2 runs · \d+ credits/)
        .first()
        .waitFor();
      await expectFit(page, 'a conversation');
      expect(complaints).toEqual([]);
    },
  );

  it('is stopped by Esc, and says what was charged until then', LONG, async () => {
    const { page, complaints } = await house.visit('plus-user', '/playground?package=code-review');
    await run(page, '[[sandbox: tokens=3000 pace=20]] a long one');
    await page.getByText('word word word').waitFor();
    await page.keyboard.press('Escape');
    await page.getByText('Stopped: only what was made until then is charged').waitFor();
    await page
      .getByRole('status')
      .filter({ hasText: /^Stopped, [\d,]+ tokens, 1 credit$/ })
      .waitFor();
    expect(complaints).toEqual([]);
  });

  it('loses nothing by a reload in mid-answer, a second tab or a broken connection, and runs once', LONG, async () => {
    const wire = await openWire(house.url);
    const { page, context, complaints } = await house.visit('plus-user', `${wire.url}/playground?package=code-review`);
    const before = await runs('plus-user');
    await run(page, '[[sandbox: tokens=200 pace=120]] counted words');
    await page.getByText('word word word').waitFor();
    await expect.poll(() => page.url()).toContain('session=');
    await page.reload();
    await page.getByText('word word word').waitFor();

    const second = await context.newPage();
    await second.goto(page.url());
    await second.getByText('word word word').waitFor();
    wire.cut();
    await page.getByText('The connection is lost.').waitFor();
    wire.mend();
    for (const tab of [page, second]) {
      await answered(tab).waitFor({ timeout: 60_000 });
      await expect.poll(() => words(tab)).toBe(200);
    }
    expect(await runs('plus-user')).toBe(before + 1);
    expect(complaints.filter((one) => !/ERR_(CONNECTION_RESET|EMPTY_RESPONSE|INCOMPLETE_CHUNKED)/.test(one))).toEqual(
      [],
    );
    wire.close();
  });

  it('goes on while another page is looked at, and is there when one comes back', LONG, async () => {
    const { page } = await house.visit('plus-user', '/playground?package=code-review');
    await run(page, '[[sandbox: tokens=200 pace=60]] on its own');
    await page.getByText('word word word').waitFor();
    await page.getByRole('button', { name: 'New session' }).click();
    await page.getByText('Begin with one of these').waitFor();
    await page.goBack();
    await answered(page).waitFor({ timeout: 40_000 });
    await expect.poll(() => words(page)).toBe(200);
  });

  it('says of a run that failed that it was not charged, and gives the question back', LONG, async () => {
    const { page, complaints } = await house.visit('plus-user', '/playground?package=code-review');
    await run(page, '[[sandbox: status=400]] a failing one');
    await page.getByText('It was not charged.').waitFor();
    await page.getByRole('link', { name: 'See your credit history' }).waitFor();
    await expectFit(page, 'a failure');
    await page.getByRole('button', { name: 'Take the question back to try again' }).click();
    expect(await page.getByLabel('Your input').inputValue()).toContain('a failing one');
    expect(complaints).toEqual([]);
  });

  it('tells before the act what a run would be refused for, and what helps', LONG, async () => {
    const { page, complaints } = await house.visit(
      'free-user',
      '/playground?package=code-review&model=opus&input=dear',
    );
    await house.ops`select from ops.revoke_credits('free-user', 3, 'a test')`;
    await page.reload();
    await page.getByRole('alert').filter({ hasText: 'Not enough credits' }).waitFor();
    await page.getByRole('link', { name: 'Buy credits' }).waitFor();
    expect(await page.getByRole('button', { name: /^Run/ }).isDisabled()).toBe(true);
    await expectFit(page, 'a refusal');
    expect(complaints).toEqual([]);
  });

  it('gives a visitor one run, which a reload keeps, and then shows how to sign up', LONG, async () => {
    const { page, complaints } = await house.visit(null, '/playground?package=code-review');
    await page.getByText('One run a month is free without an account, with gpt-4o-mini').waitFor();
    await run(page, '[[sandbox: tokens=200 pace=60]] a visitor’s');
    await page.getByText('word word word').waitFor();
    await page.reload();
    await page.getByText('That was your free run of this month').waitFor({ timeout: 40_000 });
    await page.reload();
    await expect.poll(() => words(page)).toBe(200);
    await page.getByRole('alert').filter({ hasText: 'Your free run of this month is used' }).waitFor();
    await page.getByRole('link', { name: 'Sign up', exact: true }).waitFor();
    await expectFit(page, 'a visitor’s answer');
    expect(complaints).toEqual([]);
  });

  it('finds, names, shares and deletes sessions, and takes a deletion back', LONG, async () => {
    const { page, context, complaints } = await house.visit('acme-owner', '/playground?package=plain-language');
    await run(page, 'Utilise the zeppelin in order to commence.');
    await answered(page).waitFor();
    const side = page.getByRole('complementary', { name: 'Sessions' });
    await side.getByLabel('Search sessions').fill('zeppelin package:plain-language');
    await expect.poll(() => side.getByRole('listitem').count()).toBe(1);
    await side.getByRole('button', { name: /^More about/ }).click();
    await page.getByRole('menuitem', { name: 'Rename' }).click();
    await page.getByRole('dialog').getByLabel('Title').fill('Airships');
    await page.getByRole('button', { name: 'Rename', exact: true }).click();
    await page.getByRole('heading', { name: 'Airships' }).waitFor();

    await page.getByRole('button', { name: 'Share', exact: true }).click();
    await page.getByRole('button', { name: 'Create link' }).click();
    const link = await page.getByLabel('Link').inputValue();
    await expectFit(page, 'a link');
    await page.keyboard.press('Escape');

    const stranger = await house.visit('plus-user', new URL(link).pathname);
    await stranger.page.getByRole('heading', { name: 'Airships' }).waitFor();
    expect(await stranger.page.locator('main').innerText()).not.toContain('acme');
    await stranger.page.getByRole('button', { name: 'Yes, 0' }).click();
    await stranger.page.getByRole('button', { name: 'Yes, 1', pressed: true }).waitFor();
    await stranger.page.getByRole('button', { name: 'No, 0' }).click();
    await stranger.page.getByRole('button', { name: 'Yes, 0', pressed: false }).waitFor();
    await expectFit(stranger.page, 'a shared result');
    await stranger.page.getByRole('button', { name: 'Go on from here in a copy' }).click();
    await stranger.page.getByText('Copied from what somebody shared').waitFor();
    await run(stranger.page, 'In German.');
    await answered(stranger.page).waitFor();
    expect(stranger.complaints).toEqual([]);

    await page.getByRole('button', { name: 'Share', exact: true }).click();
    await page.getByRole('button', { name: 'Stop sharing' }).click();
    await page.getByText('The link has ended').waitFor();
    await page.keyboard.press('Escape');
    await stranger.page.goto(link);
    await stranger.page.getByText('There is no such shared result').waitFor();

    const remove = async () => {
      await side.getByRole('button', { name: /^More about Airships/ }).click();
      await page.getByRole('menuitem', { name: 'Delete' }).click();
      await expect.poll(() => side.getByText('Airships').count()).toBe(0);
    };
    await remove();
    await page.getByRole('button', { name: 'Undo' }).click();
    await side.getByText('Airships').waitFor();
    await remove();
    await page.goto('/sign-in');
    await expect
      .poll(() =>
        house.ops`
            select from sessions s join users u on u.id = s.user_id
            where s.title = 'Airships' and s.deleted_at is null and u.username = 'acme-owner'`.then(
          (rows) => rows.length,
        ),
      )
      .toBe(0);
    await context.close();
    expect(complaints).toEqual([]);
  });

  it('compares side by side, for one total price, and shares all by one link', LONG, async () => {
    const { page, complaints } = await house.visit('plus-user', '/playground?package=code-review');
    const before = await runs('plus-user');
    await page.getByRole('button', { name: 'Compare' }).click();
    await page.getByRole('button', { name: 'Add a side' }).click();
    await expect.poll(() => page.url()).toContain('compare=3');
    await page.getByRole('region', { name: 'Side 3' }).getByText('Package’s prompt').click();
    await page.getByLabel('Model of side 3').click();
    await page.getByRole('option', { name: /^gpt-4o ×/ }).click();
    await page.getByLabel('Your input').fill('[[sandbox: tokens=120 pace=40]] if (a == b) fail()');
    await page.getByRole('button', { name: /^Run all 3 [≈=] \d+ credits/ }).waitFor();
    await page.getByRole('button', { name: /^Run all 3/ }).click();
    await page.getByRole('article', { name: 'Answer of side 1' }).getByText('word word').waitFor();
    await expect.poll(() => page.url()).toContain('comparison=');
    await page.reload();
    await page.getByText('Cost and time; in brackets, against side 1').waitFor({ timeout: 30_000 });
    expect(await runs('plus-user')).toBe(before + 3);
    await page.getByRole('switch', { name: 'Mark the words that differ from side 1' }).press('Space');
    await page.getByRole('article', { name: 'Answer of side 2' }).locator('span').first().waitFor();
    await expectFit(page, 'a comparison');

    await page.getByRole('button', { name: 'Share', exact: true }).click();
    await page.getByRole('button', { name: 'Create link' }).click();
    const link = await page.getByLabel('Link').inputValue();
    const stranger = await house.visit(null, new URL(link).pathname);
    await stranger.page.getByRole('article', { name: 'Answer of side 3' }).waitFor();
    await stranger.page.getByRole('link', { name: /^Run it yourself, about \d+ credits/ }).waitFor();
    await expectFit(stranger.page, 'a shared comparison');
    expect([...complaints, ...stranger.complaints]).toEqual([]);
  });

  it('lets a verified author run a prompt of their own, and go on with it', LONG, async () => {
    await house.ops`select from ops.set_user('admin', verified_author => true, reason => 'a test')`;
    const { page, complaints } = await house.visit('admin', '/playground');
    await page.getByText('Own prompt').click();
    await page.getByLabel('Your prompt').fill('Answer with a haiku about what you are sent.');
    await run(page, 'autumn');
    await answered(page).waitFor();
    await page.goto(`/playground?session=${new URL(page.url()).searchParams.get('session')}`);
    await page.getByText('none: your own prompt').waitFor();
    await run(page, 'and winter');
    await expect.poll(() => page.getByRole('article').count()).toBe(2);
    await answered(page).waitFor();
    expect(complaints).toEqual([]);
  });

  it('shows how a conversation that has become too long goes on', LONG, async () => {
    const { page, complaints } = await house.visit('plus-user', '/playground?package=code-review');
    await run(page, `first: ${'lorem ipsum dolor '.repeat(150)}`);
    await answered(page).waitFor();
    await house.ops`update settings set max_request_tokens = 2400`;
    await page.getByLabel('Your input').fill(`more: ${'sit amet '.repeat(100)}`);
    await page.getByText(/^With the conversation so far, about \d+ tokens/).waitFor();
    await page.getByRole('button', { name: /^Summarise first ≈ \d+ credit/ }).waitFor();
    await page.getByRole('button', { name: 'Leave out the oldest exchanges' }).click();
    await page.getByText('without the oldest exchange').waitFor();
    await page.getByRole('button', { name: /^Run [≈=]/ }).click();
    await expect.poll(() => page.getByRole('article').count()).toBe(2);
    await answered(page).waitFor();
    await house.ops`update settings set max_request_tokens = 20000`;
    expect(complaints).toEqual([]);
  });

  it('takes what the address says as it is written there, and writes it so', LONG, async () => {
    const text = '100 % of a%41b, or %2541 + 1 & €';
    const { page, complaints } = await house.visit(
      'plus-user',
      `/playground?${new URLSearchParams({ package: 'code-review', input: text })}`,
    );
    const field = page.getByLabel('Your input');
    await field.waitFor();
    expect(await field.inputValue()).toBe(text);
    await field.press('End');
    await field.pressSequentially('%20');
    await page.waitForURL((url) => url.searchParams.get('input') === `${text}%20`);
    await page.reload();
    await field.waitFor();
    expect(await field.inputValue()).toBe(`${text}%20`);
    expect(complaints).toEqual([]);
  });

  it('finds anything by Ctrl+K, and lists its keys by ?', LONG, async () => {
    const { page, complaints } = await house.visit('plus-user', '/packages');
    await page.getByRole('link', { name: 'code-review' }).waitFor();
    await page.keyboard.press('Control+k');
    await page.getByPlaceholder('Pages, packages, sessions').fill('regex');
    await page.getByRole('button', { name: /^regex-builder/ }).waitFor();
    await expectFit(page, 'what is found');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.url()).toMatch(/\/playground\?(package|session)=/);
    await page.keyboard.press('Escape');
    await page.locator('main').focus();
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await expectFit(page, 'keys');
    expect(complaints).toEqual([]);
  });

  it('asks for what a package’s prompt is filled in with', LONG, async () => {
    const { page, complaints } = await house.visit('acme-owner', '/playground');
    const published = await page.request.post('/trpc/catalog.packages.publish', {
      headers: { origin: house.url },
      data: {
        name: 'letter-writer',
        version: '1.0.0',
        description: 'Writes letters',
        prompt: 'Write a letter in a {{tone}} tone to {{name}}.',
        variables: {
          properties: {
            tone: { type: 'string', enum: ['warm', 'cool'], default: 'warm' },
            name: { type: 'string', title: 'Addressee', maxLength: 100 },
          },
          required: ['name'],
        },
      },
    });
    expect(await published.json()).toHaveProperty('result');
    await page.goto('/playground?package=letter-writer');
    await page.getByLabel('Your input').fill('that the roof leaks');
    await page.getByText('Fill in "Addressee" first').waitFor();
    await page.getByLabel('Addressee').fill('the landlord');
    await page.getByRole('button', { name: /^Run [≈=]/ }).waitFor();
    await expect.poll(() => page.url()).toContain('var.name=the+landlord');
    await expectFit(page, 'variables');
    await page.getByRole('button', { name: /^Run/ }).click();
    await answered(page).waitFor();
    await page.getByText('Write a letter in a warm tone to the landlord').waitFor();
    expect(complaints).toEqual([]);
  });

  it('tells the truth about a run whose server ended, when the server is back', LONG, async () => {
    const { page } = await house.visit('plus-user', '/playground?package=code-review');
    await run(page, '[[sandbox: tokens=2000 pace=20]] cut off');
    await page.getByText('word word word').waitFor();
    await house.restart();
    await page.getByText('The run failed').waitFor({ timeout: 30_000 });
    await page.getByText('What was delivered until then is charged.').waitFor();
    await page.reload();
    await page.getByText('The server had to stop before the answer was complete.').waitFor();
  });
});
