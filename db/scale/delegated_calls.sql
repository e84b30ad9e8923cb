create or replace function core.delegated_calls()
returns text[]
language sql
immutable
return array[
  'begin_run', 'checkpoint_run', 'settle_run', 'release_run', 'read_run', 'stop_run', 'read_credits', 'read_limits'
];

comment on function core.delegated_calls() is
  'Functions of schema api that touch nothing but one person''s own rows and config, and so are sent whole to the worker that has the person, on a '
  'cluster. Their first argument is the person''s id, never null, for which builds of Citus have no answer but to crash.';
