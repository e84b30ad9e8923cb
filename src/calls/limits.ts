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

/** What a user may still use, in each window; refusals newest first. `throttledUntil` is null until somebody lifts it. */
export const limitsSchema = z.object({
  tier: z.string(),
  throttles: z.boolean(),
  waivedUntil: z.string().nullable(),
  isThrottled: z.boolean(),
  throttledReason: z.string().nullable(),
  throttledUntil: z.string().nullable(),
  windows: z.array(
    z.object({
      window: z.enum(['month', 'day', 'hour', 'minute']),
      unit: z.string(),
      used: z.number(),
      held: z.number(),
      limit: z.number().nullable(),
      resetsAt: z.string(),
    }),
  ),
  refusals: z.array(
    z.object({
      reason: z.string(),
      refusals: z.number(),
      limit: z.number().nullable(),
      used: z.number().nullable(),
      unit: z.string().nullable(),
      hourStart: z.string(),
      lastAt: z.string(),
    }),
  ),
});

export async function readLimits(sql: Sql, userId: string): Promise<z.output<typeof limitsSchema>> {
  const rows = await sql`select limits from api.read_limits(${userId}) as limits`;
  return parseRow(z.object({ limits: limitsSchema }), rows).limits;
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

export type ConfigChange = {
  kind: string;
  name: string;
  changes: readonly { field: string; value: unknown }[];
  /** A tier, plan or pack that is not there yet. */
  adds: boolean;
  reason: string | null;
  dryRun: boolean;
};

/** What differs, how many people stand differently by it (with the first 20 of them), and what else is to be known. */
export const changedConfigSchema = z.object({
  changed: z.array(z.object({ field: z.string(), was: z.unknown(), becomes: z.unknown() })),
  effects: z.array(
    z.object({
      was: z.string(),
      becomes: z.string(),
      people: z.number(),
      who: z.array(z.object({ userId: z.string(), username: z.string() })),
    }),
  ),
  notes: z.array(z.string()),
});

/** Changes limits, plans, packs, models or settings for an administrator; with `dryRun` only says what that would do. Spec 12. */
export async function changeConfig(
  sql: Sql,
  userId: string,
  { kind, name, changes, adds, reason, dryRun }: ConfigChange,
): Promise<z.output<typeof changedConfigSchema>> {
  const fields = JSON.stringify(Object.fromEntries(changes.map(({ field, value }) => [field, value])));
  const rows = await sql`
    select done from api.change_config(${userId}, ${kind}, ${name}, ${fields}::text::jsonb, ${adds}, ${reason}, ${dryRun}) as done`;
  return parseRow(z.object({ done: changedConfigSchema }), rows).done;
}

/** Costs in US dollars that count against limits. */
export const throttledSchema = z.object({
  total: z.number(),
  people: z.array(
    z.object({
      userId: z.string(),
      username: z.string(),
      email: z.string().nullable(),
      tierName: z.string(),
      throttledBy: z.string(),
      throttledReason: z.string().nullable(),
      throttledAt: z.string().nullable(),
      throttledUntil: z.string().nullable(),
      monthLimitedCost: z.number(),
      dayLimitedCost: z.number(),
    }),
  ),
});

/** Who is throttled now, the newest first, for an administrator. Spec 3.4. */
export async function listThrottled(sql: Sql, userId: string): Promise<z.output<typeof throttledSchema>> {
  const rows = await sql`select throttled from api.list_throttled(${userId}) as throttled`;
  return parseRow(z.object({ throttled: throttledSchema }), rows).throttled;
}

export const heldUserSchema = releasedSchema;

/** Holds somebody until an instant, or until it is lifted where that is null. Spec 3.4. */
export async function throttleUser(
  sql: Sql,
  userId: string,
  targetUserId: string,
  until: string | null,
  reason: string,
): Promise<z.output<typeof heldUserSchema>> {
  const rows = await sql`
    select is_throttled, throttled_reason, throttled_until
    from api.throttle_user(${userId}, ${targetUserId}, ${until}, ${reason})`;
  return parseRow(heldUserSchema, rows);
}

export const waivedSchema = z.object({ isThrottled: z.boolean(), limitsWaivedUntil: z.string().nullable() });

/** Lets somebody run past their cost limits until an instant; null ends it. Spec 3.5. */
export async function waiveLimits(
  sql: Sql,
  userId: string,
  targetUserId: string,
  until: string | null,
  reason: string,
): Promise<z.output<typeof waivedSchema>> {
  const rows = await sql`
    select is_throttled, limits_waived_until
    from api.waive_limits(${userId}, ${targetUserId}, ${until}, ${reason})`;
  return parseRow(waivedSchema, rows);
}
