// What people and models write is shown as Markdown, and never as anything that acts, loads or pretends.
import fc from 'fast-check';
import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, it } from 'vitest';
import { Markdown } from '../../web/src/shell/markdown.tsx';

const shown = (text: string, isPartial = false) =>
  renderToStaticMarkup(createElement(Markdown, { text, isPartial })).replaceAll('&quot;', '"');

/** Elements and attributes as they came out; text cannot look like either, since `<` and `>` in it are written as entities. */
const parts = (html: string) =>
  [...html.matchAll(/<([a-z][\w-]*)((?:\s+[\w-]+(?:="[^"]*")?)*)\s*\/?>/gi)].map(([, name, attributes = '']) => ({
    name,
    attributes: [...attributes.matchAll(/([\w-]+)(?:="([^"]*)")?/g)].map(
      ([, key, value = '']) => [key, value] as const,
    ),
  }));

const ELEMENTS = new Set(
  'div p h3 h4 h5 h6 a em strong del code pre ul ol li blockquote hr br section table thead tbody tr th td span sup'.split(
    ' ',
  ),
);
const ATTRIBUTES = new Set(
  'class href target rel tabindex aria-label style start id aria-describedby data-footnote-ref data-footnote-backref data-footnotes dir'.split(
    ' ',
  ),
);

function expectHarmless(text: string): void {
  for (const isPartial of [false, true]) {
    for (const { name, attributes } of parts(shown(text, isPartial))) {
      expect(ELEMENTS, `<${name}> of ${JSON.stringify(text)}`).toContain(name?.toLowerCase());
      for (const [key, value] of attributes) {
        expect(ATTRIBUTES, `${key} of ${JSON.stringify(text)}`).toContain(key?.toLowerCase());
        if (key === 'href')
          expect(value, JSON.stringify(text)).toMatch(/^(https?:|ircs?:|mailto:|xmpp:|#|\/|\.|$)|^[^:]*$/);
        if (key === 'style') expect(value).toMatch(/^text-align:(left|right|center)$/);
      }
    }
  }
}

const TRICKS = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg onload=alert(1)>',
  '<iframe src="https://evil.example"></iframe>',
  '<a href="javascript:alert(1)">b</a>',
  '[b](javascript:alert(1))',
  '[b](JaVaScRiPt&colon;alert(1))',
  '[b](data:text/html;base64,PHNjcmlwdD4=)',
  '[b](vbscript:x)',
  '[b](<javascript:alert(1)>)',
  '![p](https://evil.example/who-reads.png)',
  '![p](javascript:alert(1))',
  '<javascript:alert(1)>',
  '[b][1]\n\n[1]: javascript:alert(1)',
  '```html\n<script>alert(1)</script>\n```',
  '`<b onclick=x>`',
  '| a | b |\n|---|:-:|\n| <script> | ![x](http://e.example) |',
  '<style>*{display:none}</style>',
  '<form action="https://evil.example"><input name=token></form>',
  '- [x] <details open ontoggle=alert(1)>',
  '</div></section><h1>Sign in again</h1>',
  '&lt;script&gt;',
  'a[^1]\n\n[^1]: <script>x</script>',
];

it.each(TRICKS)('%j becomes text, or a link that leads nowhere by itself', (text) => {
  expectHarmless(text);
  expectHarmless(`> ${text}\n\n1. ${text}`);
});

it('a picture of elsewhere is a link: nobody elsewhere learns who reads', () => {
  expect(shown('![chart](https://elsewhere.example/x.png)')).toContain(
    '<a href="https://elsewhere.example/x.png" target="_blank" rel="noopener noreferrer nofollow">chart</a>',
  );
});

it('whatever is put together from such pieces, and wherever it is cut off while it comes, stays harmless', () => {
  const piece = fc.oneof(
    fc.constantFrom(...TRICKS),
    fc.constantFrom(
      '\n',
      '\n\n',
      '> ',
      '- ',
      '| ',
      '**',
      '_',
      '`',
      '```\n',
      '[',
      '](',
      ')',
      '<',
      '>',
      '"',
      "'",
      '&',
      '\\',
      '# ',
    ),
    fc.string({ maxLength: 8 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.nat(), (pieces, cut) => {
      const text = pieces.join('');
      expectHarmless(text);
      expectHarmless(text.slice(0, cut % (text.length + 1)));
    }),
    // The short form tries the same texts each time.
    process.env.SOAK === '1' ? { numRuns: 10_000 } : { numRuns: 400, seed: 20_261_127 },
  );
}, 600_000);
