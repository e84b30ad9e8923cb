import { setTimeout as sleep } from 'node:timers/promises';
import { runJob } from '../calls/jobs.ts';
import type { Sql } from '../database/client.ts';

const LONGEST_REST_MS = 200;

export type Done = { ran: boolean; affected: number; error: string | null };

/**
 * Does a job's due slots, batch by batch, each a transaction, until nothing is left, another is at it, or `stopped` says so;
 * then the next caller goes on. Rests between batches for twice as long as one took, as ops.run_job does in psql. Spec 7.1.
 */
export async function doJob(sql: Sql, job: string, stopped: () => boolean = () => false): Promise<Done> {
  const done: Done = { ran: false, affected: 0, error: null };
  for (;;) {
    const began = performance.now();
    const { ran, more, rowsTouched, error } = await runJob(sql, job);
    done.ran ||= ran;
    done.affected += rowsTouched ?? 0;
    done.error ??= error;
    if (!more || stopped()) return done;
    await sleep(Math.min(LONGEST_REST_MS, 2 * (performance.now() - began)));
  }
}
