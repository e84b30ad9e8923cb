import { Combobox, InputBase, Loader, Text, useCombobox } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { trpc } from '../trpc.ts';
import styles from './package-picker.module.css';

const SEARCH_MS = 200;

type PickerProps = { value: string | null; onChange: (name: string) => void; ariaLabel?: string };

/** Finds a package by words of its name, tags and description; arrow keys choose. */
export function PackagePicker({ value, onChange, ariaLabel = 'Package' }: PickerProps) {
  const combobox = useCombobox({ onDropdownClose: () => combobox.resetSelectedOption() });
  const [text, setText] = useState(value ?? '');
  useEffect(() => setText(value ?? ''), [value]);
  const isSearching = combobox.dropdownOpened && text !== (value ?? '');
  const [query] = useDebouncedValue(isSearching ? text : '', SEARCH_MS);
  const found = useQuery(
    trpc.catalog.packages.search.queryOptions(
      { query, limit: 10 },
      { enabled: combobox.dropdownOpened, placeholderData: keepPreviousData },
    ),
  );
  const packages = found.data?.packages ?? [];
  // While other packages are listed than those that the words ask for, Enter takes none.
  const isSettled = found.isSuccess && !found.isPlaceholderData && query === (isSearching ? text : '');
  // biome-ignore lint/correctness/useExhaustiveDependencies: when other packages are listed
  useEffect(() => {
    if (isSettled) combobox.selectFirstOption();
    else combobox.resetSelectedOption();
  }, [found.data, isSettled]);

  return (
    <Combobox
      store={combobox}
      onOptionSubmit={(name) => {
        onChange(name);
        setText(name);
        combobox.closeDropdown();
      }}
    >
      <Combobox.Target>
        <InputBase
          label="Package"
          aria-label={ariaLabel}
          placeholder="Search packages"
          value={text}
          onChange={(event) => {
            setText(event.currentTarget.value);
            combobox.openDropdown();
          }}
          onFocus={(event) => event.currentTarget.select()}
          onClick={() => combobox.openDropdown()}
          onBlur={() => {
            combobox.closeDropdown();
            setText(value ?? '');
          }}
          rightSection={found.isFetching ? <Loader size={14} /> : <Combobox.Chevron />}
          rightSectionPointerEvents="none"
          autoComplete="off"
          spellCheck={false}
        />
      </Combobox.Target>
      <Combobox.Dropdown>
        <Combobox.Options mah={320} className={styles.options} aria-label="Packages">
          {packages.map(({ name, description }) => (
            <Combobox.Option key={name} value={name} active={name === value}>
              <Text size="sm" fw={600}>
                {name}
              </Text>
              <Text size="xs" c="dimmed" lineClamp={2}>
                {description}
              </Text>
            </Combobox.Option>
          ))}
          {found.isSuccess && packages.length === 0 && <Combobox.Empty>No package has these words.</Combobox.Empty>}
          {found.isError && <Combobox.Empty>The search did not work; type on to try again.</Combobox.Empty>}
          {found.isPending && <Combobox.Empty>Searching</Combobox.Empty>}
        </Combobox.Options>
      </Combobox.Dropdown>
    </Combobox>
  );
}
