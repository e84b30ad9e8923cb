// A server process that is told to stop in the midst of streams.
import { afterAll, expect, it } from 'vitest';
import { createDatabase } from '../harness/database.ts';
import { until } from '../http/house.ts';
import { answerTo, follow, openPlace, question } from './place.ts';

const database = await createDatabase();
const place = await openPlace(database, { firstTokenMs: 10, tokenMs: 5, answers: 'composed' });
afterAll(async () => {
  await place.close();
  await database.drop();
});

it('lets end what can, settles the rest with what it has, and ends with exit code 0', async () => {
  const person = await place.person();
  const server = await place.serve({ DRAIN_MS: '8000' });
  const ask = (directives: string) => question(person, directives);
  const short = Array.from({ length: 8 }, () => follow(server, ask('tokens=40 pace=20')));
  const long = Array.from({ length: 8 }, () => follow(server, ask('tokens=3000 pace=20')));
  const silent = Array.from({ length: 4 }, () => follow(server, ask('hang')));
  const asJson = answerTo(server, ask('tokens=3000 pace=20'));
  const streams = [...short, ...long, ...silent];
  await until(() => [...short, ...long].every(({ sight }) => sight.text !== '') && place.gate.calls === 21);

  const exitCode = server.terminate();
  await Promise.all(streams.map(({ done }) => done));
  expect(await exitCode).toBe(0);

  const booked = new Map((await place.runs()).map((run) => [run.id, run]));
  const runOf = (id: string | null) => booked.get(id ?? '') ?? expect.fail('a run that is not booked');
  for (const { sight } of short) {
    expect(sight.end).toMatchObject({ event: 'run.completed' });
    expect(runOf(sight.runId)).toMatchObject({ status: 'completed', answer: sight.text, credits: 1 });
  }
  for (const { sight } of long) {
    const { receipt } = sight.end?.data ?? {};
    expect(sight.end).toMatchObject({ event: 'run.failed', data: { error: 'shutting_down' } });
    expect(receipt).toMatchObject({ status: 'failed', estimated: true });
    expect(receipt.credits_spent).toBeGreaterThan(0);
    expect(runOf(sight.runId)).toMatchObject({ status: 'failed', answer: sight.text, credits: receipt.credits_spent });
  }
  for (const { sight } of silent) {
    expect(sight.end).toMatchObject({ event: 'run.failed', data: { error: 'shutting_down' } });
    expect(runOf(sight.runId)).toMatchObject({ status: 'released', answer: '', credits: 0 });
  }
  const { status, json } = await asJson;
  expect([status, json.error, json.details.status]).toEqual([503, 'shutting_down', 'failed']);
  expect(runOf(json.run_id).credits).toBe(json.details.credits_spent);

  expect(booked.size).toBe(21);
  expect(await place.held()).toEqual([]);
  expect(await place.audit()).toEqual([]);
}, 60_000);
