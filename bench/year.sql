-- A year of ten people, lived through the product's own functions month by month; then everybody else has the same year.

-- A run's id as a server makes it, by the moved clock.
create function year_run(n bigint) returns uuid language sql volatile
return (lpad(to_hex((extract(epoch from core.now()) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 19, '0'))::uuid;

create function year_runs(person bigint, times integer) returns void language plpgsql as $$
declare
  begun record;
begin
  for i in 1 .. times loop
    select * into begun from api.begin_run(bench_user(person), year_run(person * 1000 + i), '00000000-0000-4000-8000-00000000aaaa', null,
      (select u.id from public.sessions s join public.users u on u.id = s.user_id and s.id = u.id where s.user_id = bench_user(person)),
      (array['sonnet', 'gpt-4o', 'opus'])[1 + (person + i) % 3], false, 120, 'approximate', null, null, null, null);
    if begun.outcome <> 'started' then
      raise exception 'person % cannot run: %', person, begun.refusal;
    end if;
    perform from api.settle_run(bench_user(person), begun.begun_run_id, 'completed', true, 1100, 500, 100, 300, false, 'a question', 'an answer',
      null, null, 400, 2000);
  end loop;
end
$$;

-- One month of the ten: each runs every second month, the tenth is paid up and runs thrice a month.
create function year_month(n integer) returns void language plpgsql as $$
declare
  starts timestamptz := date_trunc('month', core.now() at time zone 'UTC') at time zone 'UTC';
  ends timestamptz := (date_trunc('month', core.now() at time zone 'UTC') + interval '1 month') at time zone 'UTC';
begin
  for person in 1 .. 10 loop
    if n = 1 then
      perform core.create_user(bench_user(person), 'user' || person, null, 'bench/' || person);
    end if;
    if n = 1 and person < 10 then
      insert into public.purchases (user_id, id, pack, credits, price, created_at)
      values (bench_user(person), bench_user(person), 'small', 100, 5.00, core.now());
      perform core.grant_purchase(bench_user(person), bench_user(person), 5.00, core.now());
    end if;
    if person = 10 then
      insert into public.subscriptions (user_id, id, plan, status, monthly_amount, stripe_created_at, created_at, updated_at, paid_until)
      values (bench_user(person), 'sub_1', 'prpm_plus_individual', 'active', 6, core.now(), core.now(), core.now(), ends)
      on conflict (user_id, id) do update set paid_until = excluded.paid_until;
      perform core.book_period(bench_user(person), 'sub_1', 'prpm_plus_individual', starts, ends, 100,
        jsonb_build_object('id', 'in_' || n, 'amount_paid', 600, 'status_transitions', jsonb_build_object('paid_at', extract(epoch from core.now())::bigint)),
        core.now());
      perform core.refresh_entitlement(bench_user(person), core.now());
      perform year_runs(person, 3);
    elsif (n + person) % 2 = 0 then
      perform year_runs(person, 1);
    end if;
  end loop;
end
$$;

-- Each table of people gets the rows of its ten once more for the next ten, and so on; a user's name is the one thing that is nobody else's.
create function year_copies(people bigint) returns bigint language plpgsql as $$
declare
  t record;
  copied bigint;
  all_copied bigint := 0;
begin
  for t in
    select c.oid::regclass as name, owner.column_name,
      (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
       where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns,
      (select string_agg(case
          when a.attname = owner.column_name then 'bench_user(10 * i + x.person)'
          when c.relname = 'users' and a.attname = 'username' then $n$'user' || (10 * i + x.person)$n$
          else 'x.' || quote_ident(a.attname) end, ', ' order by a.attnum)
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as given
    from pg_class c
    cross join lateral (select case c.relname when 'users' then 'id' else 'user_id' end as column_name) owner
    where c.relkind = 'r' and obj_description(c.oid, 'pg_class') like 'per-user%'
    order by c.relname <> 'users', c.relname not in ('subscriptions', 'purchases', 'sessions', 'credit_lots', 'runs'), 1
  loop
    execute format(
      'insert into %1$s (%2$s) select %3$s from (select y.*, p.person from %1$s y join generate_series(1, 10) p (person) on bench_user(p.person) = y.%4$I) x, '
      'generate_series(1, %5$s) i', t.name, t.columns, t.given, t.column_name, people / 10 - 1);
    get diagnostics copied = row_count;
    all_copied := all_copied + copied;
  end loop;
  -- What is kept of packages by who used them.
  insert into core.package_days (package_id, day, user_id, model, sessions, runs, credits)
  select d.package_id, d.day, bench_user(10 * i + p.person), d.model, d.sessions, d.runs, d.credits
  from core.package_days d join generate_series(1, 10) p (person) on bench_user(p.person) = d.user_id, generate_series(1, people / 10 - 1) i;
  update core.package_usage set answers = answers * (people / 10), answer_tokens = answer_tokens * (people / 10);
  return all_copied;
end
$$;
