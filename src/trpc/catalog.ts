import { z } from 'zod';
import {
  explainPrice,
  modelSchema,
  packagePageSchema,
  packageSchema,
  priceStepSchema,
  publishedSchema,
  publishVersion,
  readPackage,
  readVersion,
  searchPackages,
  versionSchema,
  visibilitySchema,
} from '../calls/catalog.ts';
import { Failure } from '../errors/failure.ts';
import { countTokens } from '../tokens/count.ts';
import { characters, idInput, packageInput, pageInput } from './inputs.ts';
import { publicProcedure, publishProcedure, router } from './trpc.ts';

const suggestedInput = z.object({
  title: characters(1, 100),
  suggestedInput: characters(1, 10_000),
  description: z.string().max(1000).nullish(),
  category: z.string().max(50).nullish(),
  difficulty: z.string().max(50).nullish(),
  estimatedCredits: z.int().min(1).max(50).nullish(),
  recommendedModel: z.string().max(64).nullish(),
});

/** What is left out stays as it was in the version before. */
const publishInput = z.object({
  name: z.string().trim().min(1).max(140),
  version: z.string().trim().min(1).max(50).describe('Semantic version.'),
  prompt: z.string().min(1).max(50_000).describe('The system prompt; a version keeps it for ever.'),
  description: z.string().max(2000).nullish(),
  tags: z.array(z.string().min(1).max(50)).max(20).nullish(),
  visibility: visibilitySchema.nullish(),
  organizationId: idInput.nullish(),
  changelog: z.string().max(10_000).nullish(),
  suggestedInputs: z.array(suggestedInput).max(50).nullish(),
});

const { limit, cursor } = pageInput(20);

export const catalogRouter = router({
  models: publicProcedure
    .input(z.object({}).optional())
    .output(z.object({ models: z.array(modelSchema) }))
    .query(async ({ ctx }) => ({ models: await ctx.services.engine.models(ctx.visitor.userId) })),

  explainPrice: publicProcedure
    .input(
      z.object({
        model: z.string().trim().min(1).max(64).describe('Alias of a model.'),
        at: z.iso.datetime({ offset: true }).nullish().describe('When; now where left out.'),
      }),
    )
    .output(z.object({ steps: z.array(priceStepSchema) }))
    .query(async ({ ctx, input }) => ({
      steps: await explainPrice(ctx.services.database.reads, ctx.visitor.userId, input.model, input.at ?? null),
    })),

  packages: router({
    search: publicProcedure
      .input(z.object({ query: z.string().max(200).nullish(), limit, cursor }))
      .output(packagePageSchema)
      .query(({ ctx, input }) =>
        searchPackages(ctx.services.database.reads, ctx.visitor.userId, {
          query: input.query?.trim() || null,
          limit: input.limit,
          cursor: input.cursor ?? null,
        }),
      ),

    read: publicProcedure
      .input(z.object({ packageId: packageInput }))
      .output(packageSchema)
      .query(async ({ ctx, input }) => {
        const found = await readPackage(ctx.services.database.reads, ctx.visitor.userId, input.packageId);
        if (found === undefined) throw new Failure('package_not_found', `There is no package ${input.packageId}.`);
        return found;
      }),

    version: publicProcedure
      .input(
        z.object({
          packageId: packageInput,
          version: z.string().trim().min(1).max(50).nullish().describe('The newest where left out.'),
        }),
      )
      .output(versionSchema)
      .query(async ({ ctx, input }) => {
        const { packageId, version } = input;
        const found = await readVersion(ctx.services.database.reads, ctx.visitor.userId, packageId, version ?? null);
        if (found === undefined) throw new Failure('version_not_found', `${packageId} has no version ${version}.`);
        return found;
      }),

    publish: publishProcedure
      .input(publishInput)
      .output(publishedSchema)
      .mutation(async ({ ctx, input }) => {
        const [tokensO200k, tokensCl100k, tokensApproximate] = await Promise.all([
          countTokens(input.prompt, 'o200k_base'),
          countTokens(input.prompt, 'cl100k_base'),
          countTokens(input.prompt, 'approximate'),
        ]);
        const { sql } = ctx.services.database;
        return publishVersion(sql, ctx.principal.userId, {
          ...{
            name: input.name,
            version: input.version,
            prompt: input.prompt,
            tokensO200k,
            tokensCl100k,
            tokensApproximate,
          },
          description: input.description ?? null,
          tags: input.tags ?? null,
          visibility: input.visibility ?? null,
          organizationId: input.organizationId ?? null,
          changelog: input.changelog ?? null,
          suggestedInputs: input.suggestedInputs ?? null,
        });
      }),
  }),
});
