// `npm run prices:sync`: the price book against genai-prices; --apply brings it up to date, from --at <instant> or now.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { calcPrice } from '@pydantic/genai-prices';
import postgres from 'postgres';
import { z } from 'zod';
import { explainConnectionError } from '../database/connection.ts';

/** US dollars per million tokens, as decimal text; null where there is no price of its own, and input's holds. */
const price = z.object({
  input: z.string(),
  cached_read: z.string().nullable(),
  cache_write: z.string().nullable(),
  output: z.string(),
});
type Price = z.infer<typeof price>;

const enabledModel = z.object({
  alias: z.string(),
  provider: z.string(),
  provider_model: z.string(),
  is_operators_own: z.boolean(),
  max_request_tokens: z.number(),
});
const changedRow = price.extend({ source: z.string(), valid_from: z.string() });

export type SyncedModel = {
  model: string;
  /** changed: would be or was; kept: an operator's own price; unknown: genai-prices has none that we could take. */
  state: 'same' | 'changed' | 'kept' | 'unknown';
  /** For a person. */
  line: string;
};

export type SyncOptions = {
  /** False, the default, changes nothing. */
  apply?: boolean;
  /** From when new prices hold, ISO 8601. Default: now. One that has passed is refused (PR400). */
  at?: string;
};

/**
 * Compares the price of each enabled model with genai-prices and, with `apply`, ends the rows that differ and adds new ones,
 * all or none. An operator's own price is never touched. Spec 1.4.
 */
export async function syncPrices(sql: postgres.Sql, { apply = false, at }: SyncOptions = {}): Promise<SyncedModel[]> {
  const instant = at ?? null;
  const models = z.array(enabledModel).parse(
    await sql`
      select
        m.alias, m.provider, m.provider_model, s.max_request_tokens,
        exists (
          select from public.model_prices p
          where p.model = m.alias and p.source = 'operator'
            and p.valid @> coalesce(${instant}::timestamptz, now() + s.clock_offset)
        ) as is_operators_own
      from public.models m, public.settings s
      where m.enabled
      order by m.is_default desc, m.alias`,
  );
  return await sql.begin(async (transaction) => {
    const synced: SyncedModel[] = [];
    for (const model of models) synced.push(await syncModel(transaction, model, apply, instant));
    return synced;
  });
}

async function syncModel(
  sql: postgres.TransactionSql,
  { alias: model, provider, provider_model, is_operators_own, max_request_tokens }: z.infer<typeof enabledModel>,
  apply: boolean,
  at: string | null,
): Promise<SyncedModel> {
  const found = findPrice(provider, provider_model, max_request_tokens, at === null ? new Date() : new Date(at));
  if ('problem' in found) return { model, state: 'unknown', line: `${found.problem}; enter a price by hand` };
  const { listed, id } = found;
  if (is_operators_own) {
    return { model, state: 'kept', line: `an operator's own price, left as it is; ${id}: ${show(listed)}` };
  }
  const rows = z.array(changedRow).parse(
    await sql`
      select
        p.input::text, p.cached_read::text, p.cache_write::text, p.output::text, p.source,
        to_char(lower(p.valid) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as valid_from
      from ops.publish_prices(
        ${model}, ${at}::timestamptz,
        ${listed.input}::numeric, ${listed.cached_read}::numeric, ${listed.cache_write}::numeric, ${listed.output}::numeric,
        ${source}, 'npm run prices:sync', ${!apply}
      ) p`,
  );
  const added = rows.at(-1);
  if (added === undefined) return { model, state: 'same', line: `as listed for ${id}: ${show(listed)}` };
  const ended = rows.length > 1 ? rows[0] : undefined;
  const before = ended === undefined ? 'no price' : `${show(ended)} (${ended.source})`;
  return { model, state: 'changed', line: `${before} → ${show(added)}, from ${added.valid_from}` };
}

type Found = { listed: Price; id: string } | { problem: string };

/** The package's price for a model at a time, under the id that the package knows it by. */
function findPrice(provider: string, model: string, largestRequest: number, timestamp: Date): Found {
  const found = calcPrice({ input_tokens: 1, output_tokens: 1 }, model, { providerId: provider, timestamp });
  if (found === null) return { problem: `genai-prices does not know ${model} of ${provider}` };
  const { input_mtok, cache_read_mtok, cache_write_mtok, output_mtok } = found.model_price;
  const kinds = [input_mtok, cache_read_mtok, cache_write_mtok, output_mtok];
  const reachable = kinds.some(
    (kind) => typeof kind === 'object' && kind.tiers.some(({ start }) => start <= largestRequest),
  );
  if (reachable) return { problem: `${found.model.id} has a price by size that a request can reach` };
  const [input, cached_read, cache_write, output] = kinds.map(decimal);
  if (input == null || output == null)
    return { problem: `genai-prices has no whole price for ${model} of ${provider}` };
  return {
    listed: { input, cached_read: cached_read ?? null, cache_write: cache_write ?? null, output },
    id: found.model.id,
  };
}

/** JavaScript writes the shortest decimal that means the same float, which is the one that was meant. */
function decimal(kind: number | { base: number } | undefined): string | null {
  if (kind === undefined) return null;
  return String(typeof kind === 'number' ? kind : kind.base);
}

function show({ input, cached_read, cache_write, output }: Price): string {
  return `input ${input}, cached read ${cached_read ?? 'as input'}, cache write ${cache_write ?? 'as input'}, output ${output}`;
}

const source = `genai-prices ${packageVersion()}`;

/** Its package.json is not among its exports, but lies above its entry. */
function packageVersion(): string {
  const entry = createRequire(import.meta.url).resolve('@pydantic/genai-prices');
  const manifest: unknown = JSON.parse(readFileSync(join(dirname(entry), '..', 'package.json'), 'utf8'));
  return z.object({ version: z.string() }).parse(manifest).version;
}

async function main(url: string | undefined, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { apply: { type: 'boolean', default: false }, at: { type: 'string' } },
  });
  if (!url) throw new Error('Set DATABASE_URL (or MIGRATE_DATABASE_URL) to the database whose prices to compare.');
  if (values.at !== undefined && Number.isNaN(Date.parse(values.at))) {
    throw new Error(`--at takes an instant such as 2026-01-31T00:00:00Z, not "${values.at}".`);
  }
  const sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  try {
    const at = values.at === undefined ? {} : { at: new Date(values.at).toISOString() };
    const synced = await syncPrices(sql, { apply: values.apply, ...at });
    console.log(`US dollars per million tokens; ${source}.`);
    const width = Math.max(0, ...synced.map(({ model }) => model.length));
    for (const { model, state, line } of synced) console.log(`${model.padEnd(width)}  ${state.padEnd(7)}  ${line}`);
    const changed = synced.filter(({ state }) => state === 'changed').length;
    if (changed > 0) console.log(values.apply ? `Changed: ${changed}.` : `To change: ${changed}. --apply does it.`);
  } finally {
    await sql.end();
  }
}

if (import.meta.main) {
  const url = process.env.MIGRATE_DATABASE_URL || process.env.DATABASE_URL;
  await main(url, process.argv.slice(2)).catch((error: unknown) => {
    console.error(explainConnectionError(error, url ?? ''));
    process.exitCode = 1;
  });
}
