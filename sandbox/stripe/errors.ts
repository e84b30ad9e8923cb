/** What Stripe's API answers in place of an object. */
export class ApiError extends Error {
  readonly status: number;
  readonly type: ErrorType;
  readonly code: string | undefined;
  readonly param: string | undefined;
  /** Whether an idempotency key keeps this answer: not if the work never began. */
  readonly began: boolean;
  readonly more: Readonly<Record<string, string>>;

  constructor(status: number, message: string, about: About = {}) {
    super(message);
    this.status = status;
    this.type = about.type ?? 'invalid_request_error';
    this.code = about.code;
    this.param = about.param;
    this.began = about.began ?? true;
    this.more = about.more ?? {};
  }

  body(requestId: string): object {
    const { message, type, code, param, more } = this;
    return {
      error: {
        ...(code !== undefined && {
          code,
          doc_url: `https://stripe.com/docs/error-codes/${code.replaceAll('_', '-')}`,
        }),
        message,
        ...(param !== undefined && { param }),
        ...more,
        request_log_url: `https://dashboard.stripe.com/test/logs/${requestId}`,
        type,
      },
    };
  }
}

type ErrorType = 'api_error' | 'card_error' | 'idempotency_error' | 'invalid_request_error' | 'rate_limit_error';
type About = {
  type?: ErrorType;
  code?: string;
  param?: string;
  began?: boolean;
  more?: Readonly<Record<string, string>>;
};

export function missing(what: string, id: string, param = 'id'): ApiError {
  return new ApiError(404, `No such ${what}: '${id}'`, { code: 'resource_missing', param });
}

/** A request that cannot be carried out as things are. */
export function refused(message: string, param?: string, code?: string): ApiError {
  return new ApiError(400, message, { ...(param !== undefined && { param }), ...(code !== undefined && { code }) });
}

/** Stripe can do it, this stand-in cannot, and says so rather than do something else. */
export function beyond(what: string): ApiError {
  return new ApiError(400, `The sandbox does not do this: ${what}`, { code: 'sandbox_unsupported' });
}
