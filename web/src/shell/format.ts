// Figures and times as people read them, in their own language's way and their own time.

/** A time to come: today as the hour, else with the day. */
export function clockTime(at: Date, now = new Date()): string {
  const sameDay = at.toDateString() === now.toDateString();
  return at.toLocaleString(undefined, {
    ...(sameDay ? {} : { weekday: 'short', day: 'numeric', month: 'short' }),
    ...{ hour: '2-digit', minute: '2-digit' },
  });
}

export const day = (iso: string) =>
  new Date(iso).toLocaleDateString(undefined, { day: 'numeric', month: 'short', year: 'numeric' });

export const moment = (iso: string) =>
  new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** How long ago, in one unit. */
export function ago(iso: string, now = Date.now()): string {
  const seconds = Math.round((new Date(iso).getTime() - now) / 1_000);
  const units: [Intl.RelativeTimeFormatUnit, number][] = [
    ['year', 31_536_000],
    ['month', 2_592_000],
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
  ];
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'short' });
  for (const [unit, size] of units)
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  return 'just now';
}

export const whole = (value: number) => value.toLocaleString();
export const credits = (value: number) => `${value.toLocaleString()} ${value === 1 ? 'credit' : 'credits'}`;
export const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
/** Dollars, of an exact amount in text or a number. */
export const dollars = (value: number | string, digits = 2) =>
  Number(value).toLocaleString(undefined, {
    ...{ style: 'currency', currency: 'USD', currencyDisplay: 'narrowSymbol' },
    maximumFractionDigits: digits,
  });

/** A day of UTC, as the server says it, whatever day it is here. */
export const shortDay = (day: string) =>
  day === '' ? '' : new Date(day).toLocaleDateString(undefined, { day: 'numeric', month: 'short', timeZone: 'UTC' });
