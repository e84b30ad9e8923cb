import { z } from 'zod';
import { acknowledgeAlert, acknowledgedSchema, alertsPageSchema, listAlerts } from '../calls/alerts.ts';
import { pageInput, reasonInput } from './inputs.ts';
import { adminProcedure, router } from './trpc.ts';

const { limit, cursor } = pageInput(50);

export const alertsRouter = router({
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
