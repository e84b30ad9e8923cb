import { Table } from '@mantine/core';
import type { ReactNode } from 'react';
import { Empty } from '../shell/states.tsx';
import styles from './rows.module.css';

type Column<T> = {
  name: string;
  show: (row: T) => ReactNode;
  /** Figures stand to the right, one under the other. */
  isFigure?: boolean;
  /** Only for screen readers: a column of buttons needs no title. */
  isNameless?: boolean;
};

type RowsProps<T> = {
  /** What they are, for who does not see them. */
  caption: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string | number;
  /** Instead of rows where there are none. */
  empty: ReactNode;
};

/** A table; where it is narrow each row is a card that names its figures. The first column names the row. */
export function Rows<T>({ caption, columns, rows, keyOf, empty }: RowsProps<T>) {
  if (rows.length === 0) return typeof empty === 'string' ? <Empty title={empty} /> : empty;
  // Roles are said, for a table that is laid out as cards is none to some browsers.
  return (
    <Table className={styles.table} role="table" verticalSpacing={6}>
      <Table.Caption className="hidden">{caption}</Table.Caption>
      <Table.Thead role="rowgroup" className={styles.head}>
        <Table.Tr role="row">
          {columns.map(({ name, isFigure, isNameless }) => (
            <Table.Th key={name} role="columnheader" scope="col" className={isFigure ? styles.figure : undefined}>
              {isNameless ? <span className="hidden">{name}</span> : name}
            </Table.Th>
          ))}
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody role="rowgroup">
        {rows.map((row) => (
          <Table.Tr key={keyOf(row)} role="row" className={styles.row}>
            {columns.map(({ name, show, isFigure, isNameless }, place) => {
              const Cell = place === 0 ? Table.Th : Table.Td;
              return (
                <Cell
                  key={name}
                  role={place === 0 ? 'rowheader' : 'cell'}
                  {...(place === 0 && { scope: 'row' })}
                  className={`${styles.cell} ${isFigure ? styles.figure : ''} ${place === 0 ? styles.first : ''}`}
                  data-name={isNameless || place === 0 ? undefined : name}
                >
                  {show(row)}
                </Cell>
              );
            })}
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
