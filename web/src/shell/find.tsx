// Finds anything: pages, packages, one's own sessions. Loaded when it is first asked for.
import '@mantine/spotlight/styles.layer.css';
import { useDebouncedValue } from '@mantine/hooks';
import { Spotlight, spotlight } from '@mantine/spotlight';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { type KeyboardEvent, useEffect, useState } from 'react';
import { useLocation } from 'wouter';
import { pathOf } from '../sessions/path.ts';
import { trpc } from '../trpc.ts';
import { ago } from './format.ts';
import { IconSearch } from './icons.tsx';

const SEARCH_MS = 200;

type FindProps = { places: readonly { path: string; name: string }[]; isVisitor: boolean };

export function Find({ places, isVisitor }: FindProps) {
  const [text, setText] = useState('');
  const [query] = useDebouncedValue(text.trim(), SEARCH_MS);
  const [, navigate] = useLocation();
  const [isOpen, setOpen] = useState(true);
  useEffect(() => spotlight.open(), []);
  const packages = useQuery(
    trpc.catalog.packages.search.queryOptions(
      { query: query === '' ? null : query, limit: 5 },
      { enabled: isOpen, placeholderData: keepPreviousData },
    ),
  );
  const sessions = useQuery(
    trpc.sessions.list.queryOptions(
      { query: query === '' ? null : query, limit: 5 },
      { enabled: isOpen && !isVisitor, placeholderData: keepPreviousData },
    ),
  );
  const pages = places.filter(({ name }) => name.toLowerCase().includes(text.trim().toLowerCase()));
  const found = packages.data?.packages ?? [];
  const mine = isVisitor ? [] : (sessions.data?.sessions ?? []);
  const isSettled = !packages.isPlaceholderData && !sessions.isPlaceholderData && query === text.trim();
  /** Enter takes what is selected; where nothing is, the first of what was asked for. */
  const takeFirst = ({ key }: KeyboardEvent) => {
    if (key !== 'Enter' || !isSettled || document.querySelector('[data-action][data-selected]') !== null) return;
    document.querySelector<HTMLElement>('[data-action]')?.click();
  };
  const isSearching = packages.isFetching || sessions.isFetching;

  return (
    <Spotlight.Root
      query={text}
      onQueryChange={setText}
      shortcut={null}
      scrollable
      maxHeight={420}
      attributes={{ content: { 'aria-label': 'Find anything' } }}
      onSpotlightOpen={() => setOpen(true)}
      onSpotlightClose={() => setOpen(false)}
    >
      <Spotlight.Search
        aria-label="Find anything"
        placeholder="Pages, packages, sessions"
        leftSection={<IconSearch />}
        onKeyDown={takeFirst}
      />
      <Spotlight.ActionsList aria-label="Found">
        {pages.length > 0 && (
          <Spotlight.ActionsGroup label="Pages">
            {pages.map(({ path, name }) => (
              <Spotlight.Action key={path} label={name} onClick={() => navigate(path)} />
            ))}
          </Spotlight.ActionsGroup>
        )}
        {found.length > 0 && (
          <Spotlight.ActionsGroup label="Try a package">
            {found.map(({ name, description }) => (
              <Spotlight.Action
                key={name}
                label={name}
                description={description.length > 90 ? `${description.slice(0, 89)}…` : description}
                onClick={() => navigate(`/playground?${new URLSearchParams({ package: name })}`)}
              />
            ))}
          </Spotlight.ActionsGroup>
        )}
        {mine.length > 0 && (
          <Spotlight.ActionsGroup label="Sessions">
            {mine.map((session) => (
              <Spotlight.Action
                key={session.id}
                label={(session.title ?? 'Untitled').slice(0, 80)}
                description={`${session.packageName ?? ''} · ${ago(session.lastRunAt)}`}
                onClick={() => navigate(pathOf(session))}
              />
            ))}
          </Spotlight.ActionsGroup>
        )}
        {pages.length + found.length + mine.length === 0 && (
          <Spotlight.Empty>{isSearching ? 'Searching' : 'Nothing has these words.'}</Spotlight.Empty>
        )}
      </Spotlight.ActionsList>
    </Spotlight.Root>
  );
}

/** Opens it where it is there already. */
export const openFind = spotlight.open;
