import postgres from 'postgres';
import type { TestDatabase } from '../harness/database.ts';

/** Removes a person and their books, as nothing of the product does: what is known then is known without them. */
export async function vanish({ owner, superuserUrl }: TestDatabase, id: string): Promise<void> {
  const superuser = postgres(superuserUrl, { max: 1, onnotice: () => {} });
  try {
    await superuser`set citus.enable_unsafe_triggers = on`; // on a cluster triggers are not touched without
    await superuser`alter table credit_transactions disable trigger guard_transactions`;
    await owner`delete from credit_transactions where user_id = ${id}`;
    await superuser`alter table credit_transactions enable trigger guard_transactions`;
  } finally {
    await superuser.end();
  }
  await owner`delete from credit_lots where user_id = ${id}`;
  await owner`delete from users where id = ${id}`;
}
