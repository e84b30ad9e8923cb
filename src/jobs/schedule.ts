import { dueJobs } from '../calls/jobs.ts';
import type { Sql } from '../database/client.ts';
import type { Log } from '../telemetry/log.ts';
import { doJob } from './run.ts';

const MINUTE_MS = 60_000;

/**
 * Does the jobs that are due, now and as each minute begins, until stopped. Jobs go on beside each other, so that a long one
 * keeps no other waiting. The database lets each slot be done once, however many servers and pg_cron ask. Spec 7.1.
 */
export function startJobs(sql: Sql, log: Log): { stop(): Promise<void> } {
  let stopped = false;
  let timer: NodeJS.Timeout;
  const underWay = new Map<string, Promise<void>>();

  const work = async (job: string) => {
    try {
      const { ran, affected, error } = await doJob(sql, job, () => stopped);
      if (error !== null) log.error({ job, error }, 'job failed');
      else if (ran) log.debug({ job, affected }, 'job done');
    } catch (error) {
      log.warn({ job, error }, 'job broken off; it is gone on with in a minute');
    } finally {
      underWay.delete(job);
    }
  };
  const look = async () => {
    try {
      for (const job of await dueJobs(sql)) {
        if (stopped) return;
        if (!underWay.has(job)) underWay.set(job, work(job));
      }
    } catch (error) {
      log.warn({ error }, 'jobs could not be looked at');
    }
  };
  let looking = Promise.resolve();
  const lookAgain = () => {
    looking = look();
    timer = setTimeout(lookAgain, MINUTE_MS - (Date.now() % MINUTE_MS));
  };
  lookAgain();
  return {
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await looking;
      await Promise.all(underWay.values());
    },
  };
}
