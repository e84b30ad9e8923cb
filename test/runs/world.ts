// A small world for tests of money: people, packages, models and prices made by what a user or an operator calls, and a
// clock that is data. What a test changes in limits and settings is put back before the next one.
import { createHash, randomUUID } from 'node:crypto';
import type postgres from 'postgres';
import { uuidv7 } from 'uuidv7';
import { afterAll, afterEach, beforeEach, expect } from 'vitest';
import { createDatabase, type TestDatabase } from '../harness/database.ts';

/** Noon of a Wednesday in the middle of a month: no window ends by itself while a test goes on. */
const noon = '2031-03-12T12:30:10Z';

/** Tokens that package `plain` and the format of a chat add to the caller's own. */
const overhead = 100;

type Refusal = {
  code: string;
  status: number;
  message: string;
  limit?: number;
  used?: number;
  held?: number;
  unit?: string;
  retry_at?: string;
  retry_after?: number;
  required_credits?: number;
  available_credits?: number;
  purchase_url?: string;
  details?: Record<string, unknown>;
};

export type Begun = {
  outcome: 'started' | 'refused' | 'known' | 'template';
  begun_run_id: string;
  begun_session_id: string;
  run_status: string;
  refusal: Refusal | null;
  output_cap: number;
  hold_credits: number;
  available_credits: number;
  version: string;
  system_prompt: string | null;
  history: { role: string; content: string }[] | null;
  estimated_input: number;
  held_input: number;
  history_tokens: number | null;
  dropped_exchanges: number | null;
  rate_limit: number | null;
  rate_remaining: number | null;
  rate_reset: number | null;
};

type Window = { limit: string | number | null; used: string | number; resets_at: string };

export type Receipt = {
  run_id: string;
  status: string;
  credits_spent: number;
  credits_by_kind: Record<string, number>;
  shortfall: number;
  credits_remaining: number;
  tokens_used: number;
  tokens: { input: number; cached: number; cache_write: number; output: number };
  estimated: boolean;
  cost: string;
  error: string | null;
  paid_by_purchased_only: boolean;
  refunded_at: Date | null;
  history_tokens: number | null;
  request_limit: number | null;
  dropped_exchanges: number | null;
  limits: { tier: string; hourly: Window; daily: Window; monthly: Window };
};

/** The database's core.receipt as the driver gives it: bigint and numeric as text. */
export type ReceiptRow = Omit<
  Receipt,
  'tokens' | 'tokens_used' | 'limits' | 'credits_spent' | 'shortfall' | 'credits_remaining'
> & {
  [count in 'credits_spent' | 'shortfall' | 'credits_remaining']: string;
} & { [count in 'input_tokens' | 'cached_tokens' | 'cache_write_tokens' | 'output_tokens' | 'hourly_used']: number } & {
  [limit in 'hourly_limit' | 'daily_limit' | 'monthly_limit']: number | string | null;
} & { tier: string; daily_used: string; monthly_used: string } & {
  [end in 'hour_ends_at' | 'day_ends_at' | 'month_ends_at']: Date;
};

export function receiptOf(row: ReceiptRow): Receipt {
  const [input, cached, cache_write, output] = [
    row.input_tokens,
    row.cached_tokens,
    row.cache_write_tokens,
    row.output_tokens,
  ];
  return {
    ...row,
    credits_spent: Number(row.credits_spent),
    shortfall: Number(row.shortfall),
    credits_remaining: Number(row.credits_remaining),
    tokens_used: input + output,
    tokens: { input, cached, cache_write, output },
    limits: {
      tier: row.tier,
      hourly: { limit: row.hourly_limit, used: row.hourly_used, resets_at: row.hour_ends_at.toISOString() },
      daily: { limit: row.daily_limit, used: row.daily_used, resets_at: row.day_ends_at.toISOString() },
      monthly: { limit: row.monthly_limit, used: row.monthly_used, resets_at: row.month_ends_at.toISOString() },
    },
  };
}

/** What is asked for; the caller's own text has `tokens` tokens, exact by the tokenizer of model `plain`. */
type Asked = Partial<{
  run: string;
  package: string;
  version: string | null;
  session: string | null;
  model: string | null;
  baseline: boolean;
  tokens: number;
  counted: string;
  wish: number | null;
  custom: number | null;
  key: string | null;
  request: string;
  history: string | null;
}>;

/** A side of a comparison. */
export type Side = {
  package?: string;
  version?: string;
  session?: string | null;
  model?: string;
  baseline?: boolean;
  tokens?: number;
  custom?: number;
  /** Tokens of its prompt, filled in. */
  prompt?: number;
  history?: 'fit';
};
type Together = Partial<{ id: string; runs: string[]; wish: number | null; key: string; request: string }>;
/** `id` null: nothing was begun. `side` null: all together were refused. */
type BegunSide = { id: string | null; side: number | null; begun: Begun };

/** The sides as the server sends them. */
const sidesAsJson = (sides: Side[]) =>
  sides.map((side) => ({
    ...{ package: side.package ?? 'plain', package_version: side.version ?? null, session_id: side.session ?? null },
    ...{ model: side.model ?? 'plain', use_no_prompt: side.baseline ?? false, input_tokens: side.tokens ?? 400 },
    ...{ counted_with: 'o200k_base', custom_prompt_tokens: side.custom ?? null, prompt_tokens: side.prompt ?? null },
    ...{ history: side.history ?? null },
    ...(side.prompt === undefined ? {} : { variables: {} }),
  }));

/** What the provider did. `input` null: its report was lost. */
type Ended = Partial<{
  ending: string;
  called: boolean;
  input: number | null;
  cached: number;
  cacheWrite: number;
  output: number;
  estimated: boolean;
  answer: string;
  error: string | null;
}>;

type Figures = {
  balance: number;
  free: number;
  held: number;
  month: string;
  month_limited: string;
  month_held: string;
  day: string;
  day_limited: string;
  day_held: string;
  hour: number;
  lifetime: string;
  is_throttled: boolean;
  throttled_by: string | null;
  throttled_reason: string | null;
  throttled_until: Date | null;
};

/** Opens a database of the calling test file's own. After each of its tests the books must balance. */
export async function openWorld() {
  const world = buildWorld(await createDatabase());
  await world.furnish();
  beforeEach(world.putBack);
  afterEach(world.expectBalance);
  afterAll(world.close);
  return world;
}

export function buildWorld(database: TestDatabase) {
  const { owner, app, ops } = database;
  const author = { id: '' };
  let people = 0;
  let kept: postgres.Row[] = [];

  async function furnish() {
    await at(noon);
    await ops`update cost_limits_config set minute_request_limit = null`;
    await ops`
      insert into models (alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer)
      values
        ('plain', 'openai', 'plain-1', 1, 16384, 128000, 'o200k_base'),
        ('cached', 'anthropic', 'cached-1', 1, 16384, 128000, 'o200k_base'),
        ('vague', 'anthropic', 'vague-1', 1, 16384, 128000, 'approximate')`;
    await ops`
      insert into model_prices (model, valid, input, cached_read, cache_write, output)
      select m, tstzrange('2025-01-01', null), 10, 1, case when m = 'cached' then 12.5 end, 20
      from unnest(array['plain', 'cached', 'vague']) m`;
    author.id = await person();
    await publish(author.id, 'plain', '1.0.0');
    await owner`create schema kept`;
    kept = await owner`
      select tier_name, monthly_cost_limit, daily_cost_limit, hourly_request_limit, minute_request_limit, throttle_on_exceed, is_active
      from cost_limits_config`;
    await owner`create table kept.settings as table settings`;
  }

  /** Noon again, and limits and settings as they came, but for the attempts a minute, which only their own tests limit. */
  async function putBack() {
    await owner`delete from settings`;
    await owner`insert into settings select * from kept.settings`;
    for (const { tier_name, ...limits } of kept) {
      await owner`update cost_limits_config set ${owner(limits)} where tier_name = ${tier_name}`;
    }
    await at(noon);
  }

  async function expectBalance() {
    expect(await ops`select * from ops.audit_books()`).toEqual([]);
  }

  /** Sets the product's clock to an instant; it goes on from there. */
  async function at(instant: string) {
    await ops`
      update settings
      set clock_offset = make_interval(secs => extract(epoch from ${instant}::timestamptz - now())::float8)`;
  }

  /** Moves the product's clock on. */
  async function pass(interval: string) {
    await ops`
      update settings
      set clock_offset = clock_offset + make_interval(secs => extract(epoch from ${interval}::interval)::float8)`;
  }

  /** A person with so many sign-up credits. */
  async function person(given: { credits?: number; tier?: string; verifiedAuthor?: boolean } = {}): Promise<string> {
    people += 1;
    const name = `person${people}`;
    if (given.credits !== undefined) await ops`update settings set signup_credits = ${given.credits}`;
    const [made] = await ops<{ user_id: string }[]>`
      select user_id from ops.create_user(${`${name}@example.com`}, ${name})`;
    if (given.credits !== undefined) await ops`update settings set signup_credits = default`;
    const id = made?.user_id ?? '';
    if (given.tier !== undefined || given.verifiedAuthor) {
      await ops`
        select from ops.set_user(${id}, tier_override => ${given.tier ?? null},
          verified_author => ${given.verifiedAuthor ?? null}, reason => 'test')`;
    }
    return id;
  }

  /** Publishes a version whose prompt, with the format of a chat, adds `overhead` tokens. */
  async function publish(
    by: string,
    name: string,
    version: string,
    more: { visibility?: string; organization?: string; tokens?: number } = {},
  ) {
    const tokens = more.tokens ?? overhead - 11;
    await app`
      select from api.publish_version(${by}, ${name}, 'For tests', '{}', ${more.visibility ?? 'public'},
        ${more.organization ?? null}, ${version}, ${`Prompt of ${name} ${version}`}, ${tokens}, ${tokens}, ${tokens})`;
  }

  async function begin(user: string, asked: Asked = {}): Promise<Begun> {
    const key = asked.key ?? null;
    const [row] = await app<Begun[]>`
      select * from api.begin_run(
        user_id => ${user}, run_id => ${asked.run ?? newId()}, package => ${asked.package ?? 'plain'},
        package_version => ${asked.version ?? null}, session_id => ${asked.session ?? null},
        model => ${asked.model === undefined ? 'plain' : asked.model}, use_no_prompt => ${asked.baseline ?? false},
        input_tokens => ${asked.tokens ?? 400}, counted_with => ${asked.counted ?? 'o200k_base'},
        max_output_tokens => ${asked.wish ?? null}, custom_prompt_tokens => ${asked.custom ?? null},
        idempotency_key => ${key}, request_hash => ${key === null ? null : hash(asked.request ?? 'request')},
        history_mode => ${asked.history ?? null})`;
    if (row === undefined) throw new Error('begin_run answers one row');
    return { ...row, hold_credits: Number(row.hold_credits), available_credits: Number(row.available_credits) };
  }

  async function compare(user: string, sides: Side[], more: Together = {}, sql: postgres.ISql = app) {
    const key = more.key ?? null;
    return sql<BegunSide[]>`
      select begun_comparison_id as id, side, to_json(begun) as begun
      from api.begin_comparison(
        ${user}, ${more.id ?? uuidv7()}, ${more.runs ?? sides.map(() => uuidv7())}::uuid[], ${sql.json(sidesAsJson(sides))},
        ${more.wish ?? null}, ${key}, ${key === null ? null : hash(more.request ?? 'request')})
      order by side`;
  }

  async function estimateComparison(user: string, sides: Side[], wish: number | null = null) {
    const [row] = await app`
      select api.estimate_comparison(
        ${user}, ${sides.map(() => uuidv7())}::uuid[], ${app.json(sidesAsJson(sides))}, ${wish}
      ) as estimate`;
    return row?.estimate;
  }

  /** Begins a run that must be let in. */
  async function start(user: string, asked: Asked = {}): Promise<Begun> {
    const begun = await begin(user, asked);
    expect(begun.refusal).toBeNull();
    expect(begun.outcome).toBe('started');
    return begun;
  }

  /** Begins a run that must be refused. */
  async function refusal(user: string, asked: Asked = {}): Promise<Refusal> {
    const begun = await begin(user, asked);
    expect(begun.outcome).toBe('refused');
    if (begun.refusal === null) throw new Error('a refusal says why');
    return begun.refusal;
  }

  async function settle(user: string, run: string, ended: Ended = {}): Promise<Receipt> {
    const [row] = await app<ReceiptRow[]>`
      select * from api.settle_run(${user}, ${run}, ${ended.ending ?? 'completed'}, ${ended.called ?? true},
        ${ended.input === undefined ? 500 : ended.input}, ${ended.cached ?? 0}, ${ended.cacheWrite ?? 0},
        ${ended.output ?? 500}, ${ended.estimated ?? false}, 'question', ${ended.answer ?? 'answer'},
        ${ended.error ?? null}, null, 10, 20)`;
    if (row === undefined) throw new Error('settle_run answers one row');
    return receiptOf(row);
  }

  async function release(user: string, run: string, ended: Ended = {}): Promise<Receipt> {
    const [row] = await app<ReceiptRow[]>`
      select * from api.release_run(${user}, ${run}, ${ended.called ?? true},
        ${ended.input === undefined ? 500 : ended.input}, ${ended.cached ?? 0}, ${ended.cacheWrite ?? 0},
        ${ended.output ?? 0}, 'question', ${ended.error ?? 'provider_unavailable'}, null, 20)`;
    if (row === undefined) throw new Error('release_run answers one row');
    return receiptOf(row);
  }

  async function checkpoint(user: string, run: string, output: number, answer = 'so far', input: number | null = null) {
    const [row] = await app<{ status: string | null; stop_requested: boolean }[]>`
      select * from api.checkpoint_run(${user}, ${run}, 'question', ${answer}, ${output}, ${input}, null, null)`;
    return row;
  }

  async function readRun(user: string, run: string): Promise<Receipt | undefined> {
    const [row] = await app<ReceiptRow[]>`select (receipt).* from api.read_run(${user}, ${run})`;
    return row && receiptOf(row);
  }

  async function expireHolds(): Promise<number> {
    const [row] = await ops`select ops.expire_holds() as ended`;
    return row?.ended;
  }

  /** Runs one in the given model and settles it at once. */
  async function run(user: string, asked: Asked = {}, ended: Ended = {}): Promise<Receipt> {
    const { begun_run_id } = await start(user, asked);
    return settle(user, begun_run_id, ended);
  }

  async function grant(user: string, amount: number, expires = 'infinity') {
    await ops`select from ops.grant_credits(${user}, ${amount}, 'test', ${expires}::text::timestamptz)`;
  }

  async function revoke(user: string, amount: number) {
    return ops`select kind, taken from ops.revoke_credits(${user}, ${amount}, 'test')`;
  }

  /** A pack bought and, unless it is to be paid later, paid. Returns the purchase's id. */
  async function buy(user: string, pack = 'small', paid = true): Promise<string> {
    const id = newId();
    await owner`
      insert into purchases (user_id, id, pack, credits, price, created_at)
      select ${user}, ${id}, p.pack, p.credits, p.price, core.now() from packs p where p.pack = ${pack}`;
    if (paid) await pay(user, id);
    return id;
  }

  async function pay(user: string, purchase: string) {
    await owner`
      select core.grant_purchase(p.user_id, p.id, p.price, core.now())
      from purchases p where p.user_id = ${user} and p.id = ${purchase}`;
  }

  /** Makes a purchase's refunds so many dollars in all. */
  async function refund(user: string, purchase: string, total: number): Promise<number> {
    const [row] = await owner`select core.apply_refund(${user}, ${purchase}, ${total}, core.now()) as taken`;
    return Number(row?.taken);
  }

  async function purchase(user: string, id: string) {
    const [row] = await owner`
      select status, credits_taken_back::int as taken_back, shortfall::int
      from purchases where user_id = ${user} and id = ${id}`;
    return { ...row };
  }

  /** Grants the billing period from one instant to another, as of now; paid when it began, or at `paidAt`. */
  async function period(user: string, from: string, to: string, plan = 'prpm_plus_individual', paidAt = from) {
    await owner`select core.grant_period(${user}, 'sub_1', ${plan}, ${from}, ${to}, 6.00, core.now(), ${paidAt})`;
  }

  /** Lots with credits left, in the order of spending: kind and what is left. */
  async function lots(user: string): Promise<[string, number][]> {
    const rows = await owner<{ kind: string; remaining: number }[]>`
      select kind, remaining::int from credit_lots
      where user_id = ${user} and remaining > 0
      order by core.spend_rank(kind), expires_at, created_at, id`;
    return rows.map(({ kind, remaining }) => [kind, remaining]);
  }

  async function transfers(user: string): Promise<[string, string, string, number][]> {
    const rows = await owner<{ type: string; debit: string; credit: string; amount: number }[]>`
      select type, debit, credit, amount::int from credit_transactions where user_id = ${user} order by id`;
    return rows.map(({ type, debit, credit, amount }) => [type, debit, credit, amount]);
  }

  /** The user's stored row, dollars as text without trailing zeros. */
  async function figures(user: string): Promise<Figures> {
    const [row] = await owner<Figures[]>`
      select (included_credits + purchased_credits)::int as balance, (held_included + held_purchased)::int as held,
        (included_credits + purchased_credits - held_included - held_purchased)::int as free,
        trim_scale(current_month_api_cost)::text as month, trim_scale(current_month_limited_cost)::text as month_limited,
        trim_scale(month_held_cost)::text as month_held, trim_scale(current_day_api_cost)::text as day,
        trim_scale(current_day_limited_cost)::text as day_limited, trim_scale(day_held_cost)::text as day_held,
        hour_requests as hour, trim_scale(lifetime_api_cost)::text as lifetime,
        is_throttled, throttled_by, throttled_reason, throttled_until
      from users where id = ${user}`;
    if (row === undefined) throw new Error('there is no such user');
    return row;
  }

  async function close() {
    await database.drop();
  }

  return {
    ...{
      owner,
      app,
      ops,
      author,
      furnish,
      putBack,
      expectBalance,
      at,
      pass,
      person,
      publish,
      begin,
      compare,
      estimateComparison,
      start,
      refusal,
      run,
    },
    ...{ settle, release, checkpoint, readRun, expireHolds, grant, revoke, buy, pay, refund, purchase, period },
    ...{
      lots,
      transfers,
      figures,
      close,
      appUrl: database.appUrl,
      ownerUrl: database.ownerUrl,
      name: database.name,
      superuserUrl: database.superuserUrl,
    },
  };
}

export const newId = () => randomUUID();

const hash = (text: string) => createHash('sha256').update(text).digest();
