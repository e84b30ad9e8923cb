import type { Channel, Message } from '../calls/alerts.ts';
import type { Environment } from '../config/environment.ts';
import { createMailer } from './email.ts';
import { postWebhook } from './webhook.ts';

/** Delivers a message, or throws why it could not. */
export type Deliver = (message: Message, signal: AbortSignal) => Promise<void>;

const PATIENCE_MS = 15_000;

/** The ways to operators and users that are configured; a receiver has `patienceMs` to answer. Spec 9. */
export function openChannels(environment: Environment, patienceMs = PATIENCE_MS): Map<Channel, Deliver> {
  const { ALERT_WEBHOOK_URL: url, ALERT_WEBHOOK_SECRET: secret } = environment;
  const { SMTP_URL: smtp, EMAIL_FROM: from, ALERT_EMAIL_TO: operators, PUBLIC_URL: publicUrl } = environment;
  const channels = new Map<Channel, Deliver>();
  if (url !== undefined && secret !== undefined) {
    channels.set('webhook', ({ messageId, payload }, signal) =>
      postWebhook({ url, secret, patienceMs }, { id: messageId, body: payload ?? '{}' }, signal),
    );
  }
  if (smtp !== undefined && from !== undefined) {
    const mailer = createMailer({ url: smtp, from, publicUrl, patienceMs });
    channels.set('user_email', mailer.toUser);
    if (operators !== undefined && operators.length > 0)
      channels.set('operator_email', (message) => mailer.toOperators(message, operators));
  }
  return channels;
}
