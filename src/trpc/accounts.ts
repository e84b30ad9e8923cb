import { hash, randomBytes } from 'node:crypto';
import { uuidv7 } from 'uuidv7';
import { z } from 'zod';
import { createToken, listTokens, revokeToken, scopeSchema, tokenSchema } from '../calls/accounts.ts';
import { Failure } from '../errors/failure.ts';
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
    /** The token is in this answer and nowhere else. It can do no more than the one that made it. */
    create: signedInProcedure
      .input(newTokenInput)
      .output(z.object({ id: z.string(), token: z.string() }))
      .mutation(async ({ ctx, input }) => {
        const excess = input.scopes.filter((scope) => !ctx.principal.scopes.has(scope));
        if (excess.length > 0) {
          throw new Failure(
            'insufficient_scope',
            `A token cannot make one with more scopes than its own: ${excess.join(', ')}.`,
          );
        }
        const id = uuidv7();
        const token = `prpm_${randomBytes(32).toString('base64url')}`;
        await createToken(ctx.services.database.sql, ctx.principal.userId, {
          ...{ id, name: input.name, scopes: input.scopes, expiresAt: input.expiresAt ?? null },
          tokenHash: hash('sha256', token, 'buffer'),
        });
        return { id, token };
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
