import type { Plan } from '../wire.ts';

const DAY = 24 * 60 * 60;

/**
 * The first boundary of billing periods after `after`, in seconds. Boundaries are counted from the anchor, so that one on
 * the 31st comes back to the 31st after a shorter month.
 */
export function nextBoundary(anchor: number, interval: Plan['interval'], count: number, after: number): number {
  if (interval === 'day' || interval === 'week') {
    const length = count * (interval === 'day' ? DAY : 7 * DAY);
    return after < anchor ? anchor : anchor + (Math.floor((after - anchor) / length) + 1) * length;
  }
  const months = interval === 'month' ? count : 12 * count;
  const begun = monthsBetween(anchor, after);
  let periods = Math.max(0, Math.floor(begun / months) - 1);
  while (addMonths(anchor, periods * months) <= after) periods += 1;
  return addMonths(anchor, periods * months);
}

function monthsBetween(from: number, to: number): number {
  const [start, end] = [new Date(from * 1000), new Date(to * 1000)];
  return (end.getUTCFullYear() - start.getUTCFullYear()) * 12 + end.getUTCMonth() - start.getUTCMonth();
}

function addMonths(from: number, months: number): number {
  const date = new Date(from * 1000);
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(day, lastDay));
  return Math.floor(date.getTime() / 1000);
}
