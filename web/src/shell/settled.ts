import { useDebouncedValue } from '@mantine/hooks';
import { useMemo } from 'react';

/** A value once it has stood for so long. It is told by its text: made anew with the same in it, it is the same. */
export function useSettled<T>(value: T, ms: number): { settled: T; isSettled: boolean } {
  const text = JSON.stringify(value);
  const [kept] = useDebouncedValue(text, ms);
  const settled: T = useMemo(() => JSON.parse(kept), [kept]);
  return { settled, isSettled: kept === text };
}
