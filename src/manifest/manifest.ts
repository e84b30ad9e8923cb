// What authors write beside a prompt, a prpm.json or the front matter of a Markdown file, as the fields of its versions.
import { parse } from 'yaml';
import { z } from 'zod';
import { Failure } from '../errors/failure.ts';
import { camelKeys, unstorable } from '../http/input.ts';

/** A field of a version, as it was written: what may stand there is said where a version is published. */
const written = z.unknown().optional();
const fields = {
  ...{
    name: written,
    version: written,
    description: written,
    tags: written,
    visibility: written,
    organization: written,
  },
  ...{ changelog: written, variables: written, suggestedInputs: written },
};
const path = z.string().min(1).max(500);
const manifestSchema = z.object({
  ...fields,
  keywords: written,
  private: z.boolean().optional(),
  main: path.optional(),
  files: z
    .array(z.union([path, z.object({ path })]))
    .max(50)
    .optional(),
  /** Several versions of one package, oldest first, each in a file of its own. */
  versions: z
    .array(z.object({ version: written, file: path, changelog: written }))
    .min(1)
    .max(50)
    .optional(),
  packages: z.undefined('is one package too many: publish each package with a prpm.json of its own').optional(),
});
const frontMatterSchema = z.object({ ...fields, private: z.boolean().optional() });

/** The fields of a version before they are looked at. */
type Written = Record<string, unknown>;

/** The versions that a prpm.json describes, oldest first. `files` are the texts that it names, by their paths there. */
export function readManifest(manifest: Written, files: Record<string, string>): Written[] {
  const {
    keywords,
    private: isPrivate,
    main,
    files: named,
    versions,
    packages: _,
    ...shared
  } = known(manifestSchema, manifest);
  const every = {
    ...shared,
    tags: shared.tags ?? keywords,
    visibility: shared.visibility ?? visibilityOf(isPrivate),
  };
  if (versions !== undefined) {
    return versions.map(({ file, version, changelog }) => ({
      ...every,
      version,
      changelog,
      prompt: textOf(file, files),
    }));
  }
  const paths = main === undefined ? (named ?? []).map((one) => (typeof one === 'string' ? one : one.path)) : [main];
  if (paths.length === 0) throw wrong('manifest.files', 'must name the file that has the prompt');
  return [{ ...every, prompt: paths.map((one) => textOf(one, files)).join('\n\n') }];
}

/** The version that a Markdown file is: its front matter says what, the rest of it is the prompt. */
export function readMarkdown(markdown: string): Written {
  const [head, prompt] = apart(markdown);
  if (head === null)
    throw wrong('markdown', 'must begin with front matter: a line ---, name: and version:, and a line --- again');
  const { private: isPrivate, ...shared } = known(frontMatterSchema, frontMatterOf(head));
  return { ...shared, visibility: shared.visibility ?? visibilityOf(isPrivate), prompt };
}

function visibilityOf(isPrivate: boolean | undefined): string | undefined {
  if (isPrivate === undefined) return undefined;
  return isPrivate ? 'private' : 'public';
}

function known<T extends z.ZodType>(schema: T, value: Written): z.output<T> {
  const parsed = schema.safeParse(camelKeys(value));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw wrong(['manifest', ...(issue?.path ?? [])].join('.'), issue?.message ?? 'cannot be read');
}

/** The prompt in a file: front matter is for the tools of its format, not for the model. */
function textOf(file: string, files: Record<string, string>): string {
  const text = Object.hasOwn(files, file) ? files[file] : undefined;
  if (text === undefined) throw wrong(`files.${file}`, 'is named in the manifest, but was not sent');
  return apart(text)[1];
}

/** Front matter, null where there is none, and what comes after it. */
function apart(text: string): [head: string | null, rest: string] {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const end = isFence(lines[0]) ? lines.findIndex((line, place) => place > 0 && isFence(line)) : -1;
  if (end < 0) return [null, lines.join('\n').trim()];
  return [
    lines.slice(1, end).join('\n'),
    lines
      .slice(end + 1)
      .join('\n')
      .trim(),
  ];
}

const isFence = (line: string | undefined) => line?.trimEnd() === '---';

function frontMatterOf(head: string): Written {
  let read: unknown;
  try {
    // Aliases could grow without end, and nobody writes them here.
    read = parse(head, { maxAliasCount: 0, logLevel: 'error' });
  } catch (error) {
    const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    throw wrong('markdown', `has front matter that is no YAML: ${reason.replace(/:$/, '')}`);
  }
  if (typeof read !== 'object' || read === null || Array.isArray(read))
    throw wrong('markdown', 'must have fields as its front matter');
  if (unstorable(read) !== null)
    throw wrong('markdown', 'has a character that is no text: NUL, or half of a surrogate pair');
  return { ...read };
}

function wrong(field: string, message: string): Failure {
  return new Failure('validation_error', `${field}: ${message}.`, { errors: [{ field, message }] });
}
