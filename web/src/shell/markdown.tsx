// Text of models and people as Markdown. It never becomes HTML of its own: elements are made by React, one by one.
import { memo, type ReactNode, Suspense, useDeferredValue, useMemo } from 'react';
import ReactMarkdown, { type Components } from 'react-markdown';
import remarkGfm from 'remark-gfm';
import remend from 'remend';
import { blocksOf } from './blocks.ts';
import styles from './markdown.module.css';
import { lazyPart } from './online.ts';

const Highlighted = lazyPart(() => import('./highlighted.tsx').then((file) => file.Highlighted));

/** Of a block that still grows; a longer one is shown as it came until it is complete, so that nothing waits for it. */
const MOST_GROWING = 4_000;
/** So long a block is no writing; to read it as Markdown would hold the page up. */
const MOST_AT_ONCE = 40_000;

/**
 * Text that is still coming is mended where it is cut off, and only its last block is made anew. What a person does meanwhile
 * goes first.
 */
export function Markdown({ text: newest, isPartial = false }: { text: string; isPartial?: boolean }) {
  const text = useDeferredValue(newest);
  const blocks = useMemo(() => blocksOf(text), [text]);
  return (
    <div className={styles.text}>
      {blocks.map((block, nth) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: blocks are only ever added at the end
        <Block key={nth} text={block} isPartial={isPartial && nth === blocks.length - 1} />
      ))}
    </div>
  );
}

const Block = memo(function Block({ text, isPartial }: { text: string; isPartial: boolean }) {
  if (text.length > (isPartial ? MOST_GROWING : MOST_AT_ONCE)) return <div className={styles.growing}>{text}</div>;
  return (
    <ReactMarkdown remarkPlugins={plugins} components={isPartial ? partial : complete}>
      {isPartial ? remend(text) : text}
    </ReactMarkdown>
  );
});

const plugins = [remarkGfm];

const base: Components = {
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  ),
  // Pictures of elsewhere would tell elsewhere who reads; they are links.
  img: ({ src, alt }) => (
    <a href={typeof src === 'string' ? src : undefined} target="_blank" rel="noopener noreferrer nofollow">
      {alt || 'picture'}
    </a>
  ),
  table: ({ children }) => (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, which a keyboard can do only where it is
    <section className={styles.scroll} tabIndex={0} aria-label="Table">
      <table>{children}</table>
    </section>
  ),
  input: ({ checked }) => <span>{checked ? '☑ ' : '☐ '}</span>,
  h1: ({ children }) => <h3>{children}</h3>,
  h2: ({ children }) => <h4>{children}</h4>,
  h3: ({ children }) => <h5>{children}</h5>,
  h4: ({ children }) => <h6>{children}</h6>,
  h5: ({ children }) => <h6>{children}</h6>,
  pre: ({ children }) => children,
};

const plainCode = (children: ReactNode) => (
  // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, which a keyboard can do only where it is
  <pre className={styles.scroll} tabIndex={0}>
    <code>{children}</code>
  </pre>
);
const isBlock = (className: string | undefined, children: ReactNode) =>
  className !== undefined || (typeof children === 'string' && children.includes('\n'));

const partial: Components = {
  ...base,
  code: ({ className, children }) => (isBlock(className, children) ? plainCode(children) : <code>{children}</code>),
};
const complete: Components = {
  ...base,
  code: ({ className, children }) => {
    if (!isBlock(className, children)) return <code>{children}</code>;
    const language = /language-([\w+#-]+)/.exec(className ?? '')?.[1];
    if (language === undefined || typeof children !== 'string') return plainCode(children);
    return (
      <Suspense fallback={plainCode(children)}>
        <Highlighted code={children} language={language} />
      </Suspense>
    );
  },
};
