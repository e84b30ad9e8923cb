// `npm run check`: types, style and dead code, beside each other.
import { spawn } from 'node:child_process';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

export type Check = { name: string; command: string[] };

export const checks: Check[] = [
  { name: 'types', command: ['node_modules/typescript/bin/tsc'] },
  { name: 'types of the page', command: ['node_modules/typescript/bin/tsc', '-p', 'web'] },
  { name: 'style', command: ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings'] },
  { name: 'size of the page', command: ['web/budget.ts'] },
  { name: 'dead code', command: ['node_modules/knip/bin/knip.js'] },
];

/** Runs them all and prints what those that failed have to say. Returns how many failed. */
export async function runChecks(list: Check[]): Promise<number> {
  const results = await Promise.all(list.map(runCheck));
  for (const { name, code, output } of results) {
    console.log(`${code === 0 ? 'passed' : 'FAILED'}  ${name}`);
    if (code !== 0) console.log(output.trimEnd());
  }
  return results.filter(({ code }) => code !== 0).length;
}

function runCheck({ name, command }: Check): Promise<{ name: string; code: number | null; output: string }> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, command, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.once('close', (code) => settle({ name, code, output }));
  });
}

if (import.meta.main) process.exitCode = (await runChecks(checks)) === 0 ? 0 : 1;
