import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow } from '../database/rows.ts';

const admissionSchema = z.object({
  allowed: z.boolean(),
  rateLimit: z.number().nullable(),
  rateRemaining: z.number().nullable(),
  rateReset: z.number().nullable(),
});

/** Counts a read in the minute of a user, or of the visitor at this address, and says whether it may go on. Spec 3.6. */
export async function admitRead(
  sql: Sql,
  userId: string | null,
  address: string,
): Promise<z.output<typeof admissionSchema>> {
  const rows = await sql`
    select allowed, rate_limit, rate_remaining, rate_reset from api.admit_read(${userId}, ${address})`;
  return parseRow(admissionSchema, rows);
}

/** A row of an explanation: what counts against a limit, and what follows. */
export const throttleStepSchema = z.object({
  step: z.number(),
  what: z.string(),
  used: z.number().nullable(),
  held: z.number().nullable(),
  limit: z.number().nullable(),
  unit: z.string().nullable(),
  explanation: z.string(),
});

/** Why a user is throttled, or not; another than the asking one for administrators alone. Spec 12. */
export async function explainThrottle(
  sql: Sql,
  userId: string,
  targetUserId: string | null,
): Promise<z.output<typeof throttleStepSchema>[]> {
  const rows = await sql`select steps from api.explain_throttle(${userId}, ${targetUserId}) as steps`;
  return parseRow(z.object({ steps: z.array(throttleStepSchema) }), rows).steps;
}

const releasedSchema = z.object({
  isThrottled: z.boolean(),
  throttledReason: z.string().nullable(),
  throttledUntil: z.string().nullable(),
});

/** Lifts a throttle for an administrator; says whether a used-up limit throttles still. Spec 3.5. */
export async function releaseThrottle(
  sql: Sql,
  userId: string,
  targetUserId: string,
  reason: string,
): Promise<z.output<typeof releasedSchema>> {
  const rows = await sql`
    select is_throttled, throttled_reason, throttled_until
    from api.release_throttle(${userId}, ${targetUserId}, ${reason})`;
  return parseRow(releasedSchema, rows);
}
