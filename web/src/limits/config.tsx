// Limits, plans, packs, models and settings, by the names that they have in psql; each change says first whom it is about.
import { Button, Group, SegmentedControl, Text, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { breakable, written } from '../admin/figures.ts';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { useInAddress } from '../shell/in-address.ts';
import { Answer } from '../shell/states.tsx';
import { type Outputs, trpc } from '../trpc.ts';
import { ConfigDialog } from './config-dialog.tsx';

type ConfigData = Outputs['catalog']['config'];
export type ConfigRow = ConfigData['rows'][number];
export type ConfigField = ConfigData['fields'][number];
type Kind = ConfigRow['kind'];

const KINDS: readonly { value: Kind; label: string; about: string; one?: string }[] = [
  { value: 'limits', label: 'Limits', about: 'cost_limits_config: what each tier may use.', one: 'tier' },
  { value: 'plans', label: 'Plans', about: 'plans: what can be subscribed to.', one: 'plan' },
  { value: 'packs', label: 'Packs', about: 'packs: credits that can be bought.', one: 'pack' },
  { value: 'models', label: 'Models', about: 'models: what runs on what; prices are in the price book.' },
  { value: 'settings', label: 'Settings', about: 'settings: hold from the next request on.' },
];

type Editing = { row: ConfigRow; fields: ConfigField[]; adds: boolean };

export function Config() {
  const [word, setKind] = useInAddress('kind', 'limits');
  const kind = KINDS.find(({ value }) => value === word) ?? KINDS[0];
  const config = useQuery(trpc.catalog.config.queryOptions());
  const [editing, setEditing] = useState<Editing | null>(null);
  if (kind === undefined) return null;
  return (
    <Section title={kind.label} about={kind.about}>
      <SegmentedControl
        aria-label="What to change"
        size="xs"
        value={kind.value}
        onChange={setKind}
        data={KINDS.map(({ value, label }) => ({ value, label }))}
      />
      <Answer of={config}>
        {({ fields, rows }) => {
          const own = fields.filter((field) => field.kind === kind.value);
          const ownRows = rows.filter((row) => row.kind === kind.value);
          const [only] = ownRows;
          return (
            <>
              {kind.value === 'settings' && only !== undefined ? (
                <Settings
                  row={only}
                  fields={own}
                  onEdit={(field) => setEditing({ row: only, fields: [field], adds: false })}
                />
              ) : (
                <Rows
                  caption={kind.label}
                  rows={ownRows}
                  keyOf={({ name }) => name}
                  empty="There is none"
                  columns={[
                    { name: 'Name', show: (row) => <Name row={row} /> },
                    ...own
                      .filter(({ field }) => field !== 'description')
                      .map(({ field, type }) => ({
                        name: breakable(field),
                        show: (row: ConfigRow) => breakable(written(valueIn(row, field))),
                        isFigure: /^(integer|numeric)/.test(type),
                      })),
                    {
                      name: 'Change',
                      isNameless: true,
                      show: (row) => (
                        <Button
                          size="compact-xs"
                          variant="default"
                          onClick={() => setEditing({ row, fields: own, adds: false })}
                          aria-label={`Change ${row.name}`}
                        >
                          Change
                        </Button>
                      ),
                    },
                  ]}
                />
              )}
              {kind.one !== undefined && (
                <Group>
                  <Button
                    size="xs"
                    variant="default"
                    onClick={() =>
                      setEditing({ row: { kind: kind.value, name: '', values: [] }, fields: own, adds: true })
                    }
                  >
                    Add a {kind.one}
                  </Button>
                </Group>
              )}
            </>
          );
        }}
      </Answer>
      {editing !== null && <ConfigDialog {...editing} onClose={() => setEditing(null)} />}
    </Section>
  );
}

function Name({ row }: { row: ConfigRow }) {
  const description = valueIn(row, 'description');
  return (
    <span>
      {breakable(row.name)}
      {description !== null && (
        <Text size="xs" c="dimmed" fw={400}>
          {written(description)}
        </Text>
      )}
    </span>
  );
}

export const valueIn = ({ values }: ConfigRow, field: string) =>
  values.find((one) => one.field === field)?.value ?? null;

type SettingsProps = { row: ConfigRow; fields: ConfigField[]; onEdit: (field: ConfigField) => void };

function Settings({ row, fields, onEdit }: SettingsProps) {
  const [word, setWord] = useInAddress('search', '', { replace: true });
  const found = fields.filter(({ field, description }) =>
    `${field} ${description}`.toLowerCase().includes(word.trim().toLowerCase()),
  );
  return (
    <>
      <TextInput
        label="Search settings"
        type="search"
        value={word}
        onChange={(event) => setWord(event.currentTarget.value)}
        maw={320}
      />
      <Rows
        caption="Settings"
        rows={found}
        keyOf={({ field }) => field}
        empty="No setting has these words"
        columns={[
          { name: 'Setting', show: ({ field }) => breakable(field) },
          { name: 'Value', show: ({ field }) => written(valueIn(row, field)), isFigure: true },
          {
            name: 'Meaning',
            show: ({ description }) => (
              <Text size="sm" component="span">
                {description}
              </Text>
            ),
          },
          {
            name: 'Change',
            isNameless: true,
            show: (field) => (
              <Button
                size="compact-xs"
                variant="default"
                onClick={() => onEdit(field)}
                aria-label={`Change ${field.field}`}
              >
                Change
              </Button>
            ),
          },
        ]}
      />
    </>
  );
}
