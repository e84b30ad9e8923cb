// What must be the same before people are spread over servers and afterwards: every table's rows, and books that balance.
import type postgres from 'postgres';

/** Rows of each table, by its name. */
export type Counts = Record<string, number>;

export async function countRows(sql: postgres.Sql): Promise<Counts> {
  const tables = await sql<{ name: string }[]>`
    select format('%I.%I', n.nspname, c.relname) as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname in ('public', 'core') order by 1`;
  const counts: Counts = {};
  for (const { name } of tables) {
    const [row] = await sql.unsafe<{ rows: string }[]>(`select count(*) as rows from ${name}`);
    counts[name] = Number(row?.rows);
  }
  return counts;
}

export const total = (counts: Counts) => Object.values(counts).reduce((sum, rows) => sum + rows, 0);

/**
 * Throws with the first disagreement; `when` goes into the message. Looks twice, as the job does: a refresh of the analytics may
 * end while a cluster is read.
 */
export async function expectBalance(sql: postgres.Sql, when: string): Promise<void> {
  const look = () =>
    sql<{ check_name: string; object: string }[]>`select check_name, object from ops.audit_books() limit 1`;
  const [wrong] = (await look()).length > 0 ? await look() : [];
  if (wrong !== undefined)
    throw new Error(
      `The books do not balance ${when}: ${wrong.check_name} of ${wrong.object}. See select * from ops.audit_books();`,
    );
}
