// People and their runs for the tests of reading: set up by calling what an operator and the server call.

import type postgres from 'postgres';
import { uuidv7 } from 'uuidv7';
import { moveClock } from '../harness/clock.ts';
import type { TestDatabase } from '../harness/database.ts';

type Ending = 'completed' | 'stopped' | 'failed';
export type Usage = { input: number; cached?: number; cacheWrite?: number; output: number };
export type Run = {
  session?: string | undefined;
  model?: string;
  usage?: Usage;
  ending?: Ending;
  question?: string;
  answer?: string;
  baseline?: boolean;
};

/**
 * A package that anyone can run. The product's clock then stands at noon on the tenth of next month, so that no window ends
 * by chance while tests run, and tests may move it. Returns the package's id.
 */
export async function publishPackage(database: TestDatabase): Promise<string> {
  const { owner } = database;
  await owner`
    update settings
    set clock_offset_allowed = true,
      clock_offset = (date_trunc('month', now() at time zone 'UTC') + interval '1 month 9 days 12 hours') at time zone 'UTC' - now()`;
  const author = await signUp(database, 'author');
  const [made] = await owner<{ id: string }[]>`
    insert into packages (name, author_id, latest_version) values ('notes', ${author}, '1.0.0') returning id`;
  if (!made) throw new Error('no package was made');
  await owner`
    insert into package_versions
      (package_id, version, prompt, tokens_o200k, tokens_cl100k, tokens_approximate, published_by)
    values (${made.id}, '1.0.0', 'Take notes.', 3, 3, 4, ${author})`;
  return made.id;
}

export async function signUp(database: TestDatabase, name: string): Promise<string> {
  const [made] = await database.ops<{ user_id: string }[]>`
    select user_id from ops.create_user(${`${name}@example.com`}, ${name})`;
  if (!made) throw new Error('no user was made');
  return made.user_id;
}

/** Lets a run in and leaves it running. Returns its id, or throws with the refusal. */
export async function begin(database: TestDatabase, user: string, run: Run = {}): Promise<string> {
  const [answer] = await database.app`
    select outcome, begun_run_id, refusal from api.begin_run(
      ${user}, ${uuidv7()}, 'notes', null, ${run.session ?? null}, ${run.model ?? 'gpt-4o-mini'}, ${run.baseline ?? false},
      100, 'o200k_base', null, null, null, null)`;
  if (answer?.outcome !== 'started') throw new Error(`not started: ${JSON.stringify(answer?.refusal)}`);
  return answer.begun_run_id;
}

/** Ends a running run. A failure without an answer delivered nothing. */
export async function settle(database: TestDatabase, user: string, id: string, run: Run = {}): Promise<void> {
  const ending = run.ending ?? 'completed';
  const { input, cached = 0, cacheWrite = 0, output } = run.usage ?? { input: 1000, output: 500 };
  const failed = ending === 'failed';
  await database.app`
    select from api.settle_run(
      ${user}, ${id}, ${ending}, true, ${input}, ${cached}, ${cacheWrite}, ${output}, false,
      ${run.question ?? 'What is this?'}, ${run.answer ?? (failed ? '' : 'A note.')}, ${failed ? 'provider_error' : null}, null, 100, 900)`;
}

export async function converse(database: TestDatabase, user: string, run: Run = {}): Promise<string> {
  const id = await begin(database, user, run);
  await settle(database, user, id, run);
  return id;
}

/** Moves the product's clock on, from where it is. */
export async function wait(database: TestDatabase, interval: string): Promise<void> {
  await moveClock(database.owner, interval);
}

/** A pack, bought and paid. Returns the purchase. */
export async function buy(database: TestDatabase, user: string, pack = 'small'): Promise<string> {
  const id = uuidv7();
  await database.owner`
    insert into purchases (user_id, id, pack, credits, price, created_at)
    select ${user}, ${id}, p.pack, p.credits, p.price, core.now() from packs p where p.pack = ${pack}`;
  await database.owner`
    select * from core.grant_purchase(${user}, ${id}, (select price from packs where pack = ${pack}), core.now())`;
  return id;
}

/** A paid month that began `days` ago. */
export async function subscribe(database: TestDatabase, user: string, days = 0): Promise<void> {
  await database.owner`
    insert into subscriptions (user_id, id, plan, status, paid_until, monthly_amount, created_at, updated_at)
    values (${user}, 'sub_1', 'prpm_plus_individual', 'active', core.now() + interval '30 days', 6, core.now(), core.now())
    on conflict do nothing`;
  await database.owner`
    select * from core.grant_period(${user}, 'sub_1', 'prpm_plus_individual',
      core.now() - make_interval(days => ${days}), core.now() + make_interval(days => ${30 - days}), 6, core.now())`;
  await database.owner`
    update users set prpm_plus_status = 'active', plan_tier = 'prpm_plus_individual',
      entitled_until = core.now() + make_interval(days => ${30 - days})
    where id = ${user}`;
}

/** The cleanest proof that nothing went wrong: what ops.audit_books() has to say, which should be nothing. */
export async function audit(sql: postgres.ISql): Promise<readonly postgres.Row[]> {
  return [...(await sql`select * from ops.audit_books()`)];
}
