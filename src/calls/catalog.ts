import { z } from 'zod';
import type { Sql } from '../database/client.ts';
import { findRow, parseRow, parseRows } from '../database/rows.ts';
import { snakeCase } from '../names.ts';

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

const variablesColumn = z.record(z.string(), z.unknown()).nullable();
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
    z.object({
      version: z.string(),
      changelog: z.string(),
      tokens: tokenCount,
      /** JSON schema of what stands for the prompt's {{names}}; null: it has none. */
      variables: variablesColumn,
      deprecated: z.string().nullable(),
      yanked: z.boolean(),
      createdAt: z.string(),
    }),
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
      usageCount: z.number(),
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
  /** Counted up to 1,000. */
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
  /** Id or name. */
  organization: string | null;
  version: string;
  prompt: string;
  variables: Record<string, unknown> | null;
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
      ${userId}, ${version.name}, ${version.description}, ${version.tags}, ${version.visibility}, ${version.organization},
      ${version.version}, ${version.prompt}, ${version.tokensO200k}, ${version.tokensCl100k}, ${version.tokensApproximate},
      ${version.changelog}, ${suggestedInputs === undefined ? null : sql.json(suggestedInputs)}::json,
      ${version.variables === null ? null : JSON.stringify(version.variables)}::text::json
    )`;
  return parseRow(publishedSchema, rows);
}

export const changedPackageSchema = z.object({
  packageId: z.string(),
  name: z.string(),
  description: z.string(),
  tags: z.array(z.string()),
  visibility: visibilitySchema,
});

/** Changes what is said of a package and who sees it; null leaves a thing as it is. Undefined where this user cannot see it. */
export async function changePackage(
  sql: Sql,
  userId: string,
  packageId: string,
  change: { description: string | null; tags: string[] | null; visibility: z.output<typeof visibilitySchema> | null },
): Promise<z.output<typeof changedPackageSchema> | undefined> {
  const rows = await sql`
    select changed
    from api.change_package(${userId}, ${packageId}, ${change.description}, ${change.tags}, ${change.visibility})`;
  return findRow(z.object({ changed: changedPackageSchema }), rows)?.changed;
}

export const changedVersionSchema = z.object({
  packageId: z.string(),
  version: z.string(),
  deprecated: z.string().nullable(),
  yanked: z.boolean(),
  latestVersion: z.string().nullable(),
});

/** Deprecates or yanks a version, or takes that back (blank, false); null leaves a thing as it is. Undefined where this user cannot see it. */
export async function changeVersion(
  sql: Sql,
  userId: string,
  packageId: string,
  version: string,
  change: { deprecated: string | null; yanked: boolean | null },
): Promise<z.output<typeof changedVersionSchema> | undefined> {
  const rows = await sql`
    select changed
    from api.change_version(${userId}, ${packageId}, ${version}, ${change.deprecated}, ${change.yanked})`;
  return findRow(z.object({ changed: changedVersionSchema }), rows)?.changed;
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

/** An input that a package's people propose to try it with; usageCount is how often it was taken. Spec 10.4. */
export const suggestedInputSchema = z.object({
  id: z.string(),
  packageId: z.string(),
  title: z.string(),
  description: z.string().nullable(),
  suggestedInput: z.string(),
  category: z.string().nullable(),
  difficulty: z.string(),
  estimatedCredits: z.number(),
  recommendedModel: z.string().nullable(),
  displayOrder: z.number(),
  usageCount: z.number(),
  isActive: z.boolean(),
  createdAt: z.string(),
});
export const suggestedInputsSchema = z.object({
  suggestedInputs: z.array(suggestedInputSchema),
  total: z.coerce.number(),
});
export const authorInputsSchema = z.object({
  suggestedInputs: z.array(
    suggestedInputSchema.extend({
      packageName: z.string(),
      totalClicks: z.number(),
      completedTests: z.number(),
    }),
  ),
  total: z.coerce.number(),
});

/** Those that are shown of a package; undefined where this user cannot see it. */
export async function listSuggestedInputs(
  sql: Sql,
  userId: string | null,
  asked: { packageId: string; category: string | null; difficulty: string | null },
): Promise<z.output<typeof suggestedInputsSchema> | undefined> {
  const rows = await sql`
    select suggested_inputs, total
    from api.list_suggested_inputs(${userId}, ${asked.packageId}, ${asked.category}, ${asked.difficulty})`;
  return findRow(suggestedInputsSchema, rows);
}

/** All that one author proposed. */
export async function listAuthorInputs(
  sql: Sql,
  userId: string,
  authorId: string,
): Promise<z.output<typeof authorInputsSchema>> {
  const rows = await sql`select suggested_inputs, total from api.list_author_inputs(${userId}, ${authorId})`;
  return parseRow(authorInputsSchema, rows);
}

/** Undefined leaves a field as it is, or to what it is where nothing is said. */
export type SuggestedInputFields = {
  title?: string | undefined;
  suggestedInput?: string | undefined;
  description?: string | null | undefined;
  category?: string | null | undefined;
  difficulty?: string | undefined;
  estimatedCredits?: number | undefined;
  recommendedModel?: string | null | undefined;
  displayOrder?: number | undefined;
};

/** Undefined where this user cannot see the package. */
export async function createSuggestedInput(
  sql: Sql,
  userId: string,
  packageId: string,
  fields: SuggestedInputFields,
): Promise<z.output<typeof suggestedInputSchema> | undefined> {
  const { title = null, suggestedInput = null, description = null, category = null, difficulty = null } = fields;
  const { estimatedCredits = null, recommendedModel = null, displayOrder = null } = fields;
  const rows = await sql`
    select created
    from api.create_suggested_input(
      ${userId}, ${packageId}, ${title}, ${suggestedInput}, ${description}, ${category}, ${difficulty}, ${estimatedCredits},
      ${recommendedModel}, ${displayOrder}
    )`;
  return findRow(z.object({ created: suggestedInputSchema }), rows)?.created;
}

/** Undefined where there is none that this user sees. */
export async function changeSuggestedInput(
  sql: Sql,
  userId: string,
  suggestedInputId: string,
  fields: SuggestedInputFields,
): Promise<z.output<typeof suggestedInputSchema> | undefined> {
  const rows = await sql`
    select changed
    from api.change_suggested_input(${userId}, ${suggestedInputId}, ${JSON.stringify(snakeCase(fields))}::text::json)`;
  return findRow(z.object({ changed: suggestedInputSchema }), rows)?.changed;
}

/** False where there is none that this user sees. */
export async function deleteSuggestedInput(sql: Sql, userId: string, suggestedInputId: string): Promise<boolean> {
  const rows = await sql`select deleted from api.delete_suggested_input(${userId}, ${suggestedInputId}) as deleted`;
  return parseRow(z.object({ deleted: z.boolean() }), rows).deleted;
}

const usageSchema = z.object({ usageId: z.string().nullable(), isCounted: z.boolean() });

/** Counts that somebody took one; undefined where there is none that they see. */
export async function useSuggestedInput(
  sql: Sql,
  visitor: { userId: string | null; address: string },
  suggestedInputId: string,
): Promise<z.output<typeof usageSchema> | undefined> {
  const rows = await sql`
    select usage_id, is_counted from api.use_suggested_input(${visitor.userId}, ${suggestedInputId}, ${visitor.address})`;
  return findRow(usageSchema, rows);
}

const completionSchema = z.object({ runId: z.string().nullable(), isCounted: z.boolean() });

/** Counts that a run of one completed, where one did in that session. */
export async function completeSuggestedInput(
  sql: Sql,
  userId: string,
  usageId: string,
  sessionId: string,
): Promise<z.output<typeof completionSchema>> {
  const rows = await sql`
    select run_id, is_counted from api.complete_suggested_input(${userId}, ${usageId}, ${sessionId})`;
  return parseRow(completionSchema, rows);
}

const configValueSchema = z.union([z.null(), z.boolean(), z.number(), z.string(), z.array(z.number())]);
export const configKindSchema = z.enum(['limits', 'plans', 'packs', 'models', 'settings']);

/** What an administrator can change: fields with the type and comment that they have in the database, and how they stand. */
export const configSchema = z.object({
  fields: z.array(
    z.object({
      kind: configKindSchema,
      field: z.string(),
      type: z.string(),
      isOptional: z.boolean(),
      description: z.string(),
    }),
  ),
  rows: z.array(
    z.object({
      kind: configKindSchema,
      name: z.string(),
      values: z.array(z.object({ field: z.string(), value: configValueSchema })),
    }),
  ),
});

/** For an administrator. Spec 12. */
export async function readConfig(sql: Sql, userId: string): Promise<z.output<typeof configSchema>> {
  const rows = await sql`select config from api.read_config(${userId}) as config`;
  return parseRow(z.object({ config: configSchema }), rows).config;
}

/** US dollars per million tokens. */
const pricesSchema = z.object({
  input: z.number(),
  cachedRead: z.number().nullable(),
  cacheWrite: z.number().nullable(),
  output: z.number(),
  source: z.string(),
  startsAt: z.string(),
  endsAt: z.string().nullable(),
});
export const priceBookSchema = z.array(pricesSchema.extend({ id: z.string(), model: z.string(), isNow: z.boolean() }));

/** The price book, by model, the newest price first, for an administrator. Spec 1.3. */
export async function listPrices(sql: Sql, userId: string): Promise<z.output<typeof priceBookSchema>> {
  const rows = await sql`select prices from api.list_prices(${userId}) as prices`;
  return parseRow(z.object({ prices: priceBookSchema }), rows).prices;
}

export type NewPrice = {
  model: string;
  /** Null: now. */
  validFrom: string | null;
  input: number;
  cachedRead: number | null;
  cacheWrite: number | null;
  output: number;
  reason: string | null;
  dryRun: boolean;
};
export const publishedPricesSchema = z.array(pricesSchema);

/** The price that ends and the one that begins; none where it is that already. Spec 1.3. */
export async function publishPrices(
  sql: Sql,
  userId: string,
  price: NewPrice,
): Promise<z.output<typeof publishedPricesSchema>> {
  const rows = await sql`
    select prices from api.publish_prices(
      ${userId}, ${price.model}, ${price.validFrom}, ${price.input}, ${price.cachedRead}, ${price.cacheWrite}, ${price.output},
      ${price.reason}, ${price.dryRun}
    ) as prices`;
  return parseRow(z.object({ prices: publishedPricesSchema }), rows).prices;
}
