import { Button } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
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

/** Codes after which buying, or a subscription, is a way out. */
const PAYABLE = new Set(['insufficient_credits', 'daily_cost_limit', 'monthly_cost_limit', 'tier_budget']);
const SUBSCRIBABLE = new Set([...PAYABLE, 'hourly_request_limit']);

/** What a refusal means for whoever reads it: which limit, how much of it is used, when it lifts, what helps now. */
export function adviceFor(problem: Problem): Advice {
  const { code, title, message, limit, used, held, unit, retryAt } = problem;
  const figures =
    limit === undefined || message.includes(String(limit))
      ? ''
      : ` Limit: ${amount(limit, unit)}; used: ${amount(used ?? 0, unit)}${held ? `, and ${amount(held, unit)} held by runs that go on` : ''}.`;
  const lifts = retryAt === undefined ? '' : ` Again from ${clockTime(retryAt)}.`;
  return {
    title,
    what: `${message}${figures}${lifts}`,
    actions: (
      <>
        {PAYABLE.has(code) && buy}
        {SUBSCRIBABLE.has(code) && subscribe}
      </>
    ),
  };
}

const amount = (value: number, unit: string | undefined) =>
  unit === 'dollars' ? `$${value}` : `${value.toLocaleString()}${unit === undefined ? '' : ` ${unit}`}`;
