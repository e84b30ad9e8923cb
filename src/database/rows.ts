import type { z } from 'zod';

/** Every row of an answer, as its schema says. Throws what zod throws: the server and the database disagree then. */
export function parseRows<T extends z.ZodType>(schema: T, rows: readonly unknown[]): z.output<T>[] {
  return rows.map((row) => schema.parse(row));
}

/** The one row of a function that always answers one. */
export function parseRow<T extends z.ZodType>(schema: T, rows: readonly unknown[]): z.output<T> {
  return schema.parse(rows[0]);
}

/** The first row, or undefined where there is none. */
export function findRow<T extends z.ZodType>(schema: T, rows: readonly unknown[]): z.output<T> | undefined {
  return rows.length === 0 ? undefined : schema.parse(rows[0]);
}
