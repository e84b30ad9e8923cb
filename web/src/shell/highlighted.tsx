// Code in colors. Loaded when the first complete block of code is there.
import hljs from 'highlight.js/lib/core';
import bash from 'highlight.js/lib/languages/bash';
import cpp from 'highlight.js/lib/languages/cpp';
import css from 'highlight.js/lib/languages/css';
import diff from 'highlight.js/lib/languages/diff';
import go from 'highlight.js/lib/languages/go';
import java from 'highlight.js/lib/languages/java';
import json from 'highlight.js/lib/languages/json';
import python from 'highlight.js/lib/languages/python';
import rust from 'highlight.js/lib/languages/rust';
import sql from 'highlight.js/lib/languages/sql';
import typescript from 'highlight.js/lib/languages/typescript';
import xml from 'highlight.js/lib/languages/xml';
import yaml from 'highlight.js/lib/languages/yaml';
import { createElement, Fragment, type ReactNode, useMemo } from 'react';
import styles from './markdown.module.css';

for (const [name, language] of Object.entries({
  bash,
  cpp,
  css,
  diff,
  go,
  java,
  json,
  python,
  rust,
  sql,
  typescript,
  xml,
  yaml,
}))
  hljs.registerLanguage(name, language);
hljs.registerAliases(['sh', 'shell', 'zsh', 'console'], { languageName: 'bash' });

/** Longer ones stay as they are: coloring them would be felt. */
const MOST = 20_000;

export function Highlighted({ code, language }: { code: string; language: string }) {
  const shown = useMemo(() => colored(code, language), [code, language]);
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, which a keyboard can do only where it is
    <pre className={styles.scroll} tabIndex={0}>
      <code>{shown}</code>
    </pre>
  );
}

type Node = string | { scope?: string; children: Node[] };

function colored(code: string, language: string): ReactNode {
  if (code.length > MOST || hljs.getLanguage(language) === undefined) return code;
  // The tree that the library would write as HTML.
  const { _emitter: emitter } = hljs.highlight(code, { language, ignoreIllegals: true });
  const root: unknown = 'rootNode' in emitter ? emitter.rootNode : undefined;
  return isNode(root) ? elements(root) : code;
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'children' in value;

function elements(node: Node): ReactNode {
  if (typeof node === 'string') return node;
  // The tree does not change: each piece keeps its place.
  return createElement(
    Fragment,
    null,
    ...node.children.map((child) => {
      const scope = typeof child === 'string' ? undefined : child.scope;
      return scope === undefined
        ? elements(child)
        : createElement('span', { className: styles[scopeOf(scope)] }, elements(child));
    }),
  );
}

const scopeOf = (scope: string) => scope.split(/[.:]/)[0] ?? '';
