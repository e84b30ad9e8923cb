// What is to be run, as the address says it: it can be sent, kept and gone back to.
import { useDebouncedCallback } from '@mantine/hooks';
import { useCallback, useEffect, useMemo, useRef, useState } from 'react';
import { useSearchParams } from 'wouter';

/** Longer texts stay in the tab: addresses of this length, as they are sent, still go through everything. */
const MOST_IN_ADDRESS = 2_000;
const DRAFT = 'prpm-draft';
const VARIABLES = 'prpm-variables';
const OWN_PROMPT = 'prpm-own-prompt';
const WRITE_MS = 400;
const MOST_SIDES = 4;
const VARIABLE = 'var.';

/** The package's prompt, no prompt as a baseline, or one's own. */
export type Prompt = 'package' | 'none' | 'own';
export type Side = { packageName: string | null; version: string | null; model: string | null; prompt: Prompt };

export type Ask = {
  /** One, or two to four to compare. */
  sides: Side[];
  first: Side;
  sessionId: string | null;
  /** One that was begun. */
  comparisonId: string | null;
  input: string;
  ownPrompt: string;
  variables: Readonly<Record<string, string>>;
  setInput(text: string): void;
  setOwnPrompt(text: string): void;
  setVariable(name: string, value: string): void;
  chooseSide(nth: number, change: Partial<Side>): void;
  /** How many sides there are; further ones begin as the first, without a prompt. */
  setSides(count: number): void;
  removeSide(nth: number): void;
  goTo(where: { sessionId?: string | null; comparisonId?: string | null }, how?: { replace: boolean }): void;
};

export function useAsk(): Ask {
  const [query, setQuery] = useSearchParams();
  const written = useRef(query.get('input'));
  const [input, setText] = useState(() => written.current ?? sessionStorage.getItem(DRAFT) ?? '');
  const [ownPrompt, setOwn] = useState(() => sessionStorage.getItem(OWN_PROMPT) ?? '');

  const change = useCallback(
    (alter: (query: URLSearchParams) => void, how = { replace: false }) =>
      setQuery((now) => {
        const next = new URLSearchParams(now);
        alter(next);
        return next;
      }, how),
    [setQuery],
  );

  const writeInput = useDebouncedCallback((text: string) => {
    written.current = encodeURIComponent(text).length <= MOST_IN_ADDRESS && text !== '' ? text : null;
    change((next) => put(next, 'input', written.current), { replace: true });
  }, WRITE_MS);
  const setInput = useCallback(
    (text: string) => {
      setText(text);
      sessionStorage.setItem(DRAFT, text); // at once: who leaves within the moment finds it again
      writeInput(text);
    },
    [writeInput],
  );
  // Back, forward, a link: what the address says now is meant.
  const addressed = query.get('input');
  useEffect(() => {
    if (addressed === null || addressed === written.current) return;
    written.current = addressed;
    setText(addressed);
  }, [addressed]);

  const setOwnPrompt = useCallback((text: string) => {
    setOwn(text);
    sessionStorage.setItem(OWN_PROMPT, text);
  }, []);
  const [variables, setVariables] = useState(() => variablesOf(query));
  const writeVariables = useDebouncedCallback((values: Record<string, string>) => {
    change(
      (next) => {
        for (const name of [...next.keys()]) if (name.startsWith(VARIABLE)) next.delete(name);
        const isShort = encodeURIComponent(Object.values(values).join('')).length <= MOST_IN_ADDRESS;
        if (isShort) for (const [name, value] of Object.entries(values)) put(next, VARIABLE + name, value);
      },
      { replace: true },
    );
  }, WRITE_MS);
  const setVariable = useCallback(
    (name: string, value: string) =>
      setVariables((now) => {
        const values = { ...now, [name]: value };
        sessionStorage.setItem(VARIABLES, JSON.stringify(values));
        writeVariables(values);
        return values;
      }),
    [writeVariables],
  );
  const chooseSide = useCallback(
    (nth: number, side: Partial<Side>) => change((next) => write(next, nth, side)),
    [change],
  );
  const setSides = useCallback(
    (count: number) =>
      change((next) => {
        const before = sidesOf(next).length;
        put(next, 'compare', count > 1 ? String(count) : null);
        put(next, 'comparison', null);
        put(next, 'session', null);
        for (let nth = Math.max(1, before); nth < count; nth++) {
          write(next, nth, { packageName: next.get('package'), model: next.get('model'), prompt: 'none' });
        }
        for (let nth = count; nth < MOST_SIDES; nth++) if (nth > 0) write(next, nth, NOTHING);
      }),
    [change],
  );
  const removeSide = useCallback(
    (gone: number) =>
      change((next) => {
        const rest = sidesOf(next).filter((_, nth) => nth !== gone);
        put(next, 'compare', rest.length > 1 ? String(rest.length) : null);
        put(next, 'comparison', null);
        for (let nth = 0; nth < MOST_SIDES; nth++) write(next, nth, rest[nth] ?? NOTHING);
      }),
    [change],
  );
  const goTo = useCallback<Ask['goTo']>(
    ({ sessionId, comparisonId }, how) =>
      change((next) => {
        if (sessionId !== undefined) put(next, 'session', sessionId);
        if (comparisonId !== undefined) put(next, 'comparison', comparisonId);
      }, how),
    [change],
  );

  const sides = useMemo(() => sidesOf(query), [query]);
  return {
    ...{ sides, first: sides[0] ?? NOTHING, variables },
    sessionId: query.get('session'),
    comparisonId: query.get('comparison'),
    ...{ input, ownPrompt, setInput, setOwnPrompt, setVariable, chooseSide, setSides, removeSide, goTo },
  };
}

/** Of the address, and what was too long for it. */
function variablesOf(query: URLSearchParams): Record<string, string> {
  const named = [...query].filter(([name]) => name.startsWith(VARIABLE));
  if (named.length > 0) return Object.fromEntries(named.map(([name, value]) => [name.slice(VARIABLE.length), value]));
  try {
    return JSON.parse(sessionStorage.getItem(VARIABLES) ?? '{}');
  } catch {
    return {};
  }
}

type Tried = { packageName: string; packageVersion: string; model: string; baseline: boolean };

/** The address at which something can be tried that was run elsewhere, by one or side by side. A text too long for it goes along in the tab. */
export function pathToTry(sides: readonly Tried[], input: string): string {
  const query = new URLSearchParams();
  if (sides.length > 1) query.set('compare', String(sides.length));
  sides.forEach(({ packageName, packageVersion, model, baseline }, nth) => {
    write(query, nth, { packageName, version: packageVersion, model, prompt: baseline ? 'none' : 'package' });
  });
  if (encodeURIComponent(input).length <= MOST_IN_ADDRESS) query.set('input', input);
  return `/playground?${query}`;
}
export const keepDraft = (input: string) => sessionStorage.setItem(DRAFT, input);

const NOTHING: Side = { packageName: null, version: null, model: null, prompt: 'package' };

/** What is named so for the first side has a number for the others: package2, model3. */
const nameOf = (name: string, nth: number) => (nth === 0 ? name : `${name}${nth + 1}`);

function sidesOf(query: URLSearchParams): Side[] {
  const asked = query.get('compare');
  const count = asked === null ? 1 : Math.min(MOST_SIDES, Math.max(2, Number.parseInt(asked, 10) || 2));
  return Array.from({ length: count }, (_, nth) => ({
    packageName: query.get(nameOf('package', nth)) ?? query.get('package'),
    version: query.get(nameOf('version', nth)),
    model: query.get(nameOf('model', nth)),
    prompt:
      query.get(nameOf('baseline', nth)) === 'true'
        ? 'none'
        : query.get(nameOf('own', nth)) === 'true'
          ? 'own'
          : 'package',
  }));
}

function write(query: URLSearchParams, nth: number, { packageName, version, model, prompt }: Partial<Side>): void {
  if (packageName !== undefined) put(query, nameOf('package', nth), packageName);
  if (version !== undefined) put(query, nameOf('version', nth), version);
  if (model !== undefined) put(query, nameOf('model', nth), model);
  if (prompt === undefined) return;
  put(query, nameOf('baseline', nth), prompt === 'none' ? 'true' : null);
  put(query, nameOf('own', nth), prompt === 'own' ? 'true' : null);
}

function put(query: URLSearchParams, name: string, value: string | null): void {
  if (value === null || value === '') query.delete(name);
  else query.set(name, value);
}
