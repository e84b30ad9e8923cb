// On paper: black on white however the screen looks, all rows of a list, and the figures behind each picture.
import { useSyncExternalStore } from 'react';

const SCHEME = 'data-mantine-color-scheme';
const media = window.matchMedia('print');
const listeners = new Set<() => void>();
let isPrinting = false;
/** Puts the page back as it was on the screen. */
let restore = () => {};

/** Browsers tell of it by events, by the medium, or by both. */
export function followPrinting(): void {
  window.addEventListener('beforeprint', () => turn(true));
  window.addEventListener('afterprint', () => turn(media.matches));
  media.addEventListener('change', () => turn(media.matches));
}

/** Whether it is being printed, for what is otherwise made only as far as it is in sight. */
export const usePrinting = () => useSyncExternalStore(subscribe, () => isPrinting);

function subscribe(onChange: () => void): () => void {
  listeners.add(onChange);
  return () => listeners.delete(onChange);
}

function turn(isPrintingNow: boolean): void {
  if (isPrintingNow === isPrinting) return;
  isPrinting = isPrintingNow;
  restore();
  if (isPrinting) restore = prepare();
  else restore = () => {};
  for (const listener of listeners) listener();
}

function prepare(): () => void {
  const root = document.documentElement;
  const scheme = root.getAttribute(SCHEME) ?? 'light';
  const closed = [...document.querySelectorAll<HTMLDetailsElement>('figure details:not([open])')];
  root.setAttribute(SCHEME, 'light');
  for (const one of closed) one.open = true;
  return () => {
    root.setAttribute(SCHEME, scheme);
    for (const one of closed) one.open = false;
  };
}
