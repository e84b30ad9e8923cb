// Sessions are deleted when the moment to take it back is over, or the page is left. It goes on whatever is looked at meanwhile.
import { Button, Group, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useSyncExternalStore } from 'react';
import { problemOf } from '../shell/problem.ts';
import { client, PARTING, queryClient, trpc } from '../trpc.ts';

const UNDO_MS = 6_000;

/** Those that are deleted or are about to be, and what deletes them now. */
let hidden: ReadonlySet<string> = new Set();
const waiting = new Map<string, (isParting: boolean) => void>();
const listeners = new Set<() => void>();

window.addEventListener('pagehide', () => {
  for (const carryOut of waiting.values()) carryOut(true);
});

/** Ids of sessions that are not to be shown any more. */
export function useDeleted(): ReadonlySet<string> {
  return useSyncExternalStore(subscribe, () => hidden);
}

export function deleteSession({ id, title }: { id: string; title: string | null }): void {
  hide(id);
  const carryOut = (isParting: boolean) => {
    clearTimeout(timer);
    waiting.delete(id);
    client.sessions.delete.mutate({ sessionId: id }, isParting ? PARTING : {}).then(
      () => queryClient.invalidateQueries(trpc.sessions.list.pathFilter()),
      (error: unknown) => {
        show(id);
        notifications.show({ color: 'red', title: 'The session is still there', message: problemOf(error).message });
      },
    );
  };
  const timer = setTimeout(() => carryOut(false), UNDO_MS);
  waiting.set(id, carryOut);
  const undo = () => {
    clearTimeout(timer);
    waiting.delete(id);
    notifications.hide(id);
    show(id);
  };
  notifications.show({
    id,
    autoClose: UNDO_MS,
    title: 'Session deleted',
    message: (
      <Group gap="xs" justify="space-between">
        <Text size="sm">{title ?? 'Untitled'}</Text>
        <Button size="compact-xs" variant="light" onClick={undo}>
          Undo
        </Button>
      </Group>
    ),
  });
}

function hide(id: string): void {
  hidden = new Set(hidden).add(id);
  tell();
}
function show(id: string): void {
  hidden = new Set([...hidden].filter((one) => one !== id));
  tell();
}
function tell(): void {
  for (const listener of listeners) listener();
}
function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
