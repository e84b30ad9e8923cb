// What there is to see: each page in its states, as a person comes to it.
import type { Page } from 'playwright-core';
import type { Sql } from 'postgres';

export type Scene = {
  name: string;
  person: string | null;
  path: string;
  /** What an operator has done by then. It may be done again. */
  before?: (ops: Sql) => Promise<unknown>;
  /** Until it looks as it should. */
  act?: (page: Page) => Promise<void>;
  /** Answers that belong to it: 404 where something is looked for that is not there. */
  refusals?: number[];
  /** It stands in the README. */
  isShown?: true;
};

export async function run(page: Page, text: string): Promise<void> {
  await page.getByLabel('Your input').fill(text);
  await page.getByRole('button', { name: /^Run/ }).click();
}

const verify = (ops: Sql) =>
  ops`select from ops.set_user('acme-owner', verified_author => true, reason => 'a picture')`;

export const scenes: Scene[] = [
  { name: 'sign-in', person: null, path: '/sign-in' },
  { name: 'first-visit', person: null, path: '/playground' },
  { name: 'package', person: 'plus-user', path: '/playground?package=code-review' },
  {
    name: 'priced',
    person: 'plus-user',
    path: '/playground?package=code-review&model=opus&input=for%20(let%20i%20%3D%200%3B%20i%20%3C%3D%20n%3B%20i%2B%2B)%20f(i)',
    act: async (page) => {
      await page.getByRole('button', { name: /≈/ }).waitFor();
    },
  },
  {
    name: 'answered',
    isShown: true,
    person: 'plus-user',
    path: '/playground?package=code-review',
    act: async (page) => {
      await run(page, 'if (retries = 3) retry(job)');
      await page.getByRole('button', { name: 'Of use', exact: true }).waitFor();
    },
  },
  {
    name: 'streaming',
    person: 'plus-user',
    path: '/playground?package=code-review',
    act: async (page) => {
      await run(page, '[[sandbox: tokens=600 pace=40]] a long one');
      await page.getByRole('button', { name: /Stop/ }).waitFor();
      await page.waitForTimeout(2_500);
    },
  },
  {
    name: 'failed',
    person: 'plus-user',
    path: '/playground?package=code-review',
    act: async (page) => {
      await run(page, '[[sandbox: status=400]] a failing one');
      await page.getByText('It was not charged.').waitFor();
    },
  },
  {
    name: 'refused',
    person: 'free-user',
    path: '/playground?package=code-review&model=opus&input=dear',
    act: async (page) => {
      await page.waitForTimeout(1_000);
    },
  },
  {
    name: 'refused-throttled',
    person: 'admin',
    path: '/playground?package=code-review&input=if%20(a%20%3D%20b)%20return',
    before: (ops) =>
      ops`select from ops.throttle_user('admin', clock_timestamp() + interval '2 hours', 'asked too much')`,
    act: async (page) => {
      await page.getByRole('alert').waitFor();
    },
  },
  { name: 'own-prompt', person: 'acme-owner', path: '/playground?own=true&input=Hello', before: verify },
  {
    name: 'own-prompt-session',
    person: 'acme-owner',
    path: '/playground?own=true',
    before: verify,
    act: async (page) => {
      await page.getByLabel('Your prompt').fill('You answer with one short sentence, whatever is asked.');
      await run(page, 'What is a ledger?');
      await page.getByRole('button', { name: 'Of use', exact: true }).waitFor();
      // As it comes up again, by itself.
      await page.reload();
      await page.getByRole('article').waitFor();
      await page.waitForLoadState('networkidle');
    },
  },
  { name: 'package-gone', person: 'plus-user', path: '/playground?package=nothing-like-it' },
  { name: 'package-gone-visitor', person: null, path: '/playground?package=nothing-like-it' },
  { name: 'admin', person: 'admin', path: '/admin', isShown: true },
  ...['/users', '/now', '/config', '/prices', '/what-if', '/projection', '/alerts', '/jobs', '/stripe', '/changes'].map(
    (path) => ({ name: `admin${path.replace('/', '-')}`, person: 'admin', path: `/admin${path}` }),
  ),
  { name: 'admin-series', person: 'admin', path: '/admin?by=model&every=week&table=package' },
  { name: 'admin-settings', person: 'admin', path: '/admin/config?kind=settings' },
  { name: 'admin-refused', person: 'plus-user', path: '/admin' },
  { name: 'session-unknown', person: 'plus-user', path: '/playground?session=01a219e4-c7f8-77bd-b482-17a0dd86e786' },
  { name: 'shared-unknown', person: null, path: '/playground/shared/nothing-like-it' },
  {
    name: 'admin-user',
    person: 'admin',
    path: '/admin/users?search=plus-user',
    act: async (page) => {
      await page.getByRole('link', { name: 'plus-user' }).click();
      await page.getByRole('heading', { name: 'Refusals' }).waitFor();
    },
  },
  {
    name: 'admin-preview',
    person: 'admin',
    path: '/admin/config',
    act: async (page) => {
      await page.getByRole('button', { name: 'Change prpm_plus_individual' }).click();
      await page.getByLabel('daily_cost_limit').fill('0.01');
      await page.getByRole('button', { name: 'Who is affected?' }).click();
      await page.getByText('Who is of tier').waitFor();
      await page.getByRole('button', { name: 'Replay last month with it' }).click();
      await page.getByText('Throttled users').waitFor();
    },
  },
  {
    name: 'admin-price',
    person: 'admin',
    path: '/admin/prices',
    act: async (page) => {
      await page.getByRole('button', { name: 'New price of opus' }).click();
      await page.getByLabel('Output').fill('30');
      await page.getByRole('button', { name: 'What would it do?' }).click();
      await page.getByText('Throttled users').waitFor();
    },
  },
  { name: 'packages', person: null, path: '/packages' },
  { name: 'packages-none', person: null, path: '/packages?q=zebra' },
  { name: 'package-page', person: 'plus-user', path: '/packages/code-review' },
  { name: 'package-prompt', person: 'plus-user', path: '/packages/code-review?tab=prompt' },
  { name: 'package-versions', person: null, path: '/packages/code-review?tab=versions' },
  { name: 'package-results', person: null, path: '/packages/code-review?tab=results' },
  { name: 'package-unknown', person: null, path: '/packages/nothing-like-it' },
  { name: 'prices', person: null, path: '/credits' },
  { name: 'credits', person: 'plus-user', path: '/credits', isShown: true },
  { name: 'credits-of-member', person: 'acme-owner', path: '/credits' },
  { name: 'credits-history', person: 'plus-user', path: '/credits?tab=history' },
  { name: 'credits-buy', person: 'plus-user', path: '/credits?buy=small' },
  { name: 'credits-plan', person: 'plus-user', path: '/credits?tab=subscription' },
  { name: 'credits-offer', person: 'free-user', path: '/credits?subscribe=yes' },
  { name: 'credits-unpaid', person: 'plus-user', path: '/credits?canceled=yes' },
  { name: 'credits-gone', person: 'plus-user', path: '/credits?checkout=cs_unknown' },
  { name: 'account', person: 'plus-user', path: '/account' },
  {
    name: 'account-token',
    person: 'plus-user',
    path: '/account',
    act: async (page) => {
      await page.getByRole('button', { name: 'New token' }).click();
      await page.getByLabel('What it is for').waitFor();
    },
  },
  {
    name: 'account-erase',
    person: 'acme-owner',
    path: '/account',
    act: async (page) => {
      await page.getByRole('button', { name: 'See what would be lost' }).click();
      await page.getByLabel(/^Type acme-owner/).waitFor();
    },
  },
  {
    name: 'compare',
    person: 'plus-user',
    path: '/playground?package=code-review&compare=2&baseline2=true&input=if%20(a%20%3D%20b)%20return',
  },
  {
    name: 'compared',
    isShown: true,
    person: 'plus-user',
    path: '/playground?package=code-review&compare=3&baseline2=true&package3=test-writer&model3=gpt-4o',
    act: async (page) => {
      await run(page, 'if (retries == 3) retry(job)');
      await page.getByText('Cost and time').waitFor();
    },
  },
  { name: 'author-none', person: 'plus-user', path: '/author' },
  { name: 'author', person: 'acme-owner', path: '/author' },
  { name: 'author-package', person: 'acme-owner', path: '/author?package=house-style' },
  { name: 'author-inputs', person: 'acme-owner', path: '/author?package=house-style&tab=inputs' },
  { name: 'author-settings', person: 'acme-owner', path: '/author?package=house-style&tab=settings' },
  {
    name: 'author-publish',
    person: 'acme-owner',
    path: '/author?package=house-style',
    act: async (page) => {
      await page.getByRole('button', { name: 'New version' }).click();
      await page.getByRole('textbox', { name: 'Prompt' }).waitFor();
    },
  },
  { name: 'not-found', person: null, path: '/nothing-here', refusals: [404] },
];
