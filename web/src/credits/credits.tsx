// Everything about one's credits: what there is, what may be used, where it went, and how to get more.
import { Alert, Button, Skeleton, Stack, Tabs, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useSearchParams } from 'wouter';
import { signInPath, useViewer } from '../accounts/viewer.ts';
import { Packs } from '../billing/packs.tsx';
import { Returned } from '../billing/returned.tsx';
import { Offer, Subscription } from '../billing/subscription.tsx';
import { Limits, Refusals } from '../limits/limits.tsx';
import { credits, day, whole } from '../shell/format.ts';
import page from '../shell/states.module.css';
import { Answer, Empty, Loading } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { type Outputs, trpc } from '../trpc.ts';
import { BurnDown } from './burn-down.tsx';
import styles from './credits.module.css';
import { History } from './history.tsx';
import { kindName } from './kinds.ts';

export function Credits() {
  useTitle('Credits');
  const viewer = useViewer();
  if (viewer === undefined) return <Loading />;
  return viewer === null ? <Prices /> : <Mine />;
}

/** For whoever is not signed in. */
function Prices() {
  return (
    <Stack className={page.page} gap="lg">
      <div>
        <Title order={1} size="h2">
          What it costs
        </Title>
        <Text c="dimmed">You pay for what you run, in credits. A run says what it costs before you begin it.</Text>
      </div>
      <Alert title="You begin with free credits">
        <Stack gap="xs" align="flex-start">
          <Text size="sm">Sign in to see yours, or to buy more.</Text>
          <Button component={Link} href={signInPath()} size="compact-sm">
            Sign in
          </Button>
        </Stack>
      </Alert>
      <section aria-label="PRPM+">
        <Offer isVisitor />
      </section>
      <section aria-labelledby="packs">
        <Title order={2} size="h4" id="packs" mb="sm">
          Packs
        </Title>
        <Packs isVisitor />
      </section>
    </Stack>
  );
}

const TABS = { overview: 'Overview', history: 'History', buy: 'Buy', subscription: 'PRPM+' } as const;

function Mine() {
  const [query, setQuery] = useSearchParams();
  // Where links from elsewhere lead.
  const usual = query.has('buy') ? 'buy' : query.has('subscribe') ? 'subscription' : 'overview';
  const asked = query.get('tab') ?? usual;
  const tab = Object.hasOwn(TABS, asked) ? asked : 'overview';
  const open = (value: string | null) =>
    setQuery((now) => {
      for (const name of ['buy', 'subscribe', 'canceled', 'type']) now.delete(name);
      if (value === null || value === 'overview') now.delete('tab');
      else now.set('tab', value);
      return now;
    });

  return (
    <Stack className={page.page} gap="md">
      <Title order={1} size="h2">
        Credits
      </Title>
      <Returned />
      <Tabs value={tab} onChange={open} keepMounted={false}>
        <Tabs.List>
          {Object.entries(TABS).map(([value, name]) => (
            <Tabs.Tab key={value} value={value} px="sm">
              {name}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="overview" pt="lg">
          <Overview />
        </Tabs.Panel>
        <Tabs.Panel value="history" pt="lg">
          <History />
        </Tabs.Panel>
        <Tabs.Panel value="buy" pt="lg">
          <Packs />
        </Tabs.Panel>
        <Tabs.Panel value="subscription" pt="lg">
          <Subscription />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

function Overview() {
  return (
    <Stack gap="xl">
      <div className={styles.columns}>
        <Lots />
        <Limits />
      </div>
      <BurnDown />
      <Refusals />
    </Stack>
  );
}

/** What there is, in the order in which it is spent, and until when. */
function Lots() {
  const balance = useQuery(trpc.credits.balance.queryOptions());
  return (
    <Answer of={balance} waiting={<Skeleton height={220} />}>
      {(known) => <Spendable balance={known} />}
    </Answer>
  );
}

function Spendable({ balance: { available, held, lots, monthly } }: { balance: Outputs['credits']['balance'] }) {
  return (
    <section aria-labelledby="lots">
      <Title order={2} size="h5" id="lots">
        What you can spend
      </Title>
      <Text className={styles.sum} component="p" my={4}>
        {whole(available)}
      </Text>
      <Text size="sm" c="dimmed" mb="sm">
        {available === 1 ? 'credit' : 'credits'}
        {held > 0 && `; ${whole(held)} more are held by runs that go on`}
        {monthly.resetAt !== null && `; ${whole(monthly.used)} of this month’s ${whole(monthly.allocated)} are used`}
      </Text>
      {lots.length === 0 ? (
        <Empty title="No credits are left">
          <Link href="/credits?buy=yes">Buy some</Link>, or <Link href="/credits?subscribe=yes">subscribe</Link>.
        </Empty>
      ) : (
        <ul className={styles.lots}>
          {lots.map((lot) => (
            <li key={lot.id} className={styles.lot}>
              <span className={styles.kind}>{kindName(lot.kind)}</span>
              <span>{whole(lot.remaining)}</span>
              <span>{lot.expiresAt === null ? 'never expire' : `until ${day(lot.expiresAt)}`}</span>
              <span>
                of {credits(lot.granted)}
                {lot.held > 0 && `, ${whole(lot.held)} held`}
              </span>
            </li>
          ))}
        </ul>
      )}
      {lots.length > 1 && (
        <Text size="xs" c="dimmed" mt="xs">
          They are spent in this order.
        </Text>
      )}
    </section>
  );
}
