/** A message that was not taken, in words that quote no address and no secret. Final: it will not be taken later either. */
export class DeliveryError extends Error {
  readonly isFinal: boolean;

  constructor(message: string, { isFinal = false, cause }: { isFinal?: boolean; cause?: unknown } = {}) {
    super(message, { cause });
    this.name = 'DeliveryError';
    this.isFinal = isFinal;
  }
}
