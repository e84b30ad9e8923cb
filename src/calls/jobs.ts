import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow, parseRows } from '../database/rows.ts';

const doneSchema = z.object({ ran: z.boolean(), error: z.string().nullable() });

/** Names of the jobs whose slot is due and not done yet. Spec 7.1. */
export async function dueJobs(sql: Sql): Promise<string[]> {
  return parseRows(z.object({ job: z.string() }), await sql`select job from api.due_jobs()`).map(({ job }) => job);
}

/** Does a job's due slot unless somebody else has. `error` says what went wrong in it. */
export async function runJob(sql: Sql, job: string): Promise<z.output<typeof doneSchema>> {
  return parseRow(doneSchema, await sql`select ran, error from api.run_job(${job})`);
}
