// The page: files that web/build.ts made, and which paths are pages. Spec 11.2.
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';

/** Files are few and small: they are read once, and no request reaches the disk. */
export type Page = {
  /** Stands for a nonce where the document allows a script or style of its own. */
  document: string;
  assets: ReadonlyMap<string, Asset>;
};
type Asset = { type: string; plain: Buffer; br: Buffer | undefined; gzip: Buffer | undefined };

/** What web/index.html has where the nonce goes. */
export const NONCE = '__NONCE__';
const PAGE_DIRECTORY = join(import.meta.dirname, '../../web/dist');

const PAGES = ['playground', 'packages', 'credits', 'account', 'author', 'admin', 'sign-in'];

/** Paths that people know from before, and where the same is now. */
const MOVED: Record<string, (query: URLSearchParams) => string | undefined> = {
  '/': () => '/playground',
  '/playground': (query) =>
    query.has('buyCredits')
      ? '/credits?buy=yes'
      : query.get('purchase') === 'success' || query.get('subscription') === 'success'
        ? '/credits?checkout=latest'
        : undefined,
  '/playground/shared': (query) =>
    query.has('token') ? `/playground/shared/${encodeURIComponent(query.get('token') ?? '')}` : '/playground',
  '/playground/credits/buy': (query) => `/credits?buy=${encodeURIComponent(query.get('package') ?? 'yes')}`,
  '/playground/credits/subscribe': () => '/credits?subscribe=yes',
  '/playground/credits': () => '/credits',
  '/pricing': () => '/credits',
  '/dashboard': () => '/author',
  '/login': () => '/sign-in',
  '/register': () => '/sign-in',
};

const TYPES: Record<string, string> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** Whether the page has something to show at this path. */
export const isPagePath = (path: string) => PAGES.includes(path.split('/')[1] ?? '');

/** Where a path of before leads; undefined where it does not. */
export function movedTo(path: string, query: URLSearchParams): string | undefined {
  return Object.hasOwn(MOVED, path) ? MOVED[path]?.(query) : undefined;
}

/** Reads what was built into `directory`; undefined where nothing was. */
export async function readPage(directory = PAGE_DIRECTORY): Promise<Page | undefined> {
  const folder = join(directory, 'assets');
  let document: string;
  let names: string[];
  try {
    [document, names] = await Promise.all([readFile(join(directory, 'index.html'), 'utf8'), readdir(folder)]);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  const known = new Set(names);
  const variant = async (name: string) => (known.has(name) ? readFile(join(folder, name)) : undefined);
  const assets = names
    .filter((name) => !/\.(br|gz)$/.test(name))
    .map(async (name): Promise<[string, Asset]> => {
      const [plain, br, gzip] = await Promise.all([
        readFile(join(folder, name)),
        variant(`${name}.br`),
        variant(`${name}.gz`),
      ]);
      return [`/assets/${name}`, { type: TYPES[extname(name)] ?? 'application/octet-stream', plain, br, gzip }];
    });
  return { document, assets: new Map(await Promise.all(assets)) };
}

const SAFE = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};

/**
 * A file, for ever: its name changes with what is in it. The smallest form that the browser takes.
 */
export function answerAsset(asset: Asset, accepted: string | undefined): Response {
  const takes = new Set(
    (accepted ?? '').split(',').flatMap((one) => (/;\s*q=0(\.0*)?\s*$/.test(one) ? [] : coding(one))),
  );
  const [encoding, body] =
    asset.br !== undefined && takes.has('br')
      ? ['br', asset.br]
      : asset.gzip !== undefined && takes.has('gzip')
        ? ['gzip', asset.gzip]
        : [undefined, asset.plain];
  return new Response(new Uint8Array(body), {
    headers: {
      ...SAFE,
      'content-type': asset.type,
      'cache-control': 'public, max-age=31536000, immutable',
      vary: 'accept-encoding',
      ...(encoding !== undefined && { 'content-encoding': encoding }),
    },
  });
}

const coding = (one: string) => one.split(';')[0]?.trim() ?? '';

/**
 * The document, the same at every path. What it loads and what it may do is said here: scripts of ours alone, and styles of
 * ours and of the component library, which are let in by a nonce of this answer.
 */
export function answerDocument({ document }: Page, status: 200 | 404): Response {
  const nonce = randomBytes(16).toString('base64url');
  const policy = [
    "default-src 'none'",
    `script-src 'self' 'nonce-${nonce}'`,
    `style-src 'self' 'nonce-${nonce}'`,
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return new Response(document.replaceAll(NONCE, nonce), {
    status,
    headers: {
      ...SAFE,
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-cache',
      'content-security-policy': policy,
      'permissions-policy': 'camera=(), microphone=(), geolocation=(), payment=()',
    },
  });
}
