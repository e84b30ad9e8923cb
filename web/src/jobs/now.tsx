// What is going on now: ops.health, ops.throttled_now, ops.open_holds.
import { Anchor } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { money } from '../admin/figures.ts';
import { Figures, Section } from '../admin/section.tsx';
import { ThrottledNow } from '../limits/throttled-now.tsx';
import { OpenHolds } from '../runs/open-holds.tsx';
import { Answer } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';

const AGAIN_MS = 10_000;

/** Units are named for many of them. */
function written(value: number, unit: string): string {
  if (unit === 'dollars') return money(value);
  const name = unit === 'milliseconds' ? 'ms' : value === 1 ? unit.replace(/s$/, '') : unit;
  return `${value.toLocaleString()} ${name}`;
}

export function Now() {
  const figures = useQuery(trpc.jobs.figures.queryOptions(undefined, { refetchInterval: AGAIN_MS }));
  return (
    <>
      <Section
        title="Health"
        about={
          <>
            Asked anew every 10 seconds. What is wrong stands under{' '}
            <Anchor component={Link} href="/admin/jobs" size="sm">
              Jobs
            </Anchor>
            .
          </>
        }
      >
        <Answer of={figures}>
          {({ figures }) => (
            <Figures
              figures={figures.map(({ figure, value, unit, note }) => ({
                name: figure,
                value: value === null ? '–' : written(value, unit),
                note: note ?? undefined,
              }))}
            />
          )}
        </Answer>
      </Section>
      <ThrottledNow />
      <OpenHolds />
    </>
  );
}
