import { queryClient } from '../trpc.ts';

/** As nobody, to where everybody begins. What was written here and not yet run is nobody else's. */
export function leaveAccount(): void {
  queryClient.clear();
  sessionStorage.clear();
  window.location.assign('/playground');
}
