import { Badge, Button, Group, Skeleton, Stack, Text } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link, useSearchParams } from 'wouter';
import { signInPath } from '../accounts/viewer.ts';
import { dollars, whole } from '../shell/format.ts';
import { Answer, Empty, Refused } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';
import styles from './billing.module.css';
import { leaveTo, returnUrls, useComeBack } from './leave.ts';

/** Credits to buy once. The price stands on the button; the money is asked for at Stripe. */
export function Packs({ isVisitor = false }: { isVisitor?: boolean }) {
  const packs = useQuery(trpc.billing.packs.queryOptions());
  return (
    <Answer of={packs} waiting={<Skeleton height={200} />}>
      {(known) => <Sold packs={known.packages} isVisitor={isVisitor} />}
    </Answer>
  );
}

function Sold({ packs, isVisitor }: { packs: Outputs['billing']['packs']['packages']; isVisitor: boolean }) {
  const [query] = useSearchParams();
  const buy = useMutation(
    trpc.billing.purchase.mutationOptions({ onSuccess: ({ checkoutUrl }) => leaveTo(checkoutUrl) }),
  );
  useComeBack(buy.reset);
  const asked = query.get('buy');
  return (
    <Stack>
      <Text>
        Credits that you buy never expire, and what they pay for does not count against the cost limits of your tier.
      </Text>
      {buy.isError && <Refused error={buy.error} />}
      {packs.length === 0 && <Empty title="No packs are sold at the moment" />}
      <div className={styles.packs}>
        {packs.map(({ id, name, credits, priceFormatted, perCreditCost, bonus, popular }) => (
          <section key={id} className={styles.pack} aria-label={name} data-asked={id === asked || undefined}>
            <Group justify="space-between" gap="xs">
              <Text fw={600}>{name}</Text>
              {popular && (
                <Badge variant="light" tt="none">
                  Popular
                </Badge>
              )}
            </Group>
            <span className={styles.big}>{whole(credits)}</span>
            <Text size="sm" c="dimmed" mb="sm">
              credits, {dollars(perCreditCost, 3)} each
              {bonus > 0 && `, ${whole(bonus)} % more for the money`}
            </Text>
            {isVisitor ? (
              <Button component={Link} href={signInPath(`/credits?buy=${id}`)} variant="default">
                Sign in to buy for {priceFormatted}
              </Button>
            ) : (
              <Button
                variant={id === asked || (asked === null && popular) ? 'filled' : 'default'}
                loading={buy.isPending && buy.variables.package === id}
                disabled={buy.isPending}
                onClick={() => buy.mutate({ package: id, ...returnUrls(`buy=${id}`) })}
              >
                Buy for {priceFormatted}
              </Button>
            )}
          </section>
        ))}
      </div>
      <Text size="sm" c="dimmed">
        You pay at Stripe, by card or Link, and come back here.
      </Text>
    </Stack>
  );
}
