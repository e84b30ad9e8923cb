import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow, parseRows } from '../database/rows.ts';

const batchSchema = z.object({
  ran: z.boolean(),
  more: z.boolean(),
  rowsTouched: z.number().nullable(),
  error: z.string().nullable(),
});

/** Names of the jobs that have something to do now. Spec 7.1. */
export async function dueJobs(sql: Sql): Promise<string[]> {
  return parseRows(z.object({ job: z.string() }), await sql`select job from api.due_jobs()`).map(({ job }) => job);
}

/** One batch of a job's due slot: `ran` is false where nothing is due or somebody else is at it. `error` says what went wrong. */
export async function runJob(sql: Sql, job: string): Promise<z.output<typeof batchSchema>> {
  return parseRow(batchSchema, await sql`select ran, more, rows_touched, error from api.run_job(${job})`);
}
