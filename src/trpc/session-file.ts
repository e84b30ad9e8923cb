import { z } from 'zod';
import type { ExportedSession } from '../calls/sessions.ts';
import { snakeCase } from '../names.ts';

export const fileFormats = ['markdown', 'json'] as const;
type Format = (typeof fileFormats)[number];

/** A piece of a file. All pieces in turn are the whole; the last one has no `nextCursor`. */
export const filePieceSchema = z.object({
  filename: z.string(),
  contentType: z.string(),
  content: z.string(),
  nextCursor: z.string().nullable(),
});
export type FilePiece = z.output<typeof filePieceSchema>;

const TYPES = {
  markdown: ['md', 'text/markdown; charset=utf-8'],
  json: ['json', 'application/json; charset=utf-8'],
} as const;

/** A page of a session as a piece of a file: the first one begins it, the last one ends it. */
export function pieceOf(session: ExportedSession, format: Format, isFirst: boolean): FilePiece {
  const [ending, contentType] = TYPES[format];
  const { id, nextCursor } = session;
  const content = format === 'json' ? jsonPiece(session, isFirst) : markdownPiece(session, isFirst);
  return { filename: `session-${id}.${ending}`, contentType, content, nextCursor };
}

function jsonPiece({ exchanges, nextCursor, ...header }: ExportedSession, isFirst: boolean): string {
  const begin = isFirst ? `${JSON.stringify(snakeCase(header)).slice(0, -1)},"exchanges":[` : '';
  const rows = exchanges.map((one) => `\n${JSON.stringify(snakeCase(one))}`).join(',');
  const comma = !isFirst && rows !== '' ? ',' : '';
  return `${begin}${comma}${rows}${nextCursor === null ? '\n]}\n' : ''}`;
}

function markdownPiece(session: ExportedSession, isFirst: boolean): string {
  const { title, packageName, creditsSpent, totalTokens, createdAt } = session;
  const begin = isFirst
    ? [
        `# ${oneLine(title ?? 'Session')}`,
        `Package ${packageName ?? 'unknown'}, begun ${timeOf(createdAt)}. ${creditsSpent} credit${creditsSpent === 1 ? '' : 's'}, ${totalTokens} tokens.`,
      ]
    : [];
  const exchanges = session.exchanges.flatMap((one) => {
    const { question, answer, model, packageVersion, baseline, isSummary, status } = one;
    const by = [model, baseline ? 'without the prompt' : packageVersion, ...(isSummary ? ['summary'] : [])];
    if (status !== 'completed') by.push(status);
    return [`## Question, ${timeOf(one.startedAt)}`, question, `## Answer (${by.join(', ')})`, answer || '(none)'];
  });
  return [...begin, ...exchanges].map((part) => `${part}\n\n`).join('');
}

function timeOf(instant: string): string {
  return `${instant.slice(0, 16).replace('T', ' ')} UTC`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}
