// Who lives in the demo. Handles, not names: they stand for kinds of people.

export type Habits = {
  /** Conversations on a working day; on other days a third. */
  perDay: number;
  /** Drawn from with equal chance, so a model that stands twice is taken twice as often. Null: the default. */
  models: readonly (string | null)[];
  packages: readonly string[];
  /** How many of a package's suggested inputs go into one question, at most. */
  pieces: number;
  /** From which day of the history on, and up to which day before today. */
  from?: number;
  until?: number;
};

export type Person = {
  username: string;
  email: string;
  about: string;
  /** Shown on the screen, with a token. */
  isShown?: true;
  isAdmin?: true;
  tier?: string;
  plan?: 'prpm_plus_individual' | 'prpm_plus_org_member';
  /** Days ago that their present billing period began. */
  renewed?: number;
  /** Role in the organization acme. */
  acme?: 'owner' | 'admin' | 'maintainer' | 'member';
  /** Credits that an operator gave them, and why. */
  gift?: { credits: number; reason: string };
  /** A pack bought at that day of the history. */
  pack?: { name: string; onDay: number };
  /** Days ago that they signed up; the first day of the history if left out. */
  joined?: number;
  habits?: Habits;
};

const coding = ['code-review', 'test-writer', 'refactor-planner', 'commit-message'];
const writing = ['plain-language', 'meeting-notes', 'api-doc-writer'];
const operating = ['incident-summary', 'sql-explainer', 'regex-builder'];

export const people: readonly Person[] = [
  {
    username: 'free-user',
    email: 'user@example.com',
    about: 'free tier, sign-up credits, nothing used yet',
    isShown: true,
    joined: 1,
  },
  {
    username: 'plus-user',
    email: 'plus@example.com',
    about: 'PRPM+ individual',
    isShown: true,
    plan: 'prpm_plus_individual',
    renewed: 5,
    habits: { perDay: 1.2, models: [null, null, 'gpt-4o', 'opus'], packages: coding, pieces: 3 },
  },
  {
    username: 'acme-owner',
    email: 'owner@acme.example',
    about: 'owner of organization acme, PRPM+ at the organization price',
    isShown: true,
    plan: 'prpm_plus_org_member',
    renewed: 4,
    acme: 'owner',
    habits: { perDay: 0.6, models: [null, 'gpt-4o-mini'], packages: ['house-style', ...writing], pieces: 2 },
  },
  { username: 'admin', email: 'admin@example.com', about: 'administrator', isShown: true, isAdmin: true },

  { username: 'prpm', email: 'author@example.com', about: 'author of the packages' },
  {
    username: 'acme-writer',
    email: 'writer@acme.example',
    about: 'writes help pages',
    plan: 'prpm_plus_org_member',
    renewed: 4,
    acme: 'maintainer',
    habits: { perDay: 1.5, models: [null, 'gpt-4o-mini', 'gpt-4o'], packages: ['house-style', ...writing], pieces: 3 },
  },
  {
    username: 'acme-support',
    email: 'support@acme.example',
    about: 'answers customers; no paid plan',
    acme: 'member',
    habits: { perDay: 0.2, models: ['gpt-4o-mini', null], packages: ['house-style', 'incident-summary'], pieces: 1 },
  },
  {
    username: 'night-shift',
    email: 'night-shift@example.com',
    about: 'on call, uses it most',
    plan: 'prpm_plus_individual',
    renewed: 6,
    habits: { perDay: 2.2, models: [null, null, null, 'gpt-4o'], packages: [...operating, ...coding], pieces: 3 },
  },
  {
    username: 'data-team',
    email: 'data-team@example.com',
    about: 'a partner without limits',
    tier: 'unlimited',
    gift: { credits: 600, reason: 'partner' },
    habits: { perDay: 1.5, models: ['gpt-4o', 'opus', 'gpt-4-turbo', null], packages: operating, pieces: 3 },
  },
  {
    username: 'pilot-user',
    email: 'pilot@example.com',
    about: 'free tier with a voucher, likes the dearest model',
    gift: { credits: 250, reason: 'voucher of a talk' },
    habits: { perDay: 1.6, models: ['opus', 'gpt-4-turbo'], packages: coding, pieces: 8 },
  },
  {
    username: 'pack-buyer',
    email: 'pack-buyer@example.com',
    about: 'no plan, bought a pack',
    pack: { name: 'small', onDay: 9 },
    habits: { perDay: 0.8, models: [null, 'gpt-4o'], packages: [...writing, ...coding], pieces: 3, from: 8 },
  },
  ...['first-timer', 'tinkerer', 'passer-by', 'newsletter-desk', 'weekend-coder'].map(
    (username, i): Person => ({
      username,
      email: `${username}@example.com`,
      about: 'free tier',
      joined: 30 - 4 * i,
      habits: {
        perDay: 0.5,
        models: [null, 'gpt-4o-mini'],
        packages: i % 2 === 0 ? writing : coding,
        pieces: 1,
        from: 8 + 4 * i,
      },
    }),
  ),
];

export const organization = 'acme';
/** Whom the guide's commands act as. */
export const testUser = 'free-user';
export const administrator = 'admin';
/** Who publishes a package that names no organization. */
export const author = 'prpm';
export const organizationOwner = 'acme-owner';
