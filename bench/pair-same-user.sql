\set u 1
\set r random(1, 4000000000000)
select begun_run_id from api.begin_run(bench_user(:u::bigint), bench_run(:r::bigint), '00000000-0000-4000-8000-00000000aaaa', null, null, 'sonnet', false, 120, 'approximate', null, null, null, null) \gset
select * from api.settle_run(bench_user(:u::bigint), :begun_run_id::uuid, 'completed', true, 1100, 0, 0, 300, false, repeat('q', 500), repeat('a', 2000), null, null, 400, 2000);
