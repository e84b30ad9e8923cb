// Keys that work on every page, and the list of them.
import { ActionIcon, Kbd, Modal, Table } from '@mantine/core';
import { useDisclosure, useHotkeys } from '@mantine/hooks';
import { Suspense, useEffect, useState } from 'react';
import { IconSearch } from './icons.tsx';
import { lazyPart } from './online.ts';

const load = () => import('./find.tsx');
const Find = lazyPart(() => load().then((file) => file.Find));

const mod = /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : 'Ctrl';
const KEYS: readonly [keys: string[], what: string][] = [
  [[mod, 'Enter'], 'Run what is written'],
  [['Esc'], 'Stop a run; close what is open'],
  [[mod, 'K'], 'Find a page, a package or a session'],
  [['?'], 'This list'],
];

type KeysProps = { places: readonly { path: string; name: string }[]; isVisitor: boolean };

export function Keys({ places, isVisitor }: KeysProps) {
  const [isWanted, setWanted] = useState(false);
  const [isListed, list] = useDisclosure(false);
  const find = () => {
    if (isWanted) void load().then(({ openFind }) => openFind());
    else setWanted(true);
  };
  useHotkeys([['mod+K', find]], []);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const { target } = event;
      const isWritten = target instanceof HTMLElement && target.matches('input, textarea, select, [contenteditable]');
      if (event.key === '?' && !isWritten) list.open();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, [list.open]);

  return (
    <>
      <ActionIcon variant="subtle" color="gray" size="lg" aria-label="Find anything" title={`${mod} K`} onClick={find}>
        <IconSearch />
      </ActionIcon>
      {isWanted && (
        <Suspense fallback={null}>
          <Find places={places} isVisitor={isVisitor} />
        </Suspense>
      )}
      <Modal opened={isListed} onClose={list.close} title="Keys">
        <Table>
          <Table.Tbody>
            {KEYS.map(([keys, what]) => (
              <Table.Tr key={what}>
                <Table.Th scope="row" w={120}>
                  {keys.map((key) => (
                    <Kbd key={key} mr={4}>
                      {key}
                    </Kbd>
                  ))}
                </Table.Th>
                <Table.Td>{what}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Modal>
    </>
  );
}
