// What `npm pack` packs, before (`build`) and after (`restore`): dist/ with the client and the CLI as JavaScript, and a
// package.json that asks for what these import and nothing else. See docs/adr/0029.
import { spawnSync } from 'node:child_process';
import {
  constants,
  copyFileSync,
  existsSync,
  globSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const at = (...path: string[]) => join(root, ...path);
const manifest = at('package.json');
const whole = at('.package.json.whole');

if (process.argv[2] === 'restore') renameSync(whole, manifest);
else {
  build();
  slim();
}

function build(): void {
  rmSync(at('dist'), { recursive: true, force: true });
  const scratch = mkdtempSync(join(tmpdir(), 'prpm-client-'));
  try {
    const plain = ['--noEmit', 'false', '--rootDir', '.', '--target', 'es2022'];
    // Each file by itself: what is imported for its types alone stays out.
    const alone = ['--noCheck', '--noResolve', '--rewriteRelativeImportExtensions', '--outDir', 'dist'];
    const client = ['index', 'run', 'compare', 'start', 'watch', 'error', 'types', 'router'].map(
      (name) => `src/client/${name}.ts`,
    );
    compile([...plain, ...alone, '--declaration', ...client, 'src/errors/registry.ts']);
    compile([...plain, ...alone, ...globSync('cli/**/*.ts', { cwd: root })]);
    compile([...plain, '--declaration', '--emitDeclarationOnly', '--outDir', scratch, 'src/trpc/_app.ts']);
    const router = readFileSync(join(scratch, 'src/trpc/_app.d.ts'), 'utf8');
    writeFileSync(at('dist/src/client/router.d.ts'), withoutServer(router));
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function compile(options: string[]): void {
  const config = ['--ignoreConfig', '--types', 'node', '--module', 'nodenext', '--lib', 'es2024,esnext.disposable'];
  const rules = ['--strict', '--exactOptionalPropertyTypes', '--verbatimModuleSyntax', '--skipLibCheck'];
  const extensions = options.includes('--rewriteRelativeImportExtensions') ? [] : ['--allowImportingTsExtensions'];
  const tsc = [at('node_modules/typescript/bin/tsc'), ...config, ...rules, ...extensions, ...options];
  const { status, stdout, stderr } = spawnSync(process.execPath, tsc, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(`tsc ${options.join(' ')}:\n${stdout}${stderr}`);
}

/** The compiler writes the router's type out in full; what is left of the server is the context, which is no client's business. */
function withoutServer(router: string): string {
  const written = router
    .replaceAll('import("./trpc.ts").Context', 'object')
    .replace('export declare const appRouter:', 'declare const appRouter:');
  const [left] = /import\("\.[^)]*\)[\w.]*|^import .*/m.exec(written) ?? [];
  if (left !== undefined) throw new Error(`The router's type still needs the server's source: ${left}`);
  return written;
}

function slim(): void {
  try {
    copyFileSync(manifest, whole, constants.COPYFILE_EXCL);
  } catch {
    const message =
      'An npm pack is under way here, or was killed half-way: then `npm run postpack` puts package.json back.';
    throw new Error(message);
  }
  const {
    scripts,
    dependencies,
    devDependencies: _,
    optionalDependencies: __,
    ...kept
  } = JSON.parse(readFileSync(whole, 'utf8'));
  const needed = imported();
  const own = Object.fromEntries(Object.entries(dependencies).filter(([name]) => needed.has(name)));
  const text = JSON.stringify({ ...kept, scripts: { postpack: scripts.postpack }, dependencies: own }, null, 2);
  writeFileSync(manifest, `${text}\n`);
}

/** Names of the packages that dist imports, for its types too, and of those that these want beside them. */
function imported(): Set<string> {
  const files = globSync('dist/**/*.{js,d.ts}', { cwd: root }).map((file) => readFileSync(at(file), 'utf8'));
  const names = files.flatMap((text) => [...text.matchAll(/(?:from |import\()["']((?:@[\w.-]+\/)?[\w.-]+)/g)]);
  const direct = names
    .map(([, name = '']) => name)
    .filter((name) => existsSync(at('node_modules', name, 'package.json')));
  const peers = direct.flatMap((name) => {
    const { peerDependencies = {} } = JSON.parse(readFileSync(at('node_modules', name, 'package.json'), 'utf8'));
    return Object.keys(peerDependencies);
  });
  return new Set([...direct, ...peers]);
}
