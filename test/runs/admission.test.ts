// Who may run what: people, packages, versions, sessions, keys.
import { expect, it } from 'vitest';
import { newId, openWorld } from './world.ts';

const world = await openWorld();

it('runs the version asked for with its own prompt, else the newest (spec 5.5, fault 18)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  await world.publish(world.author.id, 'versioned', '1.0.0');
  await world.publish(world.author.id, 'versioned', '1.10.0');
  await world.publish(world.author.id, 'versioned', '1.9.0');
  const newest = await world.start(user, { package: 'versioned' });
  expect([newest.version, newest.system_prompt]).toEqual(['1.10.0', 'Prompt of versioned 1.10.0']);
  const old = await world.start(user, { package: 'versioned', version: '1.0.0' });
  expect([old.version, old.system_prompt]).toEqual(['1.0.0', 'Prompt of versioned 1.0.0']);
  expect(await world.refusal(user, { package: 'versioned', version: '2.0.0' })).toMatchObject({
    code: 'version_not_found',
    status: 404,
  });
  expect(await world.refusal(user, { package: 'nowhere' })).toMatchObject({ code: 'package_not_found', status: 404 });
});

it('finds a package by id and by name in any case (spec 5.1)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  const [row] = await world.ops`select id from packages where name = 'plain'`;
  expect((await world.start(user, { package: row?.id })).outcome).toBe('started');
  expect((await world.start(user, { package: 'Plain' })).outcome).toBe('started');
});

it('keeps a private package to its author and organization: to others it does not exist (spec 5.5, fault 19)', async () => {
  const [organization] = await world.ops`select id from ops.create_organization('Readers')`;
  const given = { credits: 100, tier: 'unlimited' };
  const [maker, member, outsider] = [await world.person(given), await world.person(given), await world.person(given)];
  await world.ops`select from ops.add_member('Readers', ${maker}, 'maintainer')`;
  await world.ops`select from ops.add_member('Readers', ${member}, 'member')`;
  await world.publish(maker, 'own-private', '1.0.0', { visibility: 'private' });
  await world.publish(maker, 'shared-private', '1.0.0', { visibility: 'private', organization: organization?.id });
  await world.publish(maker, 'unlisted', '1.0.0', { visibility: 'unlisted' });

  for (const name of ['own-private', 'shared-private', 'unlisted']) await world.start(maker, { package: name });
  for (const name of ['shared-private', 'unlisted']) await world.start(member, { package: name });
  expect((await world.refusal(member, { package: 'own-private' })).code).toBe('package_not_found');
  await world.start(outsider, { package: 'unlisted' });
  expect(await world.refusal(outsider, { package: 'shared-private' })).toMatchObject({
    code: 'package_not_found',
    status: 404,
  });
  expect((await world.refusal(outsider, { package: 'shared-private', version: '9.9.9' })).code).toBe(
    'package_not_found',
  );
  await world.ops`select from ops.remove_member('Readers', ${member}, 'left')`;
  expect((await world.refusal(member, { package: 'shared-private' })).code).toBe('package_not_found');
});

it('runs without the prompt as a baseline, and with a custom prompt only for verified authors (spec 5.1, 10.5)', async () => {
  const user = await world.person();
  const baseline = await world.start(user, { baseline: true });
  expect([baseline.system_prompt, baseline.estimated_input]).toEqual([null, 407]);
  expect(await world.refusal(user, { custom: 100 })).toMatchObject({ code: 'verified_author_required', status: 403 });
  const author = await world.person({ verifiedAuthor: true });
  expect(await world.start(author, { custom: 100 })).toMatchObject({ system_prompt: null, estimated_input: 511 });
});

it('continues a session with what was said and answered, counted by usage (spec 1.6, 10.1)', async () => {
  const user = await world.person({ credits: 100, tier: 'unlimited' });
  const first = await world.start(user, { tokens: 400 });
  expect(first.begun_session_id).toBe(first.begun_run_id);
  await world.settle(user, first.begun_run_id, { output: 321 });
  const failed = await world.start(user, { session: first.begun_session_id });
  await world.release(user, failed.begun_run_id);
  const next = await world.start(user, { session: first.begun_session_id, tokens: 10 });
  expect(next.history).toEqual([
    { role: 'user', content: 'question' },
    { role: 'assistant', content: 'answer' },
  ]);
  expect(next.estimated_input).toBe(10 + 100 + 400 + 321 + 8);
  expect(next.begun_session_id).toBe(first.begun_session_id);
});

it('runs one at a time in a session, of its own package, for its owner alone (spec 10.1, fault 20)', async () => {
  const [user, stranger] = [await world.person({ credits: 9 }), await world.person()];
  await world.publish(world.author.id, 'another', '1.0.0');
  const { begun_session_id: session, begun_run_id } = await world.start(user);
  expect(await world.refusal(user, { session })).toMatchObject({
    code: 'session_busy',
    status: 409,
    details: { run_id: begun_run_id },
  });
  await world.settle(user, begun_run_id);
  expect(await world.refusal(user, { session, package: 'another' })).toMatchObject({
    code: 'session_package',
    status: 409,
  });
  const before = await world.owner`select * from sessions where id = ${session}`;
  expect(await world.refusal(stranger, { session })).toMatchObject({ code: 'session_not_found', status: 404 });
  expect(await world.refusal(user, { session: newId() })).toMatchObject({ code: 'session_not_found', status: 404 });
  expect(await world.owner`select * from sessions where id = ${session}`).toEqual(before);
  await world.start(user, { session });
});

it('gives the same run for the same key and request, and charges it once (spec 5.3, fault 14)', async () => {
  const user = await world.person();
  const first = await world.start(user, { key: 'k' });
  const again = await world.begin(user, { key: 'k' });
  expect(again).toMatchObject({ outcome: 'known', begun_run_id: first.begun_run_id, run_status: 'running' });
  await world.settle(user, first.begun_run_id);
  expect(await world.begin(user, { key: 'k' })).toMatchObject({ outcome: 'known', run_status: 'completed' });
  expect(await world.begin(user, { run: first.begun_run_id })).toMatchObject({
    outcome: 'known',
    run_status: 'completed',
  });
  expect(await world.figures(user)).toMatchObject({ balance: 4, held: 0, hour: 1 });
});

it('refuses a key that was used for another request, leaves another person their own, and forgets after 24 hours (spec 5.3)', async () => {
  const [user, other] = [await world.person(), await world.person()];
  const first = await world.run(user, { key: 'k' });
  expect(await world.refusal(user, { key: 'k', request: 'another' })).toMatchObject({
    code: 'idempotency_conflict',
    status: 409,
  });
  expect((await world.start(other, { key: 'k', request: 'another' })).outcome).toBe('started');
  await world.pass('23 hours 59 minutes');
  expect((await world.begin(user, { key: 'k' })).begun_run_id).toBe(first.run_id);
  await world.pass('2 minutes');
  const fresh = await world.start(user, { key: 'k', request: 'another' });
  expect(await world.begin(user, { key: 'k', request: 'another' })).toMatchObject({
    outcome: 'known',
    begun_run_id: fresh.begun_run_id,
  });
});

it('answers a failed run with its failure again, and lets a refused one come again under its key (spec 5.3)', async () => {
  const user = await world.person({ credits: 1 });
  const failed = await world.start(user, { key: 'failed' });
  await world.release(user, failed.begun_run_id, { error: 'provider_timeout' });
  expect(await world.begin(user, { key: 'failed' })).toMatchObject({ outcome: 'known', run_status: 'released' });
  expect((await world.readRun(user, failed.begun_run_id))?.error).toBe('provider_timeout');

  expect((await world.refusal(user, { key: 'refused', model: 'gpt-4o' })).code).toBe('insufficient_credits');
  await world.grant(user, 5);
  expect((await world.start(user, { key: 'refused', model: 'gpt-4o' })).outcome).toBe('started');
});

it('leaves nothing of a refused run but its count: no run, session, hold, request or key (spec 3.2, 3.7, 5.3, fault 12)', async () => {
  const user = await world.person({ credits: 1 });
  for (let attempt = 0; attempt < 3; attempt++) await world.refusal(user, { model: 'gpt-4o', key: 'k' });
  for (const table of ['runs', 'sessions', 'idempotency_keys', 'run_texts']) {
    expect(await world.owner`select from ${world.owner(table)} where user_id = ${user}`).toEqual([]);
  }
  expect(await world.figures(user)).toMatchObject({ held: 0, hour: 0, day: '0', day_held: '0', is_throttled: false });
  const rows = await world.ops`select reason, refusals::int from ops.refusals where user_id = ${user}`;
  expect(rows).toEqual([{ reason: 'insufficient_credits', refusals: 3 }]);
});

it('lets a closed account run nothing, and settles what was running (spec 2.3)', async () => {
  const user = await world.person();
  const { begun_run_id } = await world.start(user);
  await world.ops`select from ops.close_user(${user}, 'asked to')`;
  expect(await world.refusal(user)).toMatchObject({ code: 'account_closed', status: 403 });
  expect(await world.checkpoint(user, begun_run_id, 10)).toMatchObject({ status: 'running', stop_requested: true });
  expect(await world.settle(user, begun_run_id, { ending: 'stopped', output: 10 })).toMatchObject({
    status: 'stopped',
    credits_spent: 1,
  });
});

it('knows no run, settlement or figures of an unknown person (fault 52)', async () => {
  const nobody = newId();
  await expect(world.begin(nobody)).rejects.toMatchObject({ code: 'PR404' });
  await expect(world.settle(nobody, newId())).rejects.toMatchObject({ code: 'PR404' });
  await expect(world.grant(nobody, 1)).rejects.toMatchObject({ code: 'PR404' });
  await expect(world.ops`select from ops.release_throttle(${nobody}, 'test')`).rejects.toMatchObject({ code: 'PR404' });
});

it('refuses every run while runs are switched off (spec 3.6)', async () => {
  const user = await world.person();
  await world.ops`update settings set runs_enabled = false`;
  expect(await world.refusal(user)).toMatchObject({ code: 'runs_disabled', status: 503 });
  await world.ops`update settings set runs_enabled = true`;
  await world.start(user);
});

it('shows and settles a run only for who began it', async () => {
  const [user, stranger] = [await world.person(), await world.person()];
  const { begun_run_id } = await world.start(user);
  expect(await world.readRun(stranger, begun_run_id)).toBeUndefined();
  await expect(world.settle(stranger, begun_run_id)).rejects.toMatchObject({ code: 'PR404' });
  expect(await world.checkpoint(stranger, begun_run_id, 1)).toMatchObject({ status: null });
  expect(await world.app`select * from api.stop_run(${stranger}, ${begun_run_id})`).toEqual([]);
  expect((await world.readRun(user, begun_run_id))?.status).toBe('running');
});
