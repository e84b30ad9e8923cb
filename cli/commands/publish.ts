import { readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { Command } from '@commander-js/extra-typings';
import type { Cli } from '../cli.ts';
import { CliFailure, exit } from '../failure.ts';
import { pathOf } from './ask.ts';

export function publishCommand(cli: Cli) {
  return new Command('publish')
    .description('Publish what a folder with a prpm.json, or a Markdown file with front matter, says')
    .argument('[path]', 'the folder, its prpm.json, or the Markdown file', '.')
    .addHelpText(
      'after',
      `
A version keeps its text for ever: to publish it again with the same text does nothing, with another is refused.

Examples:
  prpm-playground packages publish ./code-review
  prpm-playground packages publish haiku.md`,
    )
    .action(async (path) => {
      const { packages } = cli.connect().api.catalog;
      const file = manifestAt(path);
      if (file.endsWith('.md')) {
        const { version, packageId } = await packages.publishMarkdown.mutate({ markdown: read(file) });
        return cli.answer({ name: basename(file), packageId, versions: [version] }, say);
      }
      const manifest = parse(file);
      const files = Object.fromEntries(filesOf(manifest).map((name) => [name, read(inside(dirname(file), name))]));
      cli.answer(await packages.publishManifest.mutate({ manifest, files }), say);
    });

  function say({ name, versions }: { name: string; versions: string[] }): void {
    cli.screen.line(`Published ${name}: ${versions.join(', ')}`);
  }
}

function manifestAt(path: string): string {
  const there = pathOf(path);
  try {
    return statSync(there).isDirectory() ? join(there, 'prpm.json') : there;
  } catch {
    throw new CliFailure(`There is no ${path}.`, exit.usage);
  }
}

function parse(file: string): Record<string, unknown> {
  try {
    const manifest: unknown = JSON.parse(read(file));
    if (typeof manifest === 'object' && manifest !== null && !Array.isArray(manifest)) return { ...manifest };
  } catch (error) {
    if (error instanceof CliFailure) throw error;
  }
  throw new CliFailure(`${file} is no JSON object.`, exit.usage);
}

/** Every file that a prpm.json names: which of them it needs, the server says. */
function filesOf({ main, files, versions }: Record<string, unknown>): string[] {
  const named = [main, ...listOf(files), ...listOf(versions)].map((one) => {
    if (typeof one !== 'object' || one === null) return one;
    return 'path' in one ? one.path : 'file' in one ? one.file : undefined;
  });
  return [...new Set(named.filter((name) => typeof name === 'string'))];
}

const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** A manifest that somebody else wrote must not publish what lies elsewhere on this machine, by ../ or by a link. */
function inside(folder: string, name: string): string {
  const file = join(folder, name);
  const way = relative(realpathSync(folder), real(file, name));
  if (way === '..' || /^\.\.[/\\]/.test(way) || way === real(file, name))
    throw new CliFailure(`prpm.json names ${name}, which is not in its folder.`, exit.usage);
  return file;
}

function real(file: string, name: string): string {
  try {
    return realpathSync(file);
  } catch {
    throw new CliFailure(`prpm.json names ${name}, which is not there.`, exit.usage);
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason =
      error instanceof Error && 'code' in error && error.code === 'ENOENT' ? 'is not there' : 'cannot be read';
    throw new CliFailure(`${basename(file)} ${reason} (${file}).`, exit.usage);
  }
}
