// What is wrong or was, since when, and who is at it.
import { Anchor, Badge, Button, Group, Paper, SegmentedControl, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useInfiniteQuery, useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { ActionDialog } from '../admin/action-dialog.tsx';
import { count } from '../admin/figures.ts';
import { Section } from '../admin/section.tsx';
import { moment } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import { Empty, Fault, Loading } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import styles from './alerts.module.css';

type Alert = Outputs['alerts']['list']['alerts'][number];
const STATES = ['open', 'resolved', 'all'] as const;

export function Alerts() {
  const [word, setState] = useInAddress('state', 'open');
  const state = STATES.find((one) => one === word) ?? 'open';
  const [acting, setActing] = useState<Alert | null>(null);
  const alerts = useInfiniteQuery(
    trpc.alerts.list.infiniteQueryOptions(
      { state, limit: 50 },
      { getNextPageParam: ({ nextCursor }) => nextCursor, refetchInterval: 60_000 },
    ),
  );
  const [first] = alerts.data?.pages ?? [];
  const list = alerts.data?.pages.flatMap((page) => page.alerts) ?? [];
  return (
    <Section
      title="Alerts"
      about={first === undefined ? 'Looking' : `${count(first.total)} ${state === 'all' ? 'in all' : state}.`}
      tools={
        <SegmentedControl aria-label="Which alerts" size="xs" data={[...STATES]} value={state} onChange={setState} />
      }
    >
      <Fault of={alerts} />
      {alerts.isPending && <Loading />}
      {alerts.isSuccess && list.length === 0 && (
        <Empty title={state === 'open' ? 'Nothing is wrong' : 'There was none'}>
          Conditions are checked every five minutes.
        </Empty>
      )}
      <Stack gap="sm">
        {list.map((alert) => (
          <OneAlert key={alert.id} alert={alert} onAct={() => setActing(alert)} />
        ))}
      </Stack>
      {alerts.hasNextPage && (
        <Button variant="default" loading={alerts.isFetchingNextPage} onClick={() => void alerts.fetchNextPage()}>
          More
        </Button>
      )}
      {acting !== null && <Acknowledge alert={acting} onClose={() => setActing(null)} />}
    </Section>
  );
}

function OneAlert({ alert, onAct }: { alert: Alert; onAct: () => void }) {
  const { severity, kind, what, whatToDo, userId, raisedAt, resolvedAt, acknowledgedAt, acknowledgedBecause } = alert;
  return (
    <Paper withBorder p="sm" component="article">
      <Group justify="space-between" align="flex-start" gap="xs">
        <Group gap="xs">
          <Badge
            size="sm"
            variant="dot"
            color={resolvedAt !== null ? 'gray' : severity === 'critical' ? 'red' : 'orange'}
          >
            {resolvedAt === null ? severity : 'resolved'}
          </Badge>
          <Text fw={600} size="sm">
            {what}
          </Text>
        </Group>
        {resolvedAt === null && acknowledgedAt === null && (
          <Button size="compact-xs" variant="default" onClick={onAct} aria-label={`Acknowledge: ${what}`}>
            Acknowledge
          </Button>
        )}
      </Group>
      <Text size="sm" className={styles.what} mt={4}>
        {whatToDo}
      </Text>
      <Text size="xs" c="dimmed" mt={4}>
        {kind}, raised {moment(raisedAt)}
        {resolvedAt !== null && `, resolved ${moment(resolvedAt)}`}
        {acknowledgedAt !== null && `; somebody is at it since ${moment(acknowledgedAt)}: ${acknowledgedBecause}`}
        {userId !== null && (
          <>
            {' · '}
            <Anchor component={Link} href={`/admin/users/${userId}`} size="xs">
              the user
            </Anchor>
          </>
        )}
      </Text>
    </Paper>
  );
}

function Acknowledge({ alert, onClose }: { alert: Alert; onClose: () => void }) {
  const acknowledge = useMutation(
    trpc.alerts.acknowledge.mutationOptions({
      onSuccess: () => {
        notifications.show({ message: 'The alert says that you are at it.' });
        onClose();
        void queryClient.invalidateQueries({ queryKey: trpc.alerts.pathKey() });
      },
    }),
  );
  return (
    <ActionDialog
      {...{ onClose, isPending: acknowledge.isPending, error: acknowledge.error }}
      title="Acknowledge an alert"
      verb="Acknowledge"
      onDo={(reason) => acknowledge.mutate({ alertId: alert.id, reason })}
    >
      <Text size="sm">{alert.what}</Text>
      <Text size="sm" c="dimmed">
        It stays open until the condition ends; this says that somebody is at it.
      </Text>
    </ActionDialog>
  );
}
