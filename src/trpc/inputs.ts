import { z } from 'zod';
import type { Ask } from '../engine/ask.ts';

/** Characters are code points, as the database counts them. */
export function characters(least: number, most: number) {
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
/** An instant to come, with its offset. */
export const untilInput = z.iso.datetime({ offset: true }).nullable();
export const idInput = z.guid('must be a uuid');
export const whoseInput = z.object({
  userId: idInput.nullish().describe('Somebody else, for administrators alone; who asks where left out.'),
});
export const packageInput = z.string().trim().min(1).max(200).describe('Id or name of a package.');

/** Characters of a custom prompt, least and most. Spec 10.5. */
export const CUSTOM_PROMPT_LENGTH = [10, 50_000] as const;
export const customPromptInput = characters(...CUSTOM_PROMPT_LENGTH);

const variablesInput = z
  .record(z.string().max(50), z.union([z.string().max(10_000), z.number(), z.boolean()]))
  .refine((variables) => Object.keys(variables).length <= 50, { error: 'must be at most 50 variables' })
  .describe("What stands for each {{name}} of the package's prompt; as in the session's last run where left out.");

/** What a run or an estimate asks for. Spec 5.1. */
export const askInput = z.object({
  packageId: packageInput.nullish(),
  input: characters(1, 10_000).describe('The text to run the package on.'),
  packageVersion: z.string().trim().min(1).max(50).nullish().describe('The newest where left out.'),
  variables: variablesInput.nullish(),
  sessionId: idInput.nullish().describe('Goes on in this session; package_id may then be left out.'),
  model: z.string().trim().min(1).max(64).nullish().describe('Alias of a model; the default where left out.'),
  customPrompt: customPromptInput.nullish().describe("One's own prompt in place of a package's, for verified authors."),
  useNoPrompt: z.boolean().nullish().describe("Without the package's prompt, as a baseline."),
  maxOutputTokens: z.int().min(1).max(1_000_000).nullish().describe('Tokens: the longest answer that is wanted.'),
  temperature: z.number().min(0).max(2).nullish(),
  dropOldest: z
    .boolean()
    .nullish()
    .describe(
      'Of a long conversation, leave out the oldest exchanges so that the answer has room; the receipt says how many.',
    ),
});

export const runInput = askInput.extend({
  idempotencyKey: z
    .string()
    .regex(/^[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?$/, 'must be 1 to 255 printable ASCII characters')
    .nullish()
    .describe('The same key and request give the same run, charged once. Kept for 24 hours.'),
});

const { packageId, packageVersion, variables, model, input, maxOutputTokens, temperature, sessionId } = askInput.shape;
const { customPrompt, useNoPrompt, dropOldest } = askInput.shape;
const FOR_ALL = 'Of each side that does not say another.';

/** What two to four runs of one question ask for. Spec 5.8. */
export const compareInput = z.object({
  input,
  ...{
    packageId: packageId.describe(`${FOR_ALL} Id or name of a package.`),
    packageVersion: packageVersion.describe(FOR_ALL),
  },
  ...{ variables: variables.describe(FOR_ALL), model: model.describe(FOR_ALL) },
  ...{ maxOutputTokens, temperature },
  sides: z
    .array(z.object({ packageId, packageVersion, variables, model, sessionId, customPrompt, useNoPrompt, dropOldest }))
    .min(2, 'must be two to four')
    .max(4, 'must be two to four')
    .describe('What is compared, two to four: packages, versions, models, or with the prompt and without it.'),
});

export const comparisonInput = compareInput.extend({
  idempotencyKey: runInput.shape.idempotencyKey.describe(
    'The same key and request give the same comparison, charged once.',
  ),
});

/** Asks for a summary of a session's conversation. Spec 10.1. */
export const summaryInput = z.object({
  sessionId: idInput,
  model: askInput.shape.model.describe("Alias of a model; that of the session's newest run where left out."),
});

type Asked = Partial<z.output<typeof runInput>> & { input: string };

export function askOf(input: Asked): Ask {
  return {
    packageId: input.packageId ?? null,
    packageVersion: input.packageVersion ?? null,
    variables: input.variables ?? null,
    sessionId: input.sessionId ?? null,
    model: input.model ?? null,
    useNoPrompt: input.useNoPrompt ?? false,
    customPrompt: input.customPrompt ?? null,
    maxOutputTokens: input.maxOutputTokens ?? null,
    input: input.input,
    temperature: input.temperature ?? null,
    history: input.dropOldest ? 'fit' : null,
    idempotencyKey: input.idempotencyKey ?? null,
  };
}

type Compared = z.output<typeof compareInput>;

/** The run of each side. A side with a package of its own has versions and variables of its own, too. */
export function sidesOf({ sides, ...all }: Compared): Ask[] {
  const { packageId, packageVersion, variables, model, ...same } = all;
  return sides.map((side) => {
    const isSame = (side.packageId ?? side.sessionId ?? side.customPrompt ?? null) === null;
    return askOf({
      ...{ ...same, ...side, model: side.model ?? model, packageId: isSame ? packageId : side.packageId },
      packageVersion: side.packageVersion ?? (isSame ? packageVersion : null),
      variables: side.variables ?? (isSame ? variables : null),
    });
  });
}
