import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { exportedSchema } from '../trpc/accounts.ts';

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
  const write = async (text: string) => {
    if (!outgoing.write(text)) await Promise.race([once(outgoing, 'drain'), once(outgoing, 'close')]);
  };
  let part: string | undefined;
  try {
    for await (const page of pages) {
      const { part: next, rows } = exportedSchema.parse(page);
      if (part === undefined) {
        outgoing.writeHead(200, {
          ...{ 'content-type': 'application/json', 'cache-control': 'no-store' },
          ...{ 'content-disposition': `attachment; filename="${filename}"`, ...headers },
        });
        await write(`{"exported_at":${JSON.stringify(new Date().toISOString())}`);
      }
      if (outgoing.destroyed) return;
      const inside = rows.trim().slice(1, -1).trim();
      const isNew = next !== part;
      if (isNew) await write(`${part === undefined ? '' : ']'},${JSON.stringify(next)}:[${inside}`);
      else if (inside !== '') await write(`,${inside}`);
      part = next;
    }
    outgoing.end(']}');
  } catch (error) {
    if (part === undefined) throw error;
    outgoing.destroy();
  }
}

export const exportAnswerSchema = z.object({ exported_at: z.string() }).catchall(z.array(z.unknown()));
