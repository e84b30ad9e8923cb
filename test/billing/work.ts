import type postgres from 'postgres';
import type Stripe from 'stripe';
import { perform } from '../../src/stripe/work.ts';

/** Claims what is due at Stripe and does it, as a server does; what Stripe refuses has failed for good. How many it did. */
export async function doStripeWork(app: postgres.Sql, client: Stripe): Promise<number> {
  const claimed = await app`select * from api.claim_stripe_work(20)`;
  for (const { work_id: workId, kind, key, parameters, ticket } of claimed) {
    if (kind === 'apply_event') {
      await app`select api.apply_stripe_event(${key})`;
      await app`select api.finish_stripe_work(${workId}, ${ticket}, null)`;
      continue;
    }
    const given = { workId, kind, key, parameters, ticket: Number(ticket), userId: null };
    const result = await perform(client, given, (call) => call()).catch((error: unknown) => error);
    if (result instanceof Error) await app`select api.fail_stripe_work(${workId}, ${result.message}, true)`;
    else await app`select api.finish_stripe_work(${workId}, ${ticket}, ${JSON.stringify(result)}::text::jsonb)`;
  }
  return claimed.length;
}
