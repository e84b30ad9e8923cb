import { z } from 'zod';

/** Characters are code points, as the database counts them. */
function characters(least: number, most: number) {
  return z
    .string()
    .trim()
    .refine((text) => text.length >= least && (text.length <= most || [...text].length <= most), {
      error: `must have ${least} to ${most.toLocaleString('en')} characters after trimming`,
    })
    .meta({ minLength: least, maxLength: most });
}

export const pageInput = (standard: number) => ({
  limit: z.int().min(1).max(100).default(standard).describe('How many, at most.'),
  cursor: z.string().max(1000).nullish().describe('next_cursor of the page before.'),
  offset: z.int().min(0).max(1_000_000).default(0).describe('How many to pass over.'),
});

/** Of what takes no fields. */
export const nothingInput = z.object({}).optional();
export const reasonInput = z.string().trim().min(1, 'must say why').max(500).describe('Why; kept in the audit log.');
export const idInput = z.guid('must be a uuid');
export const whoseInput = z.object({
  userId: idInput.nullish().describe('Somebody else, for administrators alone; who asks where left out.'),
});
export const packageInput = z.string().trim().min(1).max(200).describe('Id or name of a package.');

/** Characters of a custom prompt, least and most. Spec 10.5. */
export const CUSTOM_PROMPT_LENGTH = [10, 50_000] as const;
export const customPromptInput = characters(...CUSTOM_PROMPT_LENGTH);

/** What a run or an estimate asks for. Spec 5.1. */
export const askInput = z.object({
  packageId: packageInput.nullish(),
  input: characters(1, 10_000).describe('The text to run the package on.'),
  packageVersion: z.string().trim().min(1).max(50).nullish().describe('The newest where left out.'),
  sessionId: idInput.nullish().describe('Goes on in this session; package_id may then be left out.'),
  model: z.string().trim().min(1).max(64).nullish().describe('Alias of a model; the default where left out.'),
  customPrompt: customPromptInput.nullish().describe("One's own prompt in place of a package's, for verified authors."),
  useNoPrompt: z.boolean().nullish().describe("Without the package's prompt, as a baseline."),
  maxOutputTokens: z.int().min(1).max(1_000_000).nullish().describe('Tokens: the longest answer that is wanted.'),
  temperature: z.number().min(0).max(2).nullish(),
});

export const runInput = askInput.extend({
  idempotencyKey: z
    .string()
    .regex(/^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/, 'must be 1 to 255 printable ASCII characters')
    .nullish()
    .describe('The same key and request give the same run, charged once. Kept for 24 hours.'),
});

export { characters };
