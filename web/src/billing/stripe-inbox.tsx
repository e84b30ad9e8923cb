// What Stripe told, and what came of it; an event can be applied once more.
import { Anchor, Badge, Button, Group, NativeSelect, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { keepPreviousData, useInfiniteQuery, useMutation } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { Link } from 'wouter';
import { ActionDialog } from '../admin/action-dialog.tsx';
import { count } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { moment } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import { Answer, Loading } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';

type Event = Outputs['billing']['events']['events'][number];
const STATUSES = ['received', 'applied', 'ignored', 'needs_review'] as const;
const COLORS: Record<string, string> = { received: 'orange', applied: 'teal', ignored: 'gray', needs_review: 'red' };
const SEARCH_MS = 250;

export function StripeInbox() {
  const [status, setStatus] = useInAddress('status');
  const [search, setSearch] = useInAddress('search', '', { replace: true });
  const [text, setText] = useState(search);
  const [settled] = useDebouncedValue(text, SEARCH_MS);
  const [replaying, setReplaying] = useState<Event | null>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: when somebody has stopped typing
  useEffect(() => {
    if (settled !== search) setSearch(settled);
  }, [settled]);
  const events = useInfiniteQuery(
    trpc.billing.events.infiniteQueryOptions(
      { status: STATUSES.find((one) => one === status) ?? null, search: search || null, limit: 50 },
      { getNextPageParam: ({ nextCursor }) => nextCursor, placeholderData: keepPreviousData },
    ),
  );
  const [first] = events.data?.pages ?? [];
  return (
    <Section
      title="Stripe inbox"
      about={
        first === undefined
          ? 'Looking'
          : `${count(first.waiting)} wait to be applied, ${count(first.inReview)} need review.`
      }
    >
      <Group gap="xs" align="flex-end">
        <NativeSelect
          label="Status"
          value={status}
          onChange={(event) => setStatus(event.currentTarget.value)}
          data={[{ value: '', label: 'all' }, ...STATUSES.map((value) => ({ value, label: value.replace('_', ' ') }))]}
        />
        <TextInput
          label="Search"
          placeholder="Event, type or user’s id"
          type="search"
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
      </Group>
      <Answer of={events} waiting={<Loading />}>
        {({ pages }) => (
          <Rows
            caption="Stripe’s events"
            rows={pages.flatMap((page) => page.events)}
            keyOf={({ id }) => id}
            empty="No event is like that"
            columns={[
              {
                name: 'Event',
                show: ({ id, type }) => (
                  <span>
                    {type}
                    <Text size="xs" c="dimmed" fw={400}>
                      {id}
                    </Text>
                  </span>
                ),
              },
              {
                name: 'Status',
                show: ({ status, error }) => (
                  <span>
                    <Badge size="sm" variant="dot" color={COLORS[status] ?? 'gray'}>
                      {status.replace('_', ' ')}
                    </Badge>
                    {error !== null && <Text size="xs">{error}</Text>}
                  </span>
                ),
              },
              {
                name: 'User',
                show: ({ userId, username }) =>
                  userId === null ? (
                    '–'
                  ) : (
                    <Anchor component={Link} href={`/admin/users/${userId}`} size="sm">
                      {username ?? userId}
                    </Anchor>
                  ),
              },
              { name: 'Attempts', show: ({ attempts }) => count(attempts), isFigure: true },
              { name: 'Received', show: ({ receivedAt }) => moment(receivedAt) },
              { name: 'Applied', show: ({ appliedAt }) => (appliedAt === null ? '–' : moment(appliedAt)) },
              {
                name: 'Replay',
                isNameless: true,
                show: (event) =>
                  event.hasBody && (
                    <Button
                      size="compact-xs"
                      variant="default"
                      onClick={() => setReplaying(event)}
                      aria-label={`Replay ${event.id}`}
                    >
                      Replay
                    </Button>
                  ),
              },
            ]}
          />
        )}
      </Answer>
      {events.hasNextPage && (
        <Button variant="default" loading={events.isFetchingNextPage} onClick={() => void events.fetchNextPage()}>
          More
        </Button>
      )}
      {replaying !== null && <Replay event={replaying} onClose={() => setReplaying(null)} />}
    </Section>
  );
}

function Replay({ event, onClose }: { event: Event; onClose: () => void }) {
  const replay = useMutation(
    trpc.billing.replayEvent.mutationOptions({
      onSuccess: ({ status, error }) => {
        notifications.show({
          message: `The event is ${status.replace('_', ' ')}${error === null ? '' : `: ${error}`}.`,
        });
        onClose();
        void queryClient.invalidateQueries({ queryKey: trpc.billing.pathKey() });
      },
    }),
  );
  return (
    <ActionDialog
      {...{ onClose, isPending: replay.isPending, error: replay.error }}
      title="Replay an event"
      verb="Replay"
      onDo={(reason) => replay.mutate({ eventId: event.id, reason })}
    >
      <Text size="sm">
        {event.type} {event.id}
      </Text>
      <Text size="sm" c="dimmed">
        It is applied once more; what is booked already stays booked once.
      </Text>
    </ActionDialog>
  );
}
