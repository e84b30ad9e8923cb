// A run as it is asked for, and what the provider is then asked.
import { hash } from 'node:crypto';
import type { HistoryMode, StartedRun, Template } from '../calls/runs.ts';
import type { ProviderCall } from '../providers/provider.ts';
import { fillPrompt, type Values } from '../template/template.ts';
import { countTokens, type Tokenizer } from '../tokens/count.ts';

/** A run as a caller asks for it. Without `packageId` it goes on in the session with that session's package and model. */
export type Ask = {
  packageId: string | null;
  packageVersion: string | null;
  sessionId: string | null;
  model: string | null;
  useNoPrompt: boolean;
  /** The caller's own prompt, in place of a package's. */
  customPrompt: string | null;
  maxOutputTokens: number | null;
  input: string;
  temperature: number | null;
  history: HistoryMode | null;
  idempotencyKey: string | null;
  /** What stands for the variables of the package's prompt. */
  variables: Values | null;
};

/** A prompt as the model will see it, and how to ask again with it: the very version that was filled in. */
export type Filled = {
  prompt: string;
  request: { packageVersion: string; promptTokens: number; variables: Record<string, unknown> };
};

/** Throws `validation_error` naming each variable that is missing, unknown or not as described. */
export async function fill({ version, systemPrompt, template }: Template, tokenizer: Tokenizer): Promise<Filled> {
  const { variables, givenVariables } = template;
  const prompt = fillPrompt(systemPrompt, variables, givenVariables);
  const promptTokens = await countTokens(prompt, tokenizer);
  return { prompt, request: { packageVersion: version, promptTokens, variables: givenVariables } };
}

export function providerCall(
  userId: string,
  ask: Pick<Ask, 'input' | 'temperature' | 'customPrompt' | 'useNoPrompt'>,
  begun: StartedRun,
  filled: Filled | null,
): ProviderCall {
  return {
    provider: begun.provider,
    model: begun.providerModel,
    system: (ask.useNoPrompt ? null : ask.customPrompt) ?? filled?.prompt ?? begun.systemPrompt,
    messages: [...(begun.history ?? []), { role: 'user', content: ask.input }],
    maxOutputTokens: begun.outputCap,
    temperature: ask.temperature,
    cachePrompt: begun.cachePrompt,
    firstTokenTimeoutMs: begun.firstTokenTimeoutMs,
    timeoutMs: begun.runTimeoutMs,
    userKey: hash('sha256', `prpm-playground user ${userId}`, 'base64url').slice(0, 32),
  };
}

/** The same for the same request, however its fields were named or ordered. Spec 5.3. */
export function hashOf(ask: Ask): Buffer {
  const { idempotencyKey: _, customPrompt, history, variables, ...request } = ask;
  const asked = {
    ...request,
    ...(customPrompt !== null && { customPrompt }),
    ...(history !== null && { history }),
    ...(variables !== null && { variables: JSON.stringify(Object.entries(variables).sort()) }),
  };
  return hash('sha256', JSON.stringify(asked, Object.keys(asked).sort()), 'buffer');
}
