import type { Movement } from '../calls/credits.ts';
import type { FilePiece } from './session-file.ts';

const COLUMNS = [
  ...(['id', 'created_at', 'type', 'amount', 'balance_after', 'kind', 'description'] as const),
  ...(['session_id', 'run_id', 'purchase_id'] as const),
];

/** Movements of credits as a piece of a CSV file (RFC 4180): the first one begins with the names of the columns. */
export function csvPiece(
  { transactions, nextCursor }: { transactions: Movement[]; nextCursor: string | null },
  isFirst: boolean,
): FilePiece {
  const rows = transactions.map((one) => [
    ...[one.id, one.createdAt, one.type, one.amount, one.balanceAfter, one.kind, one.description],
    ...[one.sessionId, one.runId, one.purchaseId],
  ]);
  const lines = [...(isFirst ? [COLUMNS] : []), ...rows].map((row) => `${row.map(field).join(',')}\r\n`);
  return { filename: 'credits.csv', contentType: 'text/csv; charset=utf-8', content: lines.join(''), nextCursor };
}

/** A text that a spreadsheet would take for a formula begins with an apostrophe. */
function field(value: string | number | null): string {
  if (value === null) return '';
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
