\set n random(1, :people)
\set r random(1, 4000000000000)
select bench_person(:n::bigint) as person, bench_run(:r::bigint) as run \gset
select begun_run_id from api.begin_run(:person::uuid, :run::uuid, '00000000-0000-4000-8000-00000000aaaa', null, null, 'sonnet', false, 120, 'approximate', null, null, null, null);
select * from api.settle_run(:person::uuid, :run::uuid, 'completed', true, 1100, 0, 0, 300, false, repeat('q', 500), repeat('a', 2000), null, null, 400, 2000);
