// The way back from Stripe. What is true is what Stripe tells the server, so this waits for it, and says so.
import { Alert, Button, Group, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { useSearchParams } from 'wouter';
import { credits } from '../shell/format.ts';
import { Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';

type Checkout = Outputs['billing']['checkout'];

const ASK_MS = 1_500;
/** Longer than Stripe takes, but on a bad day. */
const PATIENCE_MS = 60_000;

export function Returned() {
  const [query, setQuery] = useSearchParams();
  const sessionId = query.get('checkout');
  const dismiss = () =>
    setQuery(
      (now) => {
        for (const name of ['checkout', 'canceled']) now.delete(name);
        return now;
      },
      { replace: true },
    );
  if (sessionId !== null) return <Arrival key={sessionId} sessionId={sessionId} onDismiss={dismiss} />;
  if (query.get('canceled') === null) return null;
  return (
    <Alert
      color="gray"
      withCloseButton
      closeButtonLabel="Dismiss"
      onClose={dismiss}
      title="You came back without paying"
    >
      Nothing was charged.
    </Alert>
  );
}

function Arrival({ sessionId, onDismiss }: { sessionId: string; onDismiss: () => void }) {
  const [patientUntil, setPatience] = useState(() => Date.now() + PATIENCE_MS);
  const checkout = useQuery(
    trpc.billing.checkout.queryOptions(
      { sessionId: sessionId === 'latest' ? null : sessionId },
      {
        staleTime: 0,
        refetchInterval: ({ state }) => (state.data?.state === 'waiting' && Date.now() < patientUntil ? ASK_MS : false),
      },
    ),
  );
  const state = checkout.data?.state;
  useEffect(() => {
    if (state !== 'done') return;
    for (const filter of [trpc.credits.pathFilter(), trpc.limits.pathFilter(), trpc.billing.subscription.queryFilter()])
      void queryClient.invalidateQueries(filter);
  }, [state]);

  if (checkout.data === undefined && checkout.isError)
    return (
      <Refused error={checkout.error} retry={() => void checkout.refetch()}>
        <Button size="compact-sm" variant="default" onClick={onDismiss}>
          Dismiss
        </Button>
      </Refused>
    );
  if (checkout.data === undefined)
    return (
      <Alert color="gray" role="status" title="Looking what became of your payment" mih={110}>
        It takes a moment.
      </Alert>
    );
  const isLong = state === 'waiting' && Date.now() >= patientUntil;
  const { title, what, color } = isLong ? LONG : told(checkout.data);
  return (
    <Alert
      color={color}
      title={title}
      role={color === 'red' || color === 'yellow' ? 'alert' : 'status'}
      withCloseButton={state !== 'waiting'}
      closeButtonLabel="Dismiss"
      onClose={onDismiss}
    >
      <Text size="sm">{what}</Text>
      {isLong && (
        <Group mt="xs">
          <Button
            size="compact-sm"
            variant="default"
            onClick={() => {
              setPatience(Date.now() + PATIENCE_MS);
              void checkout.refetch();
            }}
          >
            Look again
          </Button>
        </Group>
      )}
    </Alert>
  );
}

const LONG = {
  color: 'yellow',
  title: 'Stripe has not told us of your payment yet',
  what: 'If you have paid, nothing is lost: the credits come by themselves as soon as it does. You can leave this page.',
};

function told({ kind, state, credits: amount }: Checkout): { color: string; title: string; what: string } {
  const bought = kind === 'pack' ? credits(amount) : 'PRPM+';
  switch (state) {
    case 'waiting':
      return {
        color: 'blue',
        title: 'Waiting for Stripe',
        what: 'It takes a few seconds until it tells us that you have paid.',
      };
    case 'done':
      return kind === 'pack'
        ? { color: 'green', title: `${bought} have arrived`, what: 'They never expire.' }
        : { color: 'green', title: 'You have PRPM+', what: `Each month that you pay for brings ${credits(amount)}.` };
    case 'in_review':
      return {
        color: 'yellow',
        title: 'Somebody has to look at your payment',
        what: 'What came in is not what was asked for. An operator knows, and will book it or give it back.',
      };
    case 'failed':
      return {
        color: 'red',
        title: 'The payment failed',
        what: `${bought} were not bought, and you were not charged.`,
      };
    case 'expired':
      return { color: 'gray', title: 'That was not paid in time', what: 'Nothing was charged. You can begin again.' };
  }
}
