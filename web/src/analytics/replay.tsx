import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { count, money, percent } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Answer } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';
import type { Scenario } from './scenario.ts';

type Figures = Outputs['analytics']['costs']['whatIf']['was'];
const FIGURES: readonly { name: string; of: keyof Figures; write: (value: number | null) => string }[] = [
  { name: 'Revenue', of: 'revenue', write: money },
  { name: 'from subscriptions', of: 'subscriptionRevenue', write: money },
  { name: 'from packs', of: 'packRevenue', write: money },
  { name: 'Cost', of: 'cost', write: money },
  { name: 'Margin', of: 'margin', write: money },
  { name: 'Margin in %', of: 'marginPercent', write: percent },
  { name: 'Runs', of: 'runs', write: count },
  { name: 'Credits charged', of: 'credits', write: count },
  { name: 'Refused runs', of: 'refusedRuns', write: count },
  { name: 'Shortened runs', of: 'shortenedRuns', write: count },
  { name: 'Throttled users', of: 'throttledUsers', write: count },
];

/** A past time as it was, and as it would have been: ops.simulate. Nothing is changed by it. */
export function Replay({ scenario }: { scenario: Scenario }) {
  const replay = useQuery(trpc.analytics.costs.whatIf.queryOptions(scenario, { staleTime: 60_000 }));
  return (
    <Answer of={replay}>
      {({ was, simulated }) => (
        <>
          <Rows
            caption="As it was, and as it would have been"
            rows={FIGURES}
            keyOf={({ of }) => of}
            empty="No figures"
            columns={[
              { name: 'Figure', show: ({ name }) => name },
              { name: 'As it was', show: ({ of, write }) => write(was[of]), isFigure: true },
              { name: 'Simulated', show: ({ of, write }) => write(simulated[of]), isFigure: true },
              {
                name: 'Difference',
                show: ({ of, write }) => difference(was[of], simulated[of], write),
                isFigure: true,
              },
            ]}
          />
          <Text size="xs" c="dimmed">
            People are taken to have bought and asked as they did.
          </Text>
        </>
      )}
    </Answer>
  );
}

function difference(was: number | null, is: number | null, write: (value: number | null) => string): string {
  if (was === null || is === null || was === is) return '–';
  return `${is > was ? '+' : '−'}${write(Math.abs(is - was))}`;
}
