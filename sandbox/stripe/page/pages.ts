import { ApiError } from '../errors.ts';
import type { World } from '../world.ts';
import { html, page } from './html.ts';
import { invoicePage } from './invoice.ts';
import { payPage } from './pay.ts';
import { portalPage } from './portal.ts';

export type Page = { status: number; headers: Record<string, string>; body: string };

/** A page as it is shown (`action` null), or what follows on pressing a button: where to go next, null for the same page. */
export type Shown = { title: string; body: ReturnType<typeof html> };
export type PageOf = {
  show(world: World, id: string): Shown;
  press(world: World, id: string, action: string): string | null;
};

const PAGES: { [name: string]: PageOf } = { pay: payPage, portal: portalPage, invoice: invoicePage };

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
  'referrer-policy': 'no-referrer',
};

/** Null where the path is none of a page. */
export function answerPage(world: World, method: string, path: string, body: string): Page | null {
  const [, name = '', id = ''] = /^\/(\w+)\/(\w+)$/.exec(path) ?? [];
  const wanted = Object.hasOwn(PAGES, name) ? PAGES[name] : undefined;
  if (!wanted) return null;
  try {
    if (method === 'POST') {
      const next = wanted.press(world, id, new URLSearchParams(body).get('action') ?? '');
      return { status: 303, headers: { ...HEADERS, location: next ?? path }, body: '' };
    }
    const { title, body: shown } = wanted.show(world, id);
    return { status: 200, headers: HEADERS, body: page(title, shown) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const title = error.status === 404 ? 'There is no such page' : 'This cannot be done';
    return { status: error.status, headers: HEADERS, body: page(title, html`<p>${error.message}</p>`) };
  }
}
