import type { Transporter } from 'nodemailer';
import type { Message } from '../calls/alerts.ts';
import { DeliveryError } from './delivery-error.ts';

/**
 * `url` is smtp:// or smtps://, `from` an address with or without a name, `publicUrl` where people reach the playground; the
 * server has `patienceMs` for each answer.
 */
export type Mail = { url: string; from: string; publicUrl: string | undefined; patienceMs: number };

export type Mailer = {
  /** To a user, who can decline mails like it. */
  toUser(message: Message): Promise<void>;
  toOperators(message: Message, addresses: readonly string[]): Promise<void>;
};

/**
 * Sends plain text by SMTP. A message has the same Message-ID in every attempt, so that mail programs show it once. Throws a
 * DeliveryError; one that refuses a user's address is final. Spec 9.
 */
export function createMailer({ url, from, publicUrl, patienceMs }: Mail): Mailer {
  const domain = /@([^@>\s]+)>?$/.exec(from)?.[1] ?? 'localhost';
  let opened: Promise<Transporter> | undefined;

  async function send(message: Message, to: readonly string[], text: string, headers: Record<string, string>) {
    opened ??= openTransport(url, patienceMs);
    const transport = await opened;
    try {
      await transport.sendMail({
        ...{ from, to: [...to], subject: message.subject, text },
        messageId: `<${message.messageId}@${domain}>`,
        headers: { 'Auto-Submitted': 'auto-generated', ...headers },
      });
    } catch (error) {
      throw refusal(error, message.recipient !== null);
    }
  }

  return {
    toUser(message) {
      const link = publicUrl === undefined ? undefined : unsubscribeLink(publicUrl, message.unsubscribeToken);
      const lines = [message.body, '', `PRPM Playground${publicUrl === undefined ? '' : `: ${publicUrl}`}`];
      if (message.unsubscribeToken !== null)
        lines.push(
          link ? `To get no more mails like this: ${link}` : 'To get no more mails like this, answer this one.',
        );
      const headers = link
        ? { 'List-Unsubscribe': `<${link}>`, 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' }
        : {};
      return send(message, message.recipient === null ? [] : [message.recipient], lines.join('\n'), headers);
    },

    toOperators: (message, addresses) => send(message, addresses, message.body, {}),
  };
}

function unsubscribeLink(publicUrl: string, token: string | null): string | undefined {
  return token === null ? undefined : `${publicUrl}/api/v1/unsubscribe?token=${encodeURIComponent(token)}`;
}

/** The package is loaded where there is mail to send, and not before. */
async function openTransport(url: string, patienceMs: number): Promise<Transporter> {
  const { createTransport } = await import('nodemailer');
  return createTransport({
    ...{ url, connectionTimeout: patienceMs, greetingTimeout: patienceMs, socketTimeout: patienceMs },
    ...{ disableFileAccess: true, disableUrlAccess: true },
  });
}

/** What went wrong as codes: a server's own words may quote the address. */
function refusal(error: unknown, isToUser: boolean): DeliveryError {
  const field = (name: string): unknown => (error instanceof Error ? Reflect.get(error, name) : undefined);
  const [code, status, command] = [field('code'), Number(field('responseCode') ?? 0), field('command')];
  const parts = [String(code ?? 'failed'), ...(status > 0 ? [status] : []), ...(command ? [`at ${command}`] : [])];
  const isFinal = isToUser && code === 'EENVELOPE' && status >= 500;
  return new DeliveryError(`SMTP ${parts.join(' ')}`, { isFinal, cause: error });
}
