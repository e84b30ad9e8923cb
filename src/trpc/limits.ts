import { z } from 'zod';
import { configKindSchema } from '../calls/catalog.ts';
import {
  changeConfig,
  changedConfigSchema,
  explainThrottle,
  heldUserSchema,
  limitsSchema,
  listThrottled,
  readLimits,
  releaseThrottle,
  throttledSchema,
  throttleStepSchema,
  throttleUser,
  waivedSchema,
  waiveLimits,
} from '../calls/limits.ts';
import { idInput, nothingInput, reasonInput, untilInput, whoseInput } from './inputs.ts';
import { adminProcedure, readProcedure, router, whoIsMeant } from './trpc.ts';

const configChangeInput = z.object({
  kind: configKindSchema,
  name: z.string().trim().min(1).max(64).describe('Of the tier, plan, pack or model; of settings: settings.'),
  changes: z
    .array(
      z.object({
        field: z.string().min(1).max(100),
        value: z.union([z.null(), z.boolean(), z.number(), z.string().max(500), z.array(z.number()).max(100)]),
      }),
    )
    .min(1)
    .max(100),
  adds: z.boolean().default(false).describe('A tier, plan or pack that is not there yet.'),
  reason: reasonInput.nullable(),
  dryRun: z.boolean().describe('Only says who would be affected.'),
});

export const limitsRouter = router({
  read: readProcedure
    .input(nothingInput)
    .output(limitsSchema)
    .query(({ ctx }) => readLimits(ctx.services.database.reads, ctx.principal.userId)),

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

  throttledNow: adminProcedure
    .input(nothingInput)
    .output(throttledSchema)
    .query(({ ctx }) => listThrottled(ctx.services.database.reads, ctx.principal.userId)),

  throttle: adminProcedure
    .input(z.object({ userId: idInput, until: untilInput.describe('Null: until it is lifted.'), reason: reasonInput }))
    .output(heldUserSchema)
    .mutation(({ ctx, input: { userId, until, reason } }) =>
      throttleUser(ctx.services.database.sql, ctx.principal.userId, userId, until, reason),
    ),

  waive: adminProcedure
    .input(z.object({ userId: idInput, until: untilInput.describe('Null ends it.'), reason: reasonInput }))
    .output(waivedSchema)
    .mutation(({ ctx, input: { userId, until, reason } }) =>
      waiveLimits(ctx.services.database.sql, ctx.principal.userId, userId, until, reason),
    ),

  /** Limits, plans, packs, models and settings, with a preview of who is affected. Spec 3.1, 12. */
  changeConfig: adminProcedure
    .input(configChangeInput)
    .output(changedConfigSchema)
    .mutation(({ ctx, input }) => changeConfig(ctx.services.database.reads, ctx.principal.userId, input)),
});
