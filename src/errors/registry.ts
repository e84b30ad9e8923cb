/**
 * Every code that an answer can carry in `error`, with its HTTP status, its title, and what the caller can do.
 * docs/errors.md is this table. Spec 5.4, 11.3.
 */
export const registry = {
  // What was sent
  malformed_json: [400, 'Malformed JSON', 'Send a JSON object, in UTF-8.'],
  validation_error: [400, 'Invalid request', 'See errors[]: each entry names a field and its limit.'],
  no_updates: [400, 'Nothing to change', 'Send at least one field.'],
  request_too_long: [413, 'Body too large', 'Send at most 256 kB.'],
  route_not_found: [404, 'No such route', 'See /api/v1/openapi.json.'],
  method_not_allowed: [405, 'Method not allowed', 'Use a method that the Allow header names.'],
  not_found: [404, 'Not found', 'Check the id; what belongs to somebody else is not found either.'],
  run_not_found: [404, 'Run not found', 'Check the id; a run of somebody else is not found either.'],
  nothing_to_summarise: [409, 'Nothing to summarise', 'Say something in the session first.'],
  session_not_found: [404, 'Session not found', 'Check the id; a session of somebody else is not found either.'],
  comparison_not_found: [404, 'Comparison not found', 'Check the id; one of somebody else is not found either.'],
  package_not_found: [
    404,
    'Package not found',
    'Check the name; a private package is seen by its author and organization only.',
  ],
  version_not_found: [404, 'Version not found', 'Leave package_version out to use the newest.'],
  model_not_found: [404, 'Model not found', 'See GET /api/v1/playground/models.'],
  conflict: [409, 'Conflict', 'Read the message: what is there already stands in the way.'],
  forbidden: [403, 'Not allowed', 'Ask somebody who may.'],

  // Who sent it
  authentication_required: [401, 'Authentication required', 'Send Authorization: Bearer with an API token or a JWT.'],
  invalid_token: [401, 'Invalid token', 'Make a new token, or sign in again.'],
  token_expired: [401, 'Token expired', 'Make a new token, or sign in again.'],
  token_revoked: [401, 'Token revoked', 'Make a new token.'],
  login_expired: [401, 'Signed out', 'Sign in again.'],
  cross_site_request: [403, 'Request from another site', 'Act on the page itself.'],
  insufficient_scope: [403, 'Insufficient scope', 'Use a token with the scope that the message names.'],
  token_limit: [409, 'Too many tokens', 'Revoke tokens that you no longer use.'],
  account_closed: [403, 'Account closed', 'Ask the operator.'],
  verified_author_required: [403, 'Verified author required', 'Have your account verified.'],
  issuer_unavailable: [503, 'Sign-in unavailable', 'Try again in a moment, or use an API token.'],

  // Limits
  rate_limited: [429, 'Too many requests', 'Wait as Retry-After says.'],
  hourly_request_limit: [429, 'Hourly run limit reached', 'Wait as Retry-After says, or take a higher tier.'],
  daily_cost_limit: [
    429,
    'Daily cost limit reached',
    'Wait as Retry-After says, use a shorter request or a cheaper model, or buy credits.',
  ],
  monthly_cost_limit: [
    429,
    'Monthly cost limit reached',
    'Wait as Retry-After says, use a shorter request or a cheaper model, or buy credits.',
  ],
  anonymous_quota_exceeded: [403, 'Free run used', 'Sign up at call_to_action.registration_url, and send a token.'],
  limit_exceeded: [429, 'Free run used', 'Sign up at login_url.'],
  anonymous_budget: [429, 'Free runs used up', 'Sign up at login_url, or wait as Retry-After says.'],
  tier_budget: [429, "Tier's budget used up", 'Wait as Retry-After says, take a higher tier, or buy credits.'],
  held_by_other_runs: [429, 'Held by other runs', 'Try again when your other runs have ended.'],
  throttled: [403, 'Throttled', 'Ask the operator.'],
  request_too_large: [413, 'Request too large', 'Cut the input by as much as the message says.'],
  insufficient_credits: [402, 'Insufficient credits', 'Buy credits at purchase_url, or use a cheaper model.'],
  purchased_credit_cost: [409, 'Too costly for purchased credits', 'Use a shorter request or a cheaper model.'],

  // Runs
  model_disabled: [409, 'Model disabled', 'Use another model.'],
  model_not_priced: [503, 'Model has no price', 'Use another model, or try again later.'],
  tier_not_configured: [503, 'Tier not configured', 'Ask the operator.'],
  runs_disabled: [503, 'Runs are switched off', 'Try again later.'],
  session_package: [409, 'Session of another package', 'Begin a new session for this package.'],
  session_busy: [409, 'Session busy', 'Wait for its run to end, or begin a new session.'],
  feedback_exists: [409, 'Feedback already submitted for this exchange', 'It stays as it was given.'],
  idempotency_conflict: [409, 'Idempotency key reused', 'Use a new key for a new request.'],
  run_in_progress: [
    409,
    'Run in progress',
    'Follow it at /api/v1/playground/runs/{run_id}/stream, or ask again later.',
  ],
  run_expired: [
    503,
    'Run interrupted',
    'Its server was gone. Run it again with a new idempotency key; GET the run to see what had been delivered.',
  ],
  provider_timeout: [504, 'Provider timed out', 'Try again, or use another model.'],
  provider_unavailable: [503, 'Provider unavailable', 'Try again as Retry-After says, or use another model.'],
  provider_error: [502, 'Provider refused the request', 'Read the message; change the request or the model.'],
  provider_not_configured: [503, 'Provider not configured', 'Use another model, or ask the operator.'],

  // Billing
  already_subscribed: [
    409,
    'Already subscribed',
    'Change the subscription that is there: cancel, resume, or the portal.',
  ],
  no_subscription: [404, 'No subscription', 'Subscribe first.'],
  subscription_differs: [
    409,
    'Subscription differs at Stripe',
    'Look at the subscription again in a minute; if it still says the same, tell the operator.',
  ],
  no_customer: [404, 'Nothing to manage', 'Subscribe or buy credits first.'],
  pack_not_found: [404, 'Pack not found', 'See GET /api/v1/playground/credits/packages.'],
  payment_disputed: [403, 'Payment disputed', 'Ask the operator: a payment of yours is disputed with the bank.'],
  purchases_disabled: [503, 'Purchases are switched off', 'Try again later.'],
  billing_unavailable: [503, 'Billing unavailable', 'Stripe cannot be reached. Try again in a moment.'],
  webhook_signature_invalid: [
    400,
    'Webhook not accepted',
    'Check the signing secret, the clock, and that the body arrives unchanged.',
  ],

  // The server
  billing_not_configured: [503, 'Billing not configured', 'Ask the operator.'],
  database_not_migrated: [503, 'Database not migrated', 'Ask the operator to run npm run migrate.'],
  jobs_stopped: [503, 'Jobs stopped', 'Ask the operator: no job has ended for 10 minutes. See ops.jobs.'],
  job_failed: [500, 'Job failed', 'Ask the operator; ops.jobs says what went wrong.'],
  database_unavailable: [503, 'Database unavailable', 'Try again in a moment.'],
  shutting_down: [503, 'Shutting down', 'Try again in a moment; another instance will answer.'],
  internal_error: [500, 'Internal error', 'Try again; if it stays, tell the operator the request_id.'],
} as const satisfies Record<string, readonly [status: number, title: string, advice: string]>;

export type ErrorCode = keyof typeof registry;

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(registry, code);
}
