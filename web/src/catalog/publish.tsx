// A package, or another version of one, from a form or from a Markdown file.
import { Button, FileButton, Group, Select, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Dialog } from '../shell/dialog.tsx';
import { problemOf } from '../shell/problem.ts';
import { Refused } from '../shell/states.tsx';
import { type Inputs, type Outputs, queryClient, trpc } from '../trpc.ts';
import { tagsOf, VISIBILITIES, visibilityOf } from './package-settings.tsx';
import styles from './publish.module.css';

type Known = Outputs['catalog']['packages']['read'];
type Publish = Inputs['catalog']['packages']['publish'];
type PublishProps = { known?: Known | undefined; onDone: (name: string) => void; onClose: () => void };

const refresh = () => queryClient.invalidateQueries(trpc.catalog.packages.pathFilter());

export function Publish({ known, onDone, onClose }: PublishProps) {
  const read = useQuery(
    trpc.catalog.packages.version.queryOptions({ packageId: known?.name ?? '' }, { enabled: known !== undefined }),
  );
  const isReady = known === undefined || read.data !== undefined || read.isError;
  return (
    <Dialog
      onClose={onClose}
      size="xl"
      title={known === undefined ? 'Publish a package' : `New version of ${known.name}`}
      closeOnClickOutside={false}
    >
      {isReady && <Form known={known} prompt={read.data?.prompt ?? ''} onDone={onDone} onClose={onClose} />}
    </Dialog>
  );
}

function Form({ known, prompt: before, onDone, onClose }: PublishProps & { prompt: string }) {
  const variablesBefore = known?.versions[0]?.variables ?? null;
  const [name, setName] = useState(known?.name ?? '');
  const [version, setVersion] = useState(known === undefined ? '1.0.0' : '');
  const [prompt, setPrompt] = useState(before);
  const [description, setDescription] = useState(known?.description ?? '');
  const [tags, setTags] = useState(known?.tags.join(', ') ?? '');
  const [visibility, setVisibility] = useState<string>(known?.visibility ?? 'public');
  const [organization, setOrganization] = useState('');
  const [changelog, setChangelog] = useState('');
  const [variables, setVariables] = useState(variablesBefore === null ? '' : JSON.stringify(variablesBefore, null, 2));
  const onPublished = async (told: string) => {
    await refresh();
    onDone(told);
  };
  const publish = useMutation(
    trpc.catalog.packages.publish.mutationOptions({ onSuccess: (_done, sent) => onPublished(sent.name) }),
  );
  const publishFile = useMutation(
    trpc.catalog.packages.publishMarkdown.mutationOptions({ onSuccess: ({ packageId }) => onPublished(packageId) }),
  );
  const wrong = new Map(
    publish.isError ? problemOf(publish.error).fields.map(({ field, message }) => [field, message]) : [],
  );
  const schema = parsed(variables);
  const shared = (field: string) => ({ error: wrong.get(field) });

  const send = () => {
    const written: Publish = {
      ...{ name, version, prompt, description, changelog },
      ...{ tags: tagsOf(tags), visibility: visibilityOf(visibility) },
      ...(organization.trim() !== '' && { organization }),
      ...(schema.value !== null && { variables: schema.value }),
    };
    publish.mutate(written);
  };

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <Stack>
        {known === undefined && (
          <Group gap="xs">
            <FileButton
              accept=".md,text/markdown"
              onChange={async (file) => {
                if (file !== null) publishFile.mutate({ markdown: await file.text() });
              }}
            >
              {(props) => (
                <Button {...props} variant="default" size="compact-sm" loading={publishFile.isPending}>
                  Publish a Markdown file
                </Button>
              )}
            </FileButton>
            <Text size="sm" c="dimmed">
              whose front matter says name and version; or write it here.
            </Text>
          </Group>
        )}
        {publishFile.isError && <Refused error={publishFile.error} />}
        <div className={styles.pair}>
          {known === undefined && (
            <TextInput
              label="Name"
              required
              placeholder="code-review"
              maxLength={140}
              value={name}
              onChange={(event) => setName(event.currentTarget.value)}
              {...shared('name')}
            />
          )}
          <TextInput
            label="Version"
            required
            data-autofocus
            placeholder={
              known?.latestVersion === null || known === undefined ? '1.0.0' : `after ${known.latestVersion}`
            }
            maxLength={50}
            value={version}
            onChange={(event) => setVersion(event.currentTarget.value)}
            {...shared('version')}
          />
        </div>
        <Textarea
          label="Prompt"
          description="A version keeps it for ever."
          required
          autosize
          minRows={8}
          maxRows={20}
          maxLength={50_000}
          className={styles.prompt}
          value={prompt}
          onChange={(event) => setPrompt(event.currentTarget.value)}
          {...shared('prompt')}
        />
        <Textarea
          label="What it is for"
          autosize
          minRows={2}
          maxLength={2_000}
          value={description}
          onChange={(event) => setDescription(event.currentTarget.value)}
          {...shared('description')}
        />
        <div className={styles.pair}>
          <TextInput
            label="Tags"
            description="With commas between them."
            value={tags}
            onChange={(event) => setTags(event.currentTarget.value)}
            {...shared('tags')}
          />
          <Select
            label="Who sees it"
            data={VISIBILITIES}
            value={visibility}
            onChange={(value) => setVisibility(value ?? 'public')}
            allowDeselect={false}
          />
          {known === undefined && (
            <TextInput
              label="Organization"
              description="Empty: it is your own."
              maxLength={200}
              value={organization}
              onChange={(event) => setOrganization(event.currentTarget.value)}
              {...shared('organization')}
            />
          )}
        </div>
        <Textarea
          label="What is new"
          autosize
          minRows={2}
          maxLength={10_000}
          value={changelog}
          onChange={(event) => setChangelog(event.currentTarget.value)}
          {...shared('changelog')}
        />
        <details open={variables !== ''}>
          <summary>Variables</summary>
          <Textarea
            label="JSON schema of the {{names}} in the prompt"
            autosize
            minRows={4}
            mt="xs"
            className={styles.prompt}
            value={variables}
            onChange={(event) => setVariables(event.currentTarget.value)}
            error={schema.error ?? wrong.get('variables')}
          />
        </details>
        {publish.isError && <Refused error={publish.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            type="submit"
            loading={publish.isPending}
            disabled={name.trim() === '' || version.trim() === '' || prompt === '' || schema.error !== null}
          >
            Publish
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function parsed(text: string): { value: Record<string, unknown> | null; error: string | null } {
  if (text.trim() === '') return { value: null, error: null };
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return { value: Object.fromEntries(Object.entries(value)), error: null };
    return { value: null, error: 'must be a JSON object' };
  } catch {
    return { value: null, error: 'is no JSON' };
  }
}
