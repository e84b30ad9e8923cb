import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { exportedSchema } from '../trpc/accounts.ts';
import { filePieceSchema } from '../trpc/session-file.ts';
import { write } from './write.ts';

/**
 * Writes pages of tables as one JSON object with an array for each table, as they come and as fast as they are taken. Where
 * it fails half-way the connection is cut, so that nobody takes a part for the whole. Spec 10.8.
 */
export async function sendExport(
  outgoing: ServerResponse,
  pages: AsyncIterable<unknown>,
  headers: Record<string, string>,
  filename: string,
): Promise<void> {
  let part: string | undefined;
  try {
    for await (const page of pages) {
      const { part: next, rows } = exportedSchema.parse(page);
      if (part === undefined) {
        begin(outgoing, { filename, contentType: 'application/json' }, headers);
        await write(outgoing, `{"exported_at":${JSON.stringify(new Date().toISOString())}`);
      }
      if (outgoing.destroyed) return;
      const inside = rows.trim().slice(1, -1).trim();
      const isNew = next !== part;
      if (isNew) await write(outgoing, `${part === undefined ? '' : ']'},${JSON.stringify(next)}:[${inside}`);
      else if (inside !== '') await write(outgoing, `,${inside}`);
      part = next;
    }
    outgoing.end(']}');
  } catch (error) {
    if (part === undefined) throw error;
    outgoing.destroy();
  }
}

/** Writes a file piece by piece, each read when the one before is taken. Where one fails half-way the connection is cut. */
export async function sendPieces(
  outgoing: ServerResponse,
  first: unknown,
  next: (cursor: string) => Promise<unknown>,
  headers: Record<string, string>,
): Promise<void> {
  let piece = filePieceSchema.parse(first);
  begin(outgoing, piece, headers);
  try {
    for (;;) {
      await write(outgoing, piece.content);
      if (piece.nextCursor === null || outgoing.destroyed) break;
      piece = filePieceSchema.parse(await next(piece.nextCursor));
    }
    outgoing.end();
  } catch {
    outgoing.destroy();
  }
}

function begin(
  outgoing: ServerResponse,
  { filename, contentType }: { filename: string; contentType: string },
  headers: Record<string, string>,
): void {
  outgoing.writeHead(200, {
    ...{ 'content-type': contentType, 'cache-control': 'no-store' },
    ...{ 'content-disposition': `attachment; filename="${filename}"`, ...headers },
  });
}

export const exportAnswerSchema = z.object({ exported_at: z.string() }).catchall(z.array(z.unknown()));
