\set u random(1, 10000)
\set r random(1, 4000000000000)
select api.store_stripe_event('evt_' || :r, bench_event('evt_' || :r, :u::bigint, extract(epoch from clock_timestamp())::bigint), false, 'bench');
select api.apply_stripe_event('evt_' || :r);
