import { hash, randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import { z } from 'zod';
import { createToken, listTokens, revokeToken, scopeSchema, tokenSchema } from '../calls/accounts.ts';
import { Failure } from '../errors/failure.ts';
import { refusalFailure } from '../errors/refusal.ts';
import { characters, idInput } from './inputs.ts';
import { readProcedure, router, signedInProcedure } from './trpc.ts';

const meSchema = z.object({
  userId: z.string(),
  username: z.string(),
  email: z.string().nullable(),
  isAdmin: z.boolean(),
  scopes: z.array(scopeSchema),
});

const newTokenInput = z.object({
  name: characters(1, 100),
  scopes: z.array(scopeSchema).min(1),
  expiresAt: z.iso.datetime({ offset: true }).nullish(),
});

export const accountsRouter = router({
  me: readProcedure
    .input(z.object({}).optional())
    .output(meSchema)
    .query(({ ctx: { principal } }) => ({ ...principal, scopes: [...principal.scopes] })),

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
      .input(z.object({}).optional())
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
