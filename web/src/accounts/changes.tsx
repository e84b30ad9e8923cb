// What operators and administrators changed: audit_log.
import { Button, Text } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { breakable, written } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { moment } from '../shell/format.ts';
import { Answer, Loading } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';

const MOST_FIELDS = 6;

export function Changes() {
  const changes = useInfiniteQuery(
    trpc.accounts.changes.infiniteQueryOptions({ limit: 50 }, { getNextPageParam: ({ nextCursor }) => nextCursor }),
  );
  return (
    <Section title="Changes" about="Who changed what, and why: audit_log, newest first.">
      <Answer of={changes} waiting={<Loading />}>
        {({ pages }) => (
          <Rows
            caption="Changes"
            rows={pages.flatMap((page) => page.changes)}
            keyOf={({ id }) => id}
            empty="Nothing was changed yet"
            columns={[
              { name: 'When', show: ({ at }) => moment(at) },
              { name: 'Who', show: ({ by, role }) => by ?? role },
              { name: 'What', show: ({ what, action }) => breakable(action === 'call' ? what : `${action} ${what}`) },
              { name: 'About', show: ({ about }) => about ?? '–' },
              {
                name: 'Changed',
                show: ({ action, fields }) => (
                  <Text size="xs" component="span">
                    {fields
                      .slice(0, MOST_FIELDS)
                      .map(({ field, was, becomes }) =>
                        action !== 'update'
                          ? `${field}: ${written(becomes)}`
                          : `${field}: ${written(was)} → ${written(becomes)}`,
                      )
                      .join('; ')}
                    {fields.length > MOST_FIELDS && ' …'}
                  </Text>
                ),
              },
              { name: 'Why', show: ({ reason }) => reason ?? '–' },
            ]}
          />
        )}
      </Answer>
      {changes.hasNextPage && (
        <Button variant="default" loading={changes.isFetchingNextPage} onClick={() => void changes.fetchNextPage()}>
          More
        </Button>
      )}
    </Section>
  );
}
