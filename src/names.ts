/*
 * snake_case in the database and over HTTP, camelCase in between. Names are our own and few, so they are remembered; what
 * inputs bring along beside them cannot fill more than this.
 */
const MOST_REMEMBERED = 1_000;

export const camelName = remembering((name) =>
  name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
);
export const snakeName = remembering((name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));

function remembering(convert: (name: string) => string): (name: string) => string {
  const remembered = new Map<string, string>();
  return (name) => {
    const known = remembered.get(name);
    if (known !== undefined) return known;
    const converted = convert(name);
    if (remembered.size >= MOST_REMEMBERED) remembered.clear();
    remembered.set(name, converted);
    return converted;
  };
}

/** A value of our own with every key in snake_case. */
export function snakeCase(value: unknown): unknown {
  return renamed(value, snakeName);
}

/** A value of our own with every key in camelCase. */
export function camelCase(value: unknown): unknown {
  return renamed(value, camelName);
}

/** A value of our own with every key in both cases. */
export function bothCases(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(bothCases);
  const result: Record<string, unknown> = {};
  for (const key in value) {
    const inner = bothCases(Reflect.get(value, key));
    result[camelName(key)] = inner;
    result[snakeName(key)] = inner;
  }
  return result;
}

function renamed(value: unknown, rename: (name: string) => string): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => renamed(one, rename));
  const result: Record<string, unknown> = {};
  for (const key in value) result[rename(key)] = renamed(Reflect.get(value, key), rename);
  return result;
}
