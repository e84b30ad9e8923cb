// The package as somebody else gets it: packed from a copy of the source, installed into an empty directory.
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const root = resolve(import.meta.dirname, '../..');

export type Consumer = {
  directory: string;
  write(name: string, text: string): void;
  /** What a program printed; throws, with what it printed, where it fails. */
  run(program: string, args: string[], environment?: NodeJS.ProcessEnv): Promise<string>;
  remove(): void;
};

/** A project that has installed the package, and TypeScript of ours. */
export async function installPacked(): Promise<Consumer> {
  const place = mkdtempSync(join(tmpdir(), 'prpm-packed-'));
  const [source, directory] = [join(place, 'source'), join(place, 'project')];
  for (const name of ['package.json', 'package-lock.json', 'README.md', 'LICENSE', 'src', 'sandbox']) {
    cpSync(join(root, name), join(source, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(source, 'node_modules'));
  mkdirSync(directory);
  const consumer: Consumer = {
    directory,
    write: (name, text) => writeFileSync(join(directory, name), text),
    run: (program, args, environment = {}) => run(program, args, directory, environment),
    remove: () => rmSync(place, { recursive: true, force: true }),
  };
  await run('npm', ['pack', '--pack-destination', place], source);
  const tarball = readdirSync(place).find((name) => name.endsWith('.tgz')) ?? '';
  consumer.write('package.json', JSON.stringify({ type: 'module', private: true }));
  await run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join(place, tarball)], directory);
  return consumer;
}

const execute = promisify(execFile);

async function run(program: string, args: string[], cwd: string, environment: NodeJS.ProcessEnv = {}): Promise<string> {
  // Nothing of the npm that runs the tests.
  const { PATH, HOME } = process.env;
  const inherited = Object.entries(process.env).filter(([name]) =>
    /^(https?_proxy|no_proxy|npm_config_(registry|cache))$/i.test(name),
  );
  const env = { PATH, HOME, ...Object.fromEntries(inherited), ...environment };
  try {
    return (await execute(program, args, { cwd, env })).stdout;
  } catch (error) {
    if (error instanceof Error && 'stdout' in error && 'stderr' in error)
      throw new Error(`${program} ${args.join(' ')}\n${error.stdout}${error.stderr}`);
    throw error;
  }
}
