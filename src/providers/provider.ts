/** What the rest of the server says to a provider and hears back. No rule of the product, no price, no database. */

/**
 * Tokens of one call. `input` is everything that the provider read, the cached and the cache-write parts included;
 * `output` includes reasoning. Providers count differently, this type does not. Spec 1.1.
 */
export type TokenCounts = { input: number; cached: number; cacheWrite: number; output: number };

export type ProviderCall = {
  provider: string;
  /** The provider's own model id. */
  model: string;
  system: string | null;
  messages: readonly { role: 'user' | 'assistant'; content: string }[];
  maxOutputTokens: number;
  temperature: number | null;
  /** Mark the system prompt for caching where the provider asks for a mark. Spec 5.6. */
  cachePrompt: boolean;
  /** To the first piece of the answer, retries included. */
  firstTokenTimeoutMs: number;
  /** To the end of the answer. */
  timeoutMs: number;
  /** A stable pseudonym of the user for the provider's abuse detection; never an id, an address or a name. */
  userKey: string | null;
};

type FailureCode = 'provider_timeout' | 'provider_unavailable' | 'provider_not_configured' | 'provider_error';

export type Failure = {
  code: FailureCode;
  /** One line, fit to be shown: no keys, ids or addresses. */
  reason: string;
  retryAfterSeconds: number | null;
  /** The provider refused our key (401, 403): an operator has to act. */
  credentialsRejected: boolean;
};

export type ProviderResult = {
  /** All text that was handed to onText, with U+FFFD for each NUL. */
  text: string;
  /** As reported, never estimated; null where no report came. */
  usage: TokenCounts | null;
  /** False where the report is missing or preliminary: then `usage.output` is too low. */
  usageComplete: boolean;
  /** `length`: the answer was cut at the output cap. `stopped`: the caller's signal was aborted. */
  ending: 'complete' | 'length' | 'stopped' | 'failed';
  /** Set exactly when `ending` is `failed`. */
  failure: Failure | null;
  /**
   * A request was sent that the provider may bill: false where none left this machine
   * or every one was answered with an error status.
   */
  called: boolean;
  firstTokenMs: number | null;
  durationMs: number;
};

export type CallOptions = {
  signal: AbortSignal;
  onText: (delta: string) => void;
  onUsage?: (usage: TokenCounts) => void;
};

/** Never rejects for anything that a provider does; rejects only with what onText or onUsage threw. */
export type CallProvider = (call: ProviderCall, options: CallOptions) => Promise<ProviderResult>;

/** Where an adapter puts what it hears while it streams. */
export type Sink = {
  text(delta: string): void;
  /** A piece of the answer came that is no text, such as reasoning. */
  otherContent(): void;
  usage(usage: TokenCounts, complete: boolean): void;
  ended(how: 'complete' | 'length'): void;
};

/** One attempt's failure and what follows from it. */
export type AttemptFailure = Failure & {
  /** It failed before a byte of an answer came, and not by a timeout: the same request may be sent again. */
  mayRetry: boolean;
  mayBill: boolean;
};

/** One provider's SDK behind our words. */
export type Adapter = {
  /** One attempt. Resolves when the stream has ended or the signal was aborted; throws the SDK's errors. */
  stream(call: ProviderCall, signal: AbortSignal, sink: Sink): Promise<void>;
  /** Reads an error that `stream` threw. */
  failure(error: unknown): AttemptFailure;
};
