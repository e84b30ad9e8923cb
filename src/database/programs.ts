// PostgreSQL's own client programs, such as psql, where there are any.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Where Debian puts PostgreSQL 15. */
export const systemBinaries = '/usr/lib/postgresql/15';

/** Where a client program of PostgreSQL 15 is, such as psql or pg_dump, or undefined. The npm packages bring none. */
export function findClientProgram(name: string): string | undefined {
  const directories = [join(systemBinaries, 'bin'), ...(process.env.PATH ?? '').split(delimiter)];
  return directories
    .map((directory) => join(directory, name))
    .find((path) => isExecutable(path) && /\b15\.\d/.test(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
