import { TRPCClientError } from '@trpc/client';
import { PlaygroundError, type Problem } from '../src/client/index.ts';
import { registry } from '../src/errors/registry.ts';
import { moment } from './terminal.ts';

/** Exit codes. Spec 10.9. */
export const exit = { done: 0, error: 1, usage: 2, credits: 4, limits: 5, interrupted: 130 } as const;
export type ExitCode = (typeof exit)[keyof typeof exit];

/** What ends a command, for a person: what is wrong, and what to do about it. */
export class CliFailure extends Error {
  readonly exitCode: ExitCode;
  readonly advice: string | undefined;

  constructor(message: string, exitCode: ExitCode = exit.error, advice?: string) {
    super(message);
    this.exitCode = exitCode;
    this.advice = advice;
  }
}

/** Where the CLI knows better than the server what to type. */
const ADVICE: Record<string, string> = {
  authentication_required: 'prpm-playground login',
  invalid_token: 'prpm-playground login, with a new token',
  token_expired: 'prpm-playground login, with a new token',
  token_revoked: 'prpm-playground login, with a new token',
  insufficient_credits: 'prpm-playground buy, prpm-playground subscribe, or a cheaper model (prpm-playground models)',
  package_not_found: 'prpm-playground packages search',
  version_not_found: 'prpm-playground packages show PACKAGE',
  model_not_found: 'prpm-playground models',
  session_not_found: 'prpm-playground sessions',
  comparison_not_found: 'prpm-playground run --compare, whose last line names it',
  pack_not_found: 'prpm-playground buy, which lists them',
  insufficient_scope: 'prpm-playground login, with a token that may do this',
  rate_limited: 'wait until then',
  hourly_request_limit: 'wait until then, or prpm-playground subscribe',
  daily_cost_limit: 'wait until then, a shorter input, a cheaper model, or prpm-playground buy',
  monthly_cost_limit: 'wait until then, a shorter input, a cheaper model, or prpm-playground buy',
  tier_budget: 'wait until then, or prpm-playground subscribe',
  validation_error: 'add --help to the command',
  unreachable: 'see that the server runs at the URL that prpm-playground login was told, or that PRPM_URL says',
};

/** Any error as lines to print, and the code to end with. `options` are those that the command knows. */
export function explain(
  error: unknown,
  options: Set<string>,
): { message: string; details: string[]; exitCode: ExitCode } {
  if (error instanceof CliFailure) {
    return { message: error.message, details: adviceOf(error.advice), exitCode: error.exitCode };
  }
  if (error instanceof Error && error.name === 'AbortError')
    return { message: '', details: [], exitCode: exit.interrupted };
  if (!(error instanceof PlaygroundError || error instanceof TRPCClientError))
    return { message: String(error), details: [], exitCode: exit.error };
  const { problem } = PlaygroundError.from(error);
  const { error: code, message, errors, request_id: requestId } = problem;
  const fields = (errors ?? []).map(
    ({ field, message: what }) => `${saidAs(field, options)} ${withoutName(what, field)}`,
  );
  const details = [
    ...fields.slice(1),
    ...figuresOf(problem),
    ...adviceOf(ADVICE[code] ?? (code in registry ? registry[code as keyof typeof registry][2] : undefined), message),
    ...(code === 'internal_error' ? [`request ${requestId}`] : []),
  ];
  return { message: `${fields[0] ?? message} (${code})`, details, exitCode: exitCodeOf(problem) };
}

function adviceOf(advice: string | undefined, message = ''): string[] {
  return advice === undefined || message.includes(advice) ? [] : [`what to do: ${advice}`];
}

/** A field of the server's as the option or argument that it came from. */
function saidAs(field: string, options: Set<string>): string {
  const names: Record<string, string> = { custom_prompt: 'custom', query: 'words', use_no_prompt: 'baseline' };
  const name = names[field] ?? field.replace(/_id$/, '').replaceAll('_', '-');
  return options.has(`--${name}`) ? `--${name}` : name;
}

const withoutName = (message: string, field: string) =>
  message.startsWith(field) ? message.slice(field.length).replace(/^[: ]+/, '') : message;

function figuresOf({ limit, used, held, unit = '', retry_at: at, retry_after: after, ...credits }: Problem): string[] {
  const { required_credits: required, available_credits: available } = credits;
  const figures = [
    ...(limit === undefined || limit === null ? [] : [`limit ${limit}`]),
    ...(used === undefined ? [] : [`used ${used}`]),
    ...(held ? [`held by other runs ${held}`] : []),
  ];
  return [
    ...(figures.length === 0 ? [] : [`${figures.join(', ')}${unit && ` (${unit})`}`]),
    ...(required === undefined ? [] : [`needs ${required} credits, ${available} are free`]),
    ...(at !== undefined ? [`try again at ${moment(at)}`] : after !== undefined ? [`try again in ${after} s`] : []),
  ];
}

function exitCodeOf({ error, status }: Problem): ExitCode {
  if (status === 402 || error === 'purchased_credit_cost') return exit.credits;
  if (status === 429 || error === 'throttled' || error === 'request_too_large') return exit.limits;
  return error === 'validation_error' ? exit.usage : exit.error;
}
