import { z } from 'zod';
import { jobsSchema, listJobs, problemSchema, readHealth } from '../calls/jobs.ts';
import { nothingInput } from './inputs.ts';
import { adminProcedure, router } from './trpc.ts';

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
});
