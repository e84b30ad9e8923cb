// biome-ignore-all lint/a11y/useSemanticElements: a table's own elements cannot lie where the list puts them
// biome-ignore-all lint/a11y/useFocusableInteractive: rows are no controls
// Every movement of one's credits. However many there are, only those in sight are on the page.
import { Button, Group, Select, Skeleton, Stack, Text } from '@mantine/core';
import { useInfiniteQuery, useMutation } from '@tanstack/react-query';
import { useWindowVirtualizer } from '@tanstack/react-virtual';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { Link } from 'wouter';
import { ChargeDialog } from '../runs/receipt.tsx';
import { moment, whole } from '../shell/format.ts';
import { useInAddress } from '../shell/in-address.ts';
import { usePrinting } from '../shell/print.ts';
import { saveFile } from '../shell/save-file.ts';
import { Empty, Refused } from '../shell/states.tsx';
import { client, type Outputs, trpc } from '../trpc.ts';
import styles from './history.module.css';
import { kindName } from './kinds.ts';

type Movement = Outputs['credits']['history']['transactions'][number];

const PAGE = 100;
const ROW_PX = 56;
/** So many rows before the end the next page is asked for. */
const AHEAD = 20;

const TYPES: Record<string, string> = {
  spend: 'Runs',
  purchase: 'Bought',
  monthly: 'Monthly',
  rollover: 'Rolled over',
  signup: 'Signing up',
  bonus: 'Given',
  expire: 'Expired',
  refund: 'Refunds',
  admin: 'By an operator',
};

export function History() {
  const [type, setType] = useInAddress('type', '');
  const asked = Object.hasOwn(TYPES, type) ? type : null;
  const history = useInfiniteQuery(
    trpc.credits.history.infiniteQueryOptions(
      { limit: PAGE, type: asked },
      { getNextPageParam: (last) => last.nextCursor },
    ),
  );
  const rows = (history.data?.pages ?? []).flatMap((page) => page.transactions);
  const total = history.data?.pages[0]?.total;
  const { fetchNextPage, hasNextPage, isFetching, isFetchNextPageError } = history;

  return (
    <Stack>
      <Group justify="space-between" align="flex-end">
        <Select
          label="Show"
          w={180}
          data={[
            { value: '', label: 'Everything' },
            ...Object.entries(TYPES).map(([value, label]) => ({ value, label })),
          ]}
          value={asked ?? ''}
          onChange={(value) => setType(value ?? '')}
          allowDeselect={false}
        />
        <Download type={asked} isEmpty={total === undefined || total === 0} />
      </Group>
      <Text size="sm" c="dimmed" role="status">
        {total === undefined ? ' ' : `${whole(total)} ${total === 1 ? 'movement' : 'movements'}`}
      </Text>
      {history.isPending && [1, 2, 3, 4, 5, 6].map((nth) => <Skeleton key={nth} height={44} />)}
      {history.isSuccess && rows.length === 0 && (
        <Empty title={asked === null ? 'Nothing has moved yet' : 'There are none of this kind'}>
          What you run, buy or are given appears here.
        </Empty>
      )}
      {rows.length > 0 && (
        <Rows
          rows={rows}
          total={total ?? rows.length}
          onEnd={() => {
            if (hasNextPage && !isFetching && !isFetchNextPageError) void fetchNextPage();
          }}
        />
      )}
      {history.isError && <Refused error={history.error} retry={() => void fetchNextPage()} />}
      {hasNextPage && !history.isError && (
        <Button variant="default" loading={history.isFetchingNextPage} onClick={() => void fetchNextPage()}>
          Show more
        </Button>
      )}
    </Stack>
  );
}

type RowsProps = { rows: Movement[]; total: number; onEnd: () => void };

function Rows({ rows, total, onEnd }: RowsProps) {
  const list = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [asked, setAsked] = useState<string | null>(null);
  useLayoutEffect(() => setTop(list.current?.offsetTop ?? 0), []);
  const virtual = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => ROW_PX,
    overscan: 10,
    scrollMargin: top,
    getItemKey: (nth) => rows[nth]?.id ?? nth,
  });
  const isPrinting = usePrinting();
  const shown = virtual.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  const isNearEnd = last >= rows.length - AHEAD;
  // biome-ignore lint/correctness/useExhaustiveDependencies: when the end comes in sight, and again for each page that did not fill it
  useEffect(() => {
    if (isNearEnd) onEnd();
  }, [isNearEnd, rows.length]);

  return (
    <div className={styles.table} role="table" aria-label="Movements of your credits" aria-rowcount={total + 1}>
      <div role="rowgroup">
        <div className={`${styles.line} ${styles.head}`} role="row" aria-rowindex={1}>
          <span role="columnheader">When</span>
          <span role="columnheader">What</span>
          <span role="columnheader">More</span>
          <span role="columnheader" className={styles.number}>
            Credits
          </span>
          <span role="columnheader" className={styles.number}>
            Left then
          </span>
        </div>
      </div>
      <div
        ref={list}
        role="rowgroup"
        className={styles.rows}
        style={isPrinting ? {} : { height: virtual.getTotalSize() }}
      >
        {isPrinting &&
          rows.map((row) => (
            <div key={row.id} role="row">
              <Row row={row} onWhy={setAsked} />
            </div>
          ))}
        {!isPrinting &&
          shown.map(({ index, key, start }) => {
            const row = rows[index];
            if (row === undefined) return null;
            return (
              <div
                key={key}
                ref={virtual.measureElement}
                data-index={index}
                className={styles.row}
                style={{ transform: `translateY(${start - virtual.options.scrollMargin}px)` }}
                role="row"
                aria-rowindex={index + 2}
              >
                <Row row={row} onWhy={setAsked} />
              </div>
            );
          })}
      </div>
      {asked !== null && <ChargeDialog runId={asked} onClose={() => setAsked(null)} />}
    </div>
  );
}

type RowProps = { row: Movement; onWhy: (runId: string) => void };

function Row({ row, onWhy }: RowProps) {
  const { createdAt, description, type, kind, amount, balanceAfter, runId, sessionId } = row;
  return (
    <div className={styles.line} role="presentation">
      <span role="cell" className={styles.when}>
        {moment(createdAt)}
      </span>
      <span role="cell" className={styles.what}>
        {description ?? TYPES[type] ?? type}
        {kind !== null && <span className={styles.when}> · {kindName(kind)}</span>}
      </span>
      <span role="cell" className={styles.links}>
        {sessionId !== null && (
          <Link
            href={`/playground?${new URLSearchParams({ session: sessionId })}`}
            className={styles.link}
            aria-label="Session of this run"
          >
            Session
          </Link>
        )}
        {runId !== null && (
          <button type="button" className={styles.link} onClick={() => onWhy(runId)}>
            Why
          </button>
        )}
      </span>
      <span role="cell" className={`${styles.number} ${amount > 0 ? styles.in : ''}`}>
        {amount > 0 ? `+${whole(amount)}` : `−${whole(-amount)}`}
      </span>
      <span role="cell" className={styles.number}>
        {whole(balanceAfter)}
      </span>
    </div>
  );
}

/** All of them as a file for a spreadsheet, asked for piece by piece. */
function Download({ type, isEmpty }: { type: string | null; isEmpty: boolean }) {
  const download = useMutation({
    mutationFn: async () => {
      const parts: string[] = [];
      let cursor: string | null = null;
      let piece: Outputs['credits']['file'];
      do {
        piece = await client.credits.file.query({ type, cursor });
        parts.push(piece.content);
        cursor = piece.nextCursor;
      } while (cursor !== null);
      saveFile(piece.filename, piece.contentType, parts);
    },
  });
  return (
    <Stack gap="xs" align="flex-end">
      <Button variant="default" disabled={isEmpty} loading={download.isPending} onClick={() => download.mutate()}>
        Download CSV
      </Button>
      {download.isError && <Refused error={download.error} />}
    </Stack>
  );
}
