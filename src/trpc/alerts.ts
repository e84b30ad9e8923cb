import { z } from 'zod';
import {
  acknowledgeAlert,
  acknowledgedSchema,
  alertsPageSchema,
  emailPreferencesSchema,
  listAlerts,
  readEmailPreferences,
  setEmailPreferences,
} from '../calls/alerts.ts';
import { nothingInput, pageInput, reasonInput } from './inputs.ts';
import { adminProcedure, readProcedure, router } from './trpc.ts';

const { limit, cursor } = pageInput(50);

const wish = (what: string) => z.boolean().nullish().describe(`Mails about ${what}; as it is where left out.`);

export const alertsRouter = router({
  /** Which mails somebody gets. */
  emailPreferences: readProcedure
    .input(nothingInput)
    .output(emailPreferencesSchema)
    .query(({ ctx }) => readEmailPreferences(ctx.services.database.sql, ctx.principal.userId)),

  setEmailPreferences: readProcedure
    .input(
      z.object({
        limits: wish('limits: warnings, throttled'),
        credits: wish('credits: few left, rollover about to expire'),
        payments: wish('payments that failed'),
      }),
    )
    .output(emailPreferencesSchema)
    .mutation(({ ctx, input: { limits = null, credits = null, payments = null } }) =>
      setEmailPreferences(ctx.services.database.sql, ctx.principal.userId, { limits, credits, payments }),
    ),

  list: adminProcedure
    .input(z.object({ state: z.enum(['open', 'resolved', 'all']).default('open'), limit, cursor }))
    .output(alertsPageSchema)
    .query(({ ctx, input }) =>
      listAlerts(ctx.services.database.reads, ctx.principal.userId, { ...input, cursor: input.cursor ?? null }),
    ),

  acknowledge: adminProcedure
    .input(z.object({ alertId: z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER), reason: reasonInput }))
    .output(acknowledgedSchema)
    .mutation(({ ctx, input }) =>
      acknowledgeAlert(ctx.services.database.sql, ctx.principal.userId, input.alertId, input.reason),
    ),
});
