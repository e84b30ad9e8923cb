import type postgres from 'postgres';

/** Moves the product's clock on from where it is, by what PostgreSQL reads as an interval. */
export async function moveClock(owner: postgres.Sql, interval: string): Promise<void> {
  const [row] = await owner`select (core.now() + ${interval}::interval - clock_timestamp())::text as ahead`;
  await owner`update settings set clock_offset = ${row?.ahead}::interval`;
}

/** Stops at noon of tomorrow by the product's clock, and goes on from there: no day ends by chance. */
export async function setClockToNoon(owner: postgres.Sql): Promise<void> {
  await owner`
    update settings set clock_offset_allowed = true,
      clock_offset = (date_trunc('day', now() at time zone 'UTC') + interval '36 hours') at time zone 'UTC' - now()`;
}
