import { readFileSync } from 'node:fs';
import { environmentSchema } from './environment.ts';

const NAMES = [
  ...Object.keys(environmentSchema.shape),
  'SUPERUSER_DATABASE_URL',
  'SUPERUSER_WORKER_URLS',
  'SUPERUSER_SINGLE_URL',
];

type Variables = Record<string, string | undefined>;

/**
 * The variables, with NAME taken from the file that NAME_FILE names: secrets that Docker or Kubernetes mounts are in no
 * process's environment then, and in no `inspect`. Throws an Error, meant for a person, where both are set or a file
 * cannot be read. Spec 11.5.
 */
export function withSecretFiles(variables: Variables): Variables {
  const found = NAMES.flatMap((name) => {
    const path = variables[`${name}_FILE`];
    if (!path) return [];
    if (variables[name]) throw new Error(`${name} and ${name}_FILE are both set. Set one of them.`);
    try {
      return [[name, readFileSync(path, 'utf8').trim()]];
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : error;
      throw new Error(`${name}_FILE names a file that cannot be read (${code}): ${path}`);
    }
  });
  return { ...variables, ...Object.fromEntries(found) };
}
