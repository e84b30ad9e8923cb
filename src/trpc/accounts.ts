import { hash, randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import { z } from 'zod';
import {
  changesPageSchema,
  createToken,
  exportPage,
  listChanges,
  listTokens,
  revokeToken,
  scopeSchema,
  tokenSchema,
} from '../calls/accounts.ts';
import { eraseUser, erasureSchema } from '../calls/jobs.ts';
import { Failure } from '../errors/failure.ts';
import { refusalFailure } from '../errors/refusal.ts';
import { characters, idInput, nothingInput, pageInput } from './inputs.ts';
import { iteratedSchema } from './iterated.ts';
import {
  adminProcedure,
  ownerProcedure,
  publicProcedure,
  readProcedure,
  router,
  signedInProcedure,
  viewerProcedure,
} from './trpc.ts';

const meSchema = z.object({
  userId: z.string(),
  username: z.string(),
  email: z.string().nullable(),
  isAdmin: z.boolean(),
  scopes: z.array(scopeSchema),
});

/** `rows` is the text of a JSON array. */
export const exportedSchema = z.object({ part: z.string(), rows: z.string() });
const demoPersonSchema = z.object({ userId: z.string(), username: z.string(), about: z.string() });

const newTokenInput = z.object({
  name: characters(1, 100),
  scopes: z.array(scopeSchema).min(1),
  expiresAt: z.iso.datetime({ offset: true }).nullish(),
});

const { limit, cursor } = pageInput(50);

const exportSchema = iteratedSchema<z.output<typeof exportedSchema>>();

export const accountsRouter = router({
  /** Everything that is kept of who asks, table by table, page by page; what is not in it, core.export_parts says why. */
  export: readProcedure
    .input(nothingInput)
    .output(exportSchema)
    .subscription(async function* ({ ctx, signal }) {
      let cursor: string | null = null;
      do {
        const page: Awaited<ReturnType<typeof exportPage>> = await exportPage(
          ctx.services.database.reads,
          ctx.principal.userId,
          cursor,
        );
        yield { part: page.part, rows: page.rows };
        cursor = page.nextCursor;
      } while (cursor !== null && !signal?.aborted);
    }),

  me: readProcedure
    .input(nothingInput)
    .output(meSchema)
    .query(({ ctx: { principal } }) => ({ ...principal, scopes: [...principal.scopes] })),

  /** Who looks at the page, null where nobody is signed in. Its cookie is renewed. */
  viewer: viewerProcedure
    .input(nothingInput)
    .output(z.object({ viewer: meSchema.omit({ scopes: true }).nullable() }))
    .query(({ ctx: { viewer, services, login, setCookie } }) => {
      if (login === undefined || viewer?.lastsSeconds === undefined) return { viewer };
      const renewed = services.page?.logins.renewed(login, viewer.lastsSeconds);
      if (renewed !== undefined) setCookie?.(renewed);
      return { viewer };
    }),

  /** How to sign in on the page: at the issuer, or in a demo as one of its people. */
  signInOptions: publicProcedure
    .input(nothingInput)
    .output(z.object({ issuer: z.boolean(), people: z.array(demoPersonSchema) }))
    .query(({ ctx: { services } }) => ({
      issuer: services.page?.openId !== undefined,
      people: [...(services.page?.people ?? [])],
    })),

  /** In a demo alone. */
  signInAs: publicProcedure
    .input(z.object({ userId: idInput }))
    .output(z.object({ userId: z.string() }))
    .mutation(async ({ ctx: { services, setCookie }, input: { userId } }) => {
      const { page } = services;
      if (page === undefined || setCookie === undefined || !page.people.some((one) => one.userId === userId))
        throw new Failure('not_found', 'There is nobody here whom you may be without signing in.');
      setCookie(await page.logins.begin(userId));
      return { userId };
    }),

  signOut: signedInProcedure
    .input(nothingInput)
    .output(z.object({ signedOut: z.boolean() }))
    .mutation(async ({ ctx: { services, principal, login, setCookie } }) => {
      if (login === undefined || services.page === undefined) return { signedOut: false };
      setCookie?.(await services.page.logins.end(principal.userId, login));
      services.authenticate.forget(principal.userId);
      return { signedOut: true };
    }),

  /**
   * Erases who asks, for good. The first call says what is lost and does nothing; the second sends `purchasedCredits` back
   * as its confirmation. Spec 10.8.
   */
  erase: ownerProcedure
    .input(
      z.object({
        confirmPurchasedCredits: z
          .int()
          .min(0)
          .nullish()
          .describe('The number of purchased credits that are lost, as the first call said.'),
      }),
    )
    .output(erasureSchema)
    .mutation(async ({ ctx, input }) => {
      const { database, authenticate, engine, billing } = ctx.services;
      const { userId } = ctx.principal;
      const erasure = await eraseUser(database.sql, userId, input.confirmPurchasedCredits ?? null);
      if (erasure.outcome === 'erased') {
        authenticate.forget(userId);
        engine.stopAll(userId);
        billing?.nudge();
      }
      return erasure;
    }),

  /** What operators and administrators changed. Spec 12. */
  changes: adminProcedure
    .input(z.object({ limit, cursor }))
    .output(changesPageSchema)
    .query(({ ctx, input }) =>
      listChanges(ctx.services.database.reads, ctx.principal.userId, { ...input, cursor: input.cursor ?? null }),
    ),

  tokens: router({
    /** The token is in this answer and nowhere else. It can do no more, and for no longer, than the one that made it. */
    create: signedInProcedure
      .input(newTokenInput)
      .output(z.object({ id: z.string(), token: z.string(), expiresAt: z.string().nullable() }))
      .mutation(async ({ ctx, input }) => {
        const id = uuidv7();
        const token = `prpm_${randomBytes(32).toString('base64url')}`;
        const asked = {
          ...{ id, name: input.name, scopes: input.scopes, expiresAt: input.expiresAt ?? null },
          tokenHash: hash('sha256', token, 'buffer'),
        };
        const { userId, tokenId } = ctx.principal;
        const { endsAt, refusal } = await createToken(ctx.services.database.sql, userId, asked, tokenId);
        if (refusal !== null) throw refusalFailure(refusal);
        return { id, token, expiresAt: endsAt };
      }),

    list: readProcedure
      .input(nothingInput)
      .output(z.object({ tokens: z.array(tokenSchema) }))
      .query(async ({ ctx }) => ({ tokens: await listTokens(ctx.services.database.reads, ctx.principal.userId) })),

    revoke: signedInProcedure
      .input(z.object({ id: idInput }))
      .output(z.object({ id: z.string() }))
      .mutation(async ({ ctx, input }) => {
        const isRevoked = await revokeToken(ctx.services.database.sql, ctx.principal.userId, input.id);
        if (!isRevoked) throw new Failure('not_found', 'There is no such token of yours.');
        ctx.services.authenticate.forget(ctx.principal.userId);
        return { id: input.id };
      }),
  }),
});
