import { Anchor, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { count, money } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { moment } from '../shell/format.ts';
import { Answer } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';

export function ThrottledNow() {
  const throttled = useQuery(trpc.limits.throttledNow.queryOptions(undefined, { refetchInterval: 30_000 }));
  return (
    <Section title="Throttled now" about="Who, why and until when. Lift it on the user’s own page.">
      <Answer of={throttled}>
        {({ people, total }) => (
          <>
            <Rows
              caption="Throttled now"
              rows={people}
              keyOf={({ userId }) => userId}
              empty="Nobody is throttled"
              columns={[
                {
                  name: 'User',
                  show: ({ userId, username }) => (
                    <Anchor component={Link} href={`/admin/users/${userId}`} size="sm" fw={600}>
                      {username}
                    </Anchor>
                  ),
                },
                { name: 'Tier', show: ({ tierName }) => tierName },
                { name: 'By', show: ({ throttledBy }) => throttledBy },
                { name: 'Reason', show: ({ throttledReason }) => throttledReason ?? '–' },
                { name: 'Since', show: ({ throttledAt }) => (throttledAt === null ? '–' : moment(throttledAt)) },
                {
                  name: 'Until',
                  show: ({ throttledUntil }) => (throttledUntil === null ? 'it is lifted' : moment(throttledUntil)),
                },
                { name: 'This month', show: ({ monthLimitedCost }) => money(monthLimitedCost), isFigure: true },
                { name: 'Today', show: ({ dayLimitedCost }) => money(dayLimitedCost), isFigure: true },
              ]}
            />
            {total > people.length && (
              <Text size="sm" c="dimmed">
                The newest {count(people.length)} of {count(total)}.
              </Text>
            )}
          </>
        )}
      </Answer>
    </Section>
  );
}
