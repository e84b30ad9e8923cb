import { Skeleton, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { DayChart } from '../shell/day-chart.tsx';
import { shortDay } from '../shell/format.ts';
import { Answer } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';

/** What was left at the end of each day, and how long it lasts at the pace of late. */
export function BurnDown() {
  const series = useQuery(trpc.credits.series.queryOptions({ days: 30 }));
  return (
    <Answer of={series} waiting={<Skeleton height={280} />}>
      {(known) => <Pace series={known} />}
    </Answer>
  );
}

function Pace({ series: { days, ahead, pace, emptyOn } }: { series: Outputs['credits']['series'] }) {
  const none = ahead.map(() => null);
  return (
    <section aria-labelledby="burn-down">
      <Title order={2} size="h5" id="burn-down">
        How long they last
      </Title>
      <Text size="sm" c="dimmed" mb="sm">
        {paceText(pace, emptyOn, ahead.length)}
      </Text>
      <DayChart
        title="Credits left at the end of each day"
        days={[...days, ...ahead].map(({ day }) => day)}
        bars={[...days, ...ahead].map(({ balance }) => balance)}
        aheadFrom={days.length}
        columns={[
          { name: 'Came in', values: [...days.map(({ cameIn }) => cameIn), ...none] },
          { name: 'Spent', values: [...days.map(({ spent }) => spent), ...none] },
          { name: 'Expired or taken back', values: [...days.map(({ lapsed }) => lapsed), ...none] },
          { name: 'Left', values: [...days, ...ahead].map(({ balance }) => balance) },
        ]}
      />
    </section>
  );
}

function paceText(pace: number, emptyOn: string | null, days: number): string {
  if (pace === 0) return 'You have spent none in the last two weeks.';
  const spent = `You spend about ${pace.toLocaleString(undefined, { maximumFractionDigits: 1 })} a day.`;
  const then =
    emptyOn === null
      ? `At that pace they last longer than ${days} days.`
      : `At that pace none are left on ${shortDay(emptyOn)}.`;
  return `${spent} ${then} What is granted or bought until then is not counted.`;
}
