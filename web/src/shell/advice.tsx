import { Button } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import { signInPath } from '../accounts/viewer.ts';
import { clockTime } from './format.ts';
import type { Problem } from './problem.ts';

type Advice = { title: string; what: string; actions?: ReactNode };

const buy = (
  <Button component={Link} href="/credits?buy=yes" size="compact-sm">
    Buy credits
  </Button>
);
const subscribe = (
  <Button component={Link} href="/credits?subscribe=yes" size="compact-sm" variant="default">
    Subscribe
  </Button>
);

const signUp = () => (
  <Button component={Link} href={signInPath()} size="compact-sm">
    Sign up
  </Button>
);

/** Codes that only visitors meet: with an account it goes on. */
const VISITORS = new Set(['limit_exceeded', 'anonymous_budget']);
/** Codes after which buying, or a subscription, is a way out. */
const PAYABLE = new Set(['insufficient_credits', 'daily_cost_limit', 'monthly_cost_limit', 'tier_budget']);
/** Codes after which less may still be possible. */
const CHEAPER = new Set(['insufficient_credits', 'daily_cost_limit', 'monthly_cost_limit', 'held_by_other_runs']);
const SUBSCRIBABLE = new Set([...PAYABLE, 'hourly_request_limit']);

/** What a refusal means for whoever reads it: which limit, how much of it is used, when it lifts, what helps now. */
export function adviceFor(problem: Problem): Advice {
  const { code, title, limit, used, held, unit, retryAt } = problem;
  const message = tooLongTalk(problem) ?? problem.message;
  const figures =
    limit === undefined || message.includes(String(limit))
      ? ''
      : ` Limit: ${amount(limit, unit)}; used: ${amount(used ?? 0, unit)}${held ? `, and ${amount(held, unit)} held by runs that go on` : ''}.`;
  const lifts = retryAt === undefined ? '' : ` Again from ${clockTime(retryAt)}.`;
  return {
    title,
    what: `${message.replace(/(?<=[^.!?])$/, '.')}${figures}${lifts}${CHEAPER.has(code) ? ' A shorter input or a cheaper model may still run.' : ''}`,
    actions: (
      <>
        {VISITORS.has(code) && signUp()}
        {PAYABLE.has(code) && buy}
        {SUBSCRIBABLE.has(code) && subscribe}
      </>
    ),
  };
}

/** Of a conversation that is too long: without the words of the API, for the ways on are buttons. */
function tooLongTalk({ code, details }: Problem): string | undefined {
  const [cut, history] = [details.cutTokens ?? details.cut_tokens, details.historyTokens ?? details.history_tokens];
  if (code !== 'request_too_large' || typeof cut !== 'number' || typeof history !== 'number' || history === 0)
    return undefined;
  const [over, before] = [cut.toLocaleString(), history.toLocaleString()];
  return `With the conversation so far, about ${before} tokens, this is about ${over} tokens too long for an answer to fit. Shorten it, or go on another way.`;
}

const amount = (value: number, unit: string | undefined) =>
  unit === 'dollars' ? `$${value}` : `${value.toLocaleString()}${unit === undefined ? '' : ` ${unit}`}`;
