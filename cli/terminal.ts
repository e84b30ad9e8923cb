import { styleText } from 'node:util';

/** What a command reads from and writes to. */
export type Terminal = {
  stdin: NodeJS.ReadStream;
  stdout: NodeJS.WriteStream;
  stderr: NodeJS.WriteStream;
  environment: NodeJS.ProcessEnv;
};

type Style = 'bold' | 'dim' | 'red';

/** Whether there is to be colour is our own question, of each stream. */
const painted = (style: Style, text: string) => styleText(style, text, { validateStream: false });

/** Answers go to stdout, whatever else there is to say to stderr: a pipe gets the answer alone. */
export function openScreen({ stdout, stderr, environment }: Terminal) {
  const hasColor = (stream: NodeJS.WriteStream) =>
    stream.isTTY === true && !environment.NO_COLOR && environment.TERM !== 'dumb';
  const [colorsOut, colorsError] = [hasColor(stdout), hasColor(stderr)];
  const width = Math.max(40, Math.min(stdout.columns ?? 100, 140));
  /** Other people's words must not move the cursor of a terminal; a file gets them as they are. */
  const clean = (text: string, stream: NodeJS.WriteStream) => (stream.isTTY === true ? withoutControls(text) : text);

  const note = (text: string) => void stderr.write(`${colorsError ? painted('dim', text) : text}\n`);

  return {
    isTerminal: stdout.isTTY === true,
    showsProgress: stderr.isTTY === true && environment.TERM !== 'dumb',
    style: (style: Style, text: string) => (colorsOut ? painted(style, text) : text),
    /** A piece of an answer as it comes. */
    write: (text: string) => void stdout.write(clean(text, stdout)),
    line: (text = '') => void stdout.write(`${text}\n`),
    json: (value: unknown) => void stdout.write(`${JSON.stringify(value, null, 2)}\n`),
    tell: (text: string) => void stderr.write(`${text}\n`),
    note,
    /** How to see the next page, where there is one. */
    more: (nextCursor: string | null) => {
      if (nextCursor !== null) note(`More: --cursor ${nextCursor}`);
    },
    fail: (text: string) => void stderr.write(`${colorsError ? painted('red', 'error:') : 'error:'} ${text}\n`),
    /** Rows under their heads; the last column takes what is left of the line. Figures stand to the right. */
    table(heads: string[], rows: (string | number | null)[][]): void {
      const cells = rows.map((row) => row.map((cell) => (cell === null ? '-' : oneLine(String(cell)))));
      const widths = heads.map((head, at) => Math.max(head.length, ...cells.map((row) => row[at]?.length ?? 0)));
      const isFigure = heads.map((_, at) => rows.some((row) => typeof row[at] === 'number'));
      const print = (row: string[], style?: Style) => {
        const padded = row.map((cell, at) =>
          isFigure[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
        );
        const text = shorten(padded.join('  ').trimEnd(), stdout.isTTY === true ? width : Number.POSITIVE_INFINITY);
        stdout.write(`${style !== undefined && colorsOut ? painted(style, text) : text}\n`);
      };
      if (rows.length === 0) stdout.write('There are none.\n');
      else print(heads, 'dim');
      for (const row of cells) print(row);
    },
    /** Names and what stands beside them. */
    pairs(list: [name: string, value: string | number | null | undefined][]): void {
      const shown = list.filter(([, value]) => value !== undefined && value !== null);
      const longest = Math.max(...shown.map(([name]) => name.length));
      for (const [name, value] of shown) {
        const text = clean(String(value), stdout);
        stdout.write(`${colorsOut ? painted('dim', name.padEnd(longest)) : name.padEnd(longest)}  ${text}\n`);
      }
    },
  };
}

function withoutControls(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '');
}

const oneLine = (text: string) => withoutControls(text.replace(/\s+/g, ' ')).trim();

export function shorten(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** Credits, as a person says it. */
export const credits = (count: number) => `${count} credit${count === 1 ? '' : 's'}`;

export const seconds = (ms: number | null) => (ms === null ? '-' : `${(ms / 1000).toFixed(1)} s`);

/** A moment in the reader's own time, to the minute. */
export function moment(iso: string | null): string {
  if (iso === null) return '-';
  const at = new Date(iso);
  const two = (part: number) => String(part).padStart(2, '0');
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}`;
}

export const dollars = (amount: number) => `$${amount.toFixed(2)}`;
