// Writes docs/errors.md from the registry: `node src/errors/write-docs.ts`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { registry } from './registry.ts';

export const docsPath = resolve(import.meta.dirname, '../../docs/errors.md');

/** Codes that functions of the database raise; what the server makes of them is in databaseFailure. */
const RAISED: readonly (readonly [sqlstate: string, meaning: string, answered: string])[] = [
  ['PR400', 'An argument is wrong; detail names it.', '`validation_error`'],
  ['PR403', 'The acting user may not do this.', '`forbidden`'],
  ['PR404', 'What is named is not there, or not theirs.', '`not_found`'],
  ['PR409', 'What is there already stands in the way.', '`conflict`'],
  ['PR500', 'The books would not balance: a fault of ours.', '`internal_error`'],
];

/** What the webhook answers to what may come, and what becomes of it. Spec 6.5. */
const EVENTS: readonly (readonly [what: string, answer: string, fate: string])[] = [
  ['no signature, a wrong one, or a body changed by a byte', '400 `webhook_signature_invalid`', 'nothing is kept'],
  ['signed more than 300 s ago, or in the future', '400 `webhook_signature_invalid`', 'nothing is kept'],
  ['no body, or one that is no event', '400 `webhook_signature_invalid`', 'nothing is kept'],
  ['a body above 1 MB', '413 `request_too_long`', 'nothing is kept'],
  ['an event while the database is away', '503 `database_unavailable`', 'Stripe sends it again'],
  ['an event that was there before', '200', 'changes nothing'],
  ['a live event in test mode or the other way, of another account or context', '200', 'kept in `ops.stripe_review`'],
  ['an event written in another version of the API', '200', 'its object is fetched and applied'],
  ['an event of an unknown type', '200', 'kept, changes nothing'],
  ['an event of a customer that is none of ours', '200', 'kept as `ignored`'],
  ['a payment of another amount or currency than our purchase', '200', 'kept in `ops.stripe_review`, grants nothing'],
  ['metadata that names other credits, amounts or users', '200', 'granted is what our own row says'],
];

export function errorsPage(): string {
  const codes = Object.entries(registry).map(
    ([code, [status, title, advice]]) => `| \`${code}\` | ${status} | ${title} | ${advice} |`,
  );
  const events = EVENTS.map(([what, answer, fate]) => `| ${what} | ${answer} | ${fate} |`);
  const raised = RAISED.map(([sqlstate, meaning, answered]) => `| \`${sqlstate}\` | ${meaning} | ${answered} |`);
  return `# Errors

Generated from src/errors/registry.ts.

Every error is \`application/problem+json\` (RFC 9457): \`type\`, \`title\`, \`status\`, \`detail\`, \`instance\`, and beside them

- \`error\`, a stable code of the table below, and \`message\`, for people;
- \`errors\`, by field, where the request was wrong: \`[{"field", "message"}]\`;
- for refusals \`limit\`, \`used\`, \`held\`, \`unit\`, \`retry_at\`, or \`required_credits\`, \`available_credits\`, \`purchase_url\`;
- \`details\`, where there is more to say: of a failed run its receipt and what it had delivered;
- \`run_id\` where the error is about a run, \`request_id\` always: the log has the same.

\`Retry-After\` (and \`retry_after\`, seconds) says when to try again. Over tRPC the same object is \`error.data.problem\`.
A stream that fails ends with the event \`run.failed\`, whose \`error\` is one of these codes.

| error | status | title | what to do |
| --- | --- | --- | --- |
${codes.join('\n')}

## Answered to Stripe

The webhook says 200 to whatever it has kept; what needs a person is in \`ops.stripe_review\`, with the call that replays it.

| what comes | answer | what becomes of it |
| --- | --- | --- |
${events.join('\n')}

## Raised by the database

Refusals are answers of the database's functions, with the codes above. What they raise as errors has a SQLSTATE of our own:

| SQLSTATE | meaning | answered as |
| --- | --- | --- |
${raised.join('\n')}
`;
}

if (import.meta.main) {
  mkdirSync(dirname(docsPath), { recursive: true });
  writeFileSync(docsPath, errorsPage());
}
