// What authors see: how their packages are used, and where they change them.
import { Button, Group, Skeleton, Stack, Text, Title } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { Link, useSearchParams } from 'wouter';
import { signInPath, useViewer } from '../accounts/viewer.ts';
import { Publish } from '../catalog/publish.tsx';
import { whole } from '../shell/format.ts';
import { IconPlus } from '../shell/icons.tsx';
import page from '../shell/states.module.css';
import { Empty, Fault, Loading } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { type Outputs, trpc } from '../trpc.ts';
import styles from './author.module.css';
import { AuthorPackage } from './author-package.tsx';
import { Figures } from './figures.tsx';

type Summary = Outputs['analytics']['authors']['summary'];

export const authorPath = (name: string) => `/author?${new URLSearchParams({ package: name })}`;

export function Author() {
  useTitle('Your packages');
  const viewer = useViewer();
  const [query] = useSearchParams();
  const name = query.get('package');
  if (viewer === undefined) return <Loading />;
  if (viewer === null)
    return (
      <Stack className={page.page}>
        <Title order={1} size="h2">
          Your packages
        </Title>
        <Empty title="You are not signed in">
          <Button component={Link} href={signInPath()} mt="sm">
            Sign in
          </Button>
        </Empty>
      </Stack>
    );
  return name === null ? <Overview /> : <AuthorPackage key={name} name={name} />;
}

function Overview() {
  const [, setQuery] = useSearchParams();
  const [isPublishing, publishing] = useDisclosure(false);
  const summary = useQuery(trpc.analytics.authors.summary.queryOptions());
  return (
    <Stack className={page.page} gap="lg">
      <Group justify="space-between">
        <Title order={1} size="h2">
          Your packages
        </Title>
        <Button leftSection={<IconPlus size={14} />} onClick={publishing.open}>
          Publish a package
        </Button>
      </Group>
      <Fault of={summary} />
      {summary.isPending && <Skeleton height={320} />}
      {summary.data !== undefined && <Use summary={summary.data} />}
      {isPublishing && (
        <Publish
          onClose={publishing.close}
          onDone={(name) => {
            publishing.close();
            setQuery({ package: name });
          }}
        />
      )}
    </Stack>
  );
}

function Use({ summary }: { summary: Summary }) {
  const { packages, totalPackages } = summary;
  if (totalPackages === 0)
    return (
      <Empty title="You have published none yet">
        A package is a prompt with a name and versions. Others try it, and you see how it is used.
      </Empty>
    );
  return (
    <>
      <Figures
        figures={{
          Sessions: summary.totalPlaygroundSessions,
          'in 30 days': summary.sessionsLast30Days,
          'in 7 days': summary.sessionsLast7Days,
          People: summary.totalUniqueUsers,
          'Credits spent': summary.totalCreditsSpent,
          'Views of results': summary.totalShareViews,
        }}
      />
      <section aria-labelledby="by-package">
        <Title order={2} size="h4" id="by-package" mb="xs">
          By package
        </Title>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls where the window is narrow */}
        <section className={styles.wide} tabIndex={0} aria-label="Use by package">
          <table>
            <thead>
              <tr>
                <th scope="col">Package</th>
                <th scope="col">Sessions</th>
                <th scope="col">People</th>
                <th scope="col">Credits</th>
              </tr>
            </thead>
            <tbody>
              {packages.map(({ id, name, visibility, sessions, uniqueUsers, creditsSpent }) => (
                <tr key={id}>
                  <th scope="row">
                    <Link href={authorPath(name)}>{name}</Link>
                    {visibility !== 'public' && (
                      <Text span size="xs" c="dimmed">
                        {' '}
                        {visibility}
                      </Text>
                    )}
                  </th>
                  <td>{whole(sessions)}</td>
                  <td>{whole(uniqueUsers)}</td>
                  <td>{whole(creditsSpent)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
        {totalPackages > packages.length && (
          <Text size="sm" c="dimmed" mt="xs">
            The {whole(packages.length)} that are used most, of {whole(totalPackages)}.
          </Text>
        )}
      </section>
    </>
  );
}
