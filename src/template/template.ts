// Prompts with variables: what may be said of a variable, what may stand for one, and the prompt that a model sees.
import { z } from 'zod';
import { Failure } from '../errors/failure.ts';

/** As of a prompt without variables: what is filled in is one, too. */
const MOST_CHARACTERS = 50_000;
const MOST_VALUE_CHARACTERS = 10_000;
const PLACE = /\{\{\s*([A-Za-z_][A-Za-z0-9_]{0,49})\s*\}\}/g;

const words = { title: z.string().max(100).optional(), description: z.string().max(1000).optional() };
const length = z.int().min(0).max(MOST_VALUE_CHARACTERS).optional();
const textSchema = z.strictObject({
  type: z.literal('string'),
  ...words,
  minLength: length,
  maxLength: length,
  enum: z.array(z.string().max(MOST_VALUE_CHARACTERS)).min(1).max(100).optional(),
  default: z.string().optional(),
});
const numberSchema = z.strictObject({
  type: z.enum(['number', 'integer']),
  ...words,
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  enum: z.array(z.number()).min(1).max(100).optional(),
  default: z.number().optional(),
});
const truthSchema = z.strictObject({ type: z.literal('boolean'), ...words, default: z.boolean().optional() });
const variableSchema = z.discriminatedUnion('type', [textSchema, numberSchema, truthSchema]);
type Variable = z.output<typeof variableSchema>;

/** The part of JSON Schema in which variables are described: an object of texts, numbers and booleans. */
const variablesSchema = z.strictObject({
  $schema: z.string().max(200).optional(),
  type: z.literal('object').optional(),
  ...words,
  properties: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,49}$/), variableSchema),
  required: z.array(z.string()).optional(),
  additionalProperties: z.literal(false).optional(),
});
type Variables = z.output<typeof variablesSchema>;

type Value = string | number | boolean;
/** What stands for a prompt's variables, by their names. */
export type Values = Record<string, Value>;

/** Looks at what an author says of a prompt's variables. Throws `validation_error` naming each field that is wrong. */
export function checkVariables(variables: unknown, prompt: string): void {
  const parsed = variablesSchema.safeParse(variables);
  if (!parsed.success) {
    throw wrong(parsed.error.issues.map(({ path, message }) => [['variables', ...path].join('.'), message]));
  }
  const { properties, required = [] } = parsed.data;
  const names = Object.keys(properties);
  const used = new Set([...prompt.matchAll(PLACE)].map(([, name = '']) => name));
  const faults: [field: string, message: string][] = [];
  if (names.length === 0 || names.length > 50) faults.push(['variables.properties', 'must describe 1 to 50 variables']);
  for (const name of used) {
    if (!names.includes(name)) faults.push(['prompt', `has {{${name}}}, which variables does not describe`]);
  }
  for (const [name, variable] of Object.entries(properties)) {
    const field = `variables.properties.${name}`;
    if (!used.has(name)) faults.push([field, `is not used: the prompt has no {{${name}}}`]);
    if (variable.default === undefined) continue;
    const fault = faultOf(variable, variable.default);
    if (fault !== null) faults.push([`${field}.default`, fault]);
  }
  for (const name of required) {
    if (!names.includes(name)) faults.push(['variables.required', `names ${name}, which properties does not describe`]);
  }
  if (faults.length > 0) throw wrong(faults);
}

/**
 * The prompt that a model sees, with each {{name}} replaced by what was given for it, else by its default, else by nothing. What
 * is filled in is text: a {{name}} in it stays as it is. Throws `validation_error` naming each variable that is missing, unknown
 * or not as described; with `variables` null every one is unknown.
 */
export function fillPrompt(prompt: string, variables: unknown, given: Record<string, unknown>): string {
  const { properties, required = [] }: Variables =
    variables === null ? { properties: {} } : variablesSchema.parse(variables);
  const faults: [field: string, message: string][] = [];
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(properties, name)) continue;
    const known = Object.keys(properties).join(', ');
    faults.push([
      `variables.${name}`,
      known === '' ? 'this package takes no variables' : `there is none; there are ${known}`,
    ]);
  }
  const values = new Map<string, Value>();
  for (const [name, variable] of Object.entries(properties)) {
    const value = Object.hasOwn(given, name) ? given[name] : variable.default;
    if (value === undefined || value === null) {
      if (required.includes(name) && variable.default === undefined) faults.push([`variables.${name}`, 'is required']);
      else values.set(name, variable.default ?? '');
      continue;
    }
    const fault = faultOf(variable, value);
    if (fault !== null) faults.push([`variables.${name}`, fault]);
    else if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean')
      values.set(name, value);
  }
  if (faults.length > 0) throw wrong(faults);
  const filled = prompt.replace(PLACE, (place, name: string) => String(values.get(name) ?? place));
  const characters = filled.length > MOST_CHARACTERS ? [...filled].length : filled.length;
  if (characters > MOST_CHARACTERS) {
    const most = MOST_CHARACTERS.toLocaleString('en');
    throw wrong([
      ['variables', `make the prompt ${characters.toLocaleString('en')} characters long; at most ${most} are allowed`],
    ]);
  }
  return filled;
}

/** What is wrong with a value; null where nothing is. */
function faultOf(variable: Variable, value: unknown): string | null {
  switch (variable.type) {
    case 'string': {
      const { minLength = 0, maxLength = MOST_VALUE_CHARACTERS, enum: choices } = variable;
      if (typeof value !== 'string') return 'must be a text';
      if (choices !== undefined) return choices.includes(value) ? null : `must be one of ${choices.join(', ')}`;
      const characters = [...value].length;
      return characters >= minLength && characters <= maxLength
        ? null
        : `must have ${minLength} to ${maxLength.toLocaleString('en')} characters`;
    }
    case 'boolean':
      return typeof value === 'boolean' ? null : 'must be true or false';
    default: {
      const { type, minimum = -Number.MAX_VALUE, maximum = Number.MAX_VALUE, enum: choices } = variable;
      if (typeof value !== 'number' || (type === 'integer' && !Number.isInteger(value)))
        return type === 'integer' ? 'must be a whole number' : 'must be a number';
      if (choices !== undefined) return choices.includes(value) ? null : `must be one of ${choices.join(', ')}`;
      if (value < minimum) return `must be ${minimum} or more`;
      return value > maximum ? `must be ${maximum} or less` : null;
    }
  }
}

function wrong(faults: [field: string, message: string][]): Failure {
  const errors = faults.map(([field, message]) => ({ field, message }));
  const message = errors.map((one) => `${one.field}: ${one.message}`).join('; ');
  return new Failure('validation_error', `${message}.`, { errors });
}
