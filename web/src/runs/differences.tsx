// What sides of a comparison differ in: words, cost, time.
import { Skeleton, Table, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { whole } from '../shell/format.ts';
import styles from './compare.module.css';
import { type LiveRun, useLive } from './live.ts';

/** Longer texts would hold the page up; so long is a difference looked for, in milliseconds. */
const PATIENCE_MS = 1_500;

type MarkedProps = { before: string; after: string };

/** One text, with the words that are not in the other, and those of the other that are not in it. */
export function MarkedText({ before, after }: MarkedProps) {
  const parts = useQuery({
    queryKey: ['word-difference', before, after],
    queryFn: async () => {
      const { diffWords } = await import('diff');
      return diffWords(before, after, { timeout: PATIENCE_MS }) ?? null;
    },
    staleTime: Number.POSITIVE_INFINITY,
  });
  if (parts.data === undefined) return <Skeleton height={120} />;
  if (parts.data === null) return <Text size="sm">These texts are too different to mark where.</Text>;
  return (
    <div className={styles.marked}>
      {parts.data.map(({ value, added, removed }, nth) => {
        const Part = added ? 'ins' : removed ? 'del' : 'span';
        // biome-ignore lint/suspicious/noArrayIndexKey: the parts do not change
        return <Part key={nth}>{value}</Part>;
      })}
    </div>
  );
}

type Figure = { name: string; of: (run: LiveRun) => number | null; unit: string; digits: number };

const figures: readonly Figure[] = [
  { name: 'Credits', of: (run) => run.live().receipt?.creditsSpent ?? null, unit: '', digits: 0 },
  { name: 'Tokens read', of: (run) => run.live().receipt?.tokens.input ?? null, unit: '', digits: 0 },
  { name: 'Tokens written', of: (run) => run.live().receipt?.tokens.output ?? null, unit: '', digits: 0 },
  { name: 'First text after', of: (run) => inSeconds(run.live().receipt?.firstTokenMs), unit: ' s', digits: 1 },
  { name: 'In all', of: (run) => inSeconds(run.live().receipt?.durationMs), unit: ' s', digits: 1 },
];
const inSeconds = (ms: number | null | undefined) => (ms == null ? null : ms / 1_000);

/** Cost and time of each side, and how they differ from those of the first. */
export function Differences({ sides }: { sides: readonly LiveRun[] }) {
  return (
    <Table.ScrollContainer minWidth={320} type="native" scrollAreaProps={{ tabIndex: 0 }} className={styles.table}>
      <Table>
        <Table.Caption>Cost and time; in brackets, against side 1</Table.Caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Td />
            {sides.map((side, nth) => (
              <Table.Th key={side.live().runId ?? nth} ta="right">
                Side {nth + 1}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {figures.map((figure) => (
            <Table.Tr key={figure.name}>
              <Table.Th scope="row">{figure.name}</Table.Th>
              {sides.map((side, nth) => (
                <Table.Td key={side.live().runId ?? nth} ta="right">
                  <Value figure={figure} side={side} first={nth === 0 ? null : (sides[0] ?? null)} />
                </Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}

function Value({ figure, side, first }: { figure: Figure; side: LiveRun; first: LiveRun | null }) {
  useLive(side);
  const value = figure.of(side);
  if (value === null) return '–';
  const shown = (one: number) => (figure.digits === 0 ? whole(one) : one.toFixed(figure.digits));
  const base = first === null ? null : figure.of(first);
  const step = base === null ? 0 : Number((value - base).toFixed(figure.digits));
  return (
    <>
      {shown(value)}
      {figure.unit}
      {base !== null && (
        <Text span size="xs" c="dimmed">
          {' '}
          ({step > 0 ? '+' : step < 0 ? '−' : '±'}
          {shown(Math.abs(step))})
        </Text>
      )}
    </>
  );
}
