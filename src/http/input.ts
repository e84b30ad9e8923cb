import { Failure } from '../errors/failure.ts';
import { camelName, isNamedByPeople, snakeName } from '../names.ts';

const DEEPEST = 20;

/** A value from outside with its keys in camelCase, however they were sent. One that is there in both cases is refused. */
function camelInput(value: unknown, depth = 0): unknown {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return value;
  if (Array.isArray(value)) return value.map((one) => camelInput(one, depth + 1));
  return camelKeys(value, depth);
}

export function camelKeys(value: object, depth = 0): Record<string, unknown> {
  const entries = Object.entries(value).map(
    ([key, inner]) => [camelName(key), isNamedByPeople(key) ? inner : camelInput(inner, depth + 1)] as const,
  );
  const result: Record<string, unknown> = Object.fromEntries(entries);
  if (Object.keys(result).length < entries.length) {
    const twice = entries.map(([key]) => key).find((key, place, keys) => keys.indexOf(key) !== place) ?? '';
    const message = 'is there twice, in snake_case and in camelCase; send one of them';
    throw new Failure('validation_error', `${snakeName(twice)} ${message}.`, { errors: [{ field: twice, message }] });
  }
  return result;
}

/** Path of a text that PostgreSQL cannot store, of what has such a name inside, or is nested too deeply; null where there is none. */
export function unstorable(value: unknown, depth = 0): string | null {
  if (typeof value === 'string') return isStorable(value) ? null : '';
  if (typeof value !== 'object' || value === null) return null;
  if (depth > DEEPEST) return '';
  for (const [key, inner] of Object.entries(value)) {
    if (!isStorable(key)) return '';
    const path = unstorable(inner, depth + 1);
    if (path !== null) return path === '' ? key : `${key}.${path}`;
  }
  return null;
}

const isStorable = (text: string) => text.isWellFormed() && !text.includes('\0');
