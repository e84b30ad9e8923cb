import { z } from 'zod';

export const conversationSchema = z.array(
  z.object({ role: z.enum(['user', 'assistant']), content: z.string(), timestamp: z.string().nullable() }),
);

/** What was said, as chat clients have it: questions and answers in turn. */
export function conversationOf(
  exchanges: readonly { question: string; answer: string; startedAt: string; finishedAt: string | null }[],
): z.output<typeof conversationSchema> {
  return exchanges.flatMap(({ question, answer, startedAt, finishedAt }) => [
    { role: 'user' as const, content: question, timestamp: startedAt },
    { role: 'assistant' as const, content: answer, timestamp: finishedAt },
  ]);
}
