import { whole } from '../shell/format.ts';

/** Dollars of any size: what a run costs has more digits than what a month brings. */
export function money(value: number | string | null): string {
  if (value === null) return '–';
  const amount = Number(value);
  const isFine = Math.abs(amount) < 1 && Math.abs(amount * 100 - Math.round(amount * 100)) > 1e-9;
  return amount.toLocaleString(undefined, {
    ...{ style: 'currency', currency: 'USD', currencyDisplay: 'narrowSymbol' },
    minimumFractionDigits: isFine ? 4 : 2,
    maximumFractionDigits: isFine ? 4 : 2,
  });
}
export const percent = (value: number | null) =>
  value === null ? '–' : `${value.toLocaleString(undefined, { maximumFractionDigits: 1 })}\u00a0%`;
export const count = (value: number | null) => (value === null ? '–' : whole(value));

/** A value of a field as psql would write it. */
export function written(value: unknown): string {
  if (value === null || value === undefined) return 'null';
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `{${value.join(',')}}`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** A name of psql that may be broken where its words end. */
export const breakable = (name: string) => name.replaceAll('_', '_\u200b');
