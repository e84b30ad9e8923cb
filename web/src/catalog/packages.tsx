// All packages that one may see, found by words.
import { Button, Skeleton, Stack, Text, TextInput, Title } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { keepPreviousData, useInfiniteQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { Link, useSearchParams } from 'wouter';
import { ago } from '../shell/format.ts';
import { IconSearch } from '../shell/icons.tsx';
import page from '../shell/states.module.css';
import { Empty, Fault } from '../shell/states.tsx';
import { useTitle } from '../shell/title.ts';
import { type Outputs, trpc } from '../trpc.ts';
import styles from './packages.module.css';
import { packagePath } from './path.ts';

type Found = Outputs['catalog']['packages']['search']['packages'][number];

const SEARCH_MS = 300;

export function Packages() {
  useTitle('Packages');
  const [query, setQuery] = useSearchParams();
  const asked = query.get('q') ?? '';
  const [words, setWords] = useState(asked);
  useEffect(() => setWords(asked), [asked]);
  const ask = useDebouncedCallback((text: string) => {
    setQuery(
      (now) => {
        if (text === '') now.delete('q');
        else now.set('q', text);
        return now;
      },
      { replace: true },
    );
  }, SEARCH_MS);
  const found = useInfiniteQuery(
    trpc.catalog.packages.search.infiniteQueryOptions(
      { limit: 20, query: asked === '' ? null : asked },
      { getNextPageParam: (last) => last.nextCursor, placeholderData: keepPreviousData },
    ),
  );
  const packages = (found.data?.pages ?? []).flatMap((one) => one.packages);
  const total = found.data?.pages[0]?.total;

  return (
    <Stack className={page.page} gap="md">
      <Title order={1} size="h2">
        Packages
      </Title>
      <TextInput
        type="search"
        label="Search"
        placeholder="Words of the name, a tag or the description"
        maxLength={200}
        leftSection={<IconSearch size={16} />}
        value={words}
        onChange={(event) => {
          setWords(event.currentTarget.value);
          ask(event.currentTarget.value.trim());
        }}
      />
      <Text size="sm" c="dimmed" role="status">
        {total === undefined ? ' ' : `${total.toLocaleString()} ${total === 1 ? 'package' : 'packages'}`}
      </Text>
      <Fault of={found} />
      {found.isPending && [1, 2, 3, 4, 5].map((nth) => <Skeleton key={nth} height={92} />)}
      {found.isSuccess && packages.length === 0 && (
        <Empty title="No package has these words">
          {asked === '' ? 'Nothing was published yet.' : 'Fewer or other words may find it.'}
        </Empty>
      )}
      <ul className={styles.list}>
        {packages.map((one) => (
          <Item key={one.id} found={one} />
        ))}
      </ul>
      {found.hasNextPage && (
        <Button variant="default" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
          Show more
        </Button>
      )}
    </Stack>
  );
}

function Item({ found: { name, description, tags, author, visibility, latestVersion, updatedAt } }: { found: Found }) {
  return (
    <li className={styles.item}>
      <Link href={packagePath(name)} className={styles.name}>
        {name}
      </Link>
      <Text size="sm" lineClamp={2}>
        {description}
      </Text>
      <div className={styles.facts}>
        {latestVersion !== null && <span>{latestVersion}</span>}
        {author !== null && <span>by {author}</span>}
        {visibility !== 'public' && <span>{visibility}</span>}
        <span>{ago(updatedAt)}</span>
        {tags.map((tag) => (
          <span key={tag} className={styles.tag}>
            {tag}
          </span>
        ))}
      </div>
    </li>
  );
}
