// A migration of a database that is spread: tables of each kind, columns, indexes, functions and views; then npm run scale:up.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate } from '../../src/database/migrate.ts';
import { scaleUp } from '../../src/scale/up.ts';
import { needs } from '../harness/tools.ts';
import { buildWorld } from '../runs/world.ts';
import { openPlace, type Place } from './place.ts';

const migration = `
do $tables$
begin
  alter table public.users add column colour text constraint users_colour_is_short check (length(colour) < 20);
  create index users_by_colour on public.users (id, colour);
  create table public.colours (name text primary key);
  create table public.stars (
    user_id uuid not null references public.users (id), id uuid not null, colour text references public.colours (name), primary key (user_id, id)
  );
  create table public.paint (id uuid primary key, colour text);
  insert into public.colours values ('red');
end
$tables$;
comment on column public.users.colour is 'Which one likes.';
comment on table public.colours is 'config: which there are';
comment on table public.stars is 'per-user: who was given which';
comment on table public.paint is 'ops: what there is of it';
set local citus.enable_ddl_propagation = off;
create or replace function core.stars_of(user_id uuid) returns bigint language sql stable begin atomic
  select count(*) from public.stars s where s.user_id = stars_of.user_id;
end;
create or replace function core.colour_of(person public.users) returns text language sql immutable begin atomic
  select coalesce(person.colour, 'none');
end;
create or replace function core.tier_at(tier_override text, plan_tier text, entitled_until timestamptz, now timestamptz)
returns text language sql immutable parallel safe begin atomic
  select coalesce(tier_override, case when entitled_until >= now then plan_tier end, 'free');
end;
create view ops.stars as select s.user_id, s.id, u.colour from public.stars s join public.users u on u.id = s.user_id;
--! include limits/tier_now.sql
--! include runs/begin_run.sql
--! include limits/read_limits.sql
--! include limits/throttled_now.sql
--! include analytics/usage_parts.sql
`;

describe.skipIf(needs('citus'))('npm run migrate on a cluster', () => {
  let place: Place;
  let world: ReturnType<typeof buildWorld>;
  const folder = join(mkdtempSync(join(tmpdir(), 'prpm-scale-')), 'db');

  beforeAll(async () => {
    place = await openPlace();
    world = buildWorld(place.database);
    await world.furnish();
    await scaleUp(place.urls, () => {});
    cpSync(resolve(import.meta.dirname, '../../db'), folder, { recursive: true });
    writeFileSync(join(folder, 'current/1-current.sql'), migration);
  });
  afterAll(async () => {
    rmSync(resolve(folder, '..'), { recursive: true });
    await place?.close();
  });

  it('changes tables on each node; npm run scale:up spreads what is new, and brings functions there', async () => {
    const { owner, ops } = place.database;
    const user = await world.person({ credits: 40, tier: 'unlimited' });
    await world.run(user);
    const { current } = await migrate(place.database.ownerUrl, { folder, current: true });
    expect(current).toBe('applied');
    const found = await owner<{ check: string }[]>`select * from core.faults_of_cluster()`;
    expect(new Set(found.map(({ check }) => check))).toEqual(new Set(['table not spread', 'function differs']));

    await scaleUp(place.urls, () => {});
    expect([...(await owner`select * from core.faults_of_cluster()`)]).toEqual([]);
    const kinds = await owner`
      select logicalrelid::text as name, partmethod as how from pg_dist_partition where logicalrelid::text in ('stars', 'colours', 'paint') order by 1`;
    expect([...kinds]).toEqual([
      { name: 'colours', how: 'n' },
      { name: 'stars', how: 'h' },
    ]);

    await owner`update users set colour = 'red' where id = ${user}`;
    await owner`insert into stars values (${user}, ${user}, 'red')`;
    expect([...(await ops`select * from ops.stars`)]).toEqual([{ user_id: user, id: user, colour: 'red' }]);
    const [row] =
      await owner`select core.stars_of(u.id) as stars, core.colour_of(row(u.*)::users) as colour from users u where u.id = ${user}`;
    expect(row).toEqual({ stars: '1', colour: 'red' });
    await expect(owner`update users set colour = ${'x'.repeat(30)} where id = ${user}`).rejects.toThrow(
      /violates check/,
    );
    await world.run(user);
    expect([...(await ops`select * from ops.audit_books()`)]).toEqual([]);
  });
});
