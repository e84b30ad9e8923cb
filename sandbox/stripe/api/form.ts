import type { Json } from '../wire.ts';

/** Reads `items[0][price]=…&metadata[a]=b&types[]=…` into objects and arrays of strings. */
export function readForm(encoded: string): Json {
  const root: Json = {};
  for (const [name, value] of new URLSearchParams(encoded)) {
    const keys = [...name.matchAll(/^[^[]+|\[([^\]]*)\]/g)].map((match) => match[1] ?? match[0]);
    place(root, keys, value);
  }
  return arrays(root) as Json; // no request's names are all numbers, so the outermost stays an object
}

function place(root: Json, keys: readonly string[], value: string): void {
  let at = root;
  for (const [i, key] of keys.entries()) {
    const name = key === '' ? String(Object.keys(at).length) : key;
    if (i === keys.length - 1) {
      at[name] = value;
      return;
    }
    const below = at[name];
    const inner = isJson(below) ? below : {};
    at[name] = inner;
    at = inner;
  }
}

function arrays(value: unknown): unknown {
  if (!isJson(value)) return value;
  const entries = Object.entries(value);
  const isArray = entries.length > 0 && entries.every(([key]) => /^\d+$/.test(key));
  if (isArray) return entries.map(([, inner]) => arrays(inner));
  return Object.fromEntries(entries.map(([key, inner]) => [key, arrays(inner)]));
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null;
}
