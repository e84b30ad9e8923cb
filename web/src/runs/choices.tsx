// What a run is made with: package, version, model, and which prompt.
import { SegmentedControl, Select, Skeleton, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { describeModel, type Model } from '../catalog/models.ts';
import { PackagePicker } from '../catalog/package-picker.tsx';
import { Fault } from '../shell/states.tsx';
import { trpc } from '../trpc.ts';
import type { Prompt, Side } from './ask.ts';
import styles from './choices.module.css';

export function usePackage(name: string | null) {
  return useQuery(trpc.catalog.packages.read.queryOptions({ packageId: name ?? '' }, { enabled: name !== null }));
}

type ChoicesProps = {
  side: Side;
  onChange: (change: Partial<Side>) => void;
  models: readonly Model[];
  /** What runs where none is chosen. */
  model: string | null;
  /** A visitor has no choice of models and prompts. */
  isVisitor: boolean;
  /** A session goes on with its package: its name. */
  fixed?: string | null | undefined;
  mayWriteOwn: boolean;
  /** Where there are several, which one this is. */
  place?: string;
};

export function Choices({ side, onChange, models, model, isVisitor, fixed, mayWriteOwn, place }: ChoicesProps) {
  const { packageName, prompt } = side;
  const isOwn = prompt === 'own';
  const found = usePackage(packageName);
  const chosen = models.find(({ alias }) => alias === model);
  const newest = found.data?.latestVersion ?? null;
  const about = place === undefined ? '' : ` of ${place}`;
  return (
    <div className={styles.choices} data-narrow={place !== undefined || undefined}>
      <div className={styles.package}>
        {fixed !== undefined || isOwn ? (
          <Text size="sm" component="div">
            <span className={styles.fixedLabel}>Package</span>
            {isOwn ? 'none: your own prompt' : (fixed ?? <Skeleton height={18} width={140} />)}
          </Text>
        ) : (
          <PackagePicker
            value={packageName}
            onChange={(name) => onChange({ packageName: name, version: null })}
            ariaLabel={`Package${about}`}
          />
        )}
      </div>
      <Select
        label="Version"
        aria-label={`Version${about}`}
        data={(found.data?.versions ?? []).map(({ version, yanked, deprecated }) => ({
          value: version,
          label: `${version}${version === newest ? ' (newest)' : yanked ? ' (withdrawn)' : deprecated !== null ? ' (deprecated)' : ''}`,
        }))}
        value={side.version ?? newest}
        onChange={(version) => onChange({ version: version === newest ? null : version })}
        disabled={found.data === undefined || prompt !== 'package'}
        allowDeselect={false}
        placeholder="newest"
        className={styles.version}
      />
      <Select
        label="Model"
        aria-label={`Model${about}`}
        data={models.map((one) => ({
          value: one.alias,
          label: `${one.alias} ×${one.creditMultiplier}`,
          disabled: !one.priced,
        }))}
        value={model}
        onChange={(alias) => onChange({ model: alias })}
        disabled={isVisitor || models.length === 0}
        allowDeselect={false}
        renderOption={({ option }) => {
          const one = models.find(({ alias }) => alias === option.value);
          return (
            <div>
              <Text size="sm" fw={600}>
                {option.value}
              </Text>
              <Text size="xs" c="dimmed">
                {one === undefined ? '' : describeModel(one)}
              </Text>
            </div>
          );
        }}
        comboboxProps={{ width: 300, position: 'bottom-end' }}
        className={styles.model}
      />
      <div className={styles.more}>
        {!isVisitor && (
          <SegmentedControl<Prompt>
            size="xs"
            aria-label={`Prompt${about}`}
            data={[
              { value: 'package', label: 'Package’s prompt' },
              { value: 'none', label: 'No prompt' },
              ...(mayWriteOwn ? [{ value: 'own' as const, label: 'Own prompt' }] : []),
            ]}
            value={prompt}
            onChange={(value) => onChange({ prompt: value })}
          />
        )}
        <Text size="xs" c="dimmed" className={styles.price}>
          {chosen === undefined ? ' ' : describeModel(chosen)}
        </Text>
      </div>
      <Fault of={found} />
    </div>
  );
}
