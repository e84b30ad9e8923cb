// What the providers' consoles export as CSV, told apart by the columns: Anthropic's token and cost exports, OpenAI's
// completions usage and costs. Columns that are not named here are left alone.

/** One line of a file: what it says of one model on one day (UTC). Tokens of input are everything read. */
export type ExportLine = {
  day: string;
  model: string;
  tokens: Tokens | null;
  /** US dollars as decimal text. */
  dollars: string | null;
};
type Tokens = { input: bigint; cached: bigint; cacheWrite: bigint; output: bigint };

export type ExportFormat = {
  /** As `provider_usage.source` has it. */
  source: string;
  provider: string;
  /** Columns without which nothing can be read. */
  columns: readonly string[];
  /** Null for a line that says nothing, such as a day without use. Throws an Error that names column, value and what to do. */
  read(row: Row): ExportLine | null;
};

/** A line's fields by the names in the header. */
export type Row = { [column: string]: string };

const anthropicUsage: ExportFormat = {
  source: 'anthropic usage export',
  provider: 'anthropic',
  columns: [
    ...['usage_date_utc', 'model_version', 'usage_input_tokens_no_cache', 'usage_input_tokens_cache_read'],
    'usage_output_tokens',
  ],
  read(row) {
    const cached = count(row, 'usage_input_tokens_cache_read');
    const cacheWrite =
      count(row, 'usage_input_tokens_cache_write_5m') +
      count(row, 'usage_input_tokens_cache_write_1h') +
      count(row, 'usage_input_tokens_cache_write');
    const input = count(row, 'usage_input_tokens_no_cache') + cached + cacheWrite;
    const tokens = { input, cached, cacheWrite, output: count(row, 'usage_output_tokens') };
    return { day: dayOf(row, 'usage_date_utc'), model: modelOf(row, 'model_version'), tokens, dollars: null };
  },
};

const anthropicCost: ExportFormat = {
  source: 'anthropic cost export',
  provider: 'anthropic',
  columns: ['usage_date_utc', 'model', 'token_type', 'cost_usd'],
  read(row) {
    const dollars = amount(row, 'cost_usd');
    // What is no use of a model, such as searches, has none.
    const model = text(row, 'model') || text(row, 'cost_type') || text(row, 'usage_type') || 'without a model';
    return { day: dayOf(row, 'usage_date_utc'), model, tokens: null, dollars };
  },
};

const openaiUsage: ExportFormat = {
  source: 'openai usage export',
  provider: 'openai',
  columns: ['start_time', 'model', 'input_tokens', 'output_tokens'],
  read(row) {
    const input = count(row, 'input_tokens');
    const output = count(row, 'output_tokens');
    if (input === 0n && output === 0n && text(row, 'model') === '') return null;
    const tokens = {
      ...{ input, output },
      cached: count(row, 'input_cached_tokens'),
      cacheWrite: count(row, 'input_cache_write_tokens'),
    };
    return { day: dayOf(row, 'start_time'), model: modelOf(row, 'model'), tokens, dollars: null };
  },
};

const openaiCost: ExportFormat = {
  source: 'openai cost export',
  provider: 'openai',
  columns: ['start_time', 'amount_value', 'amount_currency', 'line_item'],
  read(row) {
    if (text(row, 'amount_value') === '') return null;
    const dollars = amount(row, 'amount_value');
    const currency = text(row, 'amount_currency');
    if (currency.toLowerCase() !== 'usd')
      throw bad('amount_currency', currency, 'is not usd; only dollars can be compared');
    const item = text(row, 'line_item');
    if (item === '') throw bad('line_item', item, 'is empty; export costs grouped by line item');
    return { day: dayOf(row, 'start_time'), ...partsOf(item, row), dollars };
  },
};

const exportFormats: readonly ExportFormat[] = [anthropicUsage, anthropicCost, openaiUsage, openaiCost];

/** The format that a header is of. Throws an Error that names what is missing, or what is known. */
export function findFormat(header: readonly string[]): ExportFormat {
  const present = new Set(header);
  const matches = exportFormats
    .map((format) => ({ format, missing: format.columns.filter((column) => !present.has(column)) }))
    .sort((a, b) => a.missing.length / a.format.columns.length - b.missing.length / b.format.columns.length);
  const [best] = matches;
  if (best?.missing.length === 0) return best.format;
  if (best !== undefined && best.missing.length <= best.format.columns.length / 2) {
    const { format, missing } = best;
    throw new Error(
      `This looks like the ${format.source}, but has no column ${missing.join(', ')}. It needs ${format.columns.join(', ')}.`,
    );
  }
  const known = exportFormats.map(({ source, columns }) => `the ${source} (${columns.join(', ')})`).join(', ');
  throw new Error(`These columns are of no export that is known here: ${header.join(', ')}. Known are ${known}.`);
}

/** `priority | gpt-4o-mini-2024-07-18, cached input, long context`: model, kind of token, and what else is said of the price. */
const LINE_ITEM = /^(?:[\w ]+ \| )?([^,|]+), (input|cached input|cache writes?|output)(?: tokens)?(?:,.*)?$/i;

function partsOf(item: string, row: Row): { model: string; tokens: Tokens | null } {
  const [, model, kind] = LINE_ITEM.exec(item.replaceAll('_', ' ')) ?? [];
  if (model === undefined || kind === undefined) return { model: item, tokens: null };
  if (text(row, 'quantity') === '') return { model, tokens: null };
  const tokens = { input: 0n, cached: 0n, cacheWrite: 0n, output: 0n };
  const quantity = count(row, 'quantity');
  if (/^output/i.test(kind)) tokens.output = quantity;
  else tokens.input = quantity;
  if (/^cached/i.test(kind)) tokens.cached = quantity;
  if (/^cache write/i.test(kind)) tokens.cacheWrite = quantity;
  return { model, tokens };
}

function text(row: Row, column: string): string {
  return (row[column] ?? '').trim();
}

function modelOf(row: Row, column: string): string {
  const model = text(row, column);
  if (model === '') throw bad(column, model, 'is empty; export usage grouped by model');
  return model;
}

/** A count of tokens; some exports write 3 as 3.0. A column that is not there, and an empty field, is 0. */
function count(row: Row, column: string): bigint {
  const value = text(row, column);
  const [, whole] = /^(\d{1,15})(?:\.0+)?$/.exec(value) ?? [];
  if (whole !== undefined) return BigInt(whole);
  if (value === '') return 0n;
  throw bad(column, value, 'is no count of tokens');
}

function amount(row: Row, column: string): string {
  const value = text(row, column);
  if (!/^-?\d{1,12}(\.\d+)?(e[-+]?\d{1,5})?$/i.test(value))
    throw bad(column, value, 'is no amount of dollars such as 12.34');
  return value;
}

/** A date, an instant in UTC, or seconds since 1970. */
function dayOf(row: Row, column: string): string {
  const value = text(row, column);
  const date = /^\d{4}-\d\d-\d\d/.exec(value)?.[0];
  const isUtc = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00(:?00)?)?)?$/.test(value);
  if (date !== undefined && isUtc && !Number.isNaN(Date.parse(date))) return date;
  if (/^\d{9,10}$/.test(value)) return new Date(Number(value) * 1_000).toISOString().slice(0, 10);
  throw bad(column, value, 'is no day in UTC such as 2026-01-15, and no seconds since 1970');
}

function bad(column: string, value: string, what: string): Error {
  return new Error(`${column} "${value.slice(0, 40)}" ${what}.`);
}
