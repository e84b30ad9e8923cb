// What is wrong (ops.checks), and what each job did last and does next (ops.jobs).
import { Alert, Badge, Button, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { ActionDialog } from '../admin/action-dialog.tsx';
import { count } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { ago, moment } from '../shell/format.ts';
import { Answer } from '../shell/states.tsx';
import { queryClient, trpc } from '../trpc.ts';

export function Jobs() {
  return (
    <>
      <Checks />
      <JobList />
    </>
  );
}

function Checks() {
  const health = useQuery(trpc.jobs.health.queryOptions(undefined, { refetchInterval: 60_000 }));
  return (
    <Section title="Checks" about="As ops.checks tells: what is not as it should be, and what to do.">
      <Answer of={health}>
        {({ healthy, problems }) =>
          healthy ? (
            <Badge variant="dot" color="teal" size="lg" tt="none">
              Everything is as it should be
            </Badge>
          ) : (
            <Stack gap="xs">
              {problems.map(({ check, detail, whatToDo }) => (
                <Alert key={`${check} ${detail}`} color="red" title={check}>
                  <Text size="sm">{detail}</Text>
                  <Text size="sm" mt={4}>
                    {whatToDo}
                  </Text>
                </Alert>
              ))}
            </Stack>
          )
        }
      </Answer>
    </Section>
  );
}

function JobList() {
  const jobs = useQuery(trpc.jobs.list.queryOptions(undefined, { refetchInterval: 30_000 }));
  const [repeating, setRepeating] = useState<string | null>(null);
  return (
    <Section title="Jobs" about="What each did last, and when it is due next.">
      <Answer of={jobs}>
        {({ jobs }) => (
          <Rows
            caption="Jobs"
            rows={jobs}
            keyOf={({ job }) => job}
            empty="There is no job"
            columns={[
              {
                name: 'Job',
                show: ({ job, description }) => (
                  <span>
                    {job}
                    <Text size="xs" c="dimmed" fw={400}>
                      {description}
                    </Text>
                  </span>
                ),
              },
              {
                name: 'State',
                show: ({ isLate, hasFailed, lateSeconds, lastError }) =>
                  hasFailed ? (
                    <span>
                      <Badge size="sm" color="red" variant="dot">
                        failed
                      </Badge>
                      <Text size="xs">{lastError}</Text>
                    </span>
                  ) : isLate ? (
                    <Badge size="sm" color="orange" variant="dot">
                      late by {count(Math.round(lateSeconds / 60))} min
                    </Badge>
                  ) : (
                    <Badge size="sm" color="teal" variant="dot">
                      on time
                    </Badge>
                  ),
              },
              { name: 'Last', show: ({ lastStartedAt }) => (lastStartedAt === null ? 'never' : ago(lastStartedAt)) },
              { name: 'Rows', show: ({ lastRows }) => count(lastRows), isFigure: true },
              { name: 'Next due', show: ({ nextDueAt }) => moment(nextDueAt) },
              {
                name: 'Again',
                isNameless: true,
                show: ({ job }) => (
                  <Button
                    size="compact-xs"
                    variant="default"
                    onClick={() => setRepeating(job)}
                    aria-label={`Do again: ${job}`}
                  >
                    Do again
                  </Button>
                ),
              },
            ]}
          />
        )}
      </Answer>
      {repeating !== null && <Repeat job={repeating} onClose={() => setRepeating(null)} />}
    </Section>
  );
}

function Repeat({ job, onClose }: { job: string; onClose: () => void }) {
  const repeat = useMutation(
    trpc.jobs.repeat.mutationOptions({
      onSuccess: ({ slot }) => {
        notifications.show({
          message:
            slot === null ? `${job} never ran; it does when it is due.` : `${job} is done again within a minute.`,
        });
        onClose();
        void queryClient.invalidateQueries({ queryKey: trpc.jobs.pathKey() });
      },
    }),
  );
  return (
    <ActionDialog
      {...{ onClose, isPending: repeat.isPending, error: repeat.error }}
      title={`Do ${job} again`}
      verb="Do it again"
      onDo={(reason) => repeat.mutate({ job, reason })}
    >
      <Text size="sm">Its newest slot becomes due once more. A job does only what is due, so this does no harm.</Text>
    </ActionDialog>
  );
}
