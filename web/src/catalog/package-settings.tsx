// What authors change of a package that is there: what is said of it, who sees it, and which versions are meant.
import { Badge, Button, Group, Modal, Select, Stack, Text, Textarea, TextInput, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { day } from '../shell/format.ts';
import { Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import styles from './packages.module.css';

type Known = Outputs['catalog']['packages']['read'];
type Version = Known['versions'][number];

const refresh = () => queryClient.invalidateQueries(trpc.catalog.packages.pathFilter());

export const VISIBILITIES = [
  { value: 'public', label: 'Everybody' },
  { value: 'unlisted', label: 'Who knows its name' },
  { value: 'private', label: 'You and your organization' },
];
export const visibilityOf = (value: string) => (value === 'private' || value === 'unlisted' ? value : 'public');
export const tagsOf = (text: string) => text.split(',').flatMap((tag) => tag.trim() || []);

export function PackageSettings({ found }: { found: Known }) {
  const [description, setDescription] = useState(found.description);
  const [tags, setTags] = useState(found.tags.join(', '));
  const [visibility, setVisibility] = useState<string>(found.visibility);
  const change = useMutation(trpc.catalog.packages.change.mutationOptions({ onSuccess: refresh }));
  return (
    <Stack gap="xl">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          change.mutate({
            ...{ packageId: found.id, description, tags: tagsOf(tags), visibility: visibilityOf(visibility) },
          });
        }}
      >
        <Stack>
          <Textarea
            label="What it is for"
            autosize
            minRows={2}
            maxLength={2_000}
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
          />
          <TextInput
            label="Tags"
            description="With commas between them."
            value={tags}
            onChange={(event) => setTags(event.currentTarget.value)}
          />
          <Select
            label="Who sees it"
            maw={320}
            data={VISIBILITIES}
            value={visibility}
            onChange={(value) => setVisibility(value ?? 'public')}
            allowDeselect={false}
          />
          {change.isError && <Refused error={change.error} />}
          <Group>
            <Button type="submit" loading={change.isPending}>
              Save
            </Button>
            <Text size="sm" role="status">
              {change.isSuccess ? 'Saved.' : ''}
            </Text>
          </Group>
        </Stack>
      </form>
      <section aria-labelledby="versions">
        <Title order={2} size="h5" id="versions" mb="xs">
          Versions
        </Title>
        <ul className={styles.list}>
          {found.versions.map((version) => (
            <VersionItem key={version.version} packageId={found.id} version={version} newest={found.latestVersion} />
          ))}
        </ul>
      </section>
    </Stack>
  );
}

type VersionProps = { packageId: string; version: Version; newest: string | null };

function VersionItem({ packageId, version: { version, deprecated, yanked, createdAt }, newest }: VersionProps) {
  const [isDeprecating, setDeprecating] = useState(false);
  const [why, setWhy] = useState(deprecated ?? '');
  const change = useMutation(
    trpc.catalog.packages.changeVersion.mutationOptions({
      onSuccess: async () => {
        await refresh();
        setDeprecating(false);
      },
    }),
  );
  return (
    <li className={styles.card}>
      <Group gap="xs">
        <Text fw={600}>{version}</Text>
        {version === newest && <Badge tt="none">newest</Badge>}
        <Text size="xs" c="dimmed">
          {day(createdAt)}
        </Text>
      </Group>
      {deprecated !== null && <Text size="sm">Deprecated: {deprecated}</Text>}
      {yanked && <Text size="sm">Taken back: it runs only for who asks for it by its number.</Text>}
      {change.isError && <Refused error={change.error} />}
      <Group gap="xs">
        <Button
          size="compact-sm"
          variant="default"
          aria-label={`${deprecated === null ? 'Deprecate' : 'Deprecation of'} ${version}`}
          onClick={() => setDeprecating(true)}
        >
          {deprecated === null ? 'Deprecate' : 'Deprecation'}
        </Button>
        <Button
          size="compact-sm"
          variant="subtle"
          color={yanked ? 'gray' : 'red'}
          loading={change.isPending && !isDeprecating}
          aria-label={`${yanked ? 'Offer it again' : 'Take it back'}: ${version}`}
          onClick={() => change.mutate({ packageId, version, yanked: !yanked })}
        >
          {yanked ? 'Offer it again' : 'Take it back'}
        </Button>
      </Group>
      <Modal opened={isDeprecating} onClose={() => setDeprecating(false)} title={`Deprecate ${version}`}>
        <Stack>
          <TextInput
            data-autofocus
            label="Why it should be used no longer"
            description="Empty: it may be used again."
            maxLength={500}
            value={why}
            onChange={(event) => setWhy(event.currentTarget.value)}
          />
          <Group justify="flex-end">
            <Button variant="default" onClick={() => setDeprecating(false)}>
              Cancel
            </Button>
            <Button
              loading={change.isPending}
              onClick={() => change.mutate({ packageId, version, deprecated: why.trim() === '' ? null : why })}
            >
              Save
            </Button>
          </Group>
        </Stack>
      </Modal>
    </li>
  );
}
