import { missing } from '../errors.ts';
import type { List } from '../wire.ts';

export type Page = {
  limit?: number | undefined;
  starting_after?: string | undefined;
  ending_before?: string | undefined;
};

/** One page of a table, newest first. `all` is oldest first. Throws 404 for a cursor that is not there. */
export function listOf<T extends { id: string }>(url: string, all: readonly T[], page: Page): List<T> {
  const { limit = 10, starting_after: after, ending_before: before } = page;
  const newest = all.toReversed();
  const index = (id: string, param: string) => {
    const found = newest.findIndex((object) => object.id === id);
    if (found < 0) throw missing('object', id, param);
    return found;
  };
  if (before !== undefined) {
    const end = index(before, 'ending_before');
    const start = Math.max(0, end - limit);
    return { object: 'list', data: newest.slice(start, end), has_more: start > 0, url };
  }
  const start = after === undefined ? 0 : index(after, 'starting_after') + 1;
  return { object: 'list', data: newest.slice(start, start + limit), has_more: start + limit < newest.length, url };
}

/** A list that is part of an object, whole. */
export function wholeList<T>(url: string, data: readonly T[]): List<T> {
  return { object: 'list', data: [...data], has_more: false, url };
}
