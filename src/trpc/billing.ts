import { z } from 'zod';
import {
  listPacks,
  packSchema,
  pricingSchema,
  type ReturnUrls,
  readPricing,
  readSubscription,
  subscriptionSchema,
} from '../calls/billing.ts';
import type { Sql } from '../database/client.ts';
import { Failure } from '../errors/failure.ts';
import { snakeName } from '../names.ts';
import type { Billing } from '../stripe/billing.ts';
import { billingProcedure, billingReadProcedure, router } from './trpc.ts';

const returnUrl = z
  .string()
  .max(2_000)
  .regex(/^https?:\/\/[^\s\\]+$/, 'must be a URL that begins with http:// or https://')
  .describe('Only of ALLOWED_RETURN_ORIGINS.');
const returnUrls = { successUrl: returnUrl, cancelUrl: returnUrl };
const nothing = z.object({}).optional();
const changedSchema = subscriptionSchema.extend({ message: z.string() });

export const billingRouter = router({
  subscription: billingReadProcedure
    .input(nothing)
    .output(subscriptionSchema)
    .query(({ ctx }) => readSubscription(ctx.services.database.reads, ctx.principal.userId)),

  pricing: billingReadProcedure
    .input(nothing)
    .output(pricingSchema)
    .query(({ ctx }) => readPricing(ctx.services.database.reads, ctx.principal.userId)),

  packs: billingReadProcedure
    .input(nothing)
    .output(z.object({ packages: z.array(packSchema) }))
    .query(async ({ ctx }) => ({ packages: await listPacks(ctx.services.database.reads, ctx.principal.userId) })),

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
