// What the tests of alerts have in common: the check, as the job calls it, and what came of it.
import type { TestDatabase } from '../harness/database.ts';

const CHANNELS = ['webhook', 'operator_email', 'user_email'];

/** Says that a server is there that can deliver on these channels, as one does when it looks for messages. */
export async function haveChannels(database: TestDatabase, channels = CHANNELS): Promise<void> {
  await database.app`select from api.claim_messages(${channels}, 0)`;
}

export async function check(database: TestDatabase): Promise<number> {
  const [row] = await database.ops`select ops.check_alerts()::int as changed`;
  return row?.changed;
}

/** From now on no job is late, wherever the clock was put. */
export async function forgiveJobs(database: TestDatabase): Promise<void> {
  await database.owner`update jobs set added_at = core.now()`;
}

/** Open alerts as `kind key`. */
export async function openAlerts(database: TestDatabase): Promise<string[]> {
  const rows = await database.ops<{ name: string }[]>`
    select btrim(kind || ' ' || about) as name from ops.alerts_now order by 1`;
  return rows.map(({ name }) => name);
}

export type Message = { channel: string; kind: string; subject: string; body: string; userId: string | null };

/** Takes every message out of the outbox, oldest first, and marks it delivered. */
export async function collect(database: TestDatabase, channels = CHANNELS): Promise<Message[]> {
  const taken = await database.app<{ message_id: string }[]>`
    select message_id from api.claim_messages(${channels}, 10000)`;
  for (const { message_id } of taken) await database.app`select from api.finish_message(${message_id})`;
  return database.owner<Message[]>`
    select channel, kind, subject, body, user_id as "userId" from messages
    where id = any (${taken.map(({ message_id }) => message_id)}) order by created_at, subject`;
}
