// What a load is told, and what it answers.
import { z } from 'zod';

export const loadSchema = z.object({
  url: z.string(),
  connections: z.number(),
  /** Ends after so many seconds, or after so many requests. */
  seconds: z.number().default(600),
  requests: z.number().default(Number.POSITIVE_INFINITY),
  /** Connection n takes the n-th, and begins anew behind the last. */
  bodies: z.array(z.string()).min(1).default(['']),
  /** Paths to GET, one after the other over all connections, instead of posting a body to the url's own. */
  paths: z.array(z.string()).default([]),
  headers: z.array(z.record(z.string(), z.string())).min(1),
  /** Milliseconds from each connection's first request to the next one's: people do not come all at once. */
  apartMs: z.number().default(0),
  /** Text in a stream that marks its first token; null: not a stream. */
  firstEvent: z.string().nullable().default(null),
});
export type Load = z.input<typeof loadSchema>;

export const resultSchema = z.object({
  perSecond: z.number(),
  p50: z.number(),
  p99: z.number(),
  firstP50: z.number(),
  firstP99: z.number(),
  failed: z.number(),
  firstFailure: z.string().nullable(),
});
