/*
 * Reads the type declarations of the stripe package, which are made by machine and use little of the language: interfaces,
 * aliases, namespaces, unions, arrays and references. Just enough to check JSON against them; what it does not know it
 * refuses, so that nothing passes unseen.
 */

export type Type =
  | { is: 'literal'; value: string | number | boolean }
  | { is: 'keyword'; name: string }
  | { is: 'union'; of: Type[] }
  | { is: 'array'; of: Type }
  | { is: 'object'; fields: Fields; rest: Type | null }
  | { is: 'name'; path: string[]; of: Type[] };

export type Fields = Map<string, { optional: boolean; type: Type }>;

export type Declaration =
  | { is: 'interface'; bases: Type[]; fields: Fields; rest: Type | null }
  | { is: 'alias'; type: Type };

/** A file or a namespace of one. */
export type Scope = {
  outer: Scope | null;
  declarations: Map<string, Declaration>;
  namespaces: Map<string, Scope>;
  /** Names that come from another file: its path, and the name there; null for all of it. */
  imports: Map<string, { file: string; name: string | null }>;
  /** Names of a namespace that mean what they mean outside of it. */
  passed: Set<string>;
};

const TOKEN =
  /\/\*[\s\S]*?\*\/|\/\/[^\n]*|\s+|('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[A-Za-z_$][\w$]*|-?\d[\w.]*|=>|\.\.\.|[^\s\w])/gy;

export function parse(source: string): Scope {
  const tokens = [...source.matchAll(TOKEN)].flatMap(([, token]) => (token === undefined ? [] : [token]));
  const parser = new Parser(tokens);
  const scope = newScope(null);
  parser.statements(scope);
  return scope;
}

function newScope(outer: Scope | null): Scope {
  return { outer, declarations: new Map(), namespaces: new Map(), imports: new Map(), passed: new Set() };
}

class Parser {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  #peek(ahead = 0): string {
    return this.#tokens[this.#at + ahead] ?? '';
  }

  #next(): string {
    this.#at += 1;
    return this.#tokens[this.#at - 1] ?? '';
  }

  #take(...tokens: readonly string[]): boolean {
    if (!tokens.every((token, i) => this.#peek(i) === token)) return false;
    this.#at += tokens.length;
    return true;
  }

  #expect(token: string): void {
    const found = this.#next();
    if (found !== token) {
      const around = this.#tokens.slice(this.#at - 12, this.#at + 4).join(' ');
      throw new Error(`expected ${token}, found ${found}, in: ${around}`);
    }
  }

  statements(scope: Scope): void {
    while (this.#peek() !== '' && this.#peek() !== '}') this.#statement(scope);
  }

  #statement(scope: Scope): void {
    const isExport = this.#take('export');
    this.#take('declare');
    if (this.#take('interface')) this.#interface(scope);
    else if (this.#take('namespace')) this.#namespace(scope);
    else if (this.#peek() === 'type' && this.#peek(1) !== '{') this.#alias(scope);
    else if (this.#take('import') || (isExport && this.#peek() === '{')) this.#import(scope);
    else this.#skip();
  }

  #interface(scope: Scope): void {
    const name = this.#next();
    this.#skipTypeParameters();
    const bases: Type[] = [];
    if (this.#take('extends')) {
      do bases.push(this.#type());
      while (this.#take(','));
    }
    const { fields, rest } = this.#members();
    scope.declarations.set(name, { is: 'interface', bases, fields, rest });
  }

  #namespace(scope: Scope): void {
    const name = this.#next();
    const inner = scope.namespaces.get(name) ?? newScope(scope);
    scope.namespaces.set(name, inner);
    this.#expect('{');
    this.statements(inner);
    this.#expect('}');
  }

  #alias(scope: Scope): void {
    this.#expect('type');
    const name = this.#next();
    if (this.#peek() === '<' || name === 'OtherString') {
      this.#skip(); // these are known by name
      return;
    }
    this.#expect('=');
    const type = this.#type();
    this.#expect(';');
    scope.declarations.set(name, { is: 'alias', type });
  }

  /** `import { A } from`, and `export { A } from`, which passes on a name. */
  #import(scope: Scope): void {
    const names: [local: string, name: string | null][] = [];
    if (this.#take('*', 'as')) names.push([this.#next(), null]);
    else if (this.#take('{')) {
      while (!this.#take('}')) {
        const name = this.#next();
        names.push([this.#take('as') ? this.#next() : name, name]);
        this.#take(',');
      }
    } else {
      this.#skip(); // `import X = Y.Z` only gives another name
      return;
    }
    if (!this.#take('from')) {
      for (const [local] of names) scope.passed.add(local);
      this.#expect(';');
      return;
    }
    const file = this.#next().slice(1, -1);
    this.#expect(';');
    for (const [local, name] of names) scope.imports.set(local, { file, name });
  }

  /** To the end of a statement that says nothing about JSON: classes, constants, other names. */
  #skip(): void {
    let depth = 0;
    for (let token = this.#next(); token !== ''; token = this.#next()) {
      if (token === '{') depth += 1;
      if (token === '}') depth -= 1;
      if (depth === 0 && token === ';') return;
      if (depth === 0 && token === '}' && this.#peek() !== 'from' && this.#peek() !== ';') return;
    }
  }

  #skipTypeParameters(): void {
    if (!this.#take('<')) return;
    while (this.#next() !== '>');
  }

  #members(): { fields: Fields; rest: Type | null } {
    const fields: Fields = new Map();
    let rest: Type | null = null;
    this.#expect('{');
    while (!this.#take('}')) {
      this.#take('readonly');
      if (this.#take('[')) {
        while (this.#next() !== ']');
        this.#expect(':');
        rest = this.#type();
      } else {
        const name = this.#next().replace(/^['"]|['"]$/g, '');
        const optional = this.#take('?');
        this.#expect(':');
        fields.set(name, { optional, type: this.#type() });
      }
      this.#expect(';');
    }
    return { fields, rest };
  }

  #type(): Type {
    this.#take('|');
    const of = [this.#single()];
    while (this.#take('|')) of.push(this.#single());
    const [only] = of;
    return of.length === 1 && only ? only : { is: 'union', of };
  }

  #single(): Type {
    let type = this.#primary();
    while (this.#take('[', ']')) type = { is: 'array', of: type };
    return type;
  }

  #primary(): Type {
    if (this.#take('(')) {
      const type = this.#type();
      this.#expect(')');
      return type;
    }
    if (this.#peek() === '{') return { is: 'object', ...this.#members() };
    const token = this.#next();
    if (/^['"]/.test(token)) return { is: 'literal', value: token.slice(1, -1) };
    if (/^-?\d/.test(token)) return { is: 'literal', value: Number(token) };
    if (token === 'true' || token === 'false') return { is: 'literal', value: token === 'true' };
    if (KEYWORDS.has(token)) return { is: 'keyword', name: token };
    const path = [token];
    while (this.#take('.')) path.push(this.#next());
    const of: Type[] = [];
    if (this.#take('<')) {
      do of.push(this.#type());
      while (this.#take(','));
      this.#expect('>');
    }
    return { is: 'name', path, of };
  }
}

const KEYWORDS = new Set(['string', 'number', 'boolean', 'null', 'undefined', 'void', 'unknown', 'any', 'never']);
