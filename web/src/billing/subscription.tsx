import { Alert, Anchor, Button, Group, Modal, Skeleton, Stack, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useMutation, useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { signInPath } from '../accounts/viewer.ts';
import { credits, day, dollars } from '../shell/format.ts';
import { Answer, Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import styles from './billing.module.css';
import { leaveTo, returnUrls, useComeBack } from './leave.ts';

type Subscribed = Outputs['billing']['subscription'];

/** The subscription as it stands, and what can be done about it. */
export function Subscription() {
  const subscription = useQuery(trpc.billing.subscription.queryOptions());
  return (
    <Answer of={subscription} waiting={<Skeleton height={240} />}>
      {(known) => (
        <Stack gap="lg">
          {(known.isOpen || known.isActive) && <State subscription={known} />}
          {!known.isOpen && <Offer />}
        </Stack>
      )}
    </Answer>
  );
}

function State({ subscription }: { subscription: Subscribed }) {
  const { told, price, paidUntil, entitledUntil, cancelAt, currentPeriodEnd, paymentProblem, isOpen } = subscription;
  const ends = cancelAt !== null;
  return (
    <section aria-labelledby="subscription">
      <Title order={2} size="h4" id="subscription">
        PRPM+
      </Title>
      <Text mb="sm">{told}</Text>
      {paymentProblem !== null && (
        <Alert color="red" title="The last payment failed" role="alert" mb="sm">
          <Stack gap="xs" align="flex-start">
            <Text size="sm">
              {entitledUntil === null
                ? 'Your tier has ended with it.'
                : `Your tier stays until ${day(entitledUntil)}; then it ends, unless the invoice is paid.`}
            </Text>
            {paymentProblem.hostedInvoiceUrl !== null && (
              <Button component="a" href={paymentProblem.hostedInvoiceUrl} rel="noopener" size="compact-sm">
                Pay the invoice
              </Button>
            )}
          </Stack>
        </Alert>
      )}
      <dl className={styles.facts}>
        <dt>Price</dt>
        <dd>{price === null ? 'none' : `${dollars(price)} a month`}</dd>
        {subscription.credits !== null && (
          <>
            <dt>Brings</dt>
            <dd>{credits(subscription.credits)} a month</dd>
          </>
        )}
        {paidUntil !== null && (
          <>
            <dt>Paid until</dt>
            <dd>{day(paidUntil)}</dd>
          </>
        )}
        {isOpen && (
          <>
            <dt>{ends ? 'Ends' : 'Renews'}</dt>
            <dd>{ends ? day(cancelAt) : currentPeriodEnd === null ? 'not yet known' : day(currentPeriodEnd)}</dd>
          </>
        )}
      </dl>
      {isOpen && <Actions subscription={subscription} />}
    </section>
  );
}

function Actions({ subscription: { cancelAt, collectionPaused, paidUntil } }: { subscription: Subscribed }) {
  const [isAsking, asking] = useDisclosure(false);
  const onSuccess = async () => {
    await queryClient.invalidateQueries(trpc.billing.subscription.queryFilter());
    asking.close();
  };
  const cancel = useMutation(trpc.billing.cancel.mutationOptions({ onSuccess }));
  const resume = useMutation(trpc.billing.resume.mutationOptions({ onSuccess }));
  const portal = useMutation(trpc.billing.portal.mutationOptions({ onSuccess: ({ portalUrl }) => leaveTo(portalUrl) }));
  useComeBack(portal.reset);
  const isStopping = cancelAt !== null || collectionPaused;
  return (
    <Stack gap="sm" mt="md">
      {resume.isError && <Refused error={resume.error} />}
      {portal.isError && <Refused error={portal.error} />}
      <Group gap="xs">
        {isStopping && (
          <Button loading={resume.isPending} onClick={() => resume.mutate()}>
            Go on with it
          </Button>
        )}
        <Button
          variant="default"
          loading={portal.isPending}
          onClick={() => portal.mutate({ returnUrl: `${window.location.origin}/credits?tab=subscription` })}
        >
          Cards and invoices
        </Button>
        {cancelAt === null && (
          <Button variant="subtle" color="red" onClick={asking.open}>
            Cancel
          </Button>
        )}
      </Group>
      <Modal opened={isAsking} onClose={asking.close} title="Cancel PRPM+?">
        <Stack>
          <Text size="sm">
            You keep your tier and this month’s credits
            {paidUntil === null ? '' : ` until ${day(paidUntil)}`}. Credits that rolled over keep their date; those that
            you bought never expire. You can take it back until then.
          </Text>
          {cancel.isError && <Refused error={cancel.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={asking.close} data-autofocus>
              Keep it
            </Button>
            <Button color="red" loading={cancel.isPending} onClick={() => cancel.mutate()}>
              Cancel at the end of the period
            </Button>
          </Group>
        </Stack>
      </Modal>
    </Stack>
  );
}

/** What PRPM+ costs whoever looks. */
export function Offer({ isVisitor = false }: { isVisitor?: boolean }) {
  const pricing = useQuery(trpc.billing.pricing.queryOptions());
  return (
    <Answer of={pricing} waiting={<Skeleton height={200} />}>
      {(known) => <Priced pricing={known} isVisitor={isVisitor} />}
    </Answer>
  );
}

type PricedProps = { pricing: Outputs['billing']['pricing']; isVisitor: boolean };

function Priced({ pricing, isVisitor }: PricedProps) {
  const subscribe = useMutation(
    trpc.billing.subscribe.mutationOptions({ onSuccess: ({ checkoutUrl }) => leaveTo(checkoutUrl) }),
  );
  useComeBack(subscribe.reset);
  const { price, isOrgMember, orgName, discount } = pricing;
  return (
    <div className={styles.pack}>
      <Title order={2} size="h4">
        PRPM+
      </Title>
      <span className={styles.big}>{dollars(price)}</span>
      <Text size="sm" c="dimmed">
        a month
        {isOrgMember && orgName !== null && `: ${discount} % less, for members of ${orgName}`}
      </Text>
      <Text my="sm">
        {credits(pricing.credits)} each month; what you do not use rolls over for a month. Higher limits. You can cancel
        at any time.
      </Text>
      {subscribe.isError && <Refused error={subscribe.error} />}
      {isVisitor ? (
        <Button component={Link} href={signInPath('/credits?subscribe=yes')} maw={320}>
          Sign in to subscribe
        </Button>
      ) : (
        <Button maw={320} loading={subscribe.isPending} onClick={() => subscribe.mutate(returnUrls('subscribe=yes'))}>
          Subscribe for {dollars(price)} a month
        </Button>
      )}
      <Text size="sm" c="dimmed" mt="xs">
        Only now and then?{' '}
        <Anchor component={Link} href="/credits?buy=yes">
          A pack
        </Anchor>{' '}
        does it, too.
      </Text>
    </div>
  );
}
