// Builds the page into web/dist, if what it is made of has changed since: `npm run build`.
import { createHash } from 'node:crypto';
import { globSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { tryLock } from '../sandbox/process-lock.mjs';

const root = resolve(import.meta.dirname, '..');
const web = import.meta.dirname;
const dist = join(web, 'dist');
const stamp = join(dist, '.built');
/** Smaller than this, a compressed form saves nothing that anybody notices. */
const LEAST_BYTES = 512;

/** Several may ask at once, in this process and in others: one builds, the others wait for it. */
export async function buildPage(): Promise<void> {
  const wanted = fingerprint();
  if (built() === wanted) return;
  const lock = await takeLock();
  try {
    if (built() === wanted) return;
    const { build } = await import('vite');
    for (const left of globSync('.dist.*', { cwd: web })) rmSync(join(web, left), { recursive: true });
    const draft = join(web, `.dist.${process.pid}`);
    // A test's own environment would have the libraries' development forms built in, which weigh a third more.
    const { NODE_ENV: before } = process.env;
    process.env.NODE_ENV = 'production';
    try {
      await build({ configFile: join(web, 'vite.config.ts'), logLevel: 'warn', build: { outDir: draft } });
      await compress(join(draft, 'assets'));
      writeFileSync(join(draft, '.built'), wanted);
      rmSync(dist, { recursive: true, force: true });
      renameSync(draft, dist);
    } finally {
      if (before === undefined) delete process.env.NODE_ENV;
      else process.env.NODE_ENV = before;
      rmSync(draft, { recursive: true, force: true });
    }
  } finally {
    lock.release();
  }
}

/** Of all that goes into the page: its own files, and the versions of what it is made with. */
function fingerprint(): string {
  const hash = createHash('sha256');
  const own = globSync('{index.html,build.ts,vite.config.ts,src/**/*}', { cwd: web, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  for (const path of [...own.sort(), join(root, 'package-lock.json')])
    hash.update(path.slice(root.length)).update(readFileSync(path));
  return hash.digest('hex');
}

function built(): string | undefined {
  try {
    return readFileSync(stamp, 'utf8');
  } catch {
    return undefined;
  }
}

async function takeLock() {
  for (;;) {
    const { release } = tryLock(join(web, '.build.lock'));
    if (release !== undefined) return { release };
    await sleep(100);
  }
}

/** Beside each file its forms for browsers that take them. */
async function compress(folder: string): Promise<void> {
  const names = await readdir(folder);
  await Promise.all(
    names.map(async (name) => {
      const plain = await readFile(join(folder, name));
      if (plain.length < LEAST_BYTES || /\.woff2$/.test(name)) return;
      const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length };
      const [br, gz] = await Promise.all([
        promisify(brotliCompress)(plain, { params }),
        promisify(gzip)(plain, { level: 9 }),
      ]);
      await Promise.all([writeFile(join(folder, `${name}.br`), br), writeFile(join(folder, `${name}.gz`), gz)]);
    }),
  );
}

if (import.meta.main) await buildPage();
