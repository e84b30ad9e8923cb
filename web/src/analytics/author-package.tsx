// One's own package: how it is used, its suggested inputs, and what can be changed.
import { Anchor, Button, Group, SegmentedControl, Skeleton, Stack, Tabs, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { PackageSettings } from '../catalog/package-settings.tsx';
import { packagePath } from '../catalog/path.ts';
import { Publish } from '../catalog/publish.tsx';
import { SuggestedInputs } from '../catalog/suggested-inputs.tsx';
import { DayChart } from '../shell/day-chart.tsx';
import { whole } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import page from '../shell/states.module.css';
import { Answer, Empty, Fault, Loading } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';
import styles from './author.module.css';
import { Figures } from './figures.tsx';

export function AuthorPackage({ name }: { name: string }) {
  const [tab, setTab] = useInAddress('tab', 'use');
  const [isPublishing, publishing] = useDisclosure(false);
  const found = useQuery(trpc.catalog.packages.read.queryOptions({ packageId: name }));
  if (found.isPending) return <Loading />;
  const back = (
    <Anchor component={Link} href="/author" size="sm">
      All your packages
    </Anchor>
  );
  if (found.data === undefined)
    return (
      <Stack className={page.page}>
        {back}
        <Title order={1} size="h2">
          {name}
        </Title>
        <Fault of={found} />
      </Stack>
    );
  if (!found.data.mayPublish)
    return (
      <Stack className={page.page}>
        {back}
        <Title order={1} size="h2">
          {found.data.name}
        </Title>
        <Empty title="It is not yours">
          Its authors see how it is used. <Link href={packagePath(found.data.name)}>Look at it</Link> as everybody does.
        </Empty>
      </Stack>
    );
  return (
    <Stack className={page.page} gap="md">
      <Fault of={found} />
      <div>
        {back}
        <Group justify="space-between">
          <Title order={1} size="h2">
            {found.data.name}
          </Title>
          <Group gap="xs">
            <Button component={Link} href={packagePath(found.data.name)} variant="default" size="compact-md">
              As others see it
            </Button>
            <Button size="compact-md" onClick={publishing.open}>
              New version
            </Button>
          </Group>
        </Group>
      </div>
      <Tabs value={tab} onChange={(value) => setTab(value ?? 'use')} keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="use" px="sm">
            Use
          </Tabs.Tab>
          <Tabs.Tab value="inputs" px="sm">
            Suggested inputs
          </Tabs.Tab>
          <Tabs.Tab value="settings" px="sm">
            Settings
          </Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="use" pt="md">
          <Use packageId={found.data.id} />
        </Tabs.Panel>
        <Tabs.Panel value="inputs" pt="md">
          <SuggestedInputs packageId={found.data.id} />
        </Tabs.Panel>
        <Tabs.Panel value="settings" pt="md">
          <PackageSettings found={found.data} />
        </Tabs.Panel>
      </Tabs>
      {isPublishing && <Publish known={found.data} onClose={publishing.close} onDone={publishing.close} />}
    </Stack>
  );
}

function Use({ packageId }: { packageId: string }) {
  const use = useQuery(trpc.analytics.authors.package.queryOptions({ packageId }));
  return (
    <Answer of={use} waiting={<Skeleton height={320} />}>
      {(known) => <Used packageId={packageId} data={known} />}
    </Answer>
  );
}

function Used({ packageId, data }: { packageId: string; data: Outputs['analytics']['authors']['package'] }) {
  const { effective, notEffective, helpful, notHelpful } = data.ratings;
  return (
    <Stack gap="xl">
      <Figures
        figures={{
          Sessions: data.totalPlaygroundSessions,
          'in 30 days': data.sessionsLast30Days,
          'in 7 days': data.sessionsLast7Days,
          People: data.uniqueUsers,
          'Credits spent': data.totalCreditsSpent,
          'Credits a session': data.avgCreditsPerSession,
          'Runs without sign-in': data.anonymousRuns,
          'Results shared': data.sharedSessionsCount,
          'Views of results': data.totalShareViews,
        }}
      />
      <Series packageId={packageId} />
      <section aria-labelledby="ratings">
        <Title order={2} size="h5" id="ratings" mb="xs">
          What people say
        </Title>
        <Text size="sm">
          {said(effective, notEffective, 'who ran it', 'found the answer of use')}
          <br />
          {said(helpful, notHelpful, 'who read a result', 'found it helpful')}
        </Text>
      </section>
      <section aria-labelledby="models">
        <Title order={2} size="h5" id="models" mb="xs">
          By model
        </Title>
        {data.models.length === 0 ? (
          <Empty title="Nobody has run it yet" />
        ) : (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls where the window is narrow
          <section className={styles.wide} tabIndex={0} aria-label="Use by model">
            <table>
              <thead>
                <tr>
                  <th scope="col">Model</th>
                  <th scope="col">Runs</th>
                  <th scope="col">Sessions</th>
                  <th scope="col">People</th>
                  <th scope="col">Credits</th>
                </tr>
              </thead>
              <tbody>
                {data.models.map(({ model, runs, sessions, uniqueUsers, creditsSpent }) => (
                  <tr key={model}>
                    <th scope="row">{model}</th>
                    <td>{whole(runs)}</td>
                    <td>{whole(sessions)}</td>
                    <td>{whole(uniqueUsers)}</td>
                    <td>{whole(creditsSpent)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </section>
        )}
      </section>
    </Stack>
  );
}

function said(yes: number, no: number, who: string, what: string): string {
  if (yes + no === 0) return `Nobody ${who} has said yet whether they ${what}.`;
  return `${whole(yes)} of ${whole(yes + no)} ${who} ${what}.`;
}

const SPANS = ['7', '30', '90'];

function Series({ packageId }: { packageId: string }) {
  const [asked, setSpan] = useInAddress('days', '30');
  const days = SPANS.includes(asked) ? Number(asked) : 30;
  const series = useQuery(
    trpc.analytics.authors.packageSeries.queryOptions({ packageId, days }, { placeholderData: keepPreviousData }),
  );
  return (
    <section aria-labelledby="series">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h5" id="series">
          Sessions a day
        </Title>
        <SegmentedControl
          aria-label="Days"
          size="xs"
          data={SPANS.map((value) => ({ value, label: `${value} days` }))}
          value={String(days)}
          onChange={setSpan}
        />
      </Group>
      <Fault of={series} />
      {series.isPending && <Skeleton height={220} />}
      {series.data !== undefined && (
        <DayChart
          title="Sessions begun each day"
          days={series.data.data.map(({ date }) => date)}
          bars={series.data.data.map(({ sessionsCount }) => sessionsCount)}
          columns={[
            { name: 'Sessions', values: series.data.data.map(({ sessionsCount }) => sessionsCount) },
            { name: 'People', values: series.data.data.map(({ uniqueUsers }) => uniqueUsers) },
            { name: 'Credits', values: series.data.data.map(({ creditsSpent }) => creditsSpent) },
            { name: 'Shared', values: series.data.data.map(({ sharedCount }) => sharedCount) },
          ]}
        />
      )}
    </section>
  );
}
