// One package: what it is for, inputs to begin with, its prompt, its versions, and what others made of it.
import { Badge, Button, CopyButton, Group, Select, Skeleton, Stack, Tabs, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';
import { Results } from '../sessions/results.tsx';
import { ago, credits, day, whole } from '../shell/format.ts';
import { IconCheck, IconCopy, IconPlay } from '../shell/icons.tsx';
import { useInAddress } from '../shell/in-address.ts';
import page from '../shell/states.module.css';
import { Empty, Fault, Loading } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { type Outputs, trpc } from '../trpc.ts';
import styles from './packages.module.css';
import { packagePath } from './path.ts';

type Read = Outputs['catalog']['packages']['read'];

const tryPath = (asked: Record<string, string | null>) =>
  `/playground?${new URLSearchParams(Object.entries(asked).flatMap(([name, value]) => (value === null ? [] : [[name, value]])))}`;

export function Package({ name }: { name: string }) {
  useTitle(name);
  const [tab, setTab] = useInAddress('tab', 'inputs');
  const found = useQuery(trpc.catalog.packages.read.queryOptions({ packageId: name }));
  if (found.isPending) return <Loading />;
  if (found.data === undefined)
    return (
      <Stack className={page.page}>
        <Title order={1} size="h2">
          {name}
        </Title>
        <Fault of={found} />
        <Button component={Link} href="/packages" variant="default" style={{ alignSelf: 'flex-start' }}>
          All packages
        </Button>
      </Stack>
    );
  const { description, tags, author, organization, visibility, latestVersion, mayPublish, updatedAt } = found.data;
  return (
    <Stack className={page.page} gap="md">
      <Fault of={found} />
      <div>
        <Group gap="xs" align="baseline">
          <Title order={1} size="h2">
            {found.data.name}
          </Title>
          {latestVersion !== null && <Text c="dimmed">{latestVersion}</Text>}
          {visibility !== 'public' && (
            <Badge variant="default" tt="none">
              {visibility}
            </Badge>
          )}
        </Group>
        <div className={styles.facts}>
          <span>by {organization ?? author ?? 'somebody who has left'}</span>
          <span>{ago(updatedAt)}</span>
          {tags.map((tag) => (
            <Link key={tag} href={`/packages?${new URLSearchParams({ q: tag })}`} className={styles.tag}>
              {tag}
            </Link>
          ))}
        </div>
      </div>
      <Text className={styles.quiet}>{description}</Text>
      <Group gap="xs">
        <Button component={Link} href={tryPath({ package: found.data.name })} leftSection={<IconPlay size={14} />}>
          Try it
        </Button>
        <Button
          component={Link}
          href={tryPath({ package: found.data.name, compare: '2', baseline2: 'true' })}
          variant="default"
          title="Beside the same model without this prompt"
        >
          Compare
        </Button>
        {mayPublish && (
          <Button
            component={Link}
            href={`/author?${new URLSearchParams({ package: found.data.name })}`}
            variant="default"
          >
            As its author
          </Button>
        )}
      </Group>
      <Tabs value={tab} onChange={(value) => setTab(value ?? 'inputs')} keepMounted={false}>
        <Tabs.List>
          <Tabs.Tab value="inputs" px="sm">
            Inputs
          </Tabs.Tab>
          <Tabs.Tab value="prompt" px="sm">
            Prompt
          </Tabs.Tab>
          <Tabs.Tab value="versions" px="sm">
            Versions
          </Tabs.Tab>
          <Tabs.Tab value="results" px="sm">
            Results
          </Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="inputs" pt="md">
          <Inputs found={found.data} />
        </Tabs.Panel>
        <Tabs.Panel value="prompt" pt="md">
          <Prompt found={found.data} />
        </Tabs.Panel>
        <Tabs.Panel value="versions" pt="md">
          <Versions found={found.data} />
        </Tabs.Panel>
        <Tabs.Panel value="results" pt="md">
          <Results packageName={found.data.name} mayFeature={mayPublish} />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

function Inputs({ found: { name, suggestedInputs } }: { found: Read }) {
  if (suggestedInputs.length === 0)
    return <Empty title="Its author suggests no inputs">Try it with a text of your own.</Empty>;
  return (
    <div className={styles.cards}>
      {suggestedInputs.map((one) => (
        <div key={one.id} className={styles.card}>
          <Text fw={600}>{one.title}</Text>
          <Text size="sm" c="dimmed" lineClamp={3}>
            {one.description ?? one.suggestedInput}
          </Text>
          <div className={styles.facts}>
            <span>{one.difficulty}</span>
            {one.category !== null && <span>{one.category}</span>}
            <span>about {credits(one.estimatedCredits)}</span>
            {one.recommendedModel !== null && <span>{one.recommendedModel}</span>}
          </div>
          <Button
            component={Link}
            href={tryPath({ package: name, input: one.suggestedInput, model: one.recommendedModel, suggested: one.id })}
            size="compact-sm"
            variant="light"
            aria-label={`Try this: ${one.title}`}
          >
            Try this
          </Button>
        </div>
      ))}
    </div>
  );
}

function Prompt({ found: { name, versions, latestVersion } }: { found: Read }) {
  const [version, setVersion] = useInAddress('version', latestVersion ?? '');
  const known = versions.find((one) => one.version === version);
  const read = useQuery(
    trpc.catalog.packages.version.queryOptions({ packageId: name, version: version === '' ? null : version }),
  );
  return (
    <Stack>
      <Group justify="space-between" align="flex-end">
        <Select
          label="Version"
          w={180}
          data={versions.map((one) => ({ value: one.version, label: one.version }))}
          value={version}
          onChange={(value) => setVersion(value ?? '')}
          allowDeselect={false}
        />
        {read.data !== undefined && (
          <CopyButton value={read.data.prompt}>
            {({ copied, copy }) => (
              <Button
                variant="default"
                size="compact-sm"
                onClick={copy}
                leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}
              >
                {copied ? 'Copied' : 'Copy the prompt'}
              </Button>
            )}
          </CopyButton>
        )}
      </Group>
      {known !== undefined && (
        <Text size="sm" c="dimmed">
          {whole(known.tokens.o200kBase)} tokens, which each run reads along with your text.
        </Text>
      )}
      {known?.variables != null && <Variables schema={known.variables} />}
      <Fault of={read} />
      {read.isPending && <Skeleton height={240} />}
      {read.data !== undefined && (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and keys have to reach it
        <pre className={styles.prompt} tabIndex={0}>
          {read.data.prompt}
        </pre>
      )}
    </Stack>
  );
}

/** What stands for {{names}} in the prompt. */
function Variables({ schema }: { schema: Record<string, unknown> }) {
  const { properties, required } = schema;
  const needed = new Set(Array.isArray(required) ? required : []);
  const entries = typeof properties === 'object' && properties !== null ? Object.entries(properties) : [];
  return (
    <div>
      <Title order={2} size="h6">
        What it asks for
      </Title>
      <ul>
        {entries.map(([name, one]: [string, { type?: unknown; description?: unknown }]) => (
          <li key={name}>
            <Text size="sm">
              <strong>{name}</strong>
              {typeof one.type === 'string' && `, ${one.type}`}
              {!needed.has(name) && ', may be left out'}
              {typeof one.description === 'string' && `: ${one.description}`}
            </Text>
          </li>
        ))}
      </ul>
    </div>
  );
}

function Versions({ found: { name, versions, latestVersion } }: { found: Read }) {
  return (
    <ul className={styles.list}>
      {versions.map(({ version, changelog, createdAt, tokens, deprecated, yanked }) => (
        <li key={version} className={styles.card}>
          <Group gap="xs">
            <Text fw={600}>{version}</Text>
            {version === latestVersion && <Badge tt="none">newest</Badge>}
            {deprecated !== null && (
              <Badge color="orange" variant="light" tt="none">
                deprecated
              </Badge>
            )}
            {yanked && (
              <Badge color="red" variant="light" tt="none">
                taken back
              </Badge>
            )}
          </Group>
          <div className={styles.facts}>
            <span>{day(createdAt)}</span>
            <span>{whole(tokens.o200kBase)} tokens</span>
          </div>
          {deprecated !== null && <Text size="sm">{deprecated}</Text>}
          {changelog !== '' && (
            <Text size="sm" className={styles.quiet}>
              {changelog}
            </Text>
          )}
          <Group gap="xs">
            <Button
              component={Link}
              href={tryPath({ package: name, version })}
              size="compact-sm"
              variant="default"
              aria-label={`Try it: version ${version}`}
            >
              Try it
            </Button>
            <Button
              component={Link}
              href={`${packagePath(name)}?${new URLSearchParams({ tab: 'prompt', version })}`}
              size="compact-sm"
              variant="subtle"
              aria-label={`Prompt of version ${version}`}
            >
              Prompt
            </Button>
          </Group>
        </li>
      ))}
    </ul>
  );
}
