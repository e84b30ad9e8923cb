import { useQuery } from '@tanstack/react-query';
import { trpc } from '../trpc.ts';

/** Asked again now and then, so that the sign-in of a page that stays open is renewed. */
const RENEW_MS = 10 * 60_000;

export type Viewer = { userId: string; username: string; email: string | null; isAdmin: boolean };

/** Who looks at the page: null who is not signed in; undefined until that is known. */
export function useViewer(): Viewer | null | undefined {
  const { data } = useQuery(
    trpc.accounts.viewer.queryOptions(undefined, {
      ...{ staleTime: RENEW_MS, refetchInterval: RENEW_MS, refetchOnWindowFocus: true, retry: true },
    }),
  );
  return data?.viewer;
}

/** Leads to the sign-in and back to where one is. */
export function signInPath(from: string = window.location.pathname + window.location.search): string {
  return `/sign-in?${new URLSearchParams({ return: from })}`;
}
