import { z } from 'zod';
import {
  checkoutSchema,
  listPacks,
  listStripeEvents,
  packSchema,
  pricingSchema,
  type ReturnUrls,
  readCheckout,
  readPricing,
  readSubscription,
  replayedSchema,
  replayStripeEvent,
  stripeEventsSchema,
  subscriptionSchema,
} from '../calls/billing.ts';
import type { Sql } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import { snakeName } from '../names.ts';
import type { Billing } from '../stripe/billing.ts';
import { pageInput, reasonInput } from './inputs.ts';
import { adminProcedure, billingProcedure, billingReadProcedure, publicBillingProcedure, router } from './trpc.ts';

const returnUrl = z
  .string()
  .max(2_000)
  .regex(/^https?:\/\/[^\s\\]+$/, 'must be a URL that begins with http:// or https://')
  .describe('Only of ALLOWED_RETURN_ORIGINS.');
const returnUrls = { successUrl: returnUrl, cancelUrl: returnUrl };
const nothing = z.object({}).optional();
const { limit, cursor } = pageInput(50);
const changedSchema = subscriptionSchema.extend({ message: z.string() });

export const billingRouter = router({
  subscription: billingReadProcedure
    .input(nothing)
    .output(subscriptionSchema)
    .query(({ ctx }) => readSubscription(ctx.services.database.reads, ctx.principal.userId)),

  /** What it costs whoever asks, also before they sign in. */
  pricing: publicBillingProcedure
    .input(nothing)
    .output(pricingSchema)
    .query(({ ctx }) => readPricing(ctx.services.database.reads, ctx.visitor.userId)),

  packs: publicBillingProcedure
    .input(nothing)
    .output(z.object({ packages: z.array(packSchema) }))
    .query(async ({ ctx }) => ({ packages: await listPacks(ctx.services.database.reads, ctx.visitor.userId) })),

  /** Whether what was paid for at Stripe has arrived, for the way back from there. */
  checkout: billingReadProcedure
    .input(
      z.object({
        sessionId: z
          .string()
          .trim()
          .min(1)
          .max(200)
          .nullish()
          .describe('Id of a checkout session at Stripe; the newest where left out.'),
      }),
    )
    .output(checkoutSchema)
    .query(async ({ ctx, input }) => {
      const found = await readCheckout(ctx.services.database.reads, ctx.principal.userId, input.sessionId ?? null);
      if (found === undefined) throw new Failure('not_found', 'There is no such checkout of yours.');
      return found;
    }),

  subscribe: billingProcedure
    .input(z.object(returnUrls))
    .output(z.object({ checkoutUrl: z.string() }))
    .mutation(async ({ ctx, input }) => {
      checkReturn(ctx.billing, input);
      return { checkoutUrl: await ctx.billing.subscribe(ctx.principal.userId, input) };
    }),

  purchase: billingProcedure
    .input(
      z.object({
        ...{ package: z.string().trim().min(1).max(40).describe('Id of a pack: small, medium, large.') },
        ...returnUrls,
      }),
    )
    .output(
      z.object({
        ...{ checkoutUrl: z.string(), purchaseId: z.string(), credits: z.number() },
        price: z.number().describe('Cents.'),
      }),
    )
    .mutation(({ ctx, input: { package: pack, ...urls } }) => {
      checkReturn(ctx.billing, urls);
      return ctx.billing.purchase(ctx.principal.userId, pack, urls);
    }),

  cancel: billingProcedure
    .input(nothing)
    .output(changedSchema)
    .mutation(({ ctx }) => change(ctx, 'cancel')),

  resume: billingProcedure
    .input(nothing)
    .output(changedSchema)
    .mutation(({ ctx }) => change(ctx, 'resume')),

  /** The inbox of Stripe's events, for administrators. Spec 6.4. */
  events: adminProcedure
    .input(
      z.object({
        status: z.enum(['received', 'applied', 'ignored', 'needs_review']).nullish(),
        search: z.string().max(200).nullish().describe("An event's id, part of its type, or a user's id."),
        ...{ limit, cursor },
      }),
    )
    .output(stripeEventsSchema)
    .query(({ ctx, input: { status, search, limit, cursor } }) =>
      listStripeEvents(ctx.services.database.reads, ctx.principal.userId, {
        ...{ status: status ?? null, search: search ?? null, limit, cursor: cursor ?? null },
      }),
    ),

  replayEvent: adminProcedure
    .input(z.object({ eventId: z.string().min(1).max(255), reason: reasonInput }))
    .output(replayedSchema)
    .mutation(({ ctx, input: { eventId, reason } }) =>
      replayStripeEvent(ctx.services.database.sql, ctx.principal.userId, eventId, reason),
    ),

  portal: billingProcedure
    .input(z.object({ returnUrl }))
    .output(z.object({ portalUrl: z.string() }))
    .mutation(async ({ ctx, input }) => {
      checkReturn(ctx.billing, input);
      return { portalUrl: await ctx.billing.portal(ctx.principal.userId, input.returnUrl) };
    }),
});

type Acting = {
  billing: Billing;
  principal: { userId: string };
  services: { database: { sql: Sql } };
};

async function change({ billing, principal: { userId }, services }: Acting, action: 'cancel' | 'resume') {
  await billing.change(userId, action);
  const subscription = await readSubscription(services.database.sql, userId);
  return { message: subscription.told, ...subscription };
}

/** People are sent back only to where the operator says, so that no checkout of ours leads to somebody else's page. Spec 6.1. */
function checkReturn({ returnOrigins }: Billing, urls: Partial<ReturnUrls> & { returnUrl?: string }): void {
  const isAllowed = (url: string) => URL.canParse(url) && returnOrigins.includes(new URL(url).origin);
  const fields = Object.entries(urls).flatMap(([field, url]) => (isAllowed(url) ? [] : field));
  if (fields.length === 0) return;
  const origins =
    returnOrigins.length > 0
      ? returnOrigins.join(', ')
      : 'there is none until the operator sets ALLOWED_RETURN_ORIGINS';
  const message = `must be of an allowed origin: ${origins}`;
  throw new Failure('validation_error', fields.map((field) => `${snakeName(field)}: ${message}`).join('; '), {
    errors: fields.map((field) => ({ field, message })),
  });
}
