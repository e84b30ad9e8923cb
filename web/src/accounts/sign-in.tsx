import { Alert, Button, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useSearchParams } from 'wouter';
import styles from '../shell/states.module.css';
import { Fault, Loading, Refused } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { trpc } from '../trpc.ts';
import people from './sign-in.module.css';

const PROBLEMS: Record<string, string> = {
  unavailable: 'The sign-in service cannot be reached at the moment. Try again in a minute.',
  expired: 'That took too long, or was begun in another browser. Sign in again.',
  refused: 'The sign-in was not completed. Sign in again.',
  closed: 'This account is closed.',
};

/** Where somebody goes who has signed in: only ever a path of this page. */
function returnPath(query: URLSearchParams): string {
  const asked = query.get('return') ?? '';
  return /^\/(?![/\\])/.test(asked) ? asked : '/playground';
}

export function SignIn() {
  useTitle('Sign in');
  const [query] = useSearchParams();
  const options = useQuery(trpc.accounts.signInOptions.queryOptions());
  const target = returnPath(query);
  const signInAs = useMutation(
    trpc.accounts.signInAs.mutationOptions({ onSuccess: () => window.location.assign(target) }),
  );
  const problem = query.get('problem');
  if (options.isPending) return <Loading />;

  return (
    <Stack className={styles.page} maw={560} gap="lg">
      <div>
        <Title order={1} size="h2">
          Sign in
        </Title>
        <Text c="dimmed">New here? You get free credits with your first sign-in, enough to try a few packages.</Text>
      </div>
      {problem !== null && (
        <Alert color="yellow" role="alert">
          {PROBLEMS[problem] ?? PROBLEMS.refused}
        </Alert>
      )}
      <Fault of={options} />
      {options.data?.issuer && (
        <Button component="a" href={`/auth/sign-in?${new URLSearchParams({ return: target })}`} size="md">
          Continue to sign-in
        </Button>
      )}
      {options.data !== undefined && options.data.people.length > 0 && (
        <section aria-labelledby="people">
          <Title order={2} size="h4" id="people" mb="xs">
            This is a demo: be one of these
          </Title>
          <Stack gap="xs">
            {options.data.people.map(({ userId, username, about }) => (
              <button
                key={userId}
                type="button"
                className={people.person}
                disabled={signInAs.isPending}
                onClick={() => signInAs.mutate({ userId })}
              >
                <strong>{username}</strong>
                <span>{about}</span>
              </button>
            ))}
          </Stack>
        </section>
      )}
      {signInAs.isError && <Refused error={signInAs.error} />}
      {options.data !== undefined && !options.data.issuer && options.data.people.length === 0 && (
        <Alert color="yellow" title="Nobody can sign in here yet">
          The operator has to set AUTH_ISSUER and AUTH_CLIENT_ID. API tokens work all the same.
        </Alert>
      )}
    </Stack>
  );
}
