// One's own sessions: found by words, gone on with, renamed, shared, deleted with a moment to take it back.
import { ActionIcon, Button, Group, Menu, Skeleton, Stack, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { keepPreviousData, useInfiniteQuery, useMutation } from '@tanstack/react-query';
import { memo, useState } from 'react';
import { Link } from 'wouter';
import { Dialog } from '../shell/dialog.tsx';
import { ago, credits } from '../shell/format.ts';
import { IconMore, IconPlus, IconSearch } from '../shell/icons.tsx';
import { Empty, Fault, Refused } from '../shell/states.tsx';
import { type Outputs, queryClient, trpc } from '../trpc.ts';
import { deleteSession, useDeleted } from './deletion.tsx';
import { exportSession } from './export.ts';
import { OWN_PROMPTS, pathOf } from './path.ts';
import { ShareSession } from './share-dialog.tsx';
import styles from './side.module.css';

type Session = Outputs['sessions']['list']['sessions'][number];

const SEARCH_MS = 300;

type SideProps = { current: string | null; onNew: () => void; onGone: (id: string) => void };

export const Sessions = memo(function Sessions({ current, onNew, onGone }: SideProps) {
  const [words, setWords] = useState('');
  const [query] = useDebouncedValue(words.trim(), SEARCH_MS);
  const hidden = useDeleted();
  const [renaming, setRenaming] = useState<Session | null>(null);
  const [sharing, setSharing] = useState<Session | null>(null);
  const list = useInfiniteQuery(
    trpc.sessions.list.infiniteQueryOptions(
      { limit: 20, query: query === '' ? null : query },
      { getNextPageParam: (page) => page.nextCursor, placeholderData: keepPreviousData },
    ),
  );
  const sessions = (list.data?.pages ?? []).flatMap((page) => page.sessions).filter(({ id }) => !hidden.has(id));
  const remove = (session: Session) => {
    deleteSession(session);
    onGone(session.id);
  };

  return (
    <Stack gap="sm" className={styles.side}>
      <Button variant="light" leftSection={<IconPlus size={16} />} onClick={onNew}>
        New session
      </Button>
      <TextInput
        type="search"
        aria-label="Search sessions"
        placeholder="Words, model:opus, package:name"
        leftSection={<IconSearch size={16} />}
        value={words}
        onChange={(event) => setWords(event.currentTarget.value)}
      />
      <Fault of={list} />
      {list.isPending && [1, 2, 3, 4].map((nth) => <Skeleton key={nth} height={52} />)}
      {list.isSuccess && sessions.length === 0 && (
        <Empty title={query === '' ? 'No sessions yet' : 'Nothing found'}>
          {query === '' ? 'What you run is kept here, and only you see it.' : 'Other words may find it.'}
        </Empty>
      )}
      <ul className={styles.list}>
        {sessions.map((session) => (
          <li key={session.id} className={styles.item} data-current={session.id === current || undefined}>
            <Link
              href={pathOf(session)}
              className={styles.link}
              aria-current={session.id === current ? 'true' : undefined}
            >
              <span className={styles.title}>{session.title ?? 'Untitled'}</span>
              <span className={styles.facts}>
                {session.packageName === OWN_PROMPTS ? 'own prompt' : (session.packageName ?? 'package')} ·{' '}
                {session.model} · {session.runCount} {session.runCount === 1 ? 'run' : 'runs'} ·{' '}
                {credits(session.creditsSpent)} · {ago(session.lastRunAt)}
              </span>
            </Link>
            <Menu position="bottom-end">
              <Menu.Target>
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  aria-label={`More about ${(session.title ?? 'this session').slice(0, 60)}`}
                >
                  <IconMore />
                </ActionIcon>
              </Menu.Target>
              <Menu.Dropdown>
                <Menu.Item onClick={() => setRenaming(session)}>Rename</Menu.Item>
                <Menu.Item onClick={() => setSharing(session)}>Share</Menu.Item>
                <Menu.Item onClick={() => void exportSession(session.id, 'markdown')}>Export as Markdown</Menu.Item>
                <Menu.Divider />
                <Menu.Item color="red" onClick={() => remove(session)}>
                  Delete
                </Menu.Item>
              </Menu.Dropdown>
            </Menu>
          </li>
        ))}
      </ul>
      {list.hasNextPage && (
        <Button
          variant="default"
          size="compact-sm"
          loading={list.isFetchingNextPage}
          onClick={() => void list.fetchNextPage()}
        >
          Show more
        </Button>
      )}
      {renaming !== null && <Rename session={renaming} onClose={() => setRenaming(null)} />}
      {sharing !== null && <ShareSession sessionId={sharing.id} onClose={() => setSharing(null)} />}
    </Stack>
  );
});

function Rename({ session, onClose }: { session: Session; onClose: () => void }) {
  const [title, setTitle] = useState(session.title ?? '');
  const rename = useMutation(
    trpc.sessions.rename.mutationOptions({
      onSuccess: async () => {
        await queryClient.invalidateQueries(trpc.sessions.pathFilter());
        onClose();
      },
    }),
  );
  return (
    <Dialog onClose={onClose} title="Rename session">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          rename.mutate({ sessionId: session.id, title });
        }}
      >
        <Stack>
          <TextInput
            data-autofocus
            label="Title"
            description="Empty: named by its first question."
            maxLength={200}
            value={title}
            onChange={(event) => setTitle(event.currentTarget.value)}
          />
          {rename.isError && <Refused error={rename.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={rename.isPending}>
              Rename
            </Button>
          </Group>
        </Stack>
      </form>
    </Dialog>
  );
}
