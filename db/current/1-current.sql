-- What each run was paid with, in cash, and what each lot's credits have paid for: margin is known when a run ends.
alter table public.jobs add column if not exists call text;
comment on column public.jobs.call is 'The function of schema ops that does it, without parameters; it returns how many rows it touched.';

--! include catalog/share_of_cost.sql
do $$
begin
  if not exists (
    select from pg_catalog.pg_attribute a where a.attrelid = 'public.runs'::regclass and a.attname = 'included_value'
  ) then
    alter table public.runs
      add column included_value numeric not null default 0,
      add column purchased_value numeric not null default 0;
    alter table public.credit_lots add column cost numeric not null default 0;

    update public.runs r set included_value = v.included, purchased_value = v.purchased
    from (
      select
        t.user_id, t.run_id,
        coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind <> 'purchased'), 0) as included,
        coalesce(sum(x.change * l.paid_per_credit) filter (where l.kind = 'purchased'), 0) as purchased
      from public.credit_transactions t
      cross join lateral (select case when t.debit = 'lot' then t.amount else -t.amount end as change) x
      join public.credit_lots l on l.user_id = t.user_id and l.id = t.lot_id
      where t.run_id is not null
      group by t.user_id, t.run_id
    ) v
    where r.user_id = v.user_id and r.id = v.run_id and (v.included <> 0 or v.purchased <> 0);

    update public.credit_lots l set cost = f.cost
    from (
      select s.user_id, s.lot_id, sum(core.share_of_cost(r.cost, s.upto, s.amount, r.credits + r.shortfall)) as cost
      from (
        select
          t.user_id, t.run_id, t.lot_id, t.amount, t.id,
          sum(case when t.debit = 'lot' then t.amount else -t.amount end) over (partition by t.user_id, t.run_id order by t.id)::bigint as upto,
          coalesce(max(t.id) filter (where t.credit = 'lot') over (partition by t.user_id, t.run_id), 0) as given_back
        from public.credit_transactions t
        where t.run_id is not null
      ) s
      join public.runs r on r.user_id = s.user_id and r.id = s.run_id
      where s.id > s.given_back and r.credits + r.shortfall > 0
      group by s.user_id, s.lot_id
    ) f
    where l.user_id = f.user_id and l.id = f.lot_id;
  end if;
end
$$;
comment on column public.runs.included_value is 'US dollars of cash that had been paid for the credits it spent that were not purchased.';
comment on column public.runs.purchased_value is 'US dollars of cash that had been paid for the purchased credits it spent.';
comment on column public.credit_lots.cost is 'US dollars of provider cost that its credits have paid for; a cached figure.';

drop function if exists core.spend_lots(public.users, uuid, bigint, bigint, timestamptz);
--! include credits/spend_lots.sql
--! include runs/settle_run.sql
--! include runs/reopen_run.sql
--! include credits/read_credits.sql
--! include runs/audit_runs.sql
--! include credits/audit_lots.sql
