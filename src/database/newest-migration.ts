import { readdir } from 'node:fs/promises';

/** The number of the newest migration that this server was made for; 0 where it came without them. */
export async function newestMigration(): Promise<number> {
  const names = await readdir(new URL('../../db/committed', import.meta.url)).catch(() => []);
  return names.reduce((newest, name) => Math.max(newest, Number(/^(\d+).*\.sql$/.exec(name)?.[1] ?? 0)), 0);
}
