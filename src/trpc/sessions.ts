import { z } from 'zod';
import { listSessions, readSession, sessionPageSchema, sessionWithExchangesSchema } from '../calls/sessions.ts';
import { Failure } from '../errors/failure.ts';
import { idInput, pageInput } from './inputs.ts';
import { readProcedure, router } from './trpc.ts';

const paginationSchema = z.object({ limit: z.number(), offset: z.number() });
const conversationSchema = z.array(
  z.object({ role: z.enum(['user', 'assistant']), content: z.string(), timestamp: z.string().nullable() }),
);

export const sessionsRouter = router({
  list: readProcedure
    .input(z.object(pageInput(20)))
    .output(sessionPageSchema.extend({ pagination: paginationSchema }))
    .query(async ({ ctx, input: { limit, cursor, offset } }) => {
      const page = await listSessions(ctx.services.database.reads, ctx.principal.userId, {
        limit,
        cursor: cursor ?? null,
        offset,
      });
      return { ...page, pagination: { limit, offset } };
    }),

  read: readProcedure
    .input(z.object({ sessionId: idInput }))
    .output(sessionWithExchangesSchema.extend({ conversation: conversationSchema }))
    .query(async ({ ctx, input }) => {
      const session = await readSession(ctx.services.database.reads, ctx.principal.userId, input.sessionId);
      if (session === undefined) throw new Failure('session_not_found', 'There is no such session of yours.');
      const conversation = session.exchanges.flatMap(({ question, answer, startedAt, finishedAt }) => [
        { role: 'user' as const, content: question, timestamp: startedAt },
        { role: 'assistant' as const, content: answer, timestamp: finishedAt },
      ]);
      return { ...session, conversation };
    }),
});
