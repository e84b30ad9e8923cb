import { unsubscribe } from '../calls/alerts.ts';
import type { Sql } from '../database/client.ts';

const KINDS: Record<string, string> = { limits: 'limits', credits: 'credits', payments: 'failed payments' };

/**
 * What the link of a mail leads to. Reading it changes nothing, for mail programs open links by themselves; posting it, as a
 * person or a mail program with RFC 8058 does, declines mails of that kind. Spec 9.
 */
export async function answerUnsubscribe(
  sql: Sql,
  method: string,
  token: string,
): Promise<[status: 200 | 404, html: string]> {
  if (method !== 'POST')
    return [200, page('<form method="post"><button>Send me no more mails like this</button></form>')];
  const done = await unsubscribe(sql, token);
  if (done === undefined) return [404, page('This link is none of ours, or was cut off. Copy it whole from the mail.')];
  return [200, page(`You get no more mails about ${KINDS[done.declined] ?? 'this'}.`)];
}

function page(content: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Mails from PRPM Playground</title><main>${content}</main></html>`;
}
