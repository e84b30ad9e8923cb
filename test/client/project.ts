// A stranger's project: an empty directory with npm, and the package of ours as it is packed.
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

export const root = resolve(import.meta.dirname, '../..');
const execute = promisify(execFile);

export type Project = {
  directory: string;
  write(name: string, text: string): void;
  /** What a program printed; throws, with what it printed, where it fails. */
  run(program: string, args: string[], environment?: NodeJS.ProcessEnv): Promise<string>;
  install(...packages: string[]): Promise<void>;
  /** Compiles with a TypeScript: ours, or the project's own. */
  compile(file: string, options: string[], tsc?: string): Promise<string>;
  remove(): void;
};

export function openProject(): Project {
  const directory = mkdtempSync(join(tmpdir(), 'prpm-project-'));
  const project: Project = {
    directory,
    write: (name, text) => writeFileSync(join(directory, name), text),
    run: (program, args, environment = {}) => run(program, args, directory, environment),
    async install(...packages) {
      await project.run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', ...packages]);
    },
    compile: (file, options, tsc = join(root, 'node_modules/typescript/bin/tsc')) =>
      project.run(process.execPath, [
        ...[tsc, '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', '--target', 'es2022', '--types', 'node'],
        ...['--typeRoots', join(root, 'node_modules/@types'), '--outDir', 'compiled', ...options, file],
      ]),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
  project.write('package.json', JSON.stringify({ type: 'module', private: true }));
  return project;
}

/** What `npm pack` makes of a copy of the source, beside it. Returns the tarball. */
export async function pack(place: string): Promise<string> {
  const source = join(place, 'source');
  mkdirSync(source);
  for (const name of ['package.json', 'package-lock.json', 'README.md', 'LICENSE', 'src', 'cli', 'sandbox']) {
    cpSync(join(root, name), join(source, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  await run('npm', ['pack', '--pack-destination', place], source);
  return join(place, readdirSync(place).find((name) => name.endsWith('.tgz')) ?? '');
}

async function run(program: string, args: string[], cwd: string, environment: NodeJS.ProcessEnv = {}): Promise<string> {
  // Nothing of the npm and the vitest that run the tests, but where packages come from.
  const inherited = Object.entries(process.env).filter(
    ([name]) =>
      !/^(npm_(?!config_(registry|cafile|cache|userconfig)$)|VITEST|NODE_(ENV|OPTIONS)$|INIT_CWD$)/.test(name),
  );
  const env = { ...Object.fromEntries(inherited), ...environment };
  try {
    return (await execute(program, args, { cwd, env })).stdout;
  } catch (error) {
    if (error instanceof Error && 'stdout' in error && 'stderr' in error)
      throw new Error(`${program} ${args.join(' ')}\n${error.stdout}${error.stderr}`);
    throw error;
  }
}
