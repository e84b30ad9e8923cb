import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { findRow, parseRow, parseRows } from '../database/rows.ts';

const price = z.coerce.number().nullable();

/** A model that can be run. Prices are US dollars per million tokens; null without a price now. */
export const modelSchema = z.object({
  alias: z.string(),
  provider: z.string(),
  providerModel: z.string(),
  creditMultiplier: z.coerce.number(),
  maxOutputTokens: z.number(),
  contextTokens: z.number(),
  tokenizer: z.enum(['o200k_base', 'cl100k_base', 'approximate']),
  isDefault: z.boolean(),
  priced: z.boolean(),
  inputPrice: price,
  cachedReadPrice: price,
  cacheWritePrice: price,
  outputPrice: price,
});
export type Model = z.output<typeof modelSchema>;

export async function listModels(sql: Sql, userId: string | null): Promise<Model[]> {
  const rows = await sql`
    select alias, provider, provider_model, credit_multiplier, max_output_tokens, context_tokens, tokenizer, is_default, priced,
      input_price, cached_read_price, cache_write_price, output_price
    from api.list_models(${userId})`;
  return parseRows(modelSchema, rows);
}

export const visibilitySchema = z.enum(['public', 'unlisted', 'private']);

const tokenCount = z.object({ o200kBase: z.number(), cl100kBase: z.number(), approximate: z.number() });

/** A package; `author` and `organization` are names, `mayPublish` is about the acting user. */
export const packageSchema = z.object({
  id: z.string(),
  name: z.string(),
  description: z.string(),
  tags: z.array(z.string()),
  authorId: z.string(),
  author: z.string().nullable(),
  organizationId: z.string().nullable(),
  organization: z.string().nullable(),
  visibility: visibilitySchema,
  latestVersion: z.string().nullable(),
  mayPublish: z.boolean(),
  createdAt: z.string(),
  updatedAt: z.string(),
  versions: z.array(
    z.object({ version: z.string(), changelog: z.string(), tokens: tokenCount, createdAt: z.string() }),
  ),
  suggestedInputs: z.array(
    z.object({
      id: z.string(),
      title: z.string(),
      description: z.string().nullable(),
      suggestedInput: z.string(),
      category: z.string().nullable(),
      difficulty: z.string(),
      estimatedCredits: z.number(),
      recommendedModel: z.string().nullable(),
      displayOrder: z.number(),
      createdAt: z.string(),
    }),
  ),
});

/** A package by id or name; undefined where this user cannot see one. */
export async function readPackage(
  sql: Sql,
  userId: string | null,
  packageId: string,
): Promise<z.output<typeof packageSchema> | undefined> {
  const rows = await sql`
    select id, name, description, tags, author_id, author, organization_id, organization, visibility, latest_version, may_publish,
      created_at, updated_at, versions, suggested_inputs
    from api.read_package(${userId}, ${packageId})`;
  return findRow(packageSchema, rows);
}

export const packagePageSchema = z.object({
  packages: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      description: z.string(),
      tags: z.array(z.string()),
      author: z.string().nullable(),
      visibility: visibilitySchema,
      latestVersion: z.string().nullable(),
      updatedAt: z.string(),
    }),
  ),
  nextCursor: z.string().nullable(),
  total: z.number(),
});

export async function searchPackages(
  sql: Sql,
  userId: string | null,
  search: { query: string | null; limit: number; cursor: string | null },
): Promise<z.output<typeof packagePageSchema>> {
  const rows = await sql`
    select packages, next_cursor, total
    from api.search_packages(${userId}, ${search.query}, ${search.limit}, ${search.cursor})`;
  return parseRow(packagePageSchema, rows);
}

export const versionSchema = z.object({
  name: z.string(),
  version: z.string(),
  prompt: z.string(),
  changelog: z.string(),
  createdAt: z.string(),
});

/** One version of a package with its prompt, the newest where none is named; undefined where this user cannot see it. */
export async function readVersion(
  sql: Sql,
  userId: string | null,
  packageId: string,
  version: string | null,
): Promise<z.output<typeof versionSchema> | undefined> {
  const rows = await sql`
    select name, version, prompt, changelog, created_at from api.read_version(${userId}, ${packageId}, ${version})`;
  return findRow(versionSchema, rows);
}

export const publishedSchema = z.object({ packageId: z.string(), version: z.string() });

type SuggestedInput = {
  title: string;
  suggestedInput: string;
  description?: string | null | undefined;
  category?: string | null | undefined;
  difficulty?: string | null | undefined;
  estimatedCredits?: number | null | undefined;
  recommendedModel?: string | null | undefined;
};

/** Null leaves what is there as it is. */
export type NewVersion = {
  name: string;
  description: string | null;
  tags: string[] | null;
  visibility: z.output<typeof visibilitySchema> | null;
  organizationId: string | null;
  version: string;
  prompt: string;
  tokensO200k: number;
  tokensCl100k: number;
  tokensApproximate: number;
  changelog: string | null;
  suggestedInputs: SuggestedInput[] | null;
};

export async function publishVersion(
  sql: Sql,
  userId: string,
  version: NewVersion,
): Promise<z.output<typeof publishedSchema>> {
  const suggestedInputs = version.suggestedInputs?.map((one) => ({
    title: one.title,
    description: one.description,
    suggested_input: one.suggestedInput,
    category: one.category,
    difficulty: one.difficulty,
    estimated_credits: one.estimatedCredits,
    recommended_model: one.recommendedModel,
  }));
  const rows = await sql`
    select package_id, version
    from api.publish_version(
      ${userId}, ${version.name}, ${version.description}, ${version.tags}, ${version.visibility}, ${version.organizationId},
      ${version.version}, ${version.prompt}, ${version.tokensO200k}, ${version.tokensCl100k}, ${version.tokensApproximate},
      ${version.changelog}, ${suggestedInputs === undefined ? null : sql.json(suggestedInputs)}::json
    )`;
  return parseRow(publishedSchema, rows);
}

export const priceStepSchema = z.object({
  step: z.number(),
  what: z.string(),
  value: z.number().nullable(),
  unit: z.string().nullable(),
  explanation: z.string(),
});

/** What a model costs and charges at a time, now where none is given. Spec 1.3, 12. */
export async function explainPrice(
  sql: Sql,
  userId: string | null,
  model: string,
  at: string | null,
): Promise<z.output<typeof priceStepSchema>[]> {
  const rows = await sql`select steps from api.explain_price(${userId}, ${model}, ${at}) as steps`;
  return parseRow(z.object({ steps: z.array(priceStepSchema) }), rows).steps;
}
