// `npm run costs:import -- FILE.csv … [--provider NAME] [--reason TEXT] [--dry-run]`: what a provider's console exported,
// into provider_usage, where ops.provider_drift holds it against the books. Spec 7.1.
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import type { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import { CsvError, parse } from 'csv-parse';
import postgres from 'postgres';
import { z } from 'zod';
import { explainConnectionError } from '../database/connection.ts';
import { type ExportFormat, findFormat, type Row } from './exports.ts';
import { createSums, type Entry } from './sums.ts';

const USAGE = 'npm run costs:import -- FILE.csv … [--provider anthropic|openai] [--reason TEXT] [--dry-run]';

const entered = z.object({
  period: z.string(),
  provider_model: z.string(),
  model: z.string().nullable(),
  change: z.enum(['new', 'changed', 'same', 'taken back', 'none']),
});
export type Entered = z.infer<typeof entered>;
export type Imported = { source: string; lines: number; entered: Entered[] };
export type ImportOptions = { reason: string; provider?: string | undefined; isDryRun?: boolean };

/** Reads a file as it comes and enters its sums by day and model, all or none; the same file again changes nothing. */
export async function importExport(sql: postgres.Sql, csv: Readable, options: ImportOptions): Promise<Imported> {
  const { format, lines, entries } = await readExport(csv, options.provider);
  const rows = await sql`
    select period, provider_model, model, change
    from ops.import_provider_usage(
      ${format.provider}, ${format.source}, ${sql.json(entries)}, ${options.reason}, ${options.isDryRun ?? false}
    )`;
  return { source: format.source, lines, entered: z.array(entered).parse([...rows]) };
}

type Read = { format: ExportFormat; lines: number; entries: Entry[] };

/** Throws an Error that names the line, the column and what is wrong with it. */
async function readExport(csv: Readable, provider: string | undefined): Promise<Read> {
  let format: ExportFormat | undefined;
  let line = 1;
  let lines = 0;
  const sums = createSums();
  const columns = (header: string[]) => {
    const names = header.map((name) => name.trim());
    format = findFormat(names);
    if (provider !== undefined && provider !== format.provider)
      throw new Error(`This is the ${format.source}, not one of ${provider}.`);
    return names;
  };
  const rows = csv.pipe(
    parse({ columns, info: true, bom: true, skip_empty_lines: true, skip_records_with_empty_values: true }),
  );
  csv.once('error', (error) => rows.destroy(error));
  try {
    for await (const { record, info } of rows as AsyncIterable<{ record: Row; info: { lines: number } }>) {
      line = info.lines;
      const read = format?.read(record);
      lines += 1;
      if (read != null) sums.add(read);
    }
  } catch (error) {
    if (error instanceof CsvError) throw new Error(`It is no CSV: ${error.message}`, { cause: error });
    if (error instanceof Error && !('code' in error))
      throw new Error(`Line ${line}: ${error.message}`, { cause: error });
    throw error;
  }
  if (format === undefined) throw new Error('It is empty.');
  return { format, lines, entries: sums.entries() };
}

/** What was entered, for a person: a line for each model, those that are none of ours last. */
function describe({ source, lines, entered }: Imported, isDryRun: boolean): string[] {
  const models = Map.groupBy(entered, ({ provider_model }) => provider_model);
  const told = [...models].map(([name, rows]) => {
    const days = rows.map(({ period }) => period).sort();
    const changes = Object.entries(Object.groupBy(rows, ({ change }) => change)).map(
      ([change, some]) => `${some?.length} ${change}`,
    );
    const model = rows[0]?.model ?? null;
    const ours = model === null ? 'none of ours' : model;
    return { isOurs: model !== null, line: `  ${name} (${ours}), ${days[0]} to ${days.at(-1)}: ${changes.join(', ')}` };
  });
  const unknown = told.filter(({ isOurs }) => !isOurs);
  return [
    `${source}: ${lines} lines, ${entered.length} days of models${isDryRun ? '; nothing was kept' : ''}.`,
    ...told.filter(({ isOurs }) => isOurs).map(({ line }) => line),
    ...(unknown.length > 0 ? ['Kept apart, for models has no such provider_model:'] : []),
    ...unknown.map(({ line }) => line),
  ];
}

async function main(url: string | undefined, args: string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      provider: { type: 'string' },
      reason: { type: 'string' },
      'dry-run': { type: 'boolean', default: false },
    },
  });
  if (positionals.length === 0) throw new Error(`Name a file: ${USAGE}`);
  if (!url)
    throw new Error("Set DATABASE_URL to the operator's database, postgres://prpm_ops:PASSWORD@HOST:PORT/DATABASE.");
  const { provider, 'dry-run': isDryRun } = values;
  const sql = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 10 });
  try {
    for (const file of positionals) {
      const reason = values.reason ?? `import of ${basename(file)}`;
      const imported = await importExport(sql, createReadStream(file), { reason, provider, isDryRun }).catch(
        (error: unknown) => {
          throw error instanceof Error ? new Error(`${basename(file)}: ${error.message}`, { cause: error }) : error;
        },
      );
      for (const line of describe(imported, isDryRun)) console.log(line);
    }
    if (!isDryRun) console.log('Compare: select * from ops.provider_drift;');
  } finally {
    await sql.end();
  }
}

if (import.meta.main) {
  const url = process.env.DATABASE_URL;
  await main(url, process.argv.slice(2)).catch((error: unknown) => {
    console.error(explainConnectionError(error, url ?? ''));
    process.exitCode = 1;
  });
}
