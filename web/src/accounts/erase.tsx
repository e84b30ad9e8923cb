// The end of an account. The first step only says what would be lost.
import { Alert, Button, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { Dialog } from '../shell/dialog.tsx';
import { credits, whole } from '../shell/format.ts';
import { Refused } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';
import styles from './account.module.css';
import { leaveAccount } from './leave.ts';

type Erasure = Outputs['accounts']['erase'];

export function Erase({ username }: { username: string }) {
  const [losses, setLosses] = useState<Erasure | null>(null);
  const erase = useMutation(
    trpc.accounts.erase.mutationOptions({
      onSuccess: (erasure) => {
        if (erasure.outcome === 'to_confirm') {
          setLosses(erasure);
          return;
        }
        leaveAccount();
      },
    }),
  );
  return (
    <section aria-labelledby="erase">
      <Title order={2} size="h4" id="erase" mb="xs">
        Erase the account
      </Title>
      <Stack gap="sm" align="flex-start">
        <Text size="sm" c="dimmed">
          Your texts, your name and your address go for good. Amounts stay in the books, without saying whose they were.
        </Text>
        {losses === null && erase.isError && <Refused error={erase.error} />}
        <Button variant="default" loading={erase.isPending && losses === null} onClick={() => erase.mutate({})}>
          See what would be lost
        </Button>
      </Stack>
      {losses !== null && (
        <Confirm
          username={username}
          losses={losses}
          isBusy={erase.isPending}
          error={erase.error}
          onErase={() => erase.mutate({ confirmPurchasedCredits: losses.purchasedCredits })}
          onClose={() => {
            setLosses(null);
            erase.reset();
          }}
        />
      )}
    </section>
  );
}

type ConfirmProps = {
  username: string;
  losses: Erasure;
  isBusy: boolean;
  error: unknown;
  onErase: () => void;
  onClose: () => void;
};

function Confirm({ username, losses, isBusy, error, onErase, onClose }: ConfirmProps) {
  const [typed, setTyped] = useState('');
  const { purchasedCredits, otherCredits, subscription, runningRuns, sessions, privatePackages, publishedPackages } =
    losses;
  return (
    <Dialog onClose={onClose} title="Erase this account for good?">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onErase();
        }}
      >
        <Stack>
          {purchasedCredits > 0 && (
            <Alert color="red" title={`You lose ${credits(purchasedCredits)} that you bought`}>
              They are not paid back.
            </Alert>
          )}
          <ul className={styles.losses}>
            <li>{credits(otherCredits)} that you did not buy</li>
            <li>
              {whole(sessions)} {sessions === 1 ? 'session' : 'sessions'}, with questions and answers
            </li>
            {subscription !== null && <li>PRPM+, which ends at once</li>}
            {runningRuns > 0 && <li>runs that go on ({whole(runningRuns)}), which are stopped</li>}
            {privatePackages > 0 && <li>your private packages ({whole(privatePackages)})</li>}
            {publishedPackages > 0 && (
              <li>your name at what you have published ({whole(publishedPackages)}), which stays</li>
            )}
          </ul>
          <TextInput
            data-autofocus
            label={`Type ${username} to go on`}
            autoComplete="off"
            spellCheck={false}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
          {error !== null && <Refused error={error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Keep it
            </Button>
            <Button type="submit" color="red" disabled={typed.trim() !== username} loading={isBusy}>
              Erase it
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
