// Inputs that authors suggest: how often each was taken, and a form to change them.
import { Badge, Button, Group, NumberInput, Select, Skeleton, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { Dialog } from '../shell/dialog.tsx';
import { ago, whole } from '../shell/format.ts';
import { IconPlus } from '../shell/icons.tsx';
import { Empty, Fault, Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import { useModels } from './models.ts';
import styles from './packages.module.css';

type Suggested = Outputs['catalog']['suggestedInputs']['list']['suggestedInputs'][number];

const CATEGORIES = ['code-review', 'documentation', 'refactoring', 'general', 'testing', 'optimization'];
const DIFFICULTIES = ['beginner', 'intermediate', 'advanced'];

const refresh = () =>
  Promise.all(
    [
      trpc.catalog.suggestedInputs.pathFilter(),
      trpc.catalog.packages.pathFilter(),
      trpc.analytics.authors.inputs.pathFilter(),
    ].map((filter) => queryClient.invalidateQueries(filter)),
  );

export function SuggestedInputs({ packageId }: { packageId: string }) {
  const inputs = useQuery(
    trpc.catalog.suggestedInputs.list.queryOptions({ packageId, category: null, difficulty: null }),
  );
  const use = useQuery(trpc.analytics.authors.inputs.queryOptions({ packageId }));
  const [editing, setEditing] = useState<Suggested | 'new' | null>(null);
  const [removing, setRemoving] = useState<Suggested | null>(null);
  const figures = new Map((use.data?.suggestedInputs ?? []).map((one) => [one.suggestedInputId, one]));
  return (
    <Stack>
      <Group justify="space-between">
        <Text size="sm" c="dimmed">
          {use.data === undefined
            ? ' '
            : `Taken ${whole(use.data.summary.totalClicks)} times; ${whole(use.data.summary.totalCompletions)} were run to an answer.`}
        </Text>
        <Button variant="default" leftSection={<IconPlus size={14} />} onClick={() => setEditing('new')}>
          Suggest an input
        </Button>
      </Group>
      <Fault of={inputs} />
      <Fault of={use} />
      {inputs.isPending && [1, 2, 3].map((nth) => <Skeleton key={nth} height={110} />)}
      {inputs.data?.suggestedInputs.length === 0 && (
        <Empty title="You suggest none yet">With one to begin with, more people try a package.</Empty>
      )}
      <ul className={styles.list}>
        {(inputs.data?.suggestedInputs ?? []).map((one) => {
          const known = figures.get(one.id);
          return (
            <li key={one.id} className={styles.card}>
              <Group gap="xs">
                <Text fw={600}>{one.title}</Text>
                <Badge variant="default" tt="none">
                  {one.difficulty}
                </Badge>
              </Group>
              <Text size="sm" c="dimmed" lineClamp={2}>
                {one.description ?? one.suggestedInput}
              </Text>
              {known !== undefined && (
                <div className={styles.facts}>
                  <span>taken {whole(known.totalClicks)} times</span>
                  <span>by {whole(known.uniqueUsers)} people</span>
                  <span>
                    {whole(known.completedTests)} run to an answer ({known.conversionRate} %)
                  </span>
                  <span>{whole(known.clicksLast30Days)} in 30 days</span>
                  {known.lastClickedAt !== null && <span>last {ago(known.lastClickedAt)}</span>}
                </div>
              )}
              <Group gap="xs">
                <Button
                  size="compact-sm"
                  variant="default"
                  aria-label={`Change “${one.title}”`}
                  onClick={() => setEditing(one)}
                >
                  Change
                </Button>
                <Button
                  size="compact-sm"
                  variant="subtle"
                  color="red"
                  aria-label={`Delete “${one.title}”`}
                  onClick={() => setRemoving(one)}
                >
                  Delete
                </Button>
              </Group>
            </li>
          );
        })}
      </ul>
      {editing !== null && (
        <Edit packageId={packageId} input={editing === 'new' ? null : editing} onClose={() => setEditing(null)} />
      )}
      {removing !== null && <Remove input={removing} onClose={() => setRemoving(null)} />}
    </Stack>
  );
}

type EditProps = { packageId: string; input: Suggested | null; onClose: () => void };

function Edit({ packageId, input, onClose }: EditProps) {
  const models = useModels();
  const [title, setTitle] = useState(input?.title ?? '');
  const [text, setText] = useState(input?.suggestedInput ?? '');
  const [description, setDescription] = useState(input?.description ?? '');
  const [category, setCategory] = useState<string | null>(input?.category ?? null);
  const [difficulty, setDifficulty] = useState(input?.difficulty ?? 'beginner');
  const [model, setModel] = useState<string | null>(input?.recommendedModel ?? null);
  const [estimate, setEstimate] = useState<number | string>(input?.estimatedCredits ?? 1);
  const onSuccess = async () => {
    await refresh();
    onClose();
  };
  const create = useMutation(trpc.catalog.suggestedInputs.create.mutationOptions({ onSuccess }));
  const change = useMutation(trpc.catalog.suggestedInputs.change.mutationOptions({ onSuccess }));
  const sent = input === null ? create : change;
  return (
    <Dialog onClose={onClose} size="lg" title={input === null ? 'Suggest an input' : 'Change the suggestion'}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          const fields = {
            ...{ title, suggestedInput: text, category, difficulty, recommendedModel: model },
            description: description.trim() === '' ? null : description,
            estimatedCredits: Number(estimate) || 1,
          };
          if (input === null) create.mutate({ packageId, ...fields });
          else change.mutate({ suggestedInputId: input.id, ...fields });
        }}
      >
        <Stack>
          <TextInput
            data-autofocus
            required
            label="Title"
            maxLength={100}
            value={title}
            onChange={(event) => setTitle(event.currentTarget.value)}
          />
          <Textarea
            required
            label="The input"
            autosize
            minRows={4}
            maxRows={14}
            maxLength={10_000}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
          />
          <Textarea
            label="What it shows"
            autosize
            maxLength={1_000}
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
          />
          <div className={styles.cards}>
            <Select label="Category" clearable data={CATEGORIES} value={category} onChange={setCategory} />
            <Select
              label="Difficulty"
              data={DIFFICULTIES}
              value={difficulty}
              onChange={(value) => setDifficulty(value ?? 'beginner')}
              allowDeselect={false}
            />
            <Select
              label="Model that suits it"
              clearable
              data={models.map(({ alias }) => alias)}
              value={model}
              onChange={setModel}
            />
            <NumberInput
              label="Credits, about"
              min={1}
              max={50}
              allowDecimal={false}
              hideControls
              value={estimate}
              onChange={setEstimate}
            />
          </div>
          {sent.isError && <Refused error={sent.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={sent.isPending} disabled={title.trim() === '' || text.trim() === ''}>
              {input === null ? 'Suggest it' : 'Save'}
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}

function Remove({ input: { id, title }, onClose }: { input: Suggested; onClose: () => void }) {
  const remove = useMutation(
    trpc.catalog.suggestedInputs.delete.mutationOptions({
      onSuccess: async () => {
        await refresh();
        onClose();
      },
    }),
  );
  return (
    <Dialog onClose={onClose} title={`Delete “${title}”?`}>
      <Stack>
        <Text size="sm">It is suggested no longer. How often it was taken stays counted.</Text>
        {remove.isError && <Refused error={remove.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Keep it
          </Button>
          <Button color="red" loading={remove.isPending} onClick={() => remove.mutate({ suggestedInputId: id })}>
            Delete
          </Button>
        </Group>
      </Stack>
    </Dialog>
  );
}
