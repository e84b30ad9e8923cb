/*
 * snake_case in the database and over HTTP, camelCase in between. Names are our own and few, so they are remembered; what
 * inputs bring along beside them cannot fill more than this.
 */
const MOST_REMEMBERED = 1_000;

export const camelName = remembering((name) =>
  name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
);
/** A number between two words stands alone: sessionsLast7Days is sessions_last_7_days. */
export const snakeName = remembering((name) =>
  name.replace(/\d+(?=[A-Z])/g, '_$&').replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
);

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

/** What has names of people's own choice inside, which stay as they are: variables of prompts, and files. */
const NAMED_BY_PEOPLE = new Set(['variables', 'givenVariables', 'given_variables', 'files']);

export const isNamedByPeople = (key: string): boolean => NAMED_BY_PEOPLE.has(key);

/** A field's path as a caller writes it, up to the names of people's own choice. */
export function fieldPath(path: string, rename: (name: string) => string): string {
  const parts = path.split('.');
  const own = parts.findIndex(isNamedByPeople);
  return parts.map((part, place) => (own >= 0 && place > own ? part : rename(part))).join('.');
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
    const inner = isNamedByPeople(key) ? Reflect.get(value, key) : bothCases(Reflect.get(value, key));
    result[camelName(key)] = inner;
    result[snakeName(key)] = inner;
  }
  return result;
}

function renamed(value: unknown, rename: (name: string) => string): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((one) => renamed(one, rename));
  const result: Record<string, unknown> = {};
  for (const key in value) {
    const inner = Reflect.get(value, key);
    result[rename(key)] = isNamedByPeople(key) ? inner : renamed(inner, rename);
  }
  return result;
}
