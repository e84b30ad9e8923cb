// What models cost, since when and until when, and what another price would do.
import { Badge, Button, Group, NumberInput, Stack, Switch, Text, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { ActionDialog } from '../admin/action-dialog.tsx';
import { Rows } from '../admin/rows.tsx';
import { Section } from '../admin/section.tsx';
import { Replay } from '../analytics/replay.tsx';
import { moment } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import { Answer, Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';

type Price = Outputs['catalog']['prices']['prices'][number];

export function PriceBook() {
  const [past, setPast] = useInAddress('past');
  const prices = useQuery(trpc.catalog.prices.queryOptions());
  const [editing, setEditing] = useState<Price | null>(null);
  return (
    <Section
      title="Price book"
      about="US dollars per million tokens. A price is ended, never changed; a run keeps the one that it began under."
      tools={
        <Switch
          label="Past prices"
          checked={past === 'yes'}
          onChange={(event) => setPast(event.currentTarget.checked ? 'yes' : '')}
        />
      }
    >
      <Answer of={prices}>
        {({ prices }) => (
          <Rows
            caption="Price book"
            rows={prices.filter(({ endsAt, isNow }) => past === 'yes' || isNow || !isOver(endsAt))}
            keyOf={({ id }) => id}
            empty="No model has a price: none can be run"
            columns={[
              {
                name: 'Model',
                show: ({ model, isNow, endsAt }) => (
                  <Group gap={6}>
                    {model}
                    <Badge size="sm" variant="dot" color={isNow ? 'teal' : isOver(endsAt) ? 'gray' : 'blue'}>
                      {isNow ? 'now' : isOver(endsAt) ? 'past' : 'planned'}
                    </Badge>
                  </Group>
                ),
              },
              { name: 'Input', show: ({ input }) => input, isFigure: true },
              { name: 'Cached read', show: ({ cachedRead }) => cachedRead ?? 'as input', isFigure: true },
              { name: 'Cache write', show: ({ cacheWrite }) => cacheWrite ?? 'as input', isFigure: true },
              { name: 'Output', show: ({ output }) => output, isFigure: true },
              { name: 'From', show: ({ startsAt }) => moment(startsAt) },
              { name: 'Until', show: ({ endsAt }) => (endsAt === null ? 'no end planned' : moment(endsAt)) },
              { name: 'Source', show: ({ source }) => source },
              {
                name: 'New price',
                isNameless: true,
                show: (price) =>
                  price.isNow && (
                    <Button
                      size="compact-xs"
                      variant="default"
                      onClick={() => setEditing(price)}
                      aria-label={`New price of ${price.model}`}
                    >
                      New price
                    </Button>
                  ),
              },
            ]}
          />
        )}
      </Answer>
      {editing !== null && <PriceDialog price={editing} onClose={() => setEditing(null)} />}
    </Section>
  );
}

const isOver = (endsAt: string | null) => endsAt !== null && Date.parse(endsAt) <= Date.now();

const KINDS = [
  { field: 'input', label: 'Input', isOptional: false },
  { field: 'cachedRead', label: 'Cached read', isOptional: true },
  { field: 'cacheWrite', label: 'Cache write', isOptional: true },
  { field: 'output', label: 'Output', isOptional: false },
] as const;

function PriceDialog({ price, onClose }: { price: Price; onClose: () => void }) {
  const [draft, setDraft] = useState({
    ...{ input: price.input, cachedRead: price.cachedRead, cacheWrite: price.cacheWrite, output: price.output },
  });
  const [from, setFrom] = useState('');
  const asked = { model: price.model, validFrom: from === '' ? null : new Date(from).toISOString(), ...draft };
  const preview = useMutation(trpc.catalog.publishPrices.mutationOptions());
  const publish = useMutation(
    trpc.catalog.publishPrices.mutationOptions({
      onSuccess: () => {
        notifications.show({ message: `${price.model} has a new price.` });
        onClose();
        void queryClient.invalidateQueries({ queryKey: trpc.catalog.pathKey() });
      },
    }),
  );
  const isSeen =
    preview.isSuccess &&
    JSON.stringify({ ...preview.variables, dryRun: 0 }) === JSON.stringify({ ...asked, reason: null, dryRun: 0 });
  return (
    <ActionDialog
      {...{ onClose, isPending: publish.isPending, error: publish.error, isReady: isSeen, size: 'lg' }}
      title={`New price of ${price.model}`}
      verb="Publish the price"
      onDo={(reason) => publish.mutate({ ...asked, reason, dryRun: false })}
    >
      <Text size="sm" c="dimmed">
        US dollars per million tokens.
      </Text>
      <Group gap="xs" grow>
        {KINDS.map(({ field, label, isOptional }) => (
          <NumberInput
            key={field}
            label={label}
            value={draft[field] ?? ''}
            placeholder={isOptional ? 'as input' : ''}
            {...{ min: 0, max: 100_000, allowNegative: false }}
            onChange={(value) =>
              setDraft((now) => ({ ...now, [field]: value === '' ? (isOptional ? null : 0) : Number(value) }))
            }
          />
        ))}
      </Group>
      <TextInput
        type="datetime-local"
        label="From"
        description="Empty: now."
        value={from}
        onChange={(event) => setFrom(event.currentTarget.value)}
      />
      <Group>
        <Button
          variant="light"
          loading={preview.isPending}
          onClick={() => preview.mutate({ ...asked, reason: null, dryRun: true })}
        >
          What would it do?
        </Button>
      </Group>
      {preview.isError && <Refused error={preview.error} />}
      {isSeen && preview.data !== undefined && (
        <Stack gap="sm" role="region" aria-label="What it would do">
          <Rows
            caption="Prices that end and begin"
            rows={preview.data.prices}
            keyOf={({ startsAt }) => startsAt}
            empty="Nothing changes: that is the price already"
            columns={[
              { name: 'From', show: ({ startsAt }) => moment(startsAt) },
              { name: 'Until', show: ({ endsAt }) => (endsAt === null ? 'no end planned' : moment(endsAt)) },
              { name: 'Input', show: ({ input }) => input, isFigure: true },
              { name: 'Cached read', show: ({ cachedRead }) => cachedRead ?? 'as input', isFigure: true },
              { name: 'Cache write', show: ({ cacheWrite }) => cacheWrite ?? 'as input', isFigure: true },
              { name: 'Output', show: ({ output }) => output, isFigure: true },
            ]}
          />
          {preview.data.prices.length > 0 && (
            <>
              <Text size="sm" fw={600}>
                Last month at this price
              </Text>
              <Replay
                scenario={{
                  modelPrices: [
                    {
                      model: price.model,
                      ...{ input: draft.input, output: draft.output },
                      cachedRead: draft.cachedRead ?? draft.input,
                      cacheWrite: draft.cacheWrite ?? draft.input,
                    },
                  ],
                }}
              />
            </>
          )}
        </Stack>
      )}
    </ActionDialog>
  );
}
