insert into public.packages (id, name, description, author_id, visibility, latest_version)
values (
  '00000000-0000-7000-8000-00000000c057', '@playground/custom-prompt', 'Runs of people''s own prompts.',
  '00000000-0000-0000-0000-000000000000', 'private', '1.0.0'
)
on conflict do nothing;
insert into public.package_versions (package_id, version, prompt, tokens_o200k, tokens_cl100k, tokens_approximate, published_by)
values ('00000000-0000-7000-8000-00000000c057', '1.0.0', '-', 1, 1, 1, '00000000-0000-0000-0000-000000000000')
on conflict do nothing;
--! include catalog/custom_package.sql
--! include runs/describe_custom_prompts.sql
--! include runs/begin_run.sql
