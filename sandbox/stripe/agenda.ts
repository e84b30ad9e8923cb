import type { Due } from './state.ts';

/**
 * Notes what falls due, in order of time, and in order of notes for the same second. Entries are not taken out when they
 * become void: whoever carries one out looks whether it still holds.
 */
export function note(agenda: Due[], due: Due): void {
  let low = 0;
  let high = agenda.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((agenda[middle]?.at ?? 0) <= due.at) low = middle + 1;
    else high = middle;
  }
  agenda.splice(low, 0, due);
}

/** Takes out the next entry that is due by then. */
export function next(agenda: Due[], bySeconds: number): Due | undefined {
  const [first] = agenda;
  return first && first.at <= bySeconds ? agenda.shift() : undefined;
}
