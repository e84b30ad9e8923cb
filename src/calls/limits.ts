import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { parseRow } from '../database/rows.ts';

const admissionSchema = z.object({
  allowed: z.boolean(),
  rateLimit: z.number().nullable(),
  rateRemaining: z.number().nullable(),
  rateReset: z.number().nullable(),
});

/** Counts a read in the user's minute and says whether it may go on. Spec 3.6. */
export async function admitRead(sql: Sql, userId: string): Promise<z.output<typeof admissionSchema>> {
  return parseRow(
    admissionSchema,
    await sql`select allowed, rate_limit, rate_remaining, rate_reset from api.admit_read(${userId})`,
  );
}
