import { Anchor, Button, Group, List, NativeSelect, NumberInput, Stack, Switch, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { Link } from 'wouter';
import { ActionDialog } from '../admin/action-dialog.tsx';
import { written } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Replay } from '../analytics/replay.tsx';
import { isReplayed, scenarioOf } from '../analytics/scenario.ts';
import { Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import { type ConfigField, type ConfigRow, valueIn } from './config.tsx';

type Value = ReturnType<typeof valueIn>;
type DialogProps = { row: ConfigRow; fields: ConfigField[]; adds: boolean; onClose: () => void };

/** Fields of one row: changed, looked at, and only then saved. */
export function ConfigDialog({ row, fields, adds, onClose }: DialogProps) {
  const [name, setName] = useState(row.name);
  const [drafts, setDrafts] = useState<Record<string, Value>>({});
  const changes = Object.entries(drafts)
    .filter(([field, value]) => (adds ? value !== null : written(value) !== written(valueIn(row, field))))
    .map(([field, value]) => ({ field, value }));
  const asked = { kind: row.kind, name, adds, changes };

  const preview = useMutation(trpc.limits.changeConfig.mutationOptions());
  const save = useMutation(
    trpc.limits.changeConfig.mutationOptions({
      onSuccess: () => {
        notifications.show({ message: `${row.kind === 'settings' ? 'The setting' : name} is changed.` });
        onClose();
        void queryClient.invalidateQueries();
      },
    }),
  );
  // What was looked at is what is saved: any other change has to be looked at again.
  const isSeen =
    preview.isSuccess &&
    JSON.stringify({ ...preview.variables, dryRun: 0 }) === JSON.stringify({ ...asked, reason: null, dryRun: 0 });
  const isReady = changes.length > 0 && name.trim() !== '';

  return (
    <ActionDialog
      {...{ onClose, isPending: save.isPending, error: save.error, isReady: isSeen, size: 'lg' }}
      title={adds ? `Add to ${row.kind}` : row.kind === 'settings' ? 'Change a setting' : `Change ${row.name}`}
      verb="Save"
      onDo={(reason) => save.mutate({ ...asked, reason, dryRun: false })}
    >
      {adds && (
        <TextInput
          label="Name"
          description="Lower case letters, digits and _."
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          required
        />
      )}
      {fields.map((field) => (
        <FieldInput
          key={field.field}
          field={field}
          isNew={adds}
          value={field.field in drafts ? (drafts[field.field] ?? null) : valueIn(row, field.field)}
          onChange={(value) => setDrafts((now) => ({ ...now, [field.field]: value }))}
        />
      ))}
      <Group>
        <Button
          variant="light"
          disabled={!isReady}
          loading={preview.isPending}
          onClick={() => preview.mutate({ ...asked, reason: null, dryRun: true })}
        >
          Who is affected?
        </Button>
      </Group>
      {preview.isError && <Refused error={preview.error} />}
      {isSeen && preview.data !== undefined && <Effects {...preview.data} row={row} />}
    </ActionDialog>
  );
}

type FieldInputProps = { field: ConfigField; isNew: boolean; value: Value; onChange: (value: Value) => void };

function FieldInput({ field: { field, type, isOptional, description }, isNew, value, onChange }: FieldInputProps) {
  const common = { label: field, description };
  // What is left out of a new row has the database's default.
  if (type === 'boolean' && isNew)
    return (
      <NativeSelect
        {...common}
        data={['default', 'true', 'false']}
        onChange={(event) =>
          onChange(event.currentTarget.value === 'default' ? null : event.currentTarget.value === 'true')
        }
      />
    );
  if (type === 'boolean')
    return <Switch {...common} checked={value === true} onChange={(event) => onChange(event.currentTarget.checked)} />;
  if (type === 'integer' || type.startsWith('numeric') || type === 'bigint')
    return (
      <NumberInput
        {...common}
        value={typeof value === 'number' ? value : ''}
        placeholder={isOptional ? 'null' : ''}
        allowDecimal={type.startsWith('numeric')}
        onChange={(next) => onChange(next === '' ? null : Number(next))}
      />
    );
  if (type === 'integer[]')
    return (
      <TextInput
        {...common}
        placeholder="75, 90"
        defaultValue={Array.isArray(value) ? value.join(', ') : ''}
        onChange={(event) =>
          onChange(
            event.currentTarget.value
              .split(/[,\s]+/)
              .filter((one) => one !== '')
              .map(Number),
          )
        }
      />
    );
  return (
    <TextInput
      {...common}
      value={typeof value === 'string' ? value : ''}
      placeholder={isOptional ? 'null' : ''}
      onChange={(event) => onChange(event.currentTarget.value === '' && isOptional ? null : event.currentTarget.value)}
    />
  );
}

type EffectsProps = Outputs['limits']['changeConfig'] & { row: ConfigRow };

/** What the database says that the change would do. */
function Effects({ changed, effects, notes, row }: EffectsProps) {
  const [isReplaying, setReplaying] = useState(false);
  const replayed = changed.flatMap(({ field, becomes }) =>
    isReplayed(row.kind, field)
      ? [{ kind: row.kind, name: row.name, field, value: typeof becomes === 'number' ? becomes : null }]
      : [],
  );
  return (
    <Stack gap="sm" role="region" aria-label="Who is affected">
      <Rows
        caption="What changes"
        rows={changed}
        keyOf={({ field }) => field}
        empty="Nothing changes: it is so already"
        columns={[
          { name: 'Field', show: ({ field }) => field },
          { name: 'Now', show: ({ was }) => written(was), isFigure: true },
          { name: 'Then', show: ({ becomes }) => written(becomes), isFigure: true },
        ]}
      />
      {effects.length === 0 ? (
        <Text size="sm">Nobody stands differently at this moment.</Text>
      ) : (
        <Rows
          caption="Who stands differently"
          rows={effects}
          keyOf={({ was, becomes }) => `${was} ${becomes}`}
          empty=""
          columns={[
            { name: 'Who', show: ({ people, who }) => <Who people={people} who={who} /> },
            { name: 'Now', show: ({ was }) => was },
            { name: 'Then', show: ({ becomes }) => becomes },
          ]}
        />
      )}
      <List size="sm">
        {notes.map((note) => (
          <List.Item key={note}>{note}</List.Item>
        ))}
      </List>
      {replayed.length > 0 &&
        row.name !== '' &&
        (isReplaying ? (
          <Replay scenario={scenarioOf(replayed)} />
        ) : (
          <Group>
            <Button variant="subtle" size="compact-sm" onClick={() => setReplaying(true)}>
              Replay last month with it
            </Button>
          </Group>
        ))}
    </Stack>
  );
}

function Who({ people, who }: { people: number; who: { userId: string; username: string }[] }) {
  return (
    <span>
      {people.toLocaleString()} {people === 1 ? 'person' : 'people'}:{' '}
      {who.map(({ userId, username }, place) => (
        <span key={userId}>
          {place > 0 && ', '}
          <Anchor component={Link} href={`/admin/users/${userId}`} size="sm">
            {username}
          </Anchor>
        </span>
      ))}
      {people > who.length && ' …'}
    </span>
  );
}
