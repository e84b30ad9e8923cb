import { z } from 'zod';
import { ApiError } from '../errors.ts';
import type { Json } from '../wire.ts';

/* What a parameter can be: all travel as text. An empty text unsets. */
export const text = z.string().min(1).max(5000);
export const int = z
  .string()
  .regex(/^-?\d{1,15}$/, 'integer')
  .transform(Number);
export const bool = z.enum(['true', 'false']).transform((word) => word === 'true');
export const seconds = int.pipe(z.number().min(0));
export const url = z
  .string()
  .max(5000)
  .regex(/^https?:\/\/./i, 'url');
export const currency = z.string().regex(/^[A-Za-z]{3}$/, 'currency');

/** null where the caller sent an empty text. */
export function clearable<T extends z.ZodType>(type: T) {
  return z.union([z.literal('').transform(() => null), type]);
}

const metadataOf = (value: z.ZodString) => z.record(z.string().min(1).max(40), value);
export const newMetadata = metadataOf(z.string().max(500));
/** An empty text in place of a value takes that key out; in place of the whole, all of them. */
export const changedMetadata = z.union([z.literal(''), newMetadata]);

export function withMetadata(
  present: Record<string, string>,
  wanted: '' | Record<string, string> | undefined,
): Record<string, string> {
  if (wanted === undefined) return present;
  if (wanted === '') return {};
  return Object.fromEntries(Object.entries({ ...present, ...wanted }).filter(([, value]) => value !== ''));
}

export const range = z.union([
  int,
  z.strictObject({ gt: int.optional(), gte: int.optional(), lt: int.optional(), lte: int.optional() }),
]);

export function isWithin(value: number, wanted: z.output<typeof range> | undefined): boolean {
  if (wanted === undefined) return true;
  if (typeof wanted === 'number') return value === wanted;
  const { gt = -Infinity, gte = -Infinity, lt = Infinity, lte = Infinity } = wanted;
  return value > gt && value >= gte && value < lt && value <= lte;
}

export const page = {
  limit: int.pipe(z.number().min(1).max(100)).optional(),
  starting_after: text.optional(),
  ending_before: text.optional(),
};

/** Throws what Stripe answers to parameters that it does not take; nothing has been done then. */
export function read<T extends z.ZodType>(type: T, given: Json): z.output<T> {
  const parsed = type.safeParse(given);
  if (parsed.success) return parsed.data;
  throw errorOf(deepest(parsed.error.issues), given);
}

/** The first issue; of a union's, the first of the alternative that came furthest. */
function deepest(issues: readonly z.core.$ZodIssue[], at: readonly PropertyKey[] = []): z.core.$ZodIssue | undefined {
  const [first] = issues;
  if (!first) return undefined;
  const path = [...at, ...first.path];
  if (first.code !== 'invalid_union') return { ...first, path };
  const alternatives = first.errors.map((inner) => deepest(inner, path)).filter((issue) => issue !== undefined);
  return alternatives.toSorted((one, other) => other.path.length - one.path.length)[0] ?? { ...first, path };
}

function errorOf(issue: z.core.$ZodIssue | undefined, given: Json): ApiError {
  const path = issue?.path ?? [];
  const refuse = (message: string, about: { param: string; code?: string }) =>
    new ApiError(400, message, { ...about, began: false });
  if (issue?.code === 'unrecognized_keys') {
    const param = nameOf([...path, issue.keys[0] ?? '']);
    return refuse(`Received unknown parameter: ${param} (or one that the sandbox does not have)`, {
      param,
      code: 'parameter_unknown',
    });
  }
  const param = nameOf(path);
  const value = path.reduce<unknown>((at, key) => (at as Json | undefined)?.[String(key)], given); // looked at, not used
  if (value === undefined) return refuse(`Missing required param: ${param}.`, { param, code: 'parameter_missing' });
  if (value === '') {
    const message = `You passed an empty string for '${param}'. We assume empty values are an attempt to unset a parameter; however '${param}' cannot be unset.`;
    return refuse(message, { param, code: 'parameter_invalid_empty' });
  }
  if (issue?.code === 'invalid_format' && issue.format === 'regex' && issue.message === 'integer') {
    return refuse(`Invalid integer: ${String(value)}`, { param, code: 'parameter_invalid_integer' });
  }
  if (issue?.code === 'invalid_format' && issue.message === 'url') {
    return refuse('Not a valid URL', { param, code: 'url_invalid' });
  }
  if (issue?.code === 'invalid_value') {
    const members = issue.values.map(String).join(', ');
    return refuse(`Invalid ${param}: must be one of ${members}`, { param });
  }
  return refuse(`Invalid ${param}: ${issue?.message}`, { param });
}

/** ['line_items', 0, 'price'] as `line_items[0][price]`. */
function nameOf(path: readonly PropertyKey[]): string {
  return path.map((key, i) => (i === 0 ? String(key) : `[${String(key)}]`)).join('');
}
