// What a past time would have brought and cost under other rules. The scenario stands in the page's address.
import { Badge, Button, CloseButton, Group, NativeSelect, NumberInput, Text, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useSearchParams } from 'wouter';
import { Section } from '../admin/section.tsx';
import { useInAddress } from '../shell/in-address.ts';
import { useSettled } from '../shell/settled.ts';
import { Answer } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';
import { Replay } from './replay.tsx';
import { type Change, isReplayed, scenarioOf } from './scenario.ts';

const SETTLE_MS = 400;

export function WhatIf() {
  const [preset, setPreset] = useInAddress('preset');
  const [since, setSince] = useInAddress('since', '', { replace: true });
  const [until, setUntil] = useInAddress('until', '', { replace: true });
  const [changes, setChanges] = useChanges();
  const presets = useQuery(trpc.analytics.costs.presets.queryOptions());
  const { settled: scenario } = useSettled(
    { ...scenarioOf(changes), preset: preset || null, since: since || null, until: until || null },
    SETTLE_MS,
  );
  const meaning = presets.data?.presets.find((one) => one.preset === preset)?.meaning;
  return (
    <>
      <Section
        title="What if"
        about="Replays the runs of a past time under other prices and limits. Nothing is changed."
      >
        <Group gap="xs" align="flex-end">
          <NativeSelect
            label="Recommendation"
            value={preset}
            onChange={(event) => setPreset(event.currentTarget.value)}
            data={[
              { value: '', label: 'none' },
              ...(presets.data?.presets ?? []).map((one) => ({ value: one.preset, label: one.preset })),
            ]}
          />
          <TextInput
            type="date"
            label="From (UTC)"
            value={since}
            onChange={(event) => setSince(event.currentTarget.value)}
          />
          <TextInput
            type="date"
            label="Up to, not included"
            value={until}
            onChange={(event) => setUntil(event.currentTarget.value)}
          />
        </Group>
        <Text size="xs" c="dimmed">
          {since === '' && until === '' ? 'Without days: the last calendar month. ' : ''}
          {meaning}
        </Text>
        <Changes changes={changes} setChanges={setChanges} />
      </Section>
      <Section title="What would have been">
        <Replay scenario={scenario} />
      </Section>
    </>
  );
}

/** `set=limits/free/monthly_cost_limit=0.4` in the page's address; nothing behind the = is null. */
function useChanges(): [Change[], (changes: readonly Change[]) => void] {
  const [query, setQuery] = useSearchParams();
  const changes = query.getAll('set').flatMap((one) => {
    const [, kind = '', name = '', field = '', value = ''] = /^([^/]+)\/([^/]+)\/([^=]+)=(.*)$/.exec(one) ?? [];
    const isNumber = value !== '' && Number.isFinite(Number(value));
    return isReplayed(kind, field) ? [{ kind, name, field, value: isNumber ? Number(value) : null }] : [];
  });
  const set = (next: readonly Change[]) =>
    setQuery(
      (now) => {
        now.delete('set');
        for (const { kind, name, field, value } of next) now.append('set', `${kind}/${name}/${field}=${value ?? ''}`);
        return now;
      },
      { replace: true },
    );
  return [changes, set];
}

const keyOf = ({ kind, name, field }: Omit<Change, 'value'>) => `${kind}/${name}/${field}`;
const nameOf = ({ kind, name, field }: Omit<Change, 'value'>) =>
  kind === 'settings' ? field : `${kind} · ${name} · ${field}`;

type ChangesProps = { changes: Change[]; setChanges: (changes: readonly Change[]) => void };

function Changes({ changes, setChanges }: ChangesProps) {
  const config = useQuery(trpc.catalog.config.queryOptions());
  const [chosen, setChosen] = useState('');
  return (
    <Answer of={config}>
      {({ rows }) => {
        const known = rows.flatMap(({ kind, name, values }) =>
          values
            .filter(({ field }) => isReplayed(kind, field))
            .map(({ field, value }) => ({ kind, name, field, value: typeof value === 'number' ? value : null })),
        );
        const open = known.filter((one) => !changes.some((change) => keyOf(change) === keyOf(one)));
        const next = open.find((one) => keyOf(one) === chosen) ?? open[0];
        return (
          <>
            {changes.map((change) => (
              <Group key={keyOf(change)} gap="xs" align="flex-end">
                <NumberInput
                  label={nameOf(change)}
                  placeholder="null: none"
                  value={change.value ?? ''}
                  min={0}
                  allowNegative={false}
                  onChange={(value) =>
                    setChanges(
                      changes.map((one) =>
                        one === change ? { ...one, value: typeof value === 'number' ? value : null } : one,
                      ),
                    )
                  }
                />
                <Badge variant="dot" color="gray" tt="none" mb={8}>
                  now {known.find((one) => keyOf(one) === keyOf(change))?.value ?? 'null'}
                </Badge>
                <CloseButton
                  mb={4}
                  aria-label={`Leave ${nameOf(change)} as it is`}
                  onClick={() => setChanges(changes.filter((one) => one !== change))}
                />
              </Group>
            ))}
            <Group gap="xs" align="flex-end">
              <NativeSelect
                label="Change also"
                value={next === undefined ? '' : keyOf(next)}
                onChange={(event) => setChosen(event.currentTarget.value)}
                data={open.map((one) => ({ value: keyOf(one), label: nameOf(one) }))}
              />
              <Button
                variant="default"
                disabled={next === undefined}
                onClick={() => next !== undefined && setChanges([...changes, next])}
              >
                Add
              </Button>
            </Group>
          </>
        );
      }}
    </Answer>
  );
}
