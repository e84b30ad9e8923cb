// What one may use in each window, what is used of it, and what was refused.
import { Alert, Progress, Skeleton, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { clockTime, dollars, moment, whole } from '../shell/format.ts';
import { Answer } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';
import styles from './limits.module.css';

type Known = Outputs['limits']['read'];
type Window = Known['windows'][number];

const WINDOWS: Record<Window['window'], string> = {
  month: 'Cost this month',
  day: 'Cost today',
  hour: 'Runs this hour',
  minute: 'Tries this minute',
};

const useLimits = () => useQuery(trpc.limits.read.queryOptions(undefined, { refetchOnWindowFocus: true }));

export function Limits() {
  const limits = useLimits();
  return (
    <Answer of={limits} waiting={<Skeleton height={220} />}>
      {(known) => <Windows limits={known} />}
    </Answer>
  );
}

function Windows({ limits }: { limits: Known }) {
  const { tier, windows, waivedUntil, throttles } = limits;
  return (
    <section aria-labelledby="limits">
      <Title order={2} size="h5" id="limits">
        What you can use
      </Title>
      <Text size="sm" c="dimmed" mb="xs">
        Tier {tier}. What bought credits pay for does not count as cost here.
      </Text>
      <Throttled limits={limits} />
      {windows.map((one) => (
        <Meter key={one.window} window={one} />
      ))}
      {waivedUntil !== null && <Text size="sm">Cost limits are lifted for you until {moment(waivedUntil)}.</Text>}
      {!throttles && <Text size="sm">Cost limits of your tier do not stop you.</Text>}
    </section>
  );
}

function Throttled({ limits: { isThrottled, throttledReason, throttledUntil } }: { limits: Known }) {
  if (!isThrottled) return null;
  return (
    <Alert color="orange" title="You cannot run anything now" mb="xs">
      <Text size="sm">
        {throttledReason ?? 'An operator has stopped your runs.'}{' '}
        {throttledUntil === null
          ? 'An operator has to lift it.'
          : `It ends by itself: ${clockTime(new Date(throttledUntil))}.`}
      </Text>
      {throttledUntil !== null && (
        <Text size="sm">
          Sooner: <Link href="/credits?buy=yes">buy credits</Link> or{' '}
          <Link href="/credits?subscribe=yes">take a higher tier</Link>.
        </Text>
      )}
    </Alert>
  );
}

function Meter({ window: { window, unit, used, held, limit, resetsAt } }: { window: Window }) {
  const amount = (value: number) => (unit === 'dollars' ? dollars(value, 4) : whole(value));
  const share = (value: number) => (limit === null || limit === 0 ? 0 : Math.min(100, (100 * value) / limit));
  const name = WINDOWS[window];
  const said = limit === null ? `${amount(used)}, no limit` : `${amount(used)} of ${amount(limit)}`;
  return (
    <div className={styles.window}>
      <div className={styles.line}>
        <span>{name}</span>
        <span>{said}</span>
      </div>
      {limit !== null && (
        <Progress.Root aria-hidden="true" my={4} size="sm">
          <Progress.Section value={share(used)} color={used >= limit ? 'red' : 'indigo'} />
          <Progress.Section value={Math.min(share(held), 100 - share(used))} color="gray" />
        </Progress.Root>
      )}
      <div className={styles.small}>
        {held > 0 && `${amount(held)} more held by runs that go on. `}
        {window !== 'minute' && `Begins anew ${clockTime(new Date(resetsAt))}.`}
      </div>
    </div>
  );
}

/** What was refused lately, so that it can be understood later, too. */
export function Refusals() {
  const { data } = useLimits();
  if (data === undefined || data.refusals.length === 0) return null;
  return (
    <section aria-labelledby="refusals">
      <Title order={2} size="h5" id="refusals" mb="xs">
        What was refused
      </Title>
      <ul className={styles.refusals}>
        {data.refusals.map(({ reason, refusals, limit, used, unit, hourStart, lastAt }) => (
          <li key={`${reason} ${hourStart}`}>
            <Text size="sm">
              {reason.replaceAll('_', ' ')}
              {refusals > 1 && `, ${whole(refusals)} times in that hour`}
            </Text>
            <span className={styles.small}>
              {moment(lastAt)}
              {limit !== null && `; ${figure(used ?? 0, unit)} of ${figure(limit, unit)} were used`}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

const figure = (value: number, unit: string | null) =>
  unit === 'dollars' ? dollars(value, 4) : `${whole(value)}${unit === null ? '' : ` ${unit}`}`;
