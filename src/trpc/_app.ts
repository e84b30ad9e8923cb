import { accountsRouter } from './accounts.ts';
import { alertsRouter } from './alerts.ts';
import { analyticsRouter } from './analytics.ts';
import { billingRouter } from './billing.ts';
import { catalogRouter } from './catalog.ts';
import { creditsRouter } from './credits.ts';
import { jobsRouter } from './jobs.ts';
import { limitsRouter } from './limits.ts';
import { runsRouter } from './runs.ts';
import { sessionsRouter } from './sessions.ts';
import { router } from './trpc.ts';

export const appRouter = router({
  runs: runsRouter,
  sessions: sessionsRouter,
  credits: creditsRouter,
  billing: billingRouter,
  catalog: catalogRouter,
  accounts: accountsRouter,
  limits: limitsRouter,
  analytics: analyticsRouter,
  alerts: alertsRouter,
  jobs: jobsRouter,
});

export type AppRouter = typeof appRouter;
