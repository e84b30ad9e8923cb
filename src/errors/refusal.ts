import { z } from 'zod';
import { Failure } from './failure.ts';
import { isErrorCode } from './registry.ts';

/** Why the database did not let something be done; `status` is HTTP's. Figures in `unit`. Spec 3.2, 11.3. */
export const refusalSchema = z.object({
  code: z.string(),
  status: z.number(),
  message: z.string(),
  limit: z.number().optional(),
  used: z.number().optional(),
  held: z.number().optional(),
  unit: z.string().optional(),
  retryAt: z.string().optional(),
  retryAfter: z.number().optional(),
  requiredCredits: z.number().optional(),
  availableCredits: z.number().optional(),
  purchaseUrl: z.string().optional(),
  loginRequired: z.boolean().optional(),
  loginUrl: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
  callToAction: z.record(z.string(), z.unknown()).optional(),
});
export type Refusal = z.output<typeof refusalSchema>;

/** The same as an error. A code that the registry does not have is `forbidden`. */
export function refusalFailure(refusal: Refusal): Failure {
  const { code, status, message, retryAfter, details, callToAction, ...figures } = refusal;
  const more = callToAction === undefined ? details !== undefined && { details } : { both: { details, callToAction } };
  const extras = { retryAfter, refusal: figures, ...more };
  return new Failure(isErrorCode(code) ? code : 'forbidden', message, extras, { status });
}
