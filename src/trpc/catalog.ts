import { TRPCError } from '@trpc/server';
import { z } from 'zod';
import type { Principal } from '../auth/principal.ts';
import {
  authorInputsSchema,
  changedPackageSchema,
  changedVersionSchema,
  changePackage,
  changeSuggestedInput,
  changeVersion,
  completeSuggestedInput,
  configSchema,
  createSuggestedInput,
  deleteSuggestedInput,
  explainPrice,
  listAuthorInputs,
  listPrices,
  listSuggestedInputs,
  modelSchema,
  packagePageSchema,
  packageSchema,
  priceBookSchema,
  priceStepSchema,
  publishedPricesSchema,
  publishedSchema,
  publishPrices,
  publishVersion,
  readConfig,
  readPackage,
  readVersion,
  searchPackages,
  suggestedInputSchema,
  suggestedInputsSchema,
  useSuggestedInput,
  versionSchema,
  visibilitySchema,
} from '../calls/catalog.ts';
import { Failure } from '../errors/failure.ts';
import { readManifest, readMarkdown } from '../manifest/manifest.ts';
import { checkVariables } from '../template/template.ts';
import { countTokens } from '../tokens/count.ts';
import { characters, idInput, nothingInput, packageInput, pageInput, reasonInput } from './inputs.ts';
import { adminProcedure, type Context, publicProcedure, publishProcedure, readProcedure, router } from './trpc.ts';

const suggestedInput = z.object({
  title: characters(1, 100),
  suggestedInput: characters(1, 10_000),
  description: z.string().max(1000).nullish(),
  category: z.string().max(50).nullish(),
  difficulty: z.string().max(50).nullish(),
  estimatedCredits: z.int().min(1).max(50).nullish(),
  recommendedModel: z.string().max(64).nullish(),
});

const description = z.string().max(2000).nullish();
const tags = z.array(z.string().min(1).max(50)).max(20).nullish();
const visibility = visibilitySchema.nullish();
const version = z.string().trim().min(1).max(50);

/** What is left out stays as it was in the version before. */
const publishInput = z.object({
  name: z.string().trim().min(1).max(140),
  version: version.describe('Semantic version.'),
  prompt: z.string().min(1).max(50_000).describe('The system prompt; a version keeps it for ever.'),
  variables: z
    .record(z.string(), z.unknown())
    .nullish()
    .describe(
      'JSON schema of what stands for {{names}} in the prompt: an object whose properties are strings, numbers, integers or booleans.',
    ),
  description,
  tags,
  visibility,
  organization: z.string().trim().min(1).max(200).nullish().describe('Id or name of an organization to publish for.'),
  changelog: z.string().max(10_000).nullish(),
  suggestedInputs: z.array(suggestedInput).max(50).nullish(),
});

const { limit, cursor } = pageInput(20);

/** '' is what forms send for none. */
const choice = z
  .string()
  .max(50)
  .nullish()
  .transform((value) => (value === '' ? null : value));
const inputFields = {
  title: characters(1, 100),
  suggestedInput: characters(1, 10_000).describe('The text.'),
  description: z.string().max(1000).nullish(),
  category: choice.describe('code-review, documentation, refactoring, general, testing or optimization.'),
  difficulty: z.string().max(50).optional().describe('beginner, intermediate or advanced.'),
  estimatedCredits: z.int().min(1).max(50).optional(),
  recommendedModel: z.string().trim().max(64).nullish().describe('Alias of a model.'),
  displayOrder: z.int().min(0).max(1_000_000).optional().describe('Lowest first.'),
};
const suggestedInputId = z.object({ suggestedInputId: idInput });
const noInput = () => new Failure('not_found', 'There is no such suggested input that you may see.');

/** US dollars per million tokens. */
const price = z.number().min(0).max(100_000);
const newPriceInput = z.object({
  model: z.string().trim().min(1).max(64),
  validFrom: z.iso.datetime({ offset: true }).nullable().describe('From when on; null: now.'),
  ...{ input: price, output: price },
  ...{ cachedRead: price.nullable(), cacheWrite: price.nullable() },
  reason: reasonInput.nullable(),
  dryRun: z.boolean().describe('Only says which price would end and which begin.'),
});

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

  /** Limits, plans, packs, models and settings, for administrators; `limits.changeConfig` changes them. Spec 12. */
  config: adminProcedure
    .input(nothingInput)
    .output(configSchema)
    .query(({ ctx }) => readConfig(ctx.services.database.reads, ctx.principal.userId)),

  prices: adminProcedure
    .input(nothingInput)
    .output(z.object({ prices: priceBookSchema }))
    .query(async ({ ctx }) => ({ prices: await listPrices(ctx.services.database.reads, ctx.principal.userId) })),

  publishPrices: adminProcedure
    .input(newPriceInput)
    .output(z.object({ prices: publishedPricesSchema }))
    .mutation(async ({ ctx, input }) => ({
      prices: await publishPrices(ctx.services.database.sql, ctx.principal.userId, input),
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
      .mutation(({ ctx, input }) => publish(ctx, input)),

    /** A prpm.json as authors keep it, with the files that it names. */
    publishManifest: publishProcedure
      .input(
        z.object({
          manifest: z.record(z.string(), z.unknown()).describe('A prpm.json.'),
          files: z.record(z.string(), z.string()).describe('Texts of the files that it names, by their paths there.'),
        }),
      )
      .output(z.object({ packageId: z.string(), name: z.string(), versions: z.array(z.string()) }))
      .mutation(async ({ ctx, input }) => {
        const versions = readManifest(input.manifest, input.files).map(publishable);
        const published = [];
        for (const one of versions) published.push(await publish(ctx, one));
        const { packageId = '' } = published.at(-1) ?? {};
        return { packageId, name: versions.at(-1)?.name ?? '', versions: published.map((one) => one.version) };
      }),

    /** A Markdown file whose front matter says what it is. */
    publishMarkdown: publishProcedure
      .input(z.object({ markdown: z.string().max(100_000).describe('The whole file.') }))
      .output(publishedSchema)
      .mutation(({ ctx, input }) => publish(ctx, publishable(readMarkdown(input.markdown)))),

    change: publishProcedure
      .input(z.object({ packageId: packageInput, description, tags, visibility }))
      .output(changedPackageSchema)
      .mutation(async ({ ctx, input }) => {
        const { packageId, description = null, tags = null, visibility = null } = input;
        const change = { description, tags, visibility };
        const changed = await changePackage(ctx.services.database.sql, ctx.principal.userId, packageId, change);
        if (changed === undefined) throw new Failure('package_not_found', `There is no package ${packageId}.`);
        return changed;
      }),

    changeVersion: publishProcedure
      .input(
        z.object({
          packageId: packageInput,
          version,
          deprecated: z
            .string()
            .trim()
            .max(500)
            .nullish()
            .describe('Why it should be used no longer; null or blank takes that back, left out leaves it as it is.'),
          yanked: z.boolean().optional().describe('True: it is the newest no longer, and runs only by its number.'),
        }),
      )
      .output(changedVersionSchema)
      .mutation(async ({ ctx, input }) => {
        const { packageId, version, yanked = null } = input;
        const deprecated = input.deprecated === null ? '' : (input.deprecated ?? null);
        const change = { deprecated, yanked };
        const changed = await changeVersion(
          ctx.services.database.sql,
          ctx.principal.userId,
          packageId,
          version,
          change,
        );
        if (changed === undefined)
          throw new Failure('version_not_found', `There is no version ${version} of ${packageId}.`);
        return changed;
      }),
  }),

  suggestedInputs: router({
    list: publicProcedure
      .input(z.object({ packageId: packageInput, category: choice, difficulty: choice }))
      .output(suggestedInputsSchema)
      .query(async ({ ctx, input: { packageId, category = null, difficulty = null } }) => {
        const asked = { packageId, category, difficulty };
        const found = await listSuggestedInputs(ctx.services.database.reads, ctx.visitor.userId, asked);
        if (found === undefined) throw new Failure('package_not_found', `There is no package ${packageId}.`);
        return found;
      }),

    byAuthor: readProcedure
      .input(z.object({ authorId: idInput.describe('Your own id.') }))
      .output(authorInputsSchema)
      .query(({ ctx, input }) => listAuthorInputs(ctx.services.database.reads, ctx.principal.userId, input.authorId)),

    create: publishProcedure
      .input(z.object({ packageId: packageInput, ...inputFields }))
      .output(suggestedInputSchema)
      .mutation(async ({ ctx, input: { packageId, ...fields } }) => {
        const { sql } = ctx.services.database;
        const created = await createSuggestedInput(sql, ctx.principal.userId, packageId, fields);
        if (created === undefined) throw new Failure('package_not_found', `There is no package ${packageId}.`);
        return created;
      }),

    change: publishProcedure
      .input(suggestedInputId.extend(z.object(inputFields).partial().shape))
      .output(suggestedInputSchema)
      .mutation(async ({ ctx, input: { suggestedInputId, ...fields } }) => {
        if (Object.values(fields).every((value) => value === undefined)) throw new Failure('no_updates');
        const { sql } = ctx.services.database;
        const changed = await changeSuggestedInput(sql, ctx.principal.userId, suggestedInputId, fields);
        if (changed === undefined) throw noInput();
        return changed;
      }),

    delete: publishProcedure
      .input(suggestedInputId)
      .output(z.object({ message: z.string() }))
      .mutation(async ({ ctx, input }) => {
        const { sql } = ctx.services.database;
        if (!(await deleteSuggestedInput(sql, ctx.principal.userId, input.suggestedInputId))) throw noInput();
        return { message: 'Suggested input deleted' };
      }),

    /** Counted once a visitor and day; with usage_id a completed run of it can be told. */
    use: publicProcedure
      .input(suggestedInputId)
      .output(z.object({ usageId: z.string().nullable(), message: z.string() }))
      .mutation(async ({ ctx, input }) => {
        const use = await useSuggestedInput(ctx.services.database.sql, ctx.visitor, input.suggestedInputId);
        if (use === undefined) throw noInput();
        const message = use.usageId === null ? 'Your own package is not counted' : 'Usage recorded';
        return {
          usageId: use.usageId,
          message: use.usageId === null || use.isCounted ? message : 'Counted today already',
        };
      }),

    complete: readProcedure
      .input(z.object({ usageId: idInput, sessionId: idInput }))
      .output(z.object({ message: z.string(), isCounted: z.boolean() }))
      .mutation(async ({ ctx, input: { usageId, sessionId } }) => {
        const { sql } = ctx.services.database;
        const { isCounted } = await completeSuggestedInput(sql, ctx.principal.userId, usageId, sessionId);
        return { message: isCounted ? 'Completion recorded' : 'Nothing more to count', isCounted };
      }),
  }),
});

/** What a file says, as the fields of a version. Throws what a request with these fields would. */
function publishable(written: Record<string, unknown>): z.output<typeof publishInput> {
  const parsed = publishInput.safeParse(written);
  if (parsed.success) return parsed.data;
  throw new TRPCError({ code: 'BAD_REQUEST', cause: parsed.error });
}

type Author = Context & { principal: Principal };

async function publish(ctx: Author, input: z.output<typeof publishInput>): Promise<z.output<typeof publishedSchema>> {
  const { name, version, prompt, variables = null } = input;
  if (variables !== null) checkVariables(variables, prompt);
  const [tokensO200k, tokensCl100k, tokensApproximate] = await Promise.all([
    countTokens(prompt, 'o200k_base'),
    countTokens(prompt, 'cl100k_base'),
    countTokens(prompt, 'approximate'),
  ]);
  return publishVersion(ctx.services.database.sql, ctx.principal.userId, {
    ...{ name, version, prompt, variables, tokensO200k, tokensCl100k, tokensApproximate },
    description: input.description ?? null,
    tags: input.tags ?? null,
    visibility: input.visibility ?? null,
    organization: input.organization ?? null,
    changelog: input.changelog ?? null,
    suggestedInputs: input.suggestedInputs ?? null,
  });
}
