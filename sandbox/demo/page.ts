// The demo's page is built beside all else that a start does: whoever asks for it first waits until it is there.
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { resolve } from 'node:path';
import { type Page, readPage } from '../../src/http/page.ts';

const builder = resolve(import.meta.dirname, '../../web/build.ts');

/** What it has to say goes to `log`. */
export function buildBeside(log: string): { built: Promise<Page | undefined>; stop(): void } {
  const child = spawn(process.execPath, [builder], { stdio: ['ignore', 'pipe', 'pipe'] });
  // The database that a first start fills is what people wait for.
  if (child.pid !== undefined) setPriority(child.pid, 10);
  const keep = (text: Buffer) => appendFileSync(log, text);
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const built = new Promise<Page | undefined>((settle, fail) => {
    child.once('error', fail);
    child.once('exit', (code) =>
      code === 0 ? readPage().then(settle, fail) : fail(new Error(`the page was not built; ${log} says why`)),
    );
  });
  built.catch(() => undefined); // the server tells in its log
  return { built, stop: () => void child.kill() };
}
