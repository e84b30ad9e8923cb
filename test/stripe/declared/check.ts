import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Declaration, type Fields, parse, type Scope, type Type } from './parse.ts';

const PACKAGE = resolve(import.meta.dirname, '../../../node_modules/stripe/esm');

/** How a value travels: as JSON in answers, as text in requests. */
export type Travels = 'json' | 'form';

type Place = { type: Type; scope: Scope };
const files = new Map<Scope, string>();
const scopes = new Map<string, Scope>();

/** A type of the package by the file that declares it, such as `Checkout/Sessions` and `Checkout.SessionCreateParams`. */
export function declared(file: string, name: string): Place {
  const scope = open(join(PACKAGE, 'resources', `${file}.d.ts`));
  return { type: { is: 'name', path: name.split('.'), of: [] }, scope };
}

/**
 * What in a value is not as the package declares it: fields that are missing or not declared, values of another type, and
 * members that an enum does not name. Nothing means that it fits.
 */
export function differences(value: unknown, { type, scope }: Place, travels: Travels, at = ''): string[] {
  if (type.is === 'keyword')
    return matches(value, type.name, travels) ? [] : [`${at} is ${show(value)}, not ${type.name}`];
  if (type.is === 'literal') {
    const isSame = travels === 'form' ? value === String(type.value) : value === type.value;
    return isSame ? [] : [`${at} is ${show(value)}, not ${show(type.value)}`];
  }
  if (type.is === 'array') return each(value, { type: type.of, scope }, travels, at);
  if (type.is === 'union')
    return ofUnion(
      value,
      type.of.map((of) => ({ type: of, scope })),
      travels,
      at,
    );
  if (type.is === 'object') return ofObject(value, { ...type, scope }, travels, at);
  return ofName(value, { type, scope }, travels, at);
}

function ofName(value: unknown, { type, scope }: Place, travels: Travels, at: string): string[] {
  if (type.is !== 'name') throw new Error('no name');
  const [name = ''] = type.path;
  const [argument] = type.of;
  if (name === 'Decimal')
    return typeof value === 'string' && /^-?\d/.test(value) ? [] : [`${at} is ${show(value)}, not a decimal`];
  if (name === 'OtherString') return typeof value === 'string' ? [] : [`${at} is ${show(value)}, not text`];
  if (argument && name === 'Array') return each(value, { type: argument, scope }, travels, at);
  if (argument && name === 'Emptyable')
    return value === '' ? [] : differences(value, { type: argument, scope }, travels, at);
  if (argument && name === 'ApiList') return ofList(value, { type: argument, scope }, travels, at);
  if (argument && name === 'Partial') return undeclared(value, { type: argument, scope }, at);
  const found = look(type.path, scope);
  const { declaration } = found;
  if (declaration.is === 'alias')
    return differences(value, { type: declaration.type, scope: found.scope }, travels, at);
  return ofObject(value, wholeOf(declaration, found.scope), travels, at);
}

/** Old values of what has changed: of inner objects, too, only the part that has. */
function undeclared(value: unknown, of: Place, at: string): string[] {
  const fields = fieldPlaces(of);
  return Object.keys(isObject(value) ? value : {}).flatMap((key) =>
    fields?.has(key) ? [] : [`${at}.${key} is not declared`],
  );
}

function ofList(value: unknown, of: Place, travels: Travels, at: string): string[] {
  if (!isObject(value)) return [`${at} is ${show(value)}, not a list`];
  const { object, data, has_more: more, url, ...others } = value;
  const isList = object === 'list' && typeof more === 'boolean' && typeof url === 'string';
  return [
    ...(isList ? [] : [`${at} is no list`]),
    ...Object.keys(others).map((key) => `${at}.${key} is not declared`),
    ...each(data, of, travels, `${at}.data`),
  ];
}

function each(value: unknown, of: Place, travels: Travels, at: string): string[] {
  if (!Array.isArray(value)) return [`${at} is ${show(value)}, not an array`];
  return value.flatMap((one, i) => differences(one, of, travels, `${at}[${i}]`));
}

/** The open end of an enum is left out where it names members, so that what it does not name is found. */
function ofUnion(value: unknown, all: readonly Place[], travels: Travels, at: string): string[] {
  const flat = all.flatMap(members);
  const isEnum = flat.some(({ type }) => type.is === 'literal' && typeof type.value === 'string');
  const possible = flat.filter(({ type }) => !(isEnum && type.is === 'name' && type.path[0] === 'OtherString'));
  const told = possible.filter((place) => !isOtherKind(value, place));
  const findings = told.map((place) => differences(value, place, travels, at));
  if (findings.some((found) => found.length === 0)) return [];
  const objects = findings.filter((_found, i) => told[i]?.type.is === 'name').toSorted((a, b) => a.length - b.length);
  return (
    (isObject(value) ? objects[0] : undefined) ?? [
      `${at} is ${show(value)}, none of ${told.map(({ type }) => nameOf(type)).join(', ')}`,
    ]
  );
}

function members({ type, scope }: Place): Place[] {
  if (type.is === 'union') return type.of.flatMap((of) => members({ type: of, scope }));
  if (type.is !== 'name' || type.of.length > 0 || KNOWN.has(type.path[0] ?? '')) return [{ type, scope }];
  const found = look(type.path, scope);
  return found.declaration.is === 'alias'
    ? members({ type: found.declaration.type, scope: found.scope })
    : [{ type, scope }];
}

/** Whether the value says by `object`, `type` or `deleted` that it is something else. */
function isOtherKind(value: unknown, { type, scope }: Place): boolean {
  if (!isObject(value) || type.is !== 'name' || type.of.length > 0 || KNOWN.has(type.path[0] ?? '')) return false;
  const found = look(type.path, scope);
  if (found.declaration.is !== 'interface') return false;
  const { fields } = wholeOf(found.declaration, found.scope);
  return ['object', 'type', 'deleted'].some((key) => {
    const told = fields.get(key)?.type;
    return told?.is === 'literal' && told.value !== value[key];
  });
}

type Whole = { fields: Fields; rest: Type | null; scope: Scope; bases?: Whole[] };

function wholeOf(declaration: Declaration, scope: Scope): Whole {
  if (declaration.is !== 'interface') throw new Error('no interface');
  const bases = declaration.bases.map((base) => {
    if (base.is !== 'name') throw new Error('a base that is no name');
    const found = look(base.path, scope);
    return wholeOf(found.declaration, found.scope);
  });
  return { fields: declaration.fields, rest: declaration.rest, scope, bases };
}

function ofObject(value: unknown, whole: Whole, travels: Travels, at: string): string[] {
  if (!isObject(value)) return [`${at} is ${show(value)}, not an object`];
  const known = new Map(fieldsOf(whole).map((field) => [field.name, field]));
  const found: string[] = [];
  for (const [name, inner] of Object.entries(value)) {
    const field = known.get(name);
    const place = field ?? (whole.rest ? { type: whole.rest, scope: whole.scope } : null);
    if (place) found.push(...differences(inner, place, travels, `${at}.${name}`));
    else found.push(`${at}.${name} is not declared`);
  }
  for (const { name, optional } of known.values()) {
    if (!optional && !(name in value)) found.push(`${at}.${name} is missing`);
  }
  return found;
}

/** An interface's own fields after those of its bases. */
function fieldsOf({
  fields,
  scope,
  bases = [],
}: Whole): { name: string; optional: boolean; type: Type; scope: Scope }[] {
  return [...bases.flatMap(fieldsOf), ...[...fields].map(([name, field]) => ({ name, ...field, scope }))];
}

/** The names of a type's fields with their places; null where it is no object. */
export function fieldPlaces({ type, scope }: Place): Map<string, Place> | null {
  if (type.is === 'object')
    return new Map([...type.fields].map(([name, field]) => [name, { type: field.type, scope }]));
  if (type.is === 'array') return fieldPlaces({ type: type.of, scope });
  if (type.is === 'union') {
    const found = type.of.map((of) => fieldPlaces({ type: of, scope })).filter((places) => places !== null);
    return found.length === 0 ? null : new Map(found.flatMap((places) => [...places]));
  }
  if (type.is !== 'name') return null;
  const [argument] = type.of;
  if (argument) return fieldPlaces({ type: argument, scope });
  if (KNOWN.has(type.path[0] ?? '')) return null;
  const { declaration, scope: inner } = look(type.path, scope);
  if (declaration.is === 'alias') return fieldPlaces({ type: declaration.type, scope: inner });
  const whole = wholeOf(declaration, inner);
  if (whole.rest) return null;
  return new Map(fieldsOf(whole).map((field) => [field.name, field]));
}

const KNOWN = new Set(['Decimal', 'OtherString']);

function look(path: readonly string[], from: Scope): { declaration: Declaration; scope: Scope } {
  const [first = '', ...rest] = path;
  for (let scope: Scope | null = from; scope; scope = scope.outer) {
    const found = within(scope, path);
    if (found) return found;
    const imported = scope.imports.get(first);
    if (!imported) continue;
    const file = open(join(dirname(fileOf(scope)), imported.file.replace(/\.js$/, '.d.ts')));
    return look(imported.name === null ? rest : [imported.name, ...rest], file);
  }
  throw new Error(`${path.join('.')} is not declared where it is used`);
}

function within(scope: Scope, path: readonly string[]): { declaration: Declaration; scope: Scope } | null {
  const [name = '', ...rest] = path;
  if (scope.outer && scope.passed.has(name)) return look(path, scope.outer);
  if (rest.length === 0) {
    const declaration = scope.declarations.get(name);
    return declaration ? { declaration, scope } : null;
  }
  const inner = scope.namespaces.get(name);
  return inner ? within(inner, rest) : null;
}

function open(file: string): Scope {
  const known = scopes.get(file);
  if (known) return known;
  if (!existsSync(file)) throw new Error(`the package has no ${file}`);
  const scope = parse(readFileSync(file, 'utf8'));
  scopes.set(file, scope);
  files.set(scope, file);
  return scope;
}

function fileOf(scope: Scope): string {
  return scope.outer ? fileOf(scope.outer) : (files.get(scope) ?? '');
}

function matches(value: unknown, keyword: string, travels: Travels): boolean {
  if (keyword === 'unknown' || keyword === 'any') return true;
  if (keyword === 'null') return travels === 'form' ? value === '' : value === null;
  if (keyword === 'void' || keyword === 'undefined' || keyword === 'never') return value === undefined;
  if (travels === 'json' || keyword === 'string') return typeof value === keyword;
  if (keyword === 'boolean') return value === 'true' || value === 'false';
  return typeof value === 'string' && value !== '' && Number.isFinite(Number(value));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const show = (value: unknown) => JSON.stringify(value)?.slice(0, 60) ?? 'undefined';
const nameOf = (type: Type) =>
  type.is === 'name'
    ? type.path.join('.')
    : type.is === 'keyword'
      ? type.name
      : type.is === 'literal'
        ? show(type.value)
        : type.is;
