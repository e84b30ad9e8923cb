import { dueJobs, runJob } from '../calls/jobs.ts';
import type { Sql } from '../database/client.ts';
import type { Log } from '../telemetry/log.ts';

const LOOK_EVERY_MS = 60_000;

/**
 * Does the jobs that are due, now and each minute, until stopped. Each has its own transaction, and the database lets each
 * slot be done once, however many servers ask. Spec 7.1.
 */
export function startJobs(sql: Sql, log: Log): { stop(): Promise<void> } {
  let stopped = false;
  let underWay = Promise.resolve();

  const look = async () => {
    for (const job of await dueJobs(sql)) {
      if (stopped) return;
      const { ran, error } = await runJob(sql, job);
      if (error !== null) log.error({ job, error }, 'job failed');
      else if (ran) log.debug({ job }, 'job done');
    }
  };
  const lookAgain = () => {
    underWay = underWay.then(look).catch((error: unknown) => log.warn({ error }, 'jobs could not be looked at'));
  };
  const timer = setInterval(lookAgain, LOOK_EVERY_MS);
  lookAgain();
  return {
    stop: () => {
      stopped = true;
      clearInterval(timer);
      return underWay;
    },
  };
}
