import { useEffect } from 'react';

/** Esc stops, where it has nothing to close; null: there is nothing to stop. */
export function useStopKey(stop: (() => void) | null): void {
  useEffect(() => {
    if (stop === null) return;
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || event.defaultPrevented) return;
      const closable = document.querySelectorAll('[role="dialog"], [role="menu"], [role="listbox"]');
      const isTaken = [...closable].some((one) => one.checkVisibility());
      if (!isTaken) stop();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, [stop]);
}
