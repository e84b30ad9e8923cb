import { Anchor, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { count, money } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { moment } from '../shell/format.ts';
import { Answer } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';

export function OpenHolds() {
  const open = useQuery(trpc.runs.openHolds.queryOptions(undefined, { refetchInterval: 10_000 }));
  return (
    <Section
      title="Open holds"
      about="What running runs hold. One past its end is ended by its user’s next run, or by the job."
    >
      <Answer of={open}>
        {({ holds, total }) => (
          <>
            <Rows
              caption="Open holds"
              rows={holds}
              keyOf={({ runId }) => runId}
              empty="Nothing runs"
              columns={[
                {
                  name: 'User',
                  show: ({ userId, username }) => (
                    <Anchor component={Link} href={`/admin/users/${userId}`} size="sm" fw={600}>
                      {username}
                    </Anchor>
                  ),
                },
                { name: 'Model', show: ({ model }) => model },
                {
                  name: 'Credits',
                  show: ({ includedCreditsHeld, purchasedCreditsHeld }) =>
                    `${count(includedCreditsHeld + purchasedCreditsHeld)}${purchasedCreditsHeld > 0 ? ` (${count(purchasedCreditsHeld)} purchased)` : ''}`,
                  isFigure: true,
                },
                { name: 'Cost', show: ({ costHeld }) => money(costHeld), isFigure: true },
                { name: 'Began', show: ({ startedAt }) => moment(startedAt) },
                {
                  name: 'Expires in',
                  show: ({ expiresInSeconds }) =>
                    expiresInSeconds < 0 ? `${count(-expiresInSeconds)} s overdue` : `${count(expiresInSeconds)} s`,
                  isFigure: true,
                },
              ]}
            />
            {total > holds.length && (
              <Text size="sm" c="dimmed">
                The newest {count(holds.length)} of {count(total)}.
              </Text>
            )}
          </>
        )}
      </Answer>
    </Section>
  );
}
