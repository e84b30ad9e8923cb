// What the providers would export of the demo's weeks: the same tokens, and costs by day that they round to cents.
import type postgres from 'postgres';

/** Enters them as an operator would, up to yesterday. */
export async function enterExports(operator: postgres.Sql): Promise<void> {
  await operator`
    with used as (
      select
        m.provider, to_char(r.started_at at time zone 'UTC', 'YYYY-MM-DD') as period, r.provider_model,
        sum(r.input_tokens) as input_tokens, sum(r.cached_tokens) as cached_tokens, sum(r.cache_write_tokens) as cache_write_tokens,
        sum(r.output_tokens) as output_tokens, round(sum(r.cost), 2) as dollars
      from public.runs r
      join public.models m on m.alias = r.model
      where r.input_tokens is not null and r.started_at < date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
      group by 1, 2, 3
    )
    select ops.import_provider_usage(u.provider, u.provider || ' cost export', u.entries, 'what the console exported')
    from (
      select u.provider, jsonb_agg(to_jsonb(u) - 'provider') as entries from used u group by u.provider
    ) u`;
}
