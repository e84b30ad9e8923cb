// Whether servers of the version before go on while a migration has been applied: while servers are replaced one after the
// other, and when a release is taken back.
import type postgres from 'postgres';

export type Callable = {
  name: string;
  /** Types of its parameters, in order. Servers call by position. */
  parameters: string[];
  /** How many of them, counted from the end, may be left out. */
  defaults: number;
  /** Columns of its answer. Servers read them by name; none where the answer is one value. */
  answers: string[];
};

/** The functions of schema api. */
export function readCallable(sql: postgres.ISql): Promise<Callable[]> {
  return sql<Callable[]>`
    select p.proname as name, p.pronargdefaults as defaults,
      (select coalesce(array_agg(format_type(t, null) order by n), '{}') from unnest(p.proargtypes::oid[]) with ordinality x (t, n)) as parameters,
      case when p.proargmodes is not null then (
        select coalesce(array_agg(a.name), '{}') from unnest(p.proargnames, p.proargmodes) a (name, mode) where a.mode in ('o', 'b', 't'))
      else (
        select coalesce(array_agg(a.attname), '{}') from pg_type t join pg_attribute a on a.attrelid = t.typrelid
        where t.oid = p.prorettype and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped)
      end as answers
    from pg_proc p
    where p.pronamespace = 'api'::regnamespace
    order by p.proname`;
}

/** What calls of `before` find no answer in `after`, or one that lacks a column, in words. */
export function whatBreaks(before: Callable[], after: Callable[]): string[] {
  return before.flatMap((old) => {
    const call = `api.${old.name}(${old.parameters.join(', ')})`;
    const now = after.find((one) => one.name === old.name && takes(one, old.parameters));
    if (now === undefined) return [call];
    const lost = old.answers.filter((column) => !now.answers.includes(column));
    return lost.length > 0 ? [`${call}: ${lost.join(', ')}`] : [];
  });
}

function takes({ parameters, defaults }: Callable, given: string[]): boolean {
  const mayStay = parameters.length - defaults <= given.length && given.length <= parameters.length;
  return mayStay && given.every((type, index) => parameters[index] === type);
}
