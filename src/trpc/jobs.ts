import { z } from 'zod';
import {
  figureSchema,
  jobsSchema,
  listJobs,
  problemSchema,
  readFigures,
  readHealth,
  repeatJob,
} from '../calls/jobs.ts';
import { Failure } from '../errors/failure.ts';
import { doJob } from '../jobs/run.ts';
import { nothingInput, reasonInput } from './inputs.ts';
import { adminProcedure, type Context, cronProcedure, router } from './trpc.ts';

const doneSchema = z.object({
  job: z.string(),
  ran: z.boolean().describe('False where nothing was due, or somebody else was at it.'),
  affected: z.number().describe('What it touched: users for reset-credits, credits for expire-rollover.'),
});

/** Does what is due of one job. The error of a job that failed is for operators, who find it in ops.jobs. */
async function work({ services }: Context, job: string): Promise<z.output<typeof doneSchema>> {
  const { ran, affected, error } = await doJob(services.database.jobs, job);
  if (error !== null) {
    services.log.error({ job, error }, 'job failed');
    throw new Failure('job_failed');
  }
  return { job, ran, affected };
}

export const jobsRouter = router({
  list: adminProcedure
    .input(nothingInput)
    .output(jobsSchema)
    .query(({ ctx }) => listJobs(ctx.services.database.reads, ctx.principal.userId)),

  health: adminProcedure
    .input(nothingInput)
    .output(z.object({ healthy: z.boolean(), problems: z.array(problemSchema) }))
    .query(async ({ ctx }) => {
      const problems = await readHealth(ctx.services.database.reads, ctx.principal.userId);
      return { healthy: problems.length === 0, problems };
    }),

  figures: adminProcedure
    .input(nothingInput)
    .output(z.object({ figures: z.array(figureSchema) }))
    .query(async ({ ctx }) => ({ figures: await readFigures(ctx.services.database.reads, ctx.principal.userId) })),

  /** Whoever does jobs does it within a minute. */
  repeat: adminProcedure
    .input(z.object({ job: z.string().min(1).max(100), reason: reasonInput }))
    .output(z.object({ slot: z.string().nullable() }))
    .mutation(async ({ ctx, input: { job, reason } }) => ({
      slot: await repeatJob(ctx.services.database.sql, ctx.principal.userId, job, reason),
    })),

  resetCredits: cronProcedure
    .input(nothingInput)
    .output(doneSchema)
    .mutation(({ ctx }) => work(ctx, 'reset-credits')),

  expireCredits: cronProcedure
    .input(nothingInput)
    .output(doneSchema)
    .mutation(({ ctx }) => work(ctx, 'expire-rollover')),
});
