import { useCallback } from 'react';
import { useSearchParams } from 'wouter';
import { useSearch } from 'wouter/use-browser-location';

/** How an address changes: `replace` for what is typed, of which Back should not go through each word. */
type How = { replace?: boolean };

/**
 * One thing that the address says, so that it can be sent and gone back to. What is usual is not written there. `how`: as the
 * router's, and said once.
 */
export function useInAddress(
  name: string,
  usual = '',
  { replace = false }: How = {},
): [string, (value: string) => void] {
  const [query, setQuery] = useSearchParams();
  const set = useCallback(
    (value: string) =>
      setQuery(
        (now) => {
          if (value === usual) now.delete(name);
          else now.set(name, value);
          return now;
        },
        { replace },
      ),
    [setQuery, name, usual, replace],
  );
  return [query.get(name) ?? usual, set];
}

/**
 * For the router, which decodes what this gives it before it is taken apart and decoded once more: "%2541" would become "A"
 * instead of "%41". So it gets it with one more layer.
 */
export const useQueryOnce = () => useSearch().replaceAll('%', '%25');
