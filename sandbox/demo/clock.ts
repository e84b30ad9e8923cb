import type postgres from 'postgres';

export type Clock = {
  /** Moves the product's clock to that moment, but never back. */
  moveTo(moment: Date): Promise<void>;
  /** Lets it show the real time again. */
  reset(): Promise<void>;
};

/** The clock of a demo's database, moved by its owner: what the product's functions do then happened at that moment. */
export async function takeClock(owner: postgres.Sql): Promise<Clock> {
  await owner`update public.settings set clock_offset_allowed = true`;
  let latest = new Date(0);
  return {
    async moveTo(moment) {
      if (moment <= latest) return;
      latest = moment;
      await owner`update public.settings set clock_offset = ${moment}::timestamptz - now()`;
    },
    async reset() {
      await owner`update public.settings set clock_offset = '0'`;
    },
  };
}

export const minute = 60_000;
export const day = 24 * 60 * minute;

/** Midnight (UTC) so many days before the real today. */
export function midnight(daysAgo: number): Date {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - daysAgo));
}

/** That moment, so much later. */
export function after(moment: Date, milliseconds: number): Date {
  return new Date(moment.getTime() + milliseconds);
}
