import { z } from 'zod';
import { explainThrottle, releaseThrottle, throttleStepSchema } from '../calls/limits.ts';
import { idInput, reasonInput, whoseInput } from './inputs.ts';
import { adminProcedure, readProcedure, router, whoIsMeant } from './trpc.ts';

export const limitsRouter = router({
  explain: readProcedure
    .input(whoseInput)
    .output(z.object({ steps: z.array(throttleStepSchema) }))
    .query(async ({ ctx, input }) => ({
      steps: await explainThrottle(ctx.services.database.reads, ctx.principal.userId, whoIsMeant(ctx, input.userId)),
    })),

  releaseThrottle: adminProcedure
    .input(
      z.object({
        userId: idInput,
        reason: reasonInput,
      }),
    )
    .output(
      z.object({
        success: z.boolean(),
        message: z.string(),
        userId: z.string(),
        isThrottled: z.boolean(),
        throttledReason: z.string().nullable(),
        throttledUntil: z.string().nullable(),
      }),
    )
    .mutation(async ({ ctx, input: { userId, reason } }) => {
      const released = await releaseThrottle(ctx.services.database.sql, ctx.principal.userId, userId, reason);
      const message = released.isThrottled
        ? `User ${userId} is still over a limit that throttles; in psql, ops.waive_limits lets them go on.`
        : `User ${userId} has been unthrottled`;
      return { ...released, success: !released.isThrottled, message, userId };
    }),
});
