// The packages in sandbox/packages, as their authors publish them.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { type NewVersion, visibilitySchema } from '../../src/calls/catalog.ts';
import { countTokens } from '../../src/tokens/count.ts';

const directory = resolve(import.meta.dirname, '../packages');

const manifestSchema = z.object({
  name: z.string(),
  description: z.string(),
  tags: z.array(z.string()),
  visibility: visibilitySchema.default('public'),
  organization: z.string().optional(),
  versions: z.array(z.object({ version: z.string(), file: z.string(), changelog: z.string() })),
  suggestedInputs: z.array(
    z.object({
      title: z.string(),
      suggested_input: z.string(),
      description: z.string().nullable().default(null),
      category: z.string().nullable().default(null),
      difficulty: z.string().default('beginner'),
      estimated_credits: z.number().default(1),
      recommended_model: z.string().nullable().default(null),
    }),
  ),
});

export type Package = {
  name: string;
  /** The organization that it belongs to, by name. */
  organization: string | undefined;
  questions: string[];
  /** Oldest first; the organization is still to be filled in. */
  versions: NewVersion[];
};

export async function readPackages(): Promise<Package[]> {
  return Promise.all(readdirSync(directory).sort().map(readPackage));
}

async function readPackage(folder: string): Promise<Package> {
  const read = (name: string) => readFileSync(join(directory, folder, name), 'utf8');
  const manifest = manifestSchema.parse(JSON.parse(read('prpm.json')));
  const { name, description, tags, visibility, organization } = manifest;
  const suggestedInputs = manifest.suggestedInputs.map((one) => ({
    title: one.title,
    description: one.description,
    suggestedInput: one.suggested_input,
    category: one.category,
    difficulty: one.difficulty,
    estimatedCredits: one.estimated_credits,
    recommendedModel: one.recommended_model,
  }));
  const versions = await Promise.all(
    manifest.versions.map(async ({ version, file, changelog }): Promise<NewVersion> => {
      const prompt = read(file);
      const [tokensO200k, tokensCl100k, tokensApproximate] = await Promise.all([
        countTokens(prompt, 'o200k_base'),
        countTokens(prompt, 'cl100k_base'),
        countTokens(prompt, 'approximate'),
      ]);
      return {
        ...{ name, description, tags, visibility, organization: null, version, prompt, changelog, suggestedInputs },
        variables: null,
        ...{ tokensO200k, tokensCl100k, tokensApproximate },
      };
    }),
  );
  const questions = suggestedInputs.map(({ suggestedInput }) => suggestedInput);
  return { name, organization, questions, versions };
}
