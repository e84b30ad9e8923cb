/** Markup that is safe to put into a page. */
export class Html {
  readonly markup: string;
  constructor(markup: string) {
    this.markup = markup;
  }
}

type Piece = Html | string | number | null | readonly Html[];

/** Escapes what is put in, unless it is markup itself. */
export function html(strings: TemplateStringsArray, ...pieces: readonly Piece[]): Html {
  return new Html(strings.reduce((all, text, i) => all + markupOf(pieces[i - 1] ?? null) + text));
}

function markupOf(piece: Piece): string {
  if (piece === null) return '';
  if (piece instanceof Html) return piece.markup;
  if (typeof piece === 'object') return piece.map((one) => one.markup).join('');
  return String(piece).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

const STYLE = `
  :root { color-scheme: light dark; --ink: #1a1f2b; --soft: #566072; --line: #d9dee7; --edge: #858fa3; --paper: #fff; --back: #f3f5f9;
    --act: #3d4edb; --on-act: #fff; --bad: #a8131f; --bad-back: #fdecee; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e9ecf3; --soft: #a3acbd; --line: #353c4b; --edge: #78829a; --paper: #1c212c;
    --back: #12151d; --act: #93a0ff; --on-act: #10142a; --bad: #ff9aa2; --bad-back: #3a1a1f; } }
  * { box-sizing: border-box; }
  body { margin: 0; padding: 1.5rem 1rem 3rem; background: var(--back); color: var(--ink);
    font: 1rem/1.5 system-ui, sans-serif; }
  main { max-width: 30rem; margin: 0 auto; padding: 1.5rem; background: var(--paper); border: 1px solid var(--line);
    border-radius: 0.75rem; overflow-wrap: anywhere; }
  h1 { margin: 0 0 1rem; font-size: 1.375rem; line-height: 1.25; }
  h2 { margin: 1.75rem 0 0.5rem; font-size: 1.0625rem; }
  p { margin: 0.5rem 0; }
  .soft { color: var(--soft); }
  .alert { padding: 0.75rem 1rem; border-radius: 0.5rem; background: var(--bad-back); color: var(--bad); }
  table { width: 100%; border-collapse: collapse; margin: 0.75rem 0; }
  th, td { padding: 0.5rem 0.5rem 0.5rem 0; text-align: left; vertical-align: top; font-weight: inherit;
    border-bottom: 1px solid var(--line); }
  th:last-child, td:last-child { padding-right: 0; text-align: right; }
  td:last-child { font-variant-numeric: tabular-nums; }
  tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
  form { display: grid; gap: 0.625rem; margin: 1rem 0; }
  button { min-height: 2.75rem; padding: 0.5rem 1rem; border: 1px solid var(--edge); border-radius: 0.5rem;
    background: none; color: inherit; font: inherit; cursor: pointer; }
  button.main { border-color: var(--act); background: var(--act); color: var(--on-act); font-weight: 600; }
  a { color: var(--act); }
  :focus-visible { outline: 3px solid var(--act); outline-offset: 2px; }
  footer { max-width: 30rem; margin: 1rem auto 0; color: var(--soft); font-size: 0.875rem; text-align: center; }
`;

export function page(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${body}
</main>
<footer>A sandbox stands in for Stripe here. No card is asked for and no money moves.</footer>
</body>
</html>
`.markup;
}

export function money(cents: number, currency: string): string {
  return new Intl.NumberFormat('en-US', { style: 'currency', currency }).format(cents / 100);
}

export function day(seconds: number): string {
  return new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' }).format(seconds * 1000);
}
