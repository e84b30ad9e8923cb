// How much a browser loads before a page is there, against what it may: `node web/budget.ts`, one of the checks.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { buildPage } from './build.ts';

const dist = join(import.meta.dirname, 'dist');
const KB = 1_000;
/** Compressed with gzip, in bytes. The admin pages: what they load beyond the playground. */
const most = { script: 295 * KB, style: 40 * KB, admin: 165 * KB };

const chunksSchema = z.record(
  z.string(),
  z.object({
    file: z.string(),
    isEntry: z.boolean().optional(),
    imports: z.array(z.string()).optional(),
    dynamicImports: z.array(z.string()).optional(),
    css: z.array(z.string()).optional(),
  }),
);

await buildPage();
const chunks = chunksSchema.parse(JSON.parse(readFileSync(join(dist, '.vite/manifest.json'), 'utf8')));
const entry = Object.keys(chunks).find((name) => chunks[name]?.isEntry) ?? '';
const first = filesOf(entry, 'src/runs/playground.tsx');
const page = 'src/admin/page.tsx';
const admin = [...filesOf(page, ...(chunks[page]?.dynamicImports ?? []))];
const weights = {
  script: weigh([...first].filter((file) => file.endsWith('.js'))),
  style: weigh([...first].filter((file) => file.endsWith('.css'))),
  admin: weigh(admin.filter((file) => file.endsWith('.js') && !first.has(file))),
};
for (const [name, bytes] of Object.entries(weights)) {
  const limit = most[name as keyof typeof most]; // weights has the keys of most
  console.log(`${name}: ${(bytes / KB).toFixed(1)} of ${limit / KB} KB`);
  if (bytes > limit) process.exitCode = 1;
}

/** All that these chunks need, before anything that comes later by itself. */
function filesOf(...names: string[]): Set<string> {
  const seen = new Set<string>();
  const files = new Set<string>();
  const take = (name: string) => {
    const chunk = chunks[name];
    if (seen.has(name)) return;
    seen.add(name);
    if (chunk === undefined) throw new Error(`the page has no ${name}`);
    files.add(chunk.file);
    for (const file of chunk.css ?? []) files.add(file);
    for (const other of chunk.imports ?? []) take(other);
  };
  for (const name of names) take(name);
  return files;
}

/** As a browser gets them that takes gzip; what is too small to compress, as it is. */
function weigh(files: string[]): number {
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size;
  return files.reduce((sum, file) => sum + (size(join(dist, `${file}.gz`)) ?? size(join(dist, file)) ?? 0), 0);
}
