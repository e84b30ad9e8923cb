// What docs/cli.md shows: commands, each with what it printed.
import { type ChildProcess, spawn } from 'node:child_process';
import { blocksOf } from '../guide/blocks.ts';

export type Typed = { command: string; printed: string; line: number; heading: string };

/** Of every block in `console`: lines that begin with "$ ", with the lines below each. */
export function typedIn(markdown: string): Typed[] {
  const list: Typed[] = [];
  const headings = markdown.split('\n').map((row) => /^## (.*)/.exec(row)?.[1]);
  for (const { text, line } of blocksOf(markdown).filter(({ language }) => language === 'console')) {
    for (const [index, row] of text.trimEnd().split('\n').entries()) {
      const last = list.at(-1);
      if (row.startsWith('$ '))
        list.push({
          command: row.slice(2),
          printed: '',
          line: line + index,
          heading: headings.slice(0, line).findLast(Boolean) ?? '',
        });
      else if (last !== undefined) last.printed += `${row}\n`;
    }
  }
  return list;
}

/** What may differ, alike: ids, moments, durations, links, cursors, places, what is usual by the history, and how wide a column is. */
export function alike(text: string): string {
  return text
    .replace(/https?:\/\/\S+/g, '<link>')
    .replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, '<id>')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d/g, '<moment>')
    .replace(/\b[A-Z][a-z]+ \d{1,2}, \d{4}\b/g, '<day>')
    .replace(/\b\d+\.\d s\b/g, '<seconds>')
    .replace(/(?<=^tokens +)\d+ likely/gm, '<usual> likely')
    .replace(/--cursor \S+/g, '--cursor <cursor>')
    .replace(/\S+\/account\.json/g, '<file>')
    .replace(/(?<=\S) {2,}/g, '  ');
}

export const withoutFigures = (text: string) => text.replace(/\$?\d[\d.]*/g, '<figure>');

/** What is shown, made alike, as a pattern: `…` stands for any lines. */
export function patternOf(shown: string): RegExp {
  const parts = shown.split(/^…\n/m).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('(?:.*\\n)*')}$`);
}

/** One shell that is typed into, so that what is set stays set. */
export function openShell(cwd: string, env: NodeJS.ProcessEnv, main: string) {
  const shell: ChildProcess = spawn('bash', ['--norc', '--noprofile'], {
    cwd,
    env,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let out = '';
  let wake = () => {};
  shell.stdout?.setEncoding('utf8').on('data', (piece) => {
    out += piece;
    wake();
  });
  const write = (text: string) => shell.stdin?.write(text);
  write(`prpm-playground() { '${process.execPath}' '${main}' "$@"; }\nexec 2>&1\n`);
  return {
    /** What it printed, to both streams. */
    async type(command: string): Promise<string> {
      out = '';
      write(`${command}\nprintf '\\001'\n`);
      while (!out.endsWith('\u0001'))
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      return out.slice(0, -1);
    },
    close: () => void shell.kill(),
  };
}
