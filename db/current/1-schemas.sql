-- Who may call what is said by the schema that a thing stands in: see db/README.md.
create extension if not exists btree_gist;
create extension if not exists pg_trgm;

create schema if not exists api;
create schema if not exists core;
create schema if not exists ops;

comment on schema public is 'Tables and the views and functions that the operator''s guide names: what a person sees in psql.';
comment on schema api is 'All that the server may do, and nothing else. The acting user''s id comes first.';
comment on schema core is 'Rules, private: called by api and ops, never from outside.';
comment on schema ops is 'What an operator or a scheduler calls. Start with: select * from ops.help(''word'');';
