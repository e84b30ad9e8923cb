// What a guide has people type: the fenced blocks of its Markdown.

export type Block = { language: string; text: string; line: number };

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: Block | undefined;
  for (const [index, line] of markdown.split('\n').entries()) {
    const fence = /^\s*```(\w*)\s*$/.exec(line);
    if (open === undefined) {
      if (fence) open = { language: fence[1] ?? '', text: '', line: index + 2 };
    } else if (fence) {
      blocks.push(open);
      open = undefined;
    } else open.text += `${line}\n`;
  }
  return blocks;
}

/** Statements with their comments; a block of comments alone has none. */
export function statementsOf(sql: string): string[] {
  return sql
    .split(/(?<=;)\s*\n/)
    .map((statement) => statement.trim())
    .filter((statement) => statement.replace(/^\s*--.*$/gm, '').trim() !== '');
}

/** What a block of shell commands expects to see, printed under the command as a comment and JSON. */
export function splitExpected(bash: string): { commands: string; expected: string } {
  const [commands = '', expected = ''] = bash.split(/^# Expected response:$/m);
  return { commands, expected };
}

/** Rows of a table as psql prints it, without its head; `(null)` in a guide is psql's empty field. */
export function tableRows(printed: string): string[][] {
  const lines = printed.split('\n').map((line) => line.trimEnd());
  const ruler = lines.findIndex((line) => /^-+(\+-+)+$/.test(line.trim()));
  const rows = lines.slice(ruler + 1).filter((line) => line.includes('|'));
  return [lines[ruler - 1] ?? '', ...rows].map((row) =>
    row.split('|').map((cell) => (cell.trim() === '(null)' ? '' : cell.trim())),
  );
}
