import { Skeleton, Stack, Switch, Text, Title } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Fault, Refused } from '../shell/states.tsx';
import { queryClient, trpc } from '../trpc.ts';

const KINDS = {
  limits: ['Limits', 'Warnings before a limit is reached, and when you are throttled.'],
  credits: ['Credits', 'When few are left, and before some expire.'],
  payments: ['Payments', 'When one has failed.'],
} as const;
type Kind = keyof typeof KINDS;
const kinds: readonly Kind[] = ['limits', 'credits', 'payments'];

/** Which mails one gets. A switch holds as soon as it is turned. */
export function EmailPreferences() {
  const wanted = useQuery(trpc.alerts.emailPreferences.queryOptions());
  const key = trpc.alerts.emailPreferences.queryKey();
  const set = useMutation(
    trpc.alerts.setEmailPreferences.mutationOptions({
      onMutate: (change) => {
        const before = queryClient.getQueryData(key);
        if (before !== undefined)
          queryClient.setQueryData(key, {
            ...before,
            ...Object.fromEntries(Object.entries(change).filter(([, value]) => typeof value === 'boolean')),
          });
        return { before };
      },
      onSuccess: (holds) => queryClient.setQueryData(key, holds),
      onError: (_error, _change, kept) => queryClient.setQueryData(key, kept?.before),
    }),
  );
  return (
    <section aria-labelledby="mails">
      <Title order={2} size="h4" id="mails" mb="xs">
        Mails
      </Title>
      <Fault of={wanted} />
      {wanted.isPending && <Skeleton height={140} />}
      {wanted.data !== undefined && (
        <Stack gap="sm">
          <Text size="sm" c="dimmed">
            {wanted.data.email === null
              ? 'Your account has no e-mail address, so none can be sent.'
              : `They go to ${wanted.data.email}.`}
          </Text>
          {kinds.map((kind) => (
            <Switch
              key={kind}
              label={KINDS[kind][0]}
              description={KINDS[kind][1]}
              checked={wanted.data[kind]}
              disabled={wanted.data.email === null}
              onChange={(event) => set.mutate({ [kind]: event.currentTarget.checked })}
            />
          ))}
          {set.isError && <Refused error={set.error} />}
        </Stack>
      )}
    </section>
  );
}
